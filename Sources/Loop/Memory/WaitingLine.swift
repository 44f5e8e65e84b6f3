// Turns: connections that wait for memory which they share with others.

/// Connections whose next request waits for memory, in the order of asking: else small requests would for ever be in
/// the way of a large one. A line may let those go first who hold less of the memory.
struct WaitingLine: ~Copyable {
    private var slots: SlotQueue<ConnectionSlot>
    /// Whose turn it is: it is not in the queue then, and may take memory for one request.
    private var turn: ConnectionSlot?
    private var isFirstAgain = false
    /// Memory was given back, and nobody has had a turn since.
    private(set) var hasRoom = false

    init(capacity: Int) {
        slots = SlotQueue(capacity: capacity)
    }

    var count: Int { slots.count }
    var isEmpty: Bool { count == 0 }

    /// Nobody else waits for longer.
    func mayTake(_ slot: ConnectionSlot) -> Bool {
        slots.count == 0 || turn == slot
    }

    /// A connection has got memory; a turn is for one request.
    mutating func hasTaken() {
        turn = nil
    }

    /// There was not enough for a connection that is not in the line.
    mutating func wait(_ slot: ConnectionSlot) {
        if turn == slot {
            isFirstAgain = true
            slots.prepend(slot)
        } else {
            slots.append(slot)
        }
    }

    /// Somebody has given memory back.
    mutating func noteRoom() {
        hasRoom = true
    }

    /// What was given back is offered now.
    mutating func beginTurns() {
        hasRoom = false
    }

    /// The next connection has its turn.
    mutating func next() -> ConnectionSlot? {
        guard let slot = slots.popFirst() else { return nil }
        turn = slot
        isFirstAgain = false
        return slot
    }

    /// The next connection has its turn: the one with the lowest rank, and of several the one that has waited longest.
    mutating func next(byRank rank: (_ slot: ConnectionSlot) -> Int) -> ConnectionSlot? {
        guard slots.count > 0 else { return nil }
        var first = 0
        var lowest = rank(slots[0])
        for place in 1..<max(slots.count, 1) where lowest > 0 {
            let other = rank(slots[place])
            if other < lowest { (first, lowest) = (place, other) }
        }
        turn = slots.remove(at: first)
        isFirstAgain = false
        return turn
    }

    /// - Returns: whether there was not enough for it: then nobody need ask the others.
    mutating func endTurn() -> Bool {
        turn = nil
        return isFirstAgain
    }
}
