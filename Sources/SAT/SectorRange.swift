// Consecutive sectors, as commands name them, and which taskfiles can name them (ACS-4 4.1).

import SCSI

/// Consecutive sectors. Nothing is said about whether they exist.
@usableFromInline struct SectorRange: Equatable, Sendable {
    @usableFromInline var first: UInt64
    @usableFromInline var count: UInt64

    @inlinable
    init(first: UInt64, count: UInt64) {
        self.first = first
        self.count = count
    }

    /// The address and length of a 6-byte command.
    static func in6(_ cdb: CommandDescriptorBlock) -> Self {
        Self(first: cdb.logicalBlockAddress6, count: UInt64(cdb.transferLength6))
    }

    /// The address and length of a 10-byte command.
    static func in10(_ cdb: CommandDescriptorBlock) -> Self {
        Self(first: cdb.logicalBlockAddress10, count: UInt64(cdb.transferLength10))
    }

    /// The address and length of a 16-byte command.
    static func in16(_ cdb: CommandDescriptorBlock) -> Self {
        Self(first: cdb.logicalBlockAddress16, count: UInt64(cdb.transferLength16))
    }

    /// The most sectors that Linux puts into one 48-bit command. A count of 0, which would be one more, it avoids.
    static let maximumCount: UInt64 = 65_535

    /// A 28-bit command can name them. Linux stays a sector away from the highest address, which some drives miss.
    var fitsLBA28: Bool {
        first < 1 << 28 && first + count < 1 << 28 - 1 && count <= 256
    }

    /// A 48-bit command can name them.
    var fitsLBA48: Bool {
        first < 1 << 48 && count <= Self.maximumCount && first + count <= 1 << 48
    }

    /// They are all on a medium of this size.
    func isInside(_ sectors: UInt64) -> Bool {
        first <= sectors && count <= sectors - first
    }

    /// Takes as many sectors from the front as one command can have; nil if there are none left.
    mutating func next() -> SectorRange? {
        guard count != 0 else { return nil }
        let piece = SectorRange(first: first, count: min(count, Self.maximumCount))
        first += piece.count
        count -= piece.count
        return piece
    }
}
