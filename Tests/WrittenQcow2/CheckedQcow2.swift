// A look at a qcow2 image that shares nothing with the code that is tested.

/// What an image says, found by reading all of it.
public struct CheckedQcow2 {
    /// What is wrong, in words.
    public private(set) var mistakes: [String] = []
    /// Clusters that are said to be used more often than they are.
    public private(set) var leaks = 0
    /// By sector of the disk: where in the file it is.
    private var places: [Int?]
    private var isZero: [Bool]
    private let file: [UInt8]
    private let clusterBytes: Int
    private var uses: [Int: Int] = [:]
    private var ownClusters: Set<Int> = []

    /// Reads an image without snapshots and compressed clusters.
    public init(_ file: [UInt8], sectorCount: Int) {
        self.file = file
        clusterBytes = 1 << Self.number(file, 20, 4)
        places = Array(repeating: nil, count: sectorCount)
        isZero = Array(repeating: false, count: sectorCount)
        let isExtended = Self.number(file, 72, 8) & 16 != 0
        use(0)
        let (l1, l1Count) = (Self.number(file, 40, 8), Self.number(file, 36, 4))
        for cluster in 0..<max(1, (l1Count * 8 + clusterBytes - 1) / clusterBytes) { use(l1 + cluster * clusterBytes) }
        let entryBytes = isExtended ? 16 : 8
        let entryCount = clusterBytes / entryBytes
        for index in 0..<l1Count {
            let entry = Self.number(file, l1 + index * 8, 8)
            guard entry & 0xFF_FFFF_FFFF_FE00 != 0 else { continue }
            let table = entry & 0xFF_FFFF_FFFF_FE00
            use(table)
            note(table, isOwn: entry < 0)
            for number in 0..<entryCount {
                read(table + number * entryBytes, cluster: index * entryCount + number, isExtended)
            }
        }
        compareRefcounts()
    }

    /// A number in the file; zeroes are behind it.
    private static func number(_ file: [UInt8], _ place: Int, _ count: Int) -> Int {
        if count == 8, place + 8 <= file.count {
            return file.withUnsafeBytes { Int(bigEndian: $0.loadUnaligned(fromByteOffset: place, as: Int.self)) }
        }
        return (place..<place + count).reduce(0) { $0 << 8 | ($1 < file.count ? Int(file[$1]) : 0) }
    }

    private mutating func use(_ offset: Int) {
        if offset & (clusterBytes - 1) != 0 { mistakes.append("\(offset) is no cluster's beginning") }
        if offset >= file.count { mistakes.append("\(offset) is behind the end of the file, \(file.count)") }
        uses[offset / clusterBytes, default: 0] += 1
    }

    private mutating func note(_ offset: Int, isOwn: Bool) {
        if isOwn { ownClusters.insert(offset / clusterBytes) } else { mistakes.append("\(offset) is not COPIED") }
    }

    private mutating func read(_ place: Int, cluster: Int, _ isExtended: Bool) {
        let entry = Self.number(file, place, 8)
        let bitmap = isExtended ? Self.number(file, place + 8, 8) : 0
        guard entry != 0 || bitmap != 0 else { return }
        let offset = entry & 0xFF_FFFF_FFFF_FE00
        if offset != 0 {
            use(offset)
            note(offset, isOwn: entry < 0)
        }
        if bitmap & (bitmap >> 32) & 0xFFFF_FFFF != 0 { mistakes.append("cluster \(cluster) is stored and zero") }
        let count = clusterBytes / 512
        for sector in 0..<count where cluster * count + sector < places.count {
            let unit = sector * 32 / count
            let isZero = isExtended ? bitmap >> (32 + unit) & 1 != 0 : entry & 1 != 0
            let isStored = isExtended ? bitmap >> unit & 1 != 0 : offset != 0 && !isZero
            if isStored, offset == 0 { mistakes.append("cluster \(cluster) is stored nowhere") }
            self.isZero[cluster * count + sector] = isZero
            if isStored { places[cluster * count + sector] = offset + sector * 512 }
        }
    }

    private mutating func compareRefcounts() {
        let (table, clusters) = (Self.number(file, 48, 8), Self.number(file, 56, 4))
        let bits = Self.number(file, 4, 4) == 2 ? 16 : 1 << Self.number(file, 96, 4)
        for cluster in 0..<clusters { use(table + cluster * clusterBytes) }
        let perBlock = clusterBytes * 8 / bits
        var blocks: [Int: Int] = [:]
        for index in 0..<clusters * clusterBytes / 8 {
            let block = Self.number(file, table + index * 8, 8) & ~511
            guard block != 0 else { continue }
            use(block)
            blocks[index] = block
        }
        for cluster in 0..<(file.count + clusterBytes - 1) / clusterBytes {
            let count = blocks[cluster / perBlock].map { Self.refcount(file, $0, cluster % perBlock, bits) } ?? 0
            let used = uses[cluster] ?? 0
            if count < used { mistakes.append("cluster \(cluster) has \(used) users and refcount \(count)") }
            if count > used { leaks += 1 }
            if ownClusters.contains(cluster), count != 1 { mistakes.append("cluster \(cluster) is COPIED: \(count)") }
        }
    }

    private static func refcount(_ file: [UInt8], _ block: Int, _ index: Int, _ bits: Int) -> Int {
        guard bits < 8 else { return number(file, block + index * bits / 8, bits / 8) }
        let byte = block + index * bits / 8
        return (byte < file.count ? Int(file[byte]) : 0) >> (index * bits & 7) & (1 << bits - 1)
    }

    /// What a sector is full of.
    public func stamp(_ sector: Int, backing: [UInt8]?) -> UInt32? {
        guard let place = places[sector] else {
            let start = sector * 512
            guard !isZero[sector], let backing, start < backing.count else { return 0 }
            return WrittenMedium.stamp(backing[start..<start + 512])
        }
        guard place < file.count else { return 0 }
        let bytes = Array(file[place..<min(place + 512, file.count)])
        return WrittenMedium.stamp((bytes + [UInt8](repeating: 0, count: 512 - bytes.count))[...])
    }
}
