// A line of exports whose requests wait for shared memory.

/// Exports with a request that waits for memory, in the order of their turns. The connections of each are in its own
/// list (``MemoryShare/waiting``): an export that has its share waits for itself, and holds up nobody behind
/// it.
struct WaitingLine: ~Copyable {
    private(set) var exports: SlotQueue<ExportNumber>
    /// The connection whose turn it is. It is in no list then, and may take memory for one request.
    private var turn: ConnectionSlot?
    /// Memory was given back, and nobody has had a turn since.
    private(set) var hasRoom = false

    init(capacity: Int) {
        exports = SlotQueue(capacity: capacity)
    }

    var isEmpty: Bool { exports.count == 0 }

    func isTurn(of slot: ConnectionSlot) -> Bool { turn == slot }

    /// A connection has got memory; a turn is for one request.
    mutating func hasTaken() {
        turn = nil
    }

    /// A connection waits: there was not enough, or others go before it.
    mutating func wait(
        _ slot: ConnectionSlot, _ export: ExportNumber, _ list: inout ConnectionList,
        _ connections: inout ConnectionList.Table
    ) {
        if list.isEmpty { exports.append(export) }
        list.append(slot, &connections)
    }

    /// A connection waits no more.
    mutating func leave(
        _ slot: ConnectionSlot, _ export: ExportNumber, _ list: inout ConnectionList,
        _ connections: inout ConnectionList.Table
    ) {
        list.remove(slot, &connections)
        guard list.isEmpty else { return }
        for place in 0..<exports.count where exports[place] == export {
            _ = exports.remove(at: place)
            return
        }
    }

    /// Somebody has given memory back.
    mutating func noteRoom() {
        hasRoom = !isEmpty
    }

    /// Memory that was given back is offered now.
    mutating func beginTurns() {
        hasRoom = false
    }

    /// The first export goes to the end of the line.
    mutating func rotate() {
        guard let first = exports.popFirst() else { return }
        exports.append(first)
    }

    /// A connection's turn begins. It waits no more.
    mutating func beginTurn(_ slot: ConnectionSlot) {
        turn = slot
    }

    /// - Returns: whether it has taken memory.
    mutating func endTurn() -> Bool {
        defer { turn = nil }
        return turn == nil
    }
}
