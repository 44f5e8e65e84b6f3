// The size of a unit's logical blocks: what it addresses, and what its transfers are counted in.

/// The bytes of a logical block, a power of two (SBC-4, LOGICAL BLOCK LENGTH; ACS-4, logical sector size).
public struct BlockSize: Equatable, Sendable {
    @usableFromInline let exponent: UInt8

    /// 512 bytes, which most disks have.
    public static let smallest = BlockSize(exponent: 9)
    /// 2048 bytes, the user data of a sector of a CD or DVD (MMC-6).
    public static let disc = BlockSize(exponent: 11)
    /// A page: an image in memory has no more than that behind its end.
    private static let largestExponent = 12

    private init(exponent: UInt8) {
        self.exponent = exponent
    }

    /// A size in bytes; nil if no unit here has such blocks.
    public init?(bytes: UInt32) {
        let exponent = bytes.trailingZeroBitCount
        guard bytes.nonzeroBitCount == 1,
            (Int(Self.smallest.exponent)...Self.largestExponent).contains(exponent)
        else { return nil }
        self.exponent = UInt8(exponent)
    }

    /// The size in bytes.
    @inlinable
    public var bytes: UInt64 { 1 &<< UInt64(exponent) }

    /// How many bytes so many blocks have. They exist, so that this is no overflow.
    @inlinable
    public func bytes(ofBlocks count: UInt64) -> UInt64 { count &<< UInt64(exponent) }

    /// The block that a byte is in; of a number of bytes, how many whole blocks they are.
    @inlinable
    public func blocks(inBytes count: UInt64) -> UInt64 { count &>> UInt64(exponent) }

    /// How many blocks hold so many bytes, the last one perhaps in part.
    @inlinable
    public func blocks(holdingBytes count: UInt64) -> UInt64 {
        blocks(inBytes: count) &+ (isWhole(count) ? 0 : 1)
    }

    /// Where in its block a byte is.
    @inlinable
    public func remainder(_ offset: UInt64) -> UInt64 { offset & (bytes &- 1) }

    /// Blocks begin or end there.
    @inlinable
    public func isWhole(_ offset: UInt64) -> Bool { remainder(offset) == 0 }
}
