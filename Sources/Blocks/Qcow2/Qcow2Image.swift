// One qcow2 image of a chain: what its tables say of the disk.

/// An image, with what was read of its tables and compressed clusters.
struct Qcow2Image: Sendable {
    /// A part of the disk that is in one place.
    struct Run {
        var mapping: Qcow2Mapping
        var byteCount: UInt64
    }

    /// The L2 table of an L1 entry.
    struct L2Table {
        var index: UInt64
        var offset: UInt64
    }

    /// The outcomes of a look-up.
    enum Finding {
        case found(Run)
        /// The piece of a table that has this byte of the file is not there.
        case lacks(UInt64, TableCache.Claim)
    }

    var header: Qcow2Header
    let memory: LayerMemory
    /// Where its part of the memory begins: the pieces of tables by slot, the data of the compressed cluster that is
    /// under way, and decompressed clusters by slot.
    let start: Int
    var tables: TableCache
    var clusters: ClusterCache

    /// Compressed data have up to so many clusters.
    private static let compressedClusters = 2

    /// How much memory an image needs.
    static func memoryBytes(_ header: Qcow2Header) -> Int {
        let clusters = ClusterCache.slotCount(clusterBytes: header.clusterBytes) + compressedClusters
        return TableCache.memoryBytes(header) + clusters * Int(header.clusterBytes)
    }

    /// An image of which nothing but the header has been read.
    init(_ header: Qcow2Header, memory: LayerMemory, from start: Int) {
        self.header = header
        self.memory = memory
        self.start = start
        tables = TableCache(header)
        clusters = ClusterCache(clusterBytes: header.clusterBytes)
    }

    /// Finds what a range of the disk begins with, as far as one piece of a table says it.
    ///
    /// - Parameters:
    ///   - known: the L2 table that was found last: somebody else may take the L1 table's piece.
    ///   - isMore: whether the second of two mappings goes on with the first, so many bytes behind its beginning.
    mutating func find(
        _ range: Range<UInt64>, _ known: inout L2Table?, _ isMore: (Qcow2Mapping, Qcow2Mapping, UInt64) -> Bool
    ) throws(Qcow2Damage) -> Finding {
        let offset = range.lowerBound
        let index = offset >> (header.clusterBits + header.l2EntryBits)
        if known?.index != index {
            let place = header.l1TableOffset + index * 8
            let claim = tables.claim(place)
            try checkOverlap(claim, place, at: offset)
            guard case .present(let slot) = claim else { return .lacks(place, claim) }
            guard let table = try L2Entry.tableOffset(number(at: place, slot), header, at: offset) else {
                return .found(emptyRun(range, place, slot))
            }
            known = L2Table(index: index, offset: table)
        }
        guard let table = known?.offset else { preconditionFailure("the table has just been found") }
        let number = offset >> header.clusterBits & (1 << header.l2EntryBits - 1)
        let place = table + number * header.l2EntryBytes
        let claim = tables.claim(place)
        try checkOverlap(claim, place, at: offset)
        guard case .present(let slot) = claim else { return .lacks(place, claim) }
        return .found(try run(range, place, slot, isMore))
    }

    func checkOverlap(_ claim: TableCache.Claim, _ place: UInt64, at diskOffset: UInt64) throws(Qcow2Damage) {
        guard claim != .overlap else {
            throw Qcow2Damage(kind: .overlap, diskOffset: diskOffset, fileOffset: place)
        }
    }

    /// A piece of a table has been read, or could not be.
    mutating func endReading(_ slot: Int, isRead: Bool) {
        tables.end(slot, isRead: isRead)
    }

    /// The request that reads the piece of a table that has a byte of the file into a slot.
    func reading(_ place: UInt64, into slot: Int) -> BackendRequest {
        BackendRequest(
            .read, offset: place & ~(tables.pieceBytes - 1), length: tables.pieceBytes, dataPlace: .tables,
            dataOffset: UInt64(start) + UInt64(slot) * tables.pieceBytes)
    }

