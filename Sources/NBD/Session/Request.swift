// The event of a session for each request: one to serve, or one to answer with an error.

/// A sound request (``RequestHeader/validate(for:)``), and the unit that it is for.
public struct Request: Equatable, Sendable {
    /// The client's name for it.
    public let cookie: UInt64
    /// The first byte.
    public let offsetBytes: UInt64
    /// The number of bytes.
    public let lengthBytes: UInt64
    /// The unit, by the number with which it was opened.
    public let unit: Int32
    /// Its flags.
    public let flags: CommandFlags
    /// The command; never DISC.
    public let command: Command
    /// The request has an extended header, and so has its reply.
    public let isExtended: Bool

    /// A request with a header that was judged to be a `command`.
    @inlinable
    public init(_ header: RequestHeader, as command: Command, unit: Int32) {
        cookie = header.cookie
        offsetBytes = header.offsetBytes
        lengthBytes = header.lengthBytes
        self.unit = unit
        flags = header.flags
        self.command = command
        isExtended = header.isExtended
    }

    /// A request that is refused: it never begins, only its reply needs to know its name and its form.
    public init(refusing header: RequestHeader, unit: Int32) {
        var header = header
        header.lengthBytes = 0
        self.init(header, as: .flush, unit: unit)
    }

    /// How many bytes of payload follow the request in the stream.
    @inlinable public var payloadBytes: Int { command == .write ? Int(lengthBytes) : 0 }
}

/// A request to answer with an error.
public struct Refusal: Sendable {
    /// The request, which its reply needs.
    public let request: Request
    /// The request type, which may be no ``Command``.
    public let type: UInt16
    /// The length that the client gave.
    public let lengthBytes: UInt64
    /// The error.
    public let error: NBDError
    /// The mistake in the request.
    public let message: StaticString

    init(_ header: RequestHeader, _ refusal: RequestRefusal, unit: Int32) {
        request = Request(refusing: header, unit: unit)
        type = header.type
        lengthBytes = header.lengthBytes
        error = refusal.error
        message = refusal.message
    }
}
