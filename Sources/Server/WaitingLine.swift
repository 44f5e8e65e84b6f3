// Turns: connections that wait for memory which they share with others.

/// Connections whose next request waits for memory, in the order of asking: else small requests would for ever be in the
/// way of a large one.
struct WaitingLine: ~Copyable {
    private var slots: SlotQueue
    /// Whose turn it is: it is not in the queue then, and may take memory for one request. -1 for nobody.
    private var turn = -1
    private var isFirstAgain = false
    /// Memory was given back, and nobody has had a turn since.
    private(set) var hasRoom = false

    init(capacity: Int) {
        slots = SlotQueue(capacity: capacity)
    }

    var isEmpty: Bool { slots.count == 0 }

    /// Nobody else waits for longer.
    func mayTake(_ slot: Int) -> Bool {
        slots.count == 0 || turn == slot
    }

    /// A connection has got memory; a turn is for one request.
    mutating func hasTaken() {
        turn = -1
    }

    /// There was not enough for a connection that is not in the line.
    mutating func wait(_ slot: Int) {
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
    mutating func next() -> Int? {
        guard let slot = slots.popFirst() else { return nil }
        turn = slot
        isFirstAgain = false
        return slot
    }

    /// - Returns: whether there was not enough for it: the others need not be asked.
    mutating func endTurn() -> Bool {
        turn = -1
        return isFirstAgain
    }
}
