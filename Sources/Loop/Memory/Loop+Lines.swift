// Turns for memory that others have: a request takes some, or its connection waits for its turn.

/// Whether there is memory for a request.
enum MemoryRoom {
    case enough
    /// Its export has its share. More comes back with the replies of that export.
    case hasItsShare
    /// Others have it.
    case none
}

extension Loop {
    /// Whether there is memory for a request to an export.
    ///
    /// An image that does not answer keeps what its requests have, for ever. So an export may have half as much of the
    /// connections' memory as it leaves to others, and one region of a stage. An export that has nothing may take
    /// whatever there is.
    func room(for pages: Int, of memory: AwaitedMemory, _ export: ExportNumber) -> MemoryRoom {
        let share = exports[export].memory[memory]
        let isEnough =
            switch memory {
            case .own: hasOwnRoom(for: pages, share.pages)
            case .middle: middle.hasRun(of: pages, share)
            case .large: large.hasRun(of: pages, share)
            }
        return isEnough ? .enough : share.pages > 0 ? .hasItsShare : .none
    }

    private func hasOwnRoom(for pages: Int, _ held: Int) -> Bool {
        let free = ownPageLimit - ownPagesInUse
        return pages <= free && (held == 0 || held + pages <= free / 2)
    }

    /// Nobody goes before it: no other request to its export, and none to an export that has nothing.
    func mayTake(_ memory: AwaitedMemory, _ slot: ConnectionSlot, _ export: ExportNumber) -> Bool {
        if lines[memory].isEmpty || lines[memory].isTurn(of: slot) { return true }
        guard exports[export].memory[memory].waiting.isEmpty else { return false }
        return !anyWaits(for: memory) { $0.pages == 0 }
    }

    /// Memory was given back that somebody waits for.
    var hasRoomForOthers: Bool { lines[.own].hasRoom || lines[.middle].hasRoom || lines[.large].hasRoom }

    /// Whether an export in the line has such a share.
    func anyWaits(for memory: AwaitedMemory, _ condition: (MemoryShare) -> Bool) -> Bool {
        for place in 0..<lines[memory].exports.count {
            if condition(exports[lines[memory].exports[place]].memory[memory]) { return true }
        }
        return false
    }

    /// A connection waits for memory.
    mutating func wait(_ slot: ConnectionSlot, for pages: Int, of memory: AwaitedMemory, _ export: ExportNumber) {
        connections[slot].line = memory
        connections[slot].wantedPages = pages
        connections[slot].wantingExport = export
        lines[memory].wait(slot, export, &exports[export].memory[memory].waiting, &connections)
    }

    /// Its client is gone: it wants no memory any more.
    mutating func leaveLine(_ slot: ConnectionSlot) {
        guard let memory = connections[slot].line else { return }
        let export = connections[slot].wantingExport
        connections[slot].line = nil
        lines[memory].leave(slot, export, &exports[export].memory[memory].waiting, &connections)
        // It may have been in the way of others.
        lines[memory].noteRoom()
    }

    /// Lets waiting connections go on when memory has come back. A reply gives it back when it is sent or dropped, a
    /// write when it is done, or when its payload does not come.
    mutating func serveWaitingLines() {
        for memory in AwaitedMemory.allCases where lines[memory].hasRoom { serveLine(memory) }
    }

    /// The exports take turns. If there is not enough for an export that has nothing, it gets the memory that comes
    /// back next: else small requests would keep a large one waiting for ever.
    private mutating func serveLine(_ memory: AwaitedMemory) {
        lines[memory].beginTurns()
        var left = lines[memory].exports.count
        while left > 0, lines[memory].exports.count > 0 {
            let export = lines[memory].exports[0]
            let slot = next(memory, export)
            switch room(for: connections[slot].wantedPages, of: memory, export) {
            case .none: return
            case .hasItsShare:
                lines[memory].rotate()
                left -= 1
            case .enough:
                lines[memory].rotate()
                // All others are asked again if it has taken memory. If it waits again, it has not.
                left = takeTurn(slot, memory, export) ? lines[memory].exports.count : left - 1
            }
        }
    }

    private func next(_ memory: AwaitedMemory, _ export: ExportNumber) -> ConnectionSlot {
        let list = exports[export].memory[memory].waiting
        let found = Holders(of: memory, export, in: self).next(list, connections)
        guard let found else { preconditionFailure("an export is in the line, and nobody waits") }
        return found
    }

    /// A connection may take memory for the request that it waits with.
    ///
    /// - Returns: false if it did not, and waits again.
    private mutating func takeTurn(_ slot: ConnectionSlot, _ memory: AwaitedMemory, _ export: ExportNumber) -> Bool {
        connections[slot].line = nil
        lines[memory].leave(slot, export, &exports[export].memory[memory].waiting, &connections)
        lines[memory].beginTurn(slot)
        pump(slot)
        finishIfIdle(slot)
        return lines[memory].endTurn() || connections[slot].line != memory
    }
}

/// The clients of an export that hold memory for which others wait. The client with the least of it is next, so many
/// connections that are just quick enough to keep theirs, or that take nothing, do not stand before everybody else.
private struct Holders {
    /// Further clients count as if they held nothing.
    private static let capacity = 32
    /// A connection of each.
    private var slots = InlineArray<32, ConnectionSlot>(repeating: ConnectionSlot(0))
    private var pages = InlineArray<32, Int>(repeating: 0)
    private var count = 0

    init(of memory: AwaitedMemory, _ export: ExportNumber, in loop: borrowing Loop) {
        for slot in loop.usedSlots {
            let held = loop.connections[slot].heldPages(memory)
            guard held > 0, loop.hasOpen(loop.exports[export].entry, slot) else { continue }
            add(held, of: slot, loop.connections)
        }
    }

    private mutating func add(_ held: Int, of slot: ConnectionSlot, _ connections: borrowing ConnectionList.Table) {
        if let number = number(of: slot, connections) {
            pages[number] += held
        } else if count < Self.capacity {
            slots[count] = slot
            pages[count] = held
            count += 1
        }
    }

    private func number(of slot: ConnectionSlot, _ connections: borrowing ConnectionList.Table) -> Int? {
        for number in 0..<count where connections[slots[number]].peer.origin == connections[slot].peer.origin {
            return number
        }
        return nil
    }

    /// The connection whose turn it is.
    func next(_ list: ConnectionList, _ connections: borrowing ConnectionList.Table) -> ConnectionSlot? {
        list.lowest(connections) { slot in number(of: slot, connections).map { pages[$0] } ?? 0 }
    }
}

extension Connection {
    /// The pages that its requests have of memory which others may wait for.
    func heldPages(_ memory: AwaitedMemory) -> Int {
        memory == .own ? arena.pagesInUse - sharePages : stagePages[memory]
    }
}
