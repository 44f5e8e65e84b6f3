// A client's side of one connection under load, as a state machine: NBD's transmission phase, or an iSCSI session.

import NBD

/// The client's name for a request. It says by itself how long the answer is.
struct Cookie: Equatable {
    let rawValue: UInt64

    init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// - Parameter sequence: tells the requests of one slot apart.
    init(_ command: Command, slot: Int, sequence: UInt64) {
        rawValue = sequence << 24 | UInt64(command.rawValue) << 16 | UInt64(slot)
    }

    /// Where the request is kept while it is in flight.
    var slot: Int { Int(rawValue & 0xFFFF) }
    /// The request's command.
    var command: UInt8 { UInt8(truncatingIfNeeded: rawValue >> 16) }
}

/// The caller's next task.
enum SessionStep: Equatable {
    /// All bytes are used, but for the beginning of a header.
    case needMoreBytes
    /// A reply, or a part of it. An error is 0, a number of NBD's document, or an ``SCSIFailure``.
    case reply(Cookie, error: UInt32, isLast: Bool)
    /// The stream cannot be trusted any more.
    case violation(String)
    /// The server does not go on, and has said why.
    case ended(String)
}

/// A session that knows what to say and what an answer means. Others send, receive and measure.
protocol ClientSession: ~Copyable {
    /// The server takes another request now.
    var takesRequest: Bool { get }
    /// Something is to be said that was not asked for by ``begin(_:_:payload:into:)``.
    var hasMoreToSay: Bool { get }
    /// The server has not taken leave yet.
    var awaitsGoodbye: Bool { get }
    /// Says a request, for which the outbox has room.
    mutating func begin(
        _ request: PlannedRequest, _ cookie: Cookie, payload: UnsafeRawBufferPointer, into outbox: inout Outbox)
    /// Says what the server's answers ask for, as far as there is room.
    mutating func goOn(payload: UnsafeRawBufferPointer, into outbox: inout Outbox)
    /// Says that nothing more will come.
    mutating func sayGoodbye(into outbox: inout Outbox)
    /// Reads on at `position`, and moves it behind what was read.
    mutating func next(_ bytes: RawSpan, at position: inout Int) -> SessionStep
}

extension ClientSession where Self: ~Copyable {
    /// Sends what is to be said, and reads what has come, up to the next reply.
    ///
    /// - Returns: the reply; `needMoreBytes` if there is none yet.
    mutating func converse(
        _ link: inout Link, _ inbox: inout Inbox, _ outbox: inout Outbox
    ) throws(BenchError) -> SessionStep {
        try link.sendAll(&outbox)
        var position = 0
        let bytes = unsafe RawSpan(_unsafeStart: inbox.start, byteCount: inbox.byteCount)
        let step = next(bytes, at: &position)
        inbox.drop(position)
        switch step {
        case .violation(let what): throw .violation(what)
        case .ended(let why): throw .ended(why)
        case .reply: break
        case .needMoreBytes: unsafe goOn(payload: UnsafeRawBufferPointer(start: nil, count: 0), into: &outbox)
        }
        return step
    }

    /// Takes leave, and waits until the server has, too. Nothing is under way.
    mutating func takeLeave(
        _ link: inout Link, _ inbox: inout Inbox, _ outbox: inout Outbox
    ) throws(BenchError) {
        sayGoodbye(into: &outbox)
        while true {
            _ = try converse(&link, &inbox, &outbox)
            guard awaitsGoodbye else { return }
            if outbox.isEmpty { try inbox.receiveMore(from: &link) }
        }
    }
}
