// Entries of L1 and L2 tables (qcow2.txt, "Cluster mapping", "Extended L2 Entries").

/// Where a piece of the disk is.
enum Qcow2Mapping: Equatable {
    /// From this byte of the file on.
    case data(UInt64)
    /// Nowhere: it reads as zeroes.
    case zero
    /// Nowhere: it would be in a backing file.
    case unallocated
    /// In a compressed cluster: so many bytes from this one of the file on, which is no beginning of anything.
    case compressed(UInt64, byteCount: UInt64)

    /// It is in the file.
    var isMapped: Bool {
        switch self {
        case .data, .compressed: true
        case .zero, .unallocated: false
        }
    }
}

/// The entry of a cluster.
struct L2Entry: Equatable {
    private static let offsetMask: UInt64 = 0x00FF_FFFF_FFFF_FE00
    private static let compressedMask: UInt64 = 1 << 62
    /// COPIED: the refcount is exactly one.
    private static let copiedMask: UInt64 = 1 << 63

    /// The first 8 bytes.
    var descriptor: UInt64
    /// The subcluster allocation bitmap, if there is one.
    var bitmap: UInt64 = 0

    /// Whether what an entry says may be changed where it is.
    static func isCopied(_ entry: UInt64) -> Bool { entry & (copiedMask | compressedMask) == copiedMask }

    /// The entry of a table or a cluster that nobody else uses.
    static func own(_ offset: UInt64) -> UInt64 { offset | copiedMask }

    /// The entry of one that others may use.
    static func shared(_ entry: UInt64) -> UInt64 { entry & ~copiedMask }

    var isCompressed: Bool { descriptor & Self.compressedMask != 0 }

    /// Where its cluster is; 0: nowhere.
    var offset: UInt64 { isCompressed ? 0 : descriptor & Self.offsetMask }

    /// It has a cluster that may be written as it is.
    var isOwn: Bool { Self.isCopied(descriptor) && offset != 0 }

    /// Whether an L1 entry has no L2 table.
    static func hasNoTable(_ l1Entry: UInt64) -> Bool { l1Entry & offsetMask == 0 }

    /// Where the L2 table of an L1 entry is; nil: there is none.
    static func tableOffset(
        _ l1Entry: UInt64, _ header: Qcow2Header, at diskOffset: UInt64
    ) throws(Qcow2Damage) -> UInt64? {
        guard !hasNoTable(l1Entry) else { return nil }
        let offset = l1Entry & offsetMask
        try check(offset, header, diskOffset)
        return offset
    }

    /// Where one of its units is, a subcluster or all of it.
    ///
    /// - Parameters:
    ///   - unit: its number in the cluster.
    ///   - diskOffset: of the unit.
    func mapping(
        ofUnit unit: UInt64, _ header: Qcow2Header, at diskOffset: UInt64
    ) throws(Qcow2Damage) -> Qcow2Mapping {
        guard descriptor & Self.compressedMask == 0 else { return try compressed(header, diskOffset) }
        let offset = descriptor & Self.offsetMask
        if header.hasSubclusters {
            let (isStored, isZero) = (bitmap >> unit & 1 != 0, bitmap >> (unit + 32) & 1 != 0)
            guard !(isStored && isZero), !isStored || offset != 0 else {
                throw Qcow2Damage(kind: .subclusters, diskOffset: diskOffset, fileOffset: offset)
            }
            guard isStored else { return isZero ? .zero : .unallocated }
        } else if descriptor & 1 != 0 {
            guard header.version >= 3 else {
                throw Qcow2Damage(kind: .zeroInVersion2, diskOffset: diskOffset, fileOffset: offset)
            }
            return .zero
        } else if offset == 0 {
            return .unallocated
        }
        try Self.check(offset, header, diskOffset)
        return .data(offset + unit * header.unitBytes)
    }

    /// Compressed Clusters Descriptor: the more bits a cluster has, the fewer are left for its offset.
    func compressed(_ header: Qcow2Header, _ diskOffset: UInt64) throws(Qcow2Damage) -> Qcow2Mapping {
        let offsetBits = 62 - (header.clusterBits - 8)
        let offset = descriptor & (1 << offsetBits - 1)
        let sectors = descriptor >> offsetBits & (1 << (header.clusterBits - 8) - 1) + 1
        guard offset < header.fileBytes else {
            throw Qcow2Damage(kind: .outside, diskOffset: diskOffset, fileOffset: offset)
        }
        guard offset >= header.clusterBytes else {
            throw Qcow2Damage(kind: .inHeader, diskOffset: diskOffset, fileOffset: offset)
        }
        return .compressed(offset, byteCount: sectors * 512 - offset & 511)
    }

    /// A cluster of the file begins there. The part of the last one behind the end of the file reads as zeroes.
    static func check(
        _ offset: UInt64, _ header: Qcow2Header, _ diskOffset: UInt64
    ) throws(Qcow2Damage) {
        guard offset & (header.clusterBytes - 1) == 0 else {
            throw Qcow2Damage(kind: .misaligned, diskOffset: diskOffset, fileOffset: offset)
        }
        guard offset < header.fileBytes else {
            throw Qcow2Damage(kind: .outside, diskOffset: diskOffset, fileOffset: offset)
        }
    }
}
