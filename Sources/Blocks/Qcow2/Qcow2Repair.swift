// Refcounts made anew for an image whose own may be wrong (qcow2.txt, "Header", dirty bit; "Host cluster management").

/// The file of an image, for one that waits for each access. Each one ends with 0, or an errno.
public protocol Qcow2RepairFile {
    /// Fills memory from a byte of the file on; zeroes are behind its end.
    mutating func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int32
    /// Writes from a byte of the file on.
    mutating func write(_ bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int32
    /// All that was written becomes stable.
    mutating func synchronize() -> Int32
}

/// What a repair costs at most, whatever an image says.
public struct Qcow2RepairBounds: Sendable {
    /// Memory for refcounts at a time, whole clusters.
    var windowBytes: UInt64 = 1 << 25
    /// All refcounts together.
    var refcountBytes: UInt64 = 1 << 29
    /// What is read of tables.
    var readBytes: UInt64 = 1 << 34

    /// Those of a server. Only tests have others.
    public init() {}
}

/// Counts the users of each cluster from the tables, and writes refcounts that say so behind all that the file has.
///
/// The refcounts that are there are never looked at, nor written over. When the new ones are stable, a write to the
/// first sector puts them into force and takes the dirty bit away. Whatever is lost before that, the image is as it
/// was, and says that it is dirty.
///
/// The refcounts of a part of the file at a time are in memory, and for each part all tables are read twice: once for
/// the users, and once for the bits of entries that say whether there is one user (COPIED).
public struct Qcow2Repair<File: Qcow2RepairFile> {
    private static var sectorBytes: Int { 512 }

    private let header: Qcow2Header
    private var file: File
    private let memory: LayerMemory
    private let snapshots: [Qcow2Snapshot]
    private let snapshotTable: Range<UInt64>
    private let layout: Layout
    private let refcounts: RefcountRow
    /// By refcount block: it is stored, since one of its refcounts is not zero.
    private var isBlockUsed: [Bool]
    /// The clusters whose refcounts are in memory, as many as have room there.
    private var window: Range<UInt64> = 0..<0
    private let bounds: Qcow2RepairBounds
    private var readBytes: UInt64 = 0

    /// Where the new tables are, in clusters.
    private struct Layout {
        /// What was there before ends here. Then comes the refcount table.
        let oldEnd: UInt64
        private(set) var tableClusters: UInt64 = 1
        /// How many refcount blocks there may be; each has its place, behind the table.
        private(set) var blockCount: UInt64 = 1

        init(_ header: Qcow2Header) {
            oldEnd = (header.fileBytes + header.clusterBytes - 1) >> header.clusterBits
            let perBlock = header.refcountsPerBlock
            while true {
                let blocks = (end + perBlock - 1) / perBlock
                let clusters = (blocks * 8 + header.clusterBytes - 1) >> header.clusterBits
                if blocks == blockCount, clusters == tableClusters { return }
                (blockCount, tableClusters) = (blocks, clusters)
            }
        }

        /// The end of the file.
        var end: UInt64 { oldEnd + tableClusters + blockCount }
        func place(ofBlock block: UInt64) -> UInt64 { oldEnd + tableClusters + block }
    }

    /// Looks at an image that is dirty.
    ///
    /// - Parameter memory: gives as many bytes as it is asked for, all zeroes.
    public init(
        _ header: Qcow2Header, _ file: File, within bounds: Qcow2RepairBounds = Qcow2RepairBounds(),
        memory: (Int) throws(Qcow2RepairError) -> LayerMemory
    ) throws(Qcow2RepairError) {
        guard !header.hasBitmaps else { throw .hasBitmaps }
        self.header = header
        self.file = file
        layout = Layout(header)
        let tableLimit = max(Qcow2Header.maximumRefcountTableBytes, header.clusterBytes)
        guard layout.blockCount << header.clusterBits <= bounds.refcountBytes,
            layout.tableClusters << header.clusterBits <= tableLimit
        else { throw .tooLarge }
        isBlockUsed = Array(repeating: false, count: Int(layout.blockCount))
        do throws(Qcow2Error) {
            (snapshots, snapshotTable) = try header.snapshots { [file] range in
                var (file, bytes) = (file, [UInt8](repeating: 0, count: range.count))
                return unsafe bytes.withUnsafeMutableBytes { unsafe file.read(into: $0, at: range.lowerBound) } == 0
                    ? bytes : nil
            }
        } catch {
            throw .snapshots(error)
        }
        self.bounds = bounds
        let windowBytes = min(bounds.windowBytes, layout.blockCount << header.clusterBits)
        self.memory = try memory(Int(windowBytes + 2 * header.clusterBytes))
        refcounts = RefcountRow(self.memory, from: 0, order: header.refcountOrder)
    }

