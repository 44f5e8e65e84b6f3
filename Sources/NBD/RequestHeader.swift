// A request as it arrives (NBD protocol, "Request message").

/// The 28 bytes before a request's payload, decoded but not yet judged: see `validate(for:)`.
public struct RequestHeader: Equatable, Sendable {
    /// The length of a request header on the wire.
    @inlinable public static var byteCount: Int { 28 }

    /// NBD_REQUEST_MAGIC, or what stood in its place.
    public var magic: UInt32
    /// The command flags, unknown ones included.
    public var flags: CommandFlags
    /// The request type, which may be no `Command`.
    public var type: UInt16
    /// The client's name for the request, to be sent back as it came.
    public var cookie: UInt64
    /// The offset in the export.
    public var offsetBytes: UInt64
    /// The length of the range, and for WRITE of the payload.
    public var lengthBytes: UInt32

    /// Decodes the first 28 bytes of a span, which must have as many.
    @inlinable
    public init(_ bytes: RawSpan) {
        precondition(bytes.byteCount >= RequestHeader.byteCount, "a request header has 28 bytes")
        magic = bytes.loadBigEndian(at: 0, as: UInt32.self)
        flags = CommandFlags(rawValue: bytes.loadBigEndian(at: 4, as: UInt16.self))
        type = bytes.loadBigEndian(at: 6, as: UInt16.self)
        cookie = bytes.loadBigEndian(at: 8, as: UInt64.self)
        offsetBytes = bytes.loadBigEndian(at: 16, as: UInt64.self)
        lengthBytes = bytes.loadBigEndian(at: 24, as: UInt32.self)
    }

    /// Creates a header from its fields.
    @inlinable
    public init(
        type: UInt16, flags: CommandFlags = [], cookie: UInt64 = 0, offsetBytes: UInt64 = 0, lengthBytes: UInt32 = 0,
        magic: UInt32 = Magic.request
    ) {
        self.magic = magic
        self.flags = flags
        self.type = type
        self.cookie = cookie
        self.offsetBytes = offsetBytes
        self.lengthBytes = lengthBytes
    }

    /// How many bytes of payload follow the header: only WRITE has one, whether the request is sound or not.
    @inlinable
    public var payloadBytes: UInt32 {
        type == Command.write.rawValue ? lengthBytes : 0
    }
}
