// Memory for requests' data: taken, given back; and what that leaves for the page cache.

import Glibc
import IOUring

extension Loop {
    /// Memory for a request's data: the connection's own, for a large one the loop's.
    ///
    /// - Returns: nil if there is none now.
    mutating func allocate(_ pages: Int, _ place: RequestPlace) -> PageRun? {
        guard connections[place.slot].line == nil else { return nil }
        if pages <= shared.limits.largestOwnRequestPages { return allocateOwn(pages, place) }
        let memory = pages <= Limits.largestMiddlePages ? AwaitedMemory.middle : .large
        let (slot, export) = (place.slot, requests[place].unit)
        guard mayTake(memory, slot, export), let first = takeFromStage(pages, memory, export) else {
            wait(slot, for: pages, of: memory, export)
            return nil
        }
        lines[memory].hasTaken()
        connections[slot].stagePages[memory] += pages
        return PageRun(memory: memory == .middle ? .middle : .large, first: first, count: pages)
    }

    private mutating func takeFromStage(_ pages: Int, _ memory: AwaitedMemory, _ export: ExportNumber) -> Int? {
        let touched = middle.touchedPages + large.touchedPages
        defer { noteTouched(middle.touchedPages + large.touchedPages - touched) }
        return memory == .middle
            ? middle.allocate(pages, &exports[export].memory[.middle])
            : large.allocate(pages, &exports[export].memory[.large])
    }

    private mutating func allocateOwn(_ pages: Int, _ place: RequestPlace) -> PageRun? {
        let (slot, export) = (place.slot, requests[place].unit)
        // What others have cannot keep a connection from its share.
        if connections[slot].sharePages + pages <= Limits.sharePages {
            guard let first = takeOwn(pages, slot) else { return nil }
            connections[slot].sharePages += pages
            return PageRun(memory: .share, first: first, count: pages)
        }
        guard mayTake(.own, slot, export), room(for: pages, of: .own, export) == .enough else {
            // The share comes back with the replies of this connection.
            if pages > Limits.sharePages { wait(slot, for: pages, of: .own, export) }
            return nil
        }
        guard let first = takeOwn(pages, slot) else { return nil }
        lines[.own].hasTaken()
        ownPagesInUse += pages
        exports[export].memory[.own].pages += pages
        return PageRun(memory: .own, first: first, count: pages)
    }

    /// What is missing here only this connection can give back.
    private mutating func takeOwn(_ pages: Int, _ slot: ConnectionSlot) -> Int? {
        let touched = connections[slot].arena.touchedEnd
        guard let first = connections[slot].arena.allocate(pages) else { return nil }
        noteTouched(connections[slot].arena.touchedEnd - touched)
        return first
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
        let (slot, export) = (place.slot, requests[place].unit)
        switch run.memory {
        case .share:
            connections[slot].arena.release(run.first, run.count)
            connections[slot].sharePages -= run.count
        case .own:
            connections[slot].arena.release(run.first, run.count)
            ownPagesInUse -= run.count
            exports[export].memory[.own].pages -= run.count
            lines[.own].noteRoom()
        case .middle:
            middle.release(run.first, run.count, &exports[export].memory[.middle])
            connections[slot].stagePages[.middle] -= run.count
            lines[.middle].noteRoom()
        case .large:
            large.release(run.first, run.count, &exports[export].memory[.large])
            connections[slot].stagePages[.large] -= run.count
            lines[.large].noteRoom()
        case .extra:
            connections[slot].dropExtra()
            extraPages -= run.count
        }
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
        var pages = middle.touchedPages + large.touchedPages + extraPages
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
