// A request as it arrives (NBD protocol, "Request message").

/// The header of a request, compact or extended, decoded but not yet judged: see `validate(for:)`.
public struct RequestHeader: Equatable, Sendable {
    /// NBD_REQUEST_MAGIC or NBD_EXTENDED_REQUEST_MAGIC, or what stood in their place.
    public var magic: UInt32
    /// The command flags, unknown ones included.
    public var flags: CommandFlags
    /// The request type, which may be no `Command`.
    public var type: UInt16
    /// The client's name for the request, to be sent back as it came.
    public var cookie: UInt64
    /// The offset in the export.
    public var offsetBytes: UInt64
    /// The length of the range (the effect length), or of the payload.
    public var lengthBytes: UInt64

    /// Decodes the header at the beginning of a span, which must have as many bytes as headers of this style.
    @inlinable
    public init(_ bytes: RawSpan, _ style: MessageStyle) {
        precondition(bytes.byteCount >= style.requestHeaderBytes, "a request header is longer")
        magic = bytes.loadBigEndian(at: 0, as: UInt32.self)
        flags = CommandFlags(rawValue: bytes.loadBigEndian(at: 4, as: UInt16.self))
        type = bytes.loadBigEndian(at: 6, as: UInt16.self)
        cookie = bytes.loadBigEndian(at: 8, as: UInt64.self)
        offsetBytes = bytes.loadBigEndian(at: 16, as: UInt64.self)
        lengthBytes =
            style == .extended
            ? bytes.loadBigEndian(at: 24, as: UInt64.self) : UInt64(bytes.loadBigEndian(at: 24, as: UInt32.self))
    }

    /// Creates a header from its fields.
    @inlinable
    public init(
        type: UInt16, flags: CommandFlags = [], cookie: UInt64 = 0, offsetBytes: UInt64 = 0, lengthBytes: UInt64 = 0,
        magic: UInt32 = Magic.request
    ) {
        self.magic = magic
        self.flags = flags
        self.type = type
        self.cookie = cookie
        self.offsetBytes = offsetBytes
        self.lengthBytes = lengthBytes
    }

    /// The header is an extended one, and so has to be what belongs to its reply.
    @inlinable
    public var isExtended: Bool {
        magic == Magic.extendedRequest
    }

    /// How many bytes of payload follow the header, whether the request is sound or not: WRITE has one, and any other
    /// extended request that says so. An extended WRITE should say so too, but QEMU's (seen up to 10.0) does not;
    /// nobody sends one without its payload, and so there is nothing else that it could mean.
    @inlinable
    public var payloadBytes: UInt64 {
        let hasPayload = type == Command.write.rawValue || isExtended && flags.contains(.payloadLength)
        return hasPayload ? lengthBytes : 0
    }
}
