// What a completion is about, packed into the 64 bits that io_uring carries along.

/// The kinds of operation a loop submits.
enum Operation: UInt8 {
    case accept
    case receive
    /// A socket has something that is received without the ring.
    case input
    case send
    /// A socket has room again for what is sent without the ring.
    case room
    case medium
    /// A request that takes many steps goes on, after others had their turn.
    case goOn
    /// A message that this loop sent; nothing is to be done when it has arrived.
    case messageSent
    /// A connection handed over by the accepting loop; the result is its descriptor.
    case adopt
    /// Another loop has changed something that requests wait for.
    case wake
    /// There is something in the mailbox.
    case mail
    case tick
    case cancelled
}

/// The user data of a submission: operation, connection and request by their slots.
struct Token: Equatable {
    var operation: Operation
    /// The connection's slot on this loop, or the listener's index for an accept.
    var connection: UInt16 = 0
    /// The request's slot in its connection.
    var request: UInt16 = 0

    /// Operation in bits 63:56, connection in 31:16, request in 15:0.
    var userData: UInt64 {
        UInt64(operation.rawValue) << 56 | UInt64(connection) << 16 | UInt64(request)
    }

    init(_ operation: Operation, connection: Int = 0, request: Int = 0) {
        self.operation = operation
        self.connection = UInt16(truncatingIfNeeded: connection)
        self.request = UInt16(truncatingIfNeeded: request)
    }

    init(userData: UInt64) {
        guard let operation = Operation(rawValue: UInt8(truncatingIfNeeded: userData >> 56)) else {
            preconditionFailure("a completion of an operation nobody submitted")
        }
        self.operation = operation
        connection = UInt16(truncatingIfNeeded: userData >> 16)
        request = UInt16(truncatingIfNeeded: userData)
    }
}