    /// Does it.
    ///
    /// - Returns: how large the file is now, in bytes.
    public mutating func run() throws(Qcow2RepairError) -> UInt64 {
        let step = (bounds.windowBytes >> header.clusterBits) * header.refcountsPerBlock
        while window.upperBound < layout.end {
            window = window.upperBound..<min(window.upperBound + step, layout.blockCount * header.refcountsPerBlock)
            memory.clear(0..<windowBlocks.count << Int(header.clusterBits))
            try countUsers()
            countOwn()
            try walk(header.l1Table, isMending: true)
            try writeBlocks()
        }
        try writeTable()
        try perform { file, _ in file.synchronize() }
        try writeHeader()
        try perform { file, _ in file.synchronize() }
        return layout.end << header.clusterBits
    }
}

/// Users.
extension Qcow2Repair {
    private mutating func countUsers() throws(Qcow2RepairError) {
        try use(0..<header.clusterBytes, at: 0)
        try use(snapshotTable, at: 0)
        for table in [header.l1Table] + snapshots.map(\.l1Table) {
            try use(table, at: 0)
            try walk(table, isMending: false)
        }
    }

    /// Bytes of the file are somebody's, for a byte of the disk: all clusters that they are in have a user more.
    private func use(_ bytes: Range<UInt64>, at diskOffset: UInt64) throws(Qcow2RepairError) {
        guard !bytes.isEmpty else { return }
        for cluster in bytes.lowerBound >> header.clusterBits...(bytes.upperBound - 1) >> header.clusterBits {
            guard cluster < layout.oldEnd else {
                throw .damage(
                    Qcow2Damage(kind: .outside, diskOffset: diskOffset, fileOffset: cluster << header.clusterBits))
            }
            guard window.contains(cluster) else { continue }
            let count = refcounts[cluster - window.lowerBound]
            guard count < refcounts.maximum else { throw .tooManyUsers(of: cluster << header.clusterBits) }
            refcounts[cluster - window.lowerBound] = count + 1
        }
    }

    /// Goes through an L1 table and its L2 tables, and counts users, or sets in each entry whether there is one.
    private mutating func walk(_ table: Range<UInt64>, isMending: Bool) throws(Qcow2RepairError) {
        let start = tableStart + Int(header.clusterBytes)
        var place = table.lowerBound
        while place < table.upperBound {
            let count = min(header.clusterBytes, table.upperBound - place)
            let piece = start..<start + Int(count)
            try read(piece, at: place)
            var isChanged = false
            for index in 0..<count / 8 {
                let entry = memory.bigEndian(at: start + Int(index) * 8)
                let diskOffset = ((place - table.lowerBound) / 8 + index) << (header.clusterBits + header.l2EntryBits)
                guard let l2Table = try l2Table(entry, diskOffset) else { continue }
                if isMending, let mended = mended(entry, of: l2Table) {
                    memory.setBigEndian(mended, at: start + Int(index) * 8)
                    isChanged = true
                }
                if !isMending { try use(l2Table..<l2Table + header.clusterBytes, at: diskOffset) }
                try walk(l2Table: l2Table, diskOffset, isMending)
            }
            if isChanged { try write(piece, at: place) }
            place += count
        }
    }

    private func l2Table(_ entry: UInt64, _ diskOffset: UInt64) throws(Qcow2RepairError) -> UInt64? {
        do throws(Qcow2Damage) {
            return try L2Entry.tableOffset(entry, header, at: diskOffset)
        } catch {
            throw .damage(error)
        }
    }

    private mutating func walk(
        l2Table: UInt64, _ diskOffset: UInt64, _ isMending: Bool
    ) throws(Qcow2RepairError) {
        let piece = tableStart..<tableStart + Int(header.clusterBytes)
        try read(piece, at: l2Table)
        var isChanged = false
        for index in 0..<UInt64(1) << header.l2EntryBits {
            let place = tableStart + Int(index * header.l2EntryBytes)
            let entry = L2Entry(
                descriptor: memory.bigEndian(at: place),
                bitmap: header.hasSubclusters ? memory.bigEndian(at: place + 8) : 0)
            guard entry.descriptor != 0 || entry.bitmap != 0 else { continue }
            if isMending {
                guard let mended = mended(entry.descriptor, of: entry.offset) else { continue }
                memory.setBigEndian(mended, at: place)
                isChanged = true
            } else {
                try use(entry, at: diskOffset + index << header.clusterBits)
            }
        }
        if isChanged { try write(piece, at: l2Table) }
    }

    private func use(_ entry: L2Entry, at diskOffset: UInt64) throws(Qcow2RepairError) {
        let mapping: Qcow2Mapping
        do throws(Qcow2Damage) {
            try entry.check(header, at: diskOffset)
            mapping = try entry.mapping(ofUnit: 0, header, at: diskOffset)
        } catch {
            throw .damage(error)
        }
        if case .compressed(let offset, let byteCount) = mapping {
            try use(offset..<offset + byteCount, at: diskOffset)
        } else if entry.offset != 0 {
            try use(entry.offset..<entry.offset + header.clusterBytes, at: diskOffset)
        }
    }

