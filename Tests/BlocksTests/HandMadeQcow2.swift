// Qcow2 images made here, cluster by cluster, and what is on their disks.

import Seeded

@testable import Blocks

/// A file, and beside it the sectors that it should be.
struct HandMadeQcow2 {
    static let sectorBytes = 512

    struct Shape {
        var version: UInt32 = 3
        var clusterBits = 9
        var hasSubclusters = false
        var sizeBytes = 1 << 16
    }

    let shape: Shape
    var file: [UInt8]
    /// By sector: what is in it; others are zero.
    private(set) var sectors: [Int: [UInt8]] = [:]
    /// Those that are in the file; each is in one of several clusters, or in none.
    private(set) var mapped: Set<Int> = []
    /// Those that are zero, whatever is in a backing file.
    private(set) var zeroes: Set<Int> = []

    var clusterBytes: Int { 1 << shape.clusterBits }
    private var entryBytes: Int { shape.hasSubclusters ? 16 : 8 }
    private var entriesPerTable: Int { clusterBytes / entryBytes }
    private var clusterCount: Int { (shape.sizeBytes + clusterBytes - 1) / clusterBytes }
    private var l1Count: Int { (clusterCount + entriesPerTable - 1) / entriesPerTable }

    /// An image of nothing.
    init(_ shape: Shape) {
        self.shape = shape
        file = []
        let l1Clusters = max(1, (l1Count * 8 + clusterBytes - 1) / clusterBytes)
        file = [UInt8](repeating: 0, count: (1 + l1Clusters) * clusterBytes)
        put(UInt32(0x5146_49FB), at: 0)
        put(shape.version, at: 4)
        put(UInt32(shape.clusterBits), at: 20)
        put(UInt64(shape.sizeBytes), at: 24)
        put(UInt32(l1Count), at: 36)
        put(UInt64(clusterBytes), at: 40)
        guard shape.version == 3 else { return }
        put(UInt64(shape.hasSubclusters ? 16 : 0), at: 72)
        put(UInt32(4), at: 96)
        put(UInt32(104), at: 100)
    }

    mutating func put(_ number: some FixedWidthInteger, at place: Int) {
        withUnsafeBytes(of: number.bigEndian) { file.replaceSubrange(place..<place + $0.count, with: $0) }
    }

    var header: Qcow2Header {
        get throws { try Qcow2Header(Array(file.prefix(Qcow2Header.byteCount)), fileBytes: UInt64(file.count)) }
    }

    /// Where the entry of a cluster is, which gets a table if it has none.
    mutating func entryPlace(of cluster: Int) -> Int {
        let l1Place = clusterBytes + cluster / entriesPerTable * 8
        var table = file[l1Place..<l1Place + 8].reduce(0) { $0 << 8 | Int($1) } & 0xFF_FFFF_FFFF_FE00
        if table == 0 {
            table = addCluster([UInt8](repeating: 0, count: clusterBytes))
            put(UInt64(table) | 1 << 63, at: l1Place)
        }
        return table + cluster % entriesPerTable * entryBytes
    }

    private mutating func addCluster(_ bytes: [UInt8]) -> Int {
        let place = (file.count + clusterBytes - 1) / clusterBytes * clusterBytes
        file += [UInt8](repeating: 0, count: place - file.count) + bytes
        return place
    }

    private mutating func note(_ cluster: Int, _ bytes: [UInt8], at start: Int = 0) {
        for offset in stride(from: 0, to: bytes.count, by: Self.sectorBytes) {
            let sector = (cluster * clusterBytes + start + offset) / Self.sectorBytes
            sectors[sector] = Array(bytes[offset..<offset + Self.sectorBytes])
            mapped.insert(sector)
        }
    }

    /// A cluster of data.
    mutating func addData(_ cluster: Int, _ bytes: [UInt8]) {
        let place = entryPlace(of: cluster)
        put(UInt64(addCluster(bytes)) | 1 << 63, at: place)
        if shape.hasSubclusters { put(UInt64(0xFFFF_FFFF), at: place + 8) }
        note(cluster, bytes)
    }

    /// A zero cluster, with a place for its data or without.
    mutating func addZeroes(_ cluster: Int, _ bytes: [UInt8]?) {
        let place = entryPlace(of: cluster)
        let offset = bytes.map { addCluster($0) } ?? 0
        put(UInt64(offset) | (shape.hasSubclusters ? 0 : 1), at: place)
        if shape.hasSubclusters { put(UInt64(0xFFFF_FFFF) << 32, at: place + 8) }
        let first = cluster * clusterBytes / Self.sectorBytes
        zeroes.formUnion(first..<first + clusterBytes / Self.sectorBytes)
    }

    /// A cluster of which each part is stored, zero, or neither.
    mutating func addSubclusters(_ cluster: Int, _ bytes: [UInt8], stored: UInt32, zero: UInt32) {
        let place = entryPlace(of: cluster)
        put(UInt64(addCluster(bytes)), at: place)
        put(UInt64(zero) << 32 | UInt64(stored), at: place + 8)
        let part = clusterBytes / 32
        for number in 0..<32 {
            if stored >> number & 1 != 0 {
                note(cluster, Array(bytes[number * part..<(number + 1) * part]), at: number * part)
            } else if zero >> number & 1 != 0 {
                let first = (cluster * clusterBytes + number * part) / Self.sectorBytes
                zeroes.formUnion(first..<first + part / Self.sectorBytes)
            }
        }
    }