    /// The run of an L1 entry without a table, and of those behind it that have none either.
    private func emptyRun(_ range: Range<UInt64>, _ place: UInt64, _ slot: Int) -> Run {
        let spanBits = header.clusterBits + header.l2EntryBits
        var place = place
        var end = range.lowerBound
        while true {
            end = (end >> spanBits + 1) << spanBits
            place += 8
            guard end < range.upperBound, place & (tables.pieceBytes - 1) != 0,
                L2Entry.hasNoTable(number(at: place, slot))
            else { break }
        }
        return Run(mapping: .unallocated, byteCount: min(end, range.upperBound) - range.lowerBound)
    }

    /// The run of the L2 entry at a place of the file, and of those behind it that go on with it.
    private func run(
        _ range: Range<UInt64>, _ place: UInt64, _ slot: Int, _ isMore: (Qcow2Mapping, Qcow2Mapping, UInt64) -> Bool
    ) throws(Qcow2Damage) -> Run {
        let start = range.lowerBound & ~(header.unitBytes - 1)
        let first = try mapping(place, slot, at: start)
        var place = place
        var next = start + header.unitBytes
        if first == .unallocated, hasNothing(at: place, slot) {
            next = start & ~(header.clusterBytes - 1) + header.clusterBytes
        }
        while next < range.upperBound {
            if next & (header.clusterBytes - 1) == 0 {
                place += header.l2EntryBytes
                guard place & (tables.pieceBytes - 1) != 0 else { break }
                // Most tables are empty for the most part: all of a cluster goes on with the one before.
                if first == .unallocated, hasNothing(at: place, slot) {
                    next += header.clusterBytes
                    continue
                }
            }
            // A wrong entry there is met when it is its turn.
            guard let mapping = try? mapping(place, slot, at: next), isMore(first, mapping, next - start) else { break }
            next += header.unitBytes
        }
        let byteCount = min(next, range.upperBound) - range.lowerBound
        guard case .data(let fileOffset) = first else { return Run(mapping: first, byteCount: byteCount) }
        return Run(mapping: .data(fileOffset + range.lowerBound - start), byteCount: byteCount)
    }

    /// Whether the L2 entry at a place of the file is empty: nothing of its cluster is in the file.
    private func hasNothing(at place: UInt64, _ slot: Int) -> Bool {
        number(at: place, slot) == 0 && (!header.hasSubclusters || number(at: place + 8, slot) == 0)
    }

    /// The L2 entry at a place of the file.
    func entry(at place: UInt64, _ slot: Int) -> L2Entry {
        L2Entry(descriptor: number(at: place, slot), bitmap: header.hasSubclusters ? number(at: place + 8, slot) : 0)
    }

    private func mapping(_ place: UInt64, _ slot: Int, at diskOffset: UInt64) throws(Qcow2Damage) -> Qcow2Mapping {
        let unit = diskOffset & (header.clusterBytes - 1) / header.unitBytes
        return try entry(at: place, slot).mapping(ofUnit: unit, header, at: diskOffset)
    }

    /// A number of a table, a piece of which is in a slot.
    func number(at place: UInt64, _ slot: Int) -> UInt64 {
        memory.bigEndian(at: start + slot * Int(tables.pieceBytes) + Int(place & (tables.pieceBytes - 1)))
    }
}

/// Where compressed clusters are in the memory.
extension Qcow2Image {
    private static let sectorBytes: UInt64 = 512

    private var compressedStart: Int { start + TableCache.memoryBytes(header) }

    /// Where a decompressed cluster is.
    func bytes(ofCluster slot: Int) -> Range<Int> {
        let first = compressedStart + (Self.compressedClusters + slot) * Int(header.clusterBytes)
        return first..<first + Int(header.clusterBytes)
    }

    /// The request that reads compressed data, in whole sectors.
    func reading(compressed offset: UInt64, _ byteCount: UInt64) -> BackendRequest {
        let inSector = offset & (Self.sectorBytes - 1)
        return BackendRequest(
            .read, offset: offset - inSector, length: inSector + byteCount, dataPlace: .tables,
            dataOffset: UInt64(compressedStart))
    }

    /// Where compressed data are that have been read so.
    func compressedBytes(_ offset: UInt64, _ byteCount: UInt64) -> Range<Int> {
        let first = compressedStart + Int(offset & (Self.sectorBytes - 1))
        return first..<first + Int(byteCount)
    }
}