    /// An entry that says rightly whether its cluster has one user; nil: it does, or the cluster is in another part.
    private func mended(_ entry: UInt64, of offset: UInt64) -> UInt64? {
        let cluster = offset >> header.clusterBits
        // Compressed clusters, and those that are nowhere, are nobody's own.
        guard offset == 0 || window.contains(cluster) else { return nil }
        let isOwn = offset != 0 && refcounts[cluster - window.lowerBound] == 1
        let mended = isOwn ? L2Entry.own(entry) : L2Entry.shared(entry)
        return mended == entry ? nil : mended
    }

    /// The users of what is made here.
    private mutating func countOwn() {
        let perBlock = header.refcountsPerBlock
        for block in windowBlocks {
            // From the block on that has the first new cluster all are used.
            isBlockUsed[Int(block)] = block >= layout.oldEnd / perBlock || !isZero(bytes(ofBlock: block))
        }
        for cluster in max(window.lowerBound, layout.oldEnd)..<max(layout.oldEnd, min(window.upperBound, layout.end)) {
            let isUsed =
                cluster < layout.place(ofBlock: 0)
                || isUsed(block: cluster - layout.place(ofBlock: 0))
            refcounts[cluster - window.lowerBound] = isUsed ? 1 : 0
        }
    }

    private func isUsed(block: UInt64) -> Bool {
        block >= layout.oldEnd / header.refcountsPerBlock || isBlockUsed[Int(block)]
    }

    private func isZero(_ bytes: Range<Int>) -> Bool {
        stride(from: bytes.lowerBound, to: bytes.upperBound, by: 8).allSatisfy { memory.bigEndian(at: $0) == 0 }
    }
}

/// The memory, and the file.
extension Qcow2Repair {
    /// Behind the refcounts are an L2 table and a piece of an L1 table.
    private var tableStart: Int { memory.byteCount - 2 * Int(header.clusterBytes) }

    private var windowBlocks: Range<UInt64> {
        window.lowerBound / header.refcountsPerBlock..<window.upperBound / header.refcountsPerBlock
    }

    private func bytes(ofBlock block: UInt64) -> Range<Int> {
        let start = Int(block - windowBlocks.lowerBound) << Int(header.clusterBits)
        return start..<start + Int(header.clusterBytes)
    }

    private mutating func writeBlocks() throws(Qcow2RepairError) {
        for block in windowBlocks where isBlockUsed[Int(block)] {
            try write(bytes(ofBlock: block), at: layout.place(ofBlock: block) << header.clusterBits)
        }
    }

    private mutating func writeTable() throws(Qcow2RepairError) {
        let piece = tableStart..<tableStart + Int(header.clusterBytes)
        let perCluster = header.clusterBytes / 8
        for cluster in 0..<layout.tableClusters {
            memory.clear(piece)
            let first = cluster * perCluster
            for block in first..<min(first + perCluster, layout.blockCount) where isBlockUsed[Int(block)] {
                memory.setBigEndian(
                    layout.place(ofBlock: block) << header.clusterBits, at: tableStart + Int(block - first) * 8)
            }
            try write(piece, at: (layout.oldEnd + cluster) << header.clusterBits)
        }
    }

    /// One sector has the place of the refcount table, its size in front of the number of snapshots, and the features.
    private mutating func writeHeader() throws(Qcow2RepairError) {
        let piece = tableStart..<tableStart + Self.sectorBytes
        try read(piece, at: 0)
        memory.setBigEndian(layout.oldEnd << header.clusterBits, at: tableStart + 48)
        memory.setBigEndian(layout.tableClusters << 32 | UInt64(header.snapshotCount), at: tableStart + 56)
        memory.setBigEndian(header.cleanFeatures, at: tableStart + 72)
        try write(piece, at: 0)
    }

    private mutating func read(_ range: Range<Int>, at offset: UInt64) throws(Qcow2RepairError) {
        readBytes += UInt64(range.count)
        guard readBytes <= bounds.readBytes else { throw .tooLarge }
        try perform { file, memory in unsafe file.read(into: memory[range], at: offset) }
    }

    private mutating func write(_ range: Range<Int>, at offset: UInt64) throws(Qcow2RepairError) {
        try perform { file, memory in unsafe file.write(memory[range], at: offset) }
    }

    private mutating func perform(_ body: (inout File, LayerMemory) -> Int32) throws(Qcow2RepairError) {
        let code = body(&file, memory)
        guard code == 0 else { throw .failed(code) }
    }
}

/// Why refcounts cannot be made anew.
public enum Qcow2RepairError: Error, Equatable {
    /// A table is wrong, and not only the refcounts.
    case damage(Qcow2Damage)
    /// The table of internal snapshots is.
    case snapshots(Qcow2Error)
    /// Dirty bitmaps have clusters, too.
    case hasBitmaps
    /// More tables would have to be read than this may take.
    case tooLarge
    /// The cluster at a byte of the file has more users than a refcount can say.
    case tooManyUsers(of: UInt64)
    /// The file cannot be read or written: an errno.
    case failed(Int32)
}