    /// A compressed cluster, whose data begin so many bytes behind a sector's beginning.
    mutating func addCompressed(_ cluster: Int, _ bytes: [UInt8], inSector: Int) {
        let place = entryPlace(of: cluster)
        let data = Self.stored(bytes)
        let start = addCluster([]) + inSector
        file += [UInt8](repeating: 0xA5, count: inSector) + data
        let sectors = (start % Self.sectorBytes + data.count + Self.sectorBytes - 1) / Self.sectorBytes
        let shift = 62 - (shape.clusterBits - 8)
        put(UInt64(1) << 62 | UInt64(sectors - 1) << shift | UInt64(start), at: place)
        note(cluster, bytes)
    }

    /// Deflate data that are not smaller (RFC 1951 3.2.4).
    static func stored(_ bytes: [UInt8]) -> [UInt8] {
        var data: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 0xFFFF) {
            let part = bytes[start..<min(start + 0xFFFF, bytes.count)]
            let (low, high) = (UInt8(part.count & 0xFF), UInt8(part.count >> 8))
            data += [part.endIndex == bytes.count ? 1 : 0, low, high, ~low, ~high] + part
        }
        return data
    }

    /// What is there, whatever the tables are.
    func disk(_ range: Range<Int>) -> [UInt8] { HandMadeChain(self).disk(range) }
}

/// An image, its backing files, and perhaps a raw one behind them.
struct HandMadeChain {
    var images: [HandMadeQcow2]
    var raw: [UInt8]?

    init(_ images: HandMadeQcow2..., raw: [UInt8]? = nil) {
        self.images = images
        self.raw = raw
    }

    func file(_ number: UInt8) -> [UInt8] { Int(number) < images.count ? images[Int(number)].file : raw ?? [] }

    /// The number of the file that has a sector, images.count for the raw one; nil: none has it.
    private func owner(ofSector sector: Int) -> Int? {
        for (number, image) in images.enumerated() {
            guard sector * HandMadeQcow2.sectorBytes < image.shape.sizeBytes else { return nil }
            if image.mapped.contains(sector) { return number }
            if image.zeroes.contains(sector) { return nil }
        }
        return sector * HandMadeQcow2.sectorBytes < raw?.count ?? 0 ? images.count : nil
    }

    func disk(_ range: Range<Int>) -> [UInt8] {
        let size = HandMadeQcow2.sectorBytes
        return (range.lowerBound / size..<range.upperBound / size).flatMap { sector in
            let owner = owner(ofSector: sector)
            let bytes =
                owner == images.count
                ? Array(raw?[sector * size..<min((sector + 1) * size, raw?.count ?? 0)] ?? [])
                : owner.flatMap { images[$0].sectors[sector] } ?? []
            return bytes + [UInt8](repeating: 0, count: size - bytes.count)
        }
    }

    /// Of a raw file, every other 4 KiB are said to be stored.
    static func isStored(_ sector: Int) -> Bool { sector / 8 % 2 == 0 }

    func isMapped(_ sector: Int) -> Bool {
        guard let owner = owner(ofSector: sector) else { return false }
        return owner < images.count || Self.isStored(sector)
    }
}

extension HandMadeQcow2 {
    /// Clusters of all kinds, at random.
    init(_ shape: Shape, _ generator: inout SeededGenerator) {
        self.init(shape)
        for cluster in 0..<clusterCount {
            let bytes = generator.bytes(clusterBytes)
            switch Int.random(in: 0...7, using: &generator) {
            case 0, 1: addData(cluster, bytes)
            case 2: addCompressed(cluster, bytes, inSector: .random(in: 0...250, using: &generator))
            case 3 where shape.version == 3:
                addZeroes(cluster, Bool.random(using: &generator) ? bytes : nil)
            case 4... where shape.hasSubclusters:
                let stored = UInt32.random(in: 0...UInt32.max, using: &generator)
                let zero = UInt32.random(in: 0...UInt32.max, using: &generator) & ~stored
                addSubclusters(cluster, bytes, stored: stored, zero: zero)
            default: break
            }
        }
        // The last cluster need not be there to its end.
        if shape.sizeBytes % 1024 == 0 { _ = addCluster([]) }
    }

    /// Where the entries of all clusters are, and those of the L1 table.
    mutating func entryPlaces() -> [Int] {
        let l2 = (0..<clusterCount).map { entryPlace(of: $0) }
        return l2 + (shape.hasSubclusters ? l2.map { $0 + 8 } : []) + (0..<l1Count).map { clusterBytes + $0 * 8 }
    }

    /// Whatever can be in an entry.
    mutating func damage(_ place: Int, _ generator: inout SeededGenerator) {
        let offset = UInt64.random(in: 0..<UInt64(file.count) * 2, using: &generator)
        switch Int.random(in: 0...5, using: &generator) {
        case 0: put(UInt64.random(in: 0...UInt64.max, using: &generator), at: place)
        case 1: put(offset & ~UInt64(clusterBytes - 1), at: place)
        case 2: put(offset, at: place)
        case 3: put(offset | 1 << 62, at: place)
        case 4: put(UInt64.max, at: place)
        default: file[place] ^= 1 << UInt8.random(in: 0...7, using: &generator)
        }
    }
}
