// Memory for requests' data: taken, waited for, given back; and what that leaves for the page cache.

import Glibc
import IOUring

extension Loop {
    /// Memory for a request's data: the connection's own, for a large one the loop's.
    mutating func allocate(_ pages: Int, _ slot: ConnectionSlot) -> PageRun? {
        guard connections[slot].line == .none else { return nil }
        if pages <= shared.limits.largestOwnRequestPages { return allocateOwn(pages, slot) }
        if pages <= Limits.largestMiddlePages {
            let touched = middle.touchedEnd
            guard let first = middle.allocate(pages, slot) else {
                wait(slot, for: .middle)
                return nil
            }
            noteTouched(middle.touchedEnd - touched)
            connections[slot].middlePages += pages
            return PageRun(memory: .middle, first: first, count: pages)
        }
        let touched = large.touchedEnd
        guard let first = large.allocate(pages, slot) else {
            wait(slot, for: .large)
            return nil
        }
        noteTouched(large.touchedEnd - touched)
        connections[slot].largePages += pages
        return PageRun(memory: .large, first: first, count: pages)
    }

    private mutating func allocateOwn(_ pages: Int, _ slot: ConnectionSlot) -> PageRun? {
        // What others have cannot keep a connection from its share.
        let isSmall = pages <= Limits.sharePages
        let isShare = isSmall && connections[slot].smallPages + pages <= Limits.sharePages
        guard isShare || ownPagesInUse + pages <= ownPageLimit && ownLine.mayTake(slot) else {
            // The share comes back with the replies of this connection.
            if !isSmall { wait(slot, for: .own) }
            return nil
        }
        let touched = connections[slot].arena.touchedEnd
        // What is missing here only this connection can give back.
        guard let first = connections[slot].arena.allocate(pages) else { return nil }
        noteTouched(connections[slot].arena.touchedEnd - touched)
        ownLine.hasTaken()
        ownPagesInUse += pages
        if isSmall { connections[slot].smallPages += pages }
        return PageRun(memory: .own, first: first, count: pages)
    }

    private mutating func wait(_ slot: ConnectionSlot, for line: Connection.Line) {
        connections[slot].line = line
        switch line {
        case .none: break
        case .own: ownLine.wait(slot)
        case .middle: middle.line.wait(slot)
        case .large: large.line.wait(slot)
        }
    }

    /// Memory beside all others, of which a connection has at most ``PayloadTable/largestUnread`` and two sectors.
    mutating func useExtraMemory(_ place: RequestPlace) {
        let count = PageRun.count(of: requests[place].served.bufferNeeds.byteCount)
        let memory = HeapBytes(count: count * PageArena.pageBytes)
        unsafe requests[place].use(memory.range)
        connections[place.slot].keepExtra(memory)
        requests[place].payload = .pages(PageRun(memory: .extra, first: 0, count: count))
        extraPages += count
        noteTouched(count)
    }

    /// Gives a request's memory back.
    mutating func release(_ run: PageRun, of place: RequestPlace) {
        let slot = place.slot
        switch run.memory {
        case .own:
            connections[slot].arena.release(run.first, run.count)
            ownPagesInUse -= run.count
            if run.count <= Limits.sharePages { connections[slot].smallPages -= run.count }
            if !ownLine.isEmpty { ownLine.noteRoom() }
        case .middle:
            middle.release(run.first, run.count)
            connections[slot].middlePages -= run.count
        case .large:
            large.release(run.first, run.count)
            connections[slot].largePages -= run.count
        case .extra:
            connections[slot].dropExtra()
            extraPages -= run.count
        }
    }

    /// Lets those that wait for memory go on, in their order, when some was given back: by a reply that was sent or
    /// will never be, by a write that is done, by a payload that does not come.
    mutating func serveWaitingLines() {
        if middle.line.hasRoom {
            middle.line.beginTurns()
            while !middle.isFull {
                let holders = Holders(of: .middle, in: self)
                guard let slot = holders.next(in: &middle.line, connections) else { break }
                takeTurn(slot)
                if middle.line.endTurn() { break }
            }
        }
        if large.line.hasRoom {
            large.line.beginTurns()
            while !large.isFull {
                let holders = Holders(of: .large, in: self)
                guard let slot = holders.next(in: &large.line, connections) else { break }
                takeTurn(slot)
                if large.line.endTurn() { break }
            }
        }
        if ownLine.hasRoom {
            ownLine.beginTurns()
            while ownPagesInUse < ownPageLimit, let slot = ownLine.next() {
                takeTurn(slot)
                if ownLine.endTurn() { break }
            }
        }
    }

