// Replies, encoded into the caller's memory (NBD protocol, "Simple reply message", "Structured reply chunk message",
// "Extended reply chunk message", "Structured reply types"). Each encoder writes at a byte offset of a span that must
// have the room and returns how many bytes it wrote.

/// The simple reply: a header, and after a READ without error its data.
public enum SimpleReply {
    /// The length of the header on the wire.
    @inlinable public static var byteCount: Int { 16 }

    /// Encodes a simple reply header; nil means success.
    @inlinable
    @discardableResult
    public static func encode(
        error: NBDError?, cookie: UInt64, into bytes: inout MutableRawSpan, at byteOffset: Int = 0
    ) -> Int {
        bytes.storeBigEndian(Magic.simpleReply, at: byteOffset)
        bytes.storeBigEndian(error?.rawValue ?? 0, at: byteOffset + 4)
        bytes.storeBigEndian(cookie, at: byteOffset + 8)
        return byteCount
    }
}

/// A reply in chunks, structured or extended, to one request. `isLast` sets NBD_REPLY_FLAG_DONE: on a content chunk
/// only when no error can appear any more while it is sent.
public struct ChunkedReply: Sendable {
    /// The request's cookie.
    public let cookie: UInt64
    /// The request's offset, which every extended chunk repeats.
    public let requestOffsetBytes: UInt64
    /// The chunks are extended ones.
    public let isExtended: Bool

    /// A reply to a request; nothing is encoded yet.
    @inlinable
    public init(cookie: UInt64, requestOffsetBytes: UInt64, isExtended: Bool) {
        self.cookie = cookie
        self.requestOffsetBytes = requestOffsetBytes
        self.isExtended = isExtended
    }

    /// The length of the header that every chunk begins with.
    @inlinable public var headerByteCount: Int { isExtended ? 32 : 20 }
    /// The length of an OFFSET_HOLE chunk, the longest of the chunks of a READ but for their data.
    @inlinable public var offsetHoleByteCount: Int { headerByteCount + 12 }
    /// The longest message that an error chunk of this server carries, so that a reply slot can have a fixed size; the
    /// protocol allows 4,096 bytes.
    @inlinable public static var maximumMessageBytes: Int { 128 }

    /// Encodes the header of a chunk.
    @inlinable
    @discardableResult
    public func encodeHeader(
        _ type: ReplyChunkType, isLast: Bool, payloadBytes: UInt32, into bytes: inout MutableRawSpan,
        at byteOffset: Int = 0
    ) -> Int {
        let flags: ReplyFlags = isLast ? .done : []
        bytes.storeBigEndian(isExtended ? Magic.extendedReply : Magic.structuredReply, at: byteOffset)
        bytes.storeBigEndian(flags.rawValue, at: byteOffset + 4)
        bytes.storeBigEndian(type.rawValue, at: byteOffset + 6)
        bytes.storeBigEndian(cookie, at: byteOffset + 8)
        if isExtended {
            bytes.storeBigEndian(requestOffsetBytes, at: byteOffset + 16)
            bytes.storeBigEndian(UInt64(payloadBytes), at: byteOffset + 24)
        } else {
            bytes.storeBigEndian(payloadBytes, at: byteOffset + 16)
        }
        return headerByteCount
    }

    /// Encodes a NONE chunk, which always is the last one.
    @inlinable
    @discardableResult
    public func encodeNone(into bytes: inout MutableRawSpan, at byteOffset: Int = 0) -> Int {
        encodeHeader(.none, isLast: true, payloadBytes: 0, into: &bytes, at: byteOffset)
    }

    /// Encodes an OFFSET_DATA chunk up to its data. There must be at least one byte of them.
    @inlinable
    @discardableResult
    public func encodeOffsetDataHeader(
        offsetBytes: UInt64, dataBytes: UInt32, isLast: Bool, into bytes: inout MutableRawSpan, at byteOffset: Int = 0
    ) -> Int {
        encodeHeader(.offsetData, isLast: isLast, payloadBytes: dataBytes + 8, into: &bytes, at: byteOffset)
        bytes.storeBigEndian(offsetBytes, at: byteOffset + headerByteCount)
        return headerByteCount + 8
    }

