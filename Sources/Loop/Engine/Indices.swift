// Numbers that say which: each kind has a type of its own, so that nobody takes one for another.

/// A number that stands for an element of a table.
public protocol SlotIndex: Hashable, Sendable {
    /// It is never negative.
    var number: Int { get }

    /// The index of this number.
    init(_ number: Int)
}

/// A connection's place on its loop.
struct ConnectionSlot: SlotIndex {
    private let value: UInt16

    var number: Int { Int(value) }

    init(_ number: Int) {
        value = UInt16(number)
    }

    /// The places of its requests.
    var places: some Sequence<RequestPlace> {
        let first = firstPlace.number
        return (first..<first + Limits.requestsPerConnection).lazy.map(RequestPlace.init)
    }

    /// The first of these, which follow each other.
    var firstPlace: RequestPlace { RequestPlace(number * Limits.requestsPerConnection) }
}

/// A request's place on its loop. It says whose request it is, too.
struct RequestPlace: SlotIndex {
    private let value: UInt32

    var number: Int { Int(value) }

    init(_ number: Int) {
        value = UInt32(number)
    }

    /// The connection that it belongs to.
    var slot: ConnectionSlot { ConnectionSlot(Int(value / UInt32(Limits.requestsPerConnection))) }
}

/// An export's place in the tables of all loops.
public struct ExportNumber: SlotIndex {
    private let value: UInt16

    /// It is never negative.
    public var number: Int { Int(value) }

    /// The export of this number.
    public init(_ number: Int) {
        value = UInt16(number)
    }
}
