// BLOCK_STATUS: the payload of a request, the descriptors of a reply (NBD protocol, NBD_CMD_BLOCK_STATUS,
// NBD_REPLY_TYPE_BLOCK_STATUS, NBD_REPLY_TYPE_BLOCK_STATUS_EXT).

/// The payload of a BLOCK_STATUS, for the one context that there is: effect length and id.
struct BlockStatusPayload {
    static let byteCount = 12

    let effectLengthBytes: UInt64
    let context: UInt32

    init(_ bytes: RawSpan) {
        effectLengthBytes = bytes.loadBigEndian(at: 0, as: UInt64.self)
        context = bytes.loadBigEndian(at: 8, as: UInt32.self)
    }
}

/// One extent of `base:allocation` in a status chunk.
public struct BlockStatusDescriptor: Equatable, Sendable {
    /// The length of the extent, which is never zero.
    public var lengthBytes: UInt64
    /// Its state.
    public var state: AllocationState

    /// An extent.
    public init(lengthBytes: UInt64, state: AllocationState) {
        self.lengthBytes = lengthBytes
        self.state = state
    }

    /// The length of a descriptor on the wire, by the kind of the chunk.
    public static func byteCount(isExtended: Bool) -> Int {
        isExtended ? 16 : 8
    }

    /// Encodes the descriptor; the length of a compact one must fit 32 bits.
    public func encode(isExtended: Bool, into bytes: inout MutableRawSpan, at byteOffset: Int) {
        if isExtended {
            bytes.storeBigEndian(lengthBytes, at: byteOffset)
            bytes.storeBigEndian(UInt64(state.rawValue), at: byteOffset + 8)
        } else {
            bytes.storeBigEndian(UInt32(lengthBytes), at: byteOffset)
            bytes.storeBigEndian(state.rawValue, at: byteOffset + 4)
        }
    }

    /// Reads back what ``encode(isExtended:into:at:)`` wrote.
    public init(isExtended: Bool, from bytes: RawSpan, at byteOffset: Int) {
        if isExtended {
            lengthBytes = bytes.loadBigEndian(at: byteOffset, as: UInt64.self)
            state = AllocationState(rawValue: bytes.loadBigEndian(at: byteOffset + 12, as: UInt32.self))
        } else {
            lengthBytes = UInt64(bytes.loadBigEndian(at: byteOffset, as: UInt32.self))
            state = AllocationState(rawValue: bytes.loadBigEndian(at: byteOffset + 4, as: UInt32.self))
        }
    }
}
