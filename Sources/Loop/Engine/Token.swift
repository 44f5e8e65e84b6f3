// The subject of a completion, packed into the 64 bits that io_uring carries along.

/// The kinds of operation a loop submits.
enum Operation: UInt8 {
    case accept
    case receive
    /// A socket has something that is received without the ring.
    case input
    case send
    /// A socket has room again for what is sent without the ring.
    case room
    case backend
    /// A layer of an export has let time pass for a request.
    case delay
    /// A drive's image was made stable, for all requests that wait for that.
    case flush
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
    /// Workers have done something while the loop slept.
    case bell
    /// Workers are looked after.
    case watch
    /// A worker looks an extent up that no request waits for. It is no operation of the ring.
    case lookUp
    case tick
    case cancelled
}

/// The user data of a submission: the operation, and the connection, request, export or listener that it is about.
struct Token: Equatable {
    let operation: Operation
    private let number: UInt32

    /// Operation in bits 63:56, number in 31:0.
    var userData: UInt64 {
        UInt64(operation.rawValue) << 56 | UInt64(number)
    }

    init(_ operation: Operation) {
        self.operation = operation
        number = 0
    }

    init(_ operation: Operation, _ index: some SlotIndex) {
        self.operation = operation
        number = UInt32(index.number)
    }

    init(_ operation: Operation, listener: Int) {
        self.operation = operation
        number = UInt32(listener)
    }

    init(userData: UInt64) {
        guard let operation = Operation(rawValue: UInt8(truncatingIfNeeded: userData >> 56)) else {
            preconditionFailure("a completion of an operation nobody submitted")
        }
        self.operation = operation
        number = UInt32(truncatingIfNeeded: userData)
    }

    /// The connection that it is about.
    var slot: ConnectionSlot { ConnectionSlot(Int(number)) }
    /// The request that it is about.
    var place: RequestPlace { RequestPlace(Int(number)) }
    /// The export that it is about.
    var export: ExportNumber { ExportNumber(Int(number)) }
    /// The listener's index.
    var listener: Int { Int(number) }
}
