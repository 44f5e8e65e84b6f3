// The memory that holds a request's data, and an export's part of the memory that exports of a loop share.

/// Where the pages of a request come from. Requests of very different sizes have memory apart from each other, so that
/// a small one never waits for a large one whose client is slow.
enum RequestMemory {
    /// The connection's own, as much of it as it has in any case: small requests.
    case share
    /// The connection's own: up to half of that. All connections of a loop together have a limit.
    case own
    /// The loop's for requests of up to 4 MiB.
    case middle
    /// The loop's for larger ones.
    case large
    /// Its own, for a reply that was interrupted. It holds up all replies behind it, and with them what they have.
    case extra

    /// What a connection waits for when this is used up.
    var awaited: AwaitedMemory? {
        switch self {
        case .own: .own
        case .middle: .middle
        case .large: .large
        case .share, .extra: nil
        }
    }
}

/// Memory that a connection can wait for, because others have it.
enum AwaitedMemory: Int, CaseIterable {
    case own
    case middle
    case large
}

/// An export's part of shared memory, and the connections whose next request to it waits for more.
struct MemoryShare {
    var pages = 0
    /// Where in a ``Stage`` they are.
    var region = 0
    var waiting = ConnectionList()
}

/// A value for each ``AwaitedMemory``.
struct PerAwaitedMemory<Value: ~Copyable>: ~Copyable {
    private var values: InlineArray<3, Value>

    init(_ make: (AwaitedMemory) -> Value) {
        values = InlineArray { number in
            guard let memory = AwaitedMemory(rawValue: number) else { preconditionFailure("there are three") }
            return make(memory)
        }
    }

    subscript(memory: AwaitedMemory) -> Value {
        _read { yield values[memory.rawValue] }
        _modify { yield &values[memory.rawValue] }
    }
}

extension PerAwaitedMemory: Copyable where Value: Copyable {}