    /// Encodes an OFFSET_HOLE chunk; the hole must have at least one byte.
    @inlinable
    @discardableResult
    public func encodeOffsetHole(
        offsetBytes: UInt64, holeBytes: UInt32, isLast: Bool, into bytes: inout MutableRawSpan, at byteOffset: Int = 0
    ) -> Int {
        encodeHeader(.offsetHole, isLast: isLast, payloadBytes: 12, into: &bytes, at: byteOffset)
        bytes.storeBigEndian(offsetBytes, at: byteOffset + headerByteCount)
        bytes.storeBigEndian(holeBytes, at: byteOffset + headerByteCount + 8)
        return offsetHoleByteCount
    }

    /// Encodes the only status chunk of a BLOCK_STATUS up to its descriptors. There must be at least one; they follow
    /// as ``BlockStatusDescriptor`` encodes them.
    @discardableResult
    public func encodeBlockStatusHeader(
        _ context: MetadataContext, descriptorCount: UInt32, into bytes: inout MutableRawSpan, at byteOffset: Int = 0
    ) -> Int {
        let descriptorBytes = descriptorCount * UInt32(BlockStatusDescriptor.byteCount(isExtended: isExtended))
        encodeHeader(
            isExtended ? .blockStatusExtended : .blockStatus, isLast: true,
            payloadBytes: descriptorBytes + (isExtended ? 8 : 4), into: &bytes, at: byteOffset)
        bytes.storeBigEndian(context.rawValue, at: byteOffset + headerByteCount)
        guard isExtended else { return headerByteCount + 4 }
        bytes.storeBigEndian(descriptorCount, at: byteOffset + headerByteCount + 4)
        return headerByteCount + 8
    }

    /// Encodes an ERROR chunk with a message of at most `maximumMessageBytes`.
    @discardableResult
    public func encodeError(
        _ error: NBDError, message: StaticString, isLast: Bool = true, into bytes: inout MutableRawSpan,
        at byteOffset: Int = 0
    ) -> Int {
        encodeHeader(
            .error, isLast: isLast, payloadBytes: UInt32(6 + message.utf8CodeUnitCount), into: &bytes, at: byteOffset)
        return headerByteCount
            + encodeErrorFields(error, message: message, into: &bytes, at: byteOffset + headerByteCount)
    }

    /// Encodes an ERROR_OFFSET chunk with a message of at most `maximumMessageBytes`; the offset must lie inside the
    /// request. Valid for READ, WRITE, TRIM, CACHE, WRITE_ZEROES and BLOCK_STATUS.
    @discardableResult
    public func encodeErrorOffset(
        _ error: NBDError, message: StaticString, offsetBytes: UInt64, isLast: Bool = true,
        into bytes: inout MutableRawSpan, at byteOffset: Int = 0
    ) -> Int {
        encodeHeader(
            .errorOffset, isLast: isLast, payloadBytes: UInt32(14 + message.utf8CodeUnitCount), into: &bytes,
            at: byteOffset)
        let end =
            headerByteCount + encodeErrorFields(error, message: message, into: &bytes, at: byteOffset + headerByteCount)
        bytes.storeBigEndian(offsetBytes, at: byteOffset + end)
        return end + 8
    }

    /// How long an ERROR_OFFSET chunk with a message is.
    public func errorOffsetByteCount(message: StaticString) -> Int {
        headerByteCount + 14 + message.utf8CodeUnitCount
    }

    /// The fields that every error chunk begins with: error, message length, message.
    private func encodeErrorFields(
        _ error: NBDError, message: StaticString, into bytes: inout MutableRawSpan, at byteOffset: Int
    ) -> Int {
        let messageBytes = message.utf8CodeUnitCount
        precondition(messageBytes <= Self.maximumMessageBytes, "an error message is longer than a reply slot allows")
        bytes.storeBigEndian(error.rawValue, at: byteOffset)
        bytes.storeBigEndian(UInt16(messageBytes), at: byteOffset + 4)
        for index in 0..<messageBytes {
            // Inside the literal, which lives as long as the program.
            let byte = unsafe message.utf8Start[index]
            bytes.storeBytes(of: byte, toByteOffset: byteOffset + 6 + index, as: UInt8.self)
        }
        return 6 + messageBytes
    }
}
