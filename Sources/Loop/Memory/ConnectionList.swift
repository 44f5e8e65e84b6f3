// Lists of connections that wait for memory, linked through their slots.

/// Connections in the order of their coming. A connection is in one list at a time.
struct ConnectionList {
    typealias Table = SlotTable<ConnectionSlot, Connection>

    private(set) var first: ConnectionSlot?
    private var last: ConnectionSlot?

    var isEmpty: Bool { first == nil }

    mutating func append(_ slot: ConnectionSlot, _ connections: inout Table) {
        connections[slot].before = last
        if let last { connections[last].after = slot } else { first = slot }
        last = slot
    }

    /// Takes a connection off, wherever it is.
    mutating func remove(_ slot: ConnectionSlot, _ connections: inout Table) {
        let (before, after) = (connections[slot].before, connections[slot].after)
        if let before { connections[before].after = after } else { first = after }
        if let after { connections[after].before = before } else { last = before }
        connections[slot].before = nil
        connections[slot].after = nil
    }

    /// The connection with the lowest rank, and of several the one that has waited longest.
    func lowest(
        _ connections: borrowing Table, byRank rank: (_ slot: ConnectionSlot) -> Int
    ) -> ConnectionSlot? {
        guard var found = first else { return nil }
        var lowest = rank(found)
        var next = connections[found].after
        while lowest > 0, let slot = next {
            let other = rank(slot)
            if other < lowest { (found, lowest) = (slot, other) }
            next = connections[slot].after
        }
        return found
    }

    /// How many there are, by going through all of them.
    func count(_ connections: borrowing Table) -> Int {
        var count = 0
        var next = first
        while let slot = next {
            count += 1
            next = connections[slot].after
        }
        return count
    }
}
