// The command descriptor block: what an initiator asks, at most 16 bytes of it (SPC-5 4.2, SBC-4 clause 5).

/// A command descriptor block of up to 16 bytes; shorter ones are padded with zeroes.
///
/// Kept as two big-endian words, so that the fields of READ (16) and WRITE (16) are two shifts away.
public struct CommandDescriptorBlock: Equatable, Sendable {
    /// The longest block that fits.
    public static let maximumByteCount = 16

    /// Bytes 0 to 7, byte 0 in bits 63:56.
    @usableFromInline var high: UInt64
    /// Bytes 8 to 15.
    @usableFromInline var low: UInt64

    /// Bytes 0 to 7 and 8 to 15, each as a big-endian number.
    @inlinable
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Takes the first 16 bytes of what an initiator sent.
    public init(parsing bytes: RawSpan) {
        var words: (UInt64, UInt64) = (0, 0)
        for index in 0..<Self.maximumByteCount {
            // The first condition keeps the index inside, and every bit pattern is a UInt8.
            let byte = index < bytes.byteCount ? unsafe bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self) : 0
            if index < 8 {
                words.0 = words.0 << 8 | UInt64(byte)
            } else {
                words.1 = words.1 << 8 | UInt64(byte)
            }
        }
        self.init(high: words.0, low: words.1)
    }

    /// Byte `index`, 0 to 15.
    @inlinable
    public subscript(index: Int) -> UInt8 {
        precondition(index >= 0 && index < 16, "a command descriptor block has 16 bytes")
        return UInt8(truncatingIfNeeded: index < 8 ? high >> UInt64(56 - index * 8) : low >> UInt64(120 - index * 8))
    }

    /// Sets bits of a byte.
    public mutating func setBits(_ bits: UInt8, ofByte index: Int) {
        precondition(index >= 0 && index < 16, "a command descriptor block has 16 bytes")
        if index < 8 {
            high |= UInt64(bits) << UInt64(56 - index * 8)
        } else {
            low |= UInt64(bits) << UInt64(120 - index * 8)
        }
    }

    /// Byte 0.
    @inlinable
    public var operationCode: UInt8 { UInt8(truncatingIfNeeded: high >> 56) }

    /// Byte 1, bits 4:0, where the command has a service action.
    public var serviceAction: UInt8 { self[1] & 0x1F }

    /// FUA of READ and WRITE (10) and (16): byte 1, bit 3.
    @inlinable
    public var forceUnitAccess: Bool { high & 1 << 51 != 0 }

    /// UNMAP of WRITE SAME (16): byte 1, bit 3 (SBC-4).
    public var unmap: Bool { self[1] & 0x08 != 0 }

    /// NDOB of WRITE SAME (16): byte 1, bit 0. There is no data-out buffer, the block to write is zeroes.
    public var noDataOutBuffer: Bool { self[1] & 0x01 != 0 }

    /// LOGICAL BLOCK ADDRESS of a 6-byte command: byte 1, bits 4:0, bytes 2 and 3.
    public var logicalBlockAddress6: UInt64 { (high >> 32) & 0x1F_FFFF }
    /// TRANSFER LENGTH of a 6-byte command: byte 4, where 0 stands for 256 blocks.
    public var transferLength6: UInt32 { self[4] == 0 ? 256 : UInt32(self[4]) }

    /// LOGICAL BLOCK ADDRESS of a 10-byte command: bytes 2 to 5.
    @inlinable
    public var logicalBlockAddress10: UInt64 { (high >> 16) & 0xFFFF_FFFF }
    /// TRANSFER LENGTH of a 10-byte command: bytes 7 and 8.
    @inlinable
    public var transferLength10: UInt32 { UInt32((high & 0xFF) << 8 | low >> 56) }

    /// TRANSFER LENGTH of a 12-byte command, whose address is where a 10-byte command has it: bytes 6 to 9.
    @inlinable
    public var transferLength12: UInt32 { UInt32((high & 0xFFFF) << 16 | low >> 48) }

    /// LOGICAL BLOCK ADDRESS of a 16-byte command: bytes 2 to 9.
    @inlinable
    public var logicalBlockAddress16: UInt64 { high << 16 | low >> 48 }
    /// TRANSFER LENGTH, NUMBER OF LOGICAL BLOCKS or ALLOCATION LENGTH of a 16-byte command: bytes 10 to 13.
    @inlinable
    public var transferLength16: UInt32 { UInt32(truncatingIfNeeded: low >> 16) }

    /// The first bit that is set here and not in `allowed`, from byte 0 on and from bit 7 down; nil if there is none.
    public func firstBit(outside allowed: Self) -> (byte: UInt16, bit: UInt8)? {
        let (high, low) = (high & ~allowed.high, low & ~allowed.low)
        let place = high != 0 ? high.leadingZeroBitCount : 64 + low.leadingZeroBitCount
        return place == 128 ? nil : (UInt16(place / 8), UInt8(7 - place % 8))
    }
}
