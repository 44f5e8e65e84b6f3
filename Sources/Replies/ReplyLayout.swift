// How a reply is sent: header bytes, which the session of a protocol encodes, and data, which stay where they are.

/// A reply is header bytes and data by turns: one turn.
public struct ReplyPart: Equatable, Sendable {
    /// Bytes of the header area, behind those of the parts before.
    public var headerBytes: Int
    /// Where the data begin in the request's buffer.
    public var dataOffset: Int
    /// How many bytes they are.
    public var dataBytes: Int

    /// One turn.
    @inlinable
    public init(headerBytes: Int, dataOffset: Int = 0, dataBytes: Int = 0) {
        self.headerBytes = headerBytes
        self.dataOffset = dataOffset
        self.dataBytes = dataBytes
    }
}

/// All turns of a reply.
public struct ReplyLayout: Sendable {
    /// The most turns.
    @inlinable public static var maximumParts: Int { 8 }
    /// Room for the headers of a reply. For NBD: eight chunks of at most 32 bytes, or five extended ones of 44, or an
    /// error with its message.
    @inlinable public static var headerAreaBytes: Int { 256 }

    // Without initial values here, which would be a call each: every request has one.

    /// The turns, of which ``count`` are there.
    public var parts: InlineArray<8, ReplyPart>
    /// How many turns there are.
    public var count: Int

    /// No reply yet.
    @inlinable @inline(__always)  // where it is to be
    public init() {
        parts = InlineArray(repeating: ReplyPart(headerBytes: 0))
        count = 0
    }

    /// The reply is headers only.
    @inlinable public var hasNoData: Bool { count == 1 && parts[0].dataBytes == 0 }

    /// One more turn.
    @inlinable
    public mutating func append(_ part: ReplyPart) {
        parts[count] = part
        count += 1
    }
}
