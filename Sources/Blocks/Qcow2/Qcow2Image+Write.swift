// Changes of the tables of an image, in memory.

extension Qcow2Image {
    /// Where the L2 entry of a cluster is in its table.
    func entryPlace(of cluster: UInt64, _ table: L2Table?) -> UInt64 {
        guard let table else { preconditionFailure("the table has been found") }
        return table.offset + cluster & (1 << header.l2EntryBits - 1) * header.l2EntryBytes
    }

    private func start(ofPiece slot: Int) -> Int { start + slot * Int(tables.pieceBytes) }

    /// Changes a number of a table, a piece of which is in a slot.
    mutating func set(_ number: UInt64, at place: UInt64, _ slot: Int) {
        memory.setBigEndian(number, at: start(ofPiece: slot) + Int(place & (tables.pieceBytes - 1)))
        tables.change(slot)
    }

    /// Changes an L2 entry.
    mutating func set(_ entry: L2Entry, at place: UInt64, _ slot: Int) {
        set(entry.descriptor, at: place, slot)
        if header.hasSubclusters { set(entry.bitmap, at: place + 8, slot) }
    }

    /// A piece is all zeroes.
    func clear(_ slot: Int) { memory.clear(start(ofPiece: slot)..<start(ofPiece: slot + 1)) }

    /// What of a range, from its beginning on, may be written where it is: in clusters of the active layer alone, one
    /// behind the other. The first entry is at a place of the file.
    func ownRun(
        _ range: Range<UInt64>, _ place: UInt64, _ slot: Int
    ) throws(Qcow2Damage) -> (fileOffset: UInt64, byteCount: UInt64)? {
        let start = range.lowerBound & ~(header.unitBytes - 1)
        guard let first = try ownUnit(place, slot, at: start) else { return nil }
        var (place, next) = (place, start + header.unitBytes)
        while next < range.upperBound {
            if next & (header.clusterBytes - 1) == 0 {
                place += header.l2EntryBytes
                guard place & (tables.pieceBytes - 1) != 0 else { break }
            }
            // A wrong entry there is met when it is its turn.
            guard (try? ownUnit(place, slot, at: next)) == first + next - start else { break }
            next += header.unitBytes
        }
        return (first + range.lowerBound - start, min(next, range.upperBound) - range.lowerBound)
    }

    private func ownUnit(_ place: UInt64, _ slot: Int, at diskOffset: UInt64) throws(Qcow2Damage) -> UInt64? {
        let entry = entry(at: place, slot)
        let unit = diskOffset & (header.clusterBytes - 1) / header.unitBytes
        guard entry.isOwn, case .data(let fileOffset) = try entry.mapping(ofUnit: unit, header, at: diskOffset) else {
            return nil
        }
        return fileOffset
    }
}

/// Refcounts.
extension Qcow2Image {
    private var refcountsPerPiece: UInt64 { (tables.pieceBytes * 8) >> header.refcountOrder }

    /// Takes clusters that are free: the first ones that the piece has from one on.
    mutating func takeFree(from first: UInt64, _ count: UInt64, _ slot: Int) -> Range<UInt64> {
        let end = (first / refcountsPerPiece + 1) * refcountsPerPiece
        var cluster = first
        while cluster < end, refcount(of: cluster, slot) != 0 { cluster += 1 }
        var last = cluster
        while last < min(end, cluster + count), refcount(of: last, slot) == 0 {
            setRefcount(1, of: last, slot)
            last += 1
        }
        return cluster..<last
    }

    func refcount(of cluster: UInt64, _ slot: Int) -> UInt64 {
        refcounts(from: start(ofPiece: slot))[cluster % refcountsPerPiece]
    }

    mutating func setRefcount(_ count: UInt64, of cluster: UInt64, _ slot: Int) {
        refcounts(from: start(ofPiece: slot))[cluster % refcountsPerPiece] = count
        tables.change(slot)
    }

    /// Refcounts that begin somewhere in the memory.
    func refcounts(from start: Int) -> RefcountRow { RefcountRow(memory, from: start, order: header.refcountOrder) }
}

extension L2Entry {
    private static let allStored: UInt64 = 0xFFFF_FFFF

    /// There is no cluster for it.
    var isNowhere: Bool { !isCompressed && offset == 0 }

    /// Its cluster has to be copied to be written.
    var isMoving: Bool { isCompressed || offset != 0 && !isOwn }

    /// Whether it makes sense, for all of its units.
    func check(_ header: Qcow2Header, at diskOffset: UInt64) throws(Qcow2Damage) {
        guard !isCompressed else {
            _ = try compressed(header, diskOffset)
            return
        }
        if offset != 0 { try Self.check(offset, header, diskOffset) }
        if header.hasSubclusters {
            let (stored, zero) = (bitmap & Self.allStored, bitmap >> 32)
            guard stored & zero == 0, stored == 0 || offset != 0 else {
                throw Qcow2Damage(kind: .subclusters, diskOffset: diskOffset, fileOffset: offset)
            }
        } else if descriptor & 1 != 0, header.version < 3 {
            throw Qcow2Damage(kind: .zeroInVersion2, diskOffset: diskOffset, fileOffset: offset)
        }
    }

    /// Where the next unit of the same cluster begins that is stored, or the cluster ends.
    func unstoredEnd(_ header: Qcow2Header, from diskOffset: UInt64) -> UInt64 {
        let start = diskOffset & ~(header.clusterBytes - 1)
        guard header.hasSubclusters else { return start + header.clusterBytes }
        let unit = (diskOffset - start) / header.unitBytes
        let next = unit + UInt64(((bitmap & Self.allStored) >> unit).trailingZeroBitCount)
        return start + min(next, 32) * header.unitBytes
    }

    /// The bits of the units in a range of a cluster's bytes.
    private static func units(_ header: Qcow2Header, _ range: Range<UInt64>) -> UInt64 {
        let (first, end) = (range.lowerBound / header.unitBytes, range.upperBound / header.unitBytes)
        return (1 << end - 1) & ~(1 << first - 1)
    }

    /// The same where units are zeroes.
    func zeroed(_ header: Qcow2Header, _ range: Range<UInt64>) -> L2Entry {
        let place = offset == 0 ? 0 : isOwn ? Self.own(offset) : offset
        guard header.hasSubclusters else { return L2Entry(descriptor: place | 1) }
        let units = Self.units(header, range)
        return L2Entry(descriptor: place, bitmap: ((isCompressed ? 0 : bitmap) | units << 32) & ~units)
    }

    /// The same where units are stored in a cluster.
    func stored(_ header: Qcow2Header, at fileOffset: UInt64, _ range: Range<UInt64>) -> L2Entry {
        guard header.hasSubclusters else { return L2Entry(descriptor: Self.own(fileOffset)) }
        let units = Self.units(header, range)
        return L2Entry(
            descriptor: Self.own(fileOffset), bitmap: ((isCompressed ? 0 : bitmap) | units) & ~(units << 32))
    }
}