    private mutating func takeTurn(_ slot: ConnectionSlot) {
        connections[slot].line = .none
        pump(slot)
        finishIfIdle(slot)
    }
}

/// The connections that hold memory which others wait for. It goes next to the client that holds least of it with the
/// same export: many connections that are just quick enough to keep theirs do not stand before everybody else.
private struct Holders {
    /// Requests that share a stage are so large that there are never more of them in it.
    private static let capacity = 8
    private var slots = InlineArray<8, ConnectionSlot>(repeating: ConnectionSlot(0))
    private var pages = InlineArray<8, Int32>(repeating: 0)
    private var count = 0

    init(of memory: RequestMemory, in loop: borrowing Loop) {
        for slot in loop.usedSlots where count < Self.capacity {
            let held = memory == .middle ? loop.connections[slot].middlePages : loop.connections[slot].largePages
            guard held > 0 else { continue }
            slots[count] = slot
            pages[count] = Int32(held)
            count += 1
        }
    }

    /// Whose turn it is.
    func next(
        in line: inout WaitingLine, _ connections: borrowing SlotTable<ConnectionSlot, Connection>
    ) -> ConnectionSlot? {
        line.next { slot in
            var held: Int32 = 0
            for number in 0..<count where isSameClient(slots[number], slot, connections) {
                held += pages[number]
            }
            return Int(held)
        }
    }

    private func isSameClient(
        _ one: ConnectionSlot, _ other: ConnectionSlot, _ connections: borrowing SlotTable<ConnectionSlot, Connection>
    ) -> Bool {
        connections[one].entry === connections[other].entry
            && connections[one].peer.origin == connections[other].peer.origin
    }
}

/// Memory in use.
extension Loop {
    /// Slots of which memory is given back in one tick: each takes some microseconds.
    private static let slotsPerTick = 128
    /// How long a connection has been silent by then.
    private static let silentSeconds = 5

    /// More memory is in use: fewer pages of the page cache may count as memory of this process.
    mutating func noteTouched(_ pages: Int) {
        guard pages > 0 else { return }
        touchedPages += pages
        shared.noteTouched(pages)
    }

    /// The kernel puts what it receives into the slot's buffers.
    mutating func noteReceivePages(_ slot: ConnectionSlot) {
        guard !connections[slot].hasReceivePages else { return }
        connections[slot].hasReceivePages = true
        noteTouched(Limits.receivePages)
    }

    /// Once a second: memory that nobody uses goes back, unless something may be in it that was received, but not
    /// looked at.
    mutating func trim() {
        guard !ring.hasCompletions else { return }
        isTrimDue = false
        middle.trim()
        large.trim()
        var pages = middle.touchedEnd + large.touchedEnd + extraPages
        var left = Self.slotsPerTick
        for slot in usedSlots {
            if left > 0, connections[slot].touchedPages > 0, isSilent(slot) {
                giveBack(slot)
                left -= 1
            }
            pages += connections[slot].touchedPages
        }
        shared.touchedPages.add(pages - touchedPages, ordering: .relaxed)
        touchedPages = pages
    }

    /// Nothing is in a slot's buffers, nor has been for a while, and no request is in its table.
    private func isSilent(_ slot: ConnectionSlot) -> Bool {
        guard connections[slot].receivedCount == 0 && connections[slot].requestsInUse == 0 else {
            return false
        }
        return connections[slot].phase == .free
            || connections[slot].phase == .transmission && connections[slot].lastProgress + Self.silentSeconds <= now
    }

    /// The kernel receives only while this thread is in io_uring_enter(2), so bytes that are still on their way need no
    /// memory now.
    private mutating func giveBack(_ slot: ConnectionSlot) {
        connections[slot].hasReceivePages = false
        connections[slot].arena.trim()
        connections[slot].group.trim()
        requests.trim(slot.firstPlace, count: Limits.requestsPerConnection)
        headers.trim(slot.firstPlace, count: Limits.requestsPerConnection)
    }
}
