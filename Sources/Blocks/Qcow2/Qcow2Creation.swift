// A new qcow2 image, version 3 (QEMU, docs/interop/qcow2.txt): where everything is in its file, in one pass.

/// The layout of a new image: the disk's stored and zero parts are known, and the file has nothing else.
///
/// Whoever writes the file makes it ``fileBytes`` long, stores the tables, and the data of each extent at its place.
public struct Qcow2Creation: Sendable {
    /// A part of the disk that is the image's own.
    public struct Extent: Equatable, Sendable {
        /// Bytes of the disk: whole units of allocation, as far as the disk goes.
        public var bytes: Range<UInt64>
        /// It reads as zeroes, and is stored nowhere.
        public var isZero: Bool

        /// A part of the disk.
        public init(_ bytes: Range<UInt64>, isZero: Bool = false) {
            self.bytes = bytes
            self.isZero = isZero
        }
    }

    /// The form of an image.
    public struct Shape: Equatable, Sendable {
        /// A cluster has 1 << clusterBits bytes.
        public var clusterBits: UInt64
        /// Each cluster has 32 subclusters, which are stored or not one by one (Extended L2 Entries).
        public var hasSubclusters: Bool

        /// The unit of allocation is a sector: nothing is ever copied from a backing file to fill one up.
        public static let sectors = Shape(clusterBits: 14, hasSubclusters: true)
        /// For what clients write bit by bit: a write of whole pages copies nothing, and an L2 table has 256 MiB of the
        /// disk.
        public static let changes = Shape(clusterBits: 16, hasSubclusters: true)

        /// A form; 12 to 21 bits, with subclusters at least 14.
        public init(clusterBits: UInt64, hasSubclusters: Bool) {
            self.clusterBits = clusterBits
            self.hasSubclusters = hasSubclusters
        }

        var clusterBytes: UInt64 { 1 << clusterBits }
        var entryBytes: UInt64 { hasSubclusters ? 16 : 8 }
        /// So much of the disk is in an L2 table.
        var tableSpan: UInt64 { clusterBytes / entryBytes * clusterBytes }
        /// The unit of allocation.
        public var unitBytes: UInt64 { hasSubclusters ? clusterBytes / 32 : clusterBytes }
    }

    /// The size of the disk in bytes.
    public let sizeBytes: UInt64
    /// The size of the file in bytes.
    public let fileBytes: UInt64
    /// What of the disk is in the file, in order.
    public let extents: [Extent]
    /// By extent: where in the file its data begin, which are in a row there; of zeroes 0.
    public let dataOffsets: [UInt64]
    private let shape: Shape
    private let backing: Qcow2Header.Backing?
    private let stamps: [Qcow2Header.BackingStamp]
    /// The numbers of the L2 tables that there are.
    private let tables: [UInt64]
    private let places: Places

    /// Where in the file each kind of table begins, and how many clusters there are in front of the data and in all.
    private struct Places {
        var refcountTable: UInt64 = 1
        var refcountTableClusters: UInt64 = 1
        var refcountBlockCount: UInt64 = 1
        var l1Table: UInt64 = 0
        var l2Tables: UInt64 = 0
        var data: UInt64 = 0
        var end: UInt64 = 0
    }

    /// Lays an image out.
    ///
    /// - Parameters:
    ///   - sizeBytes: of the disk, whole sectors.
    ///   - backing: the file with all else; nil: all else is zero.
    ///   - stamps: see ``Qcow2Header/stamps``.
    ///   - extents: in the order of the disk, none of which overlaps another.
    public init(
        sizeBytes: UInt64, shape: Shape = .sectors, backing: Qcow2Header.Backing?,
        stamps: [Qcow2Header.BackingStamp] = [], extents: [Extent] = []
    ) throws(Qcow2CreationError) {
        precondition(sizeBytes % 512 == 0, "a disk has whole sectors")
        precondition((12...21).contains(shape.clusterBits), "there are no such clusters")
        precondition(!shape.hasSubclusters || shape.clusterBits >= 14, "a subcluster has a sector at least")
        self.sizeBytes = sizeBytes
        self.shape = shape
        self.stamps = stamps
        self.backing = try backing.map { backing throws(Qcow2CreationError) in try Self.checked(backing) }
        // Without a backing file what is not there is zero already.
        self.extents = extents.filter { !$0.bytes.isEmpty && (backing != nil || !$0.isZero) }
        let l1Bytes = (sizeBytes + shape.tableSpan - 1) / shape.tableSpan * 8
        guard l1Bytes <= Qcow2Header.maximumL1Bytes else {
            throw .tooLarge(sizeBytes, most: Qcow2Header.maximumL1Bytes / 8 * shape.tableSpan)
        }
        let (tables, ordinals, dataClusters) = Self.count(self.extents, sizeBytes, shape)
        self.tables = tables
        let l1Clusters = max(1, (l1Bytes + shape.clusterBytes - 1) / shape.clusterBytes)
        places = Self.places(l1: l1Clusters, l2: UInt64(tables.count), data: dataClusters, shape)
        fileBytes = places.end * shape.clusterBytes
        dataOffsets = zip(self.extents, ordinals).map { [places] extent, ordinal in
            guard let ordinal else { return 0 }
            return (places.data + ordinal) * shape.clusterBytes + extent.bytes.lowerBound % shape.clusterBytes
        }
    }

    /// A name that QEMU takes for a file's, whatever is in it.
    private static func checked(_ backing: Qcow2Header.Backing) throws(Qcow2CreationError) -> Qcow2Header.Backing {
        var backing = backing
        if backing.name.prefix(while: { $0 != "/" }).contains(":") { backing.name = "./" + backing.name }
        let count = backing.name.utf8.count
        guard (1...1023).contains(count) else { throw .backingName(byteCount: count) }
        return backing
    }

    /// Counts the L2 tables and the clusters with data. The data of an extent are in clusters in a row, of which the
    /// first may be the last one of the extent before.
    ///
    /// - Returns: by extent, the number of the first of its clusters among those with data; nil of zeroes.
    private static func count(
        _ extents: [Extent], _ sizeBytes: UInt64, _ shape: Shape
    ) -> (tables: [UInt64], ordinals: [UInt64?], clusterCount: UInt64) {
        var (tables, ordinals) = ([UInt64](), [UInt64?]())
        var count: UInt64 = 0
        var (end, clustersEnd): (UInt64, UInt64) = (0, 0)
        for extent in extents {
            let bytes = extent.bytes
            precondition(bytes.lowerBound >= end && bytes.upperBound <= sizeBytes, "extents are in order, and inside")
            precondition(
                bytes.lowerBound % shape.unitBytes == 0
                    && (bytes.upperBound % shape.unitBytes == 0 || bytes.upperBound == sizeBytes),
                "extents are whole units")
            end = bytes.upperBound
            let first = bytes.lowerBound / shape.tableSpan
            for table in first...(end - 1) / shape.tableSpan where tables.last != table { tables.append(table) }
            guard !extent.isZero else {
                ordinals.append(nil)
                continue
            }
            let clusters = bytes.lowerBound / shape.clusterBytes...(end - 1) / shape.clusterBytes
            ordinals.append(clusters.lowerBound < clustersEnd ? count - 1 : count)
            count += clusters.upperBound + 1 - max(clusters.lowerBound, clustersEnd)
            clustersEnd = clusters.upperBound + 1
        }
        return (tables, ordinals, count)
    }

    /// The refcounts have to have room for themselves, too.
    private static func places(l1: UInt64, l2: UInt64, data: UInt64, _ shape: Shape) -> Places {
        var places = Places()
        while true {
            places.l1Table = places.refcountTable + places.refcountTableClusters + places.refcountBlockCount
            places.l2Tables = places.l1Table + l1
            places.data = places.l2Tables + l2
            places.end = places.data + data
            let perBlock = shape.clusterBytes / 2
            let blocks = (places.end + perBlock - 1) / perBlock
            let tableClusters = (blocks * 8 + shape.clusterBytes - 1) / shape.clusterBytes
            if blocks == places.refcountBlockCount, tableClusters == places.refcountTableClusters { return places }
            (places.refcountBlockCount, places.refcountTableClusters) = (blocks, tableClusters)
        }
    }
}

/// The tables.
extension Qcow2Creation {
    /// Set in an entry whose cluster has one user.
    private static let copied: UInt64 = 1 << 63

    /// Gives all that is in the file beside the data, in its order. What is in neither is zero.
    public func forEachTable<Failure: Error>(
        _ body: (_ fileOffset: UInt64, _ bytes: [UInt8]) throws(Failure) -> Void
    ) throws(Failure) {
        try body(0, header)
        let cluster = shape.clusterBytes
        let blocks = places.refcountTable + places.refcountTableClusters
        var table: [UInt8] = []
        for number in 0..<places.refcountBlockCount { table.append(bigEndian: (blocks + number) * cluster) }
        try body(places.refcountTable * cluster, table)
        for number in 0..<places.refcountBlockCount {
            // Every cluster of the file is used once.
            let count = min(cluster / 2, places.end - number * (cluster / 2))
            try body((blocks + number) * cluster, (0..<count * 2).map { UInt8($0 % 2) })
        }
        try forEachL1Piece(body)
        try forEachL2Table(body)
    }

    private func forEachL1Piece<Failure: Error>(
        _ body: (_ fileOffset: UInt64, _ bytes: [UInt8]) throws(Failure) -> Void
    ) throws(Failure) {
        guard let last = tables.last else { return }
        var bytes = [UInt8](repeating: 0, count: Int(last + 1) * 8)
        for (number, table) in tables.enumerated() {
            let entry = (places.l2Tables + UInt64(number)) * shape.clusterBytes | Self.copied
            bytes.put(entry, at: Int(table) * 8)
        }
        try body(places.l1Table * shape.clusterBytes, bytes)
    }

    private func forEachL2Table<Failure: Error>(
        _ body: (_ fileOffset: UInt64, _ bytes: [UInt8]) throws(Failure) -> Void
    ) throws(Failure) {
        var first = 0
        for (number, table) in tables.enumerated() {
            let span = table * shape.tableSpan..<(table + 1) * shape.tableSpan
            while extents[first].bytes.upperBound <= span.lowerBound { first += 1 }
            var bytes = [UInt8](repeating: 0, count: Int(shape.clusterBytes))
            var next = first
            while next < extents.count, extents[next].bytes.lowerBound < span.upperBound {
                put(extents[next].bytes.clamped(to: span), of: next, into: &bytes, from: span.lowerBound)
                next += 1
            }
            try body((places.l2Tables + UInt64(number)) * shape.clusterBytes, bytes)
        }
    }

    /// Enters a part of an extent into its L2 table, which begins at a byte of the disk.
    private func put(_ part: Range<UInt64>, of number: Int, into table: inout [UInt8], from start: UInt64) {
        let extent = extents[number]
        var place = part.lowerBound
        while place < part.upperBound {
            let cluster = place / shape.clusterBytes
            let end = min((cluster + 1) * shape.clusterBytes, part.upperBound)
            let entry = Int((cluster - start / shape.clusterBytes) * shape.entryBytes)
            if !extent.isZero {
                let offset = dataOffsets[number] + (place - extent.bytes.lowerBound)
                table.put((offset - offset % shape.clusterBytes) | Self.copied, at: entry)
            } else if !shape.hasSubclusters {
                table.put(UInt64(1), at: entry)
            }
            if shape.hasSubclusters {
                let first = place % shape.clusterBytes / shape.unitBytes
                let units = (end - place + shape.unitBytes - 1) / shape.unitBytes
                let mask: UInt64 = (1 << units - 1) << first
                table.put(table.bigEndian(at: entry + 8) | (extent.isZero ? mask << 32 : mask), at: entry + 8)
            }
            place = end
        }
    }

    private static let headerLength: UInt32 = 112
    private static let refcountOrder: UInt32 = 4

    private var header: [UInt8] {
        var extensions: [UInt8] = []
        if let backing {
            let format = Array((backing.isQcow2 ? "qcow2" : "raw").utf8)
            extensions.append(bigEndian: Qcow2Header.backingFormatName)
            extensions.append(bigEndian: UInt32(format.count))
            extensions += format + [UInt8](repeating: 0, count: -format.count & 7)
        }
        if !stamps.isEmpty {
            extensions.append(bigEndian: Qcow2Header.backingStampsName)
            extensions.append(bigEndian: UInt32(stamps.count * Qcow2Header.BackingStamp.byteCount))
            for stamp in stamps {
                extensions.append(bigEndian: stamp.sizeBytes)
                extensions.append(bigEndian: stamp.seconds)
                extensions.append(bigEndian: UInt64(stamp.nanoseconds))
            }
        }
        // The end of the header extension area.
        extensions += [UInt8](repeating: 0, count: 8)
        let name = Array((backing?.name ?? "").utf8)
        let nameOffset = name.isEmpty ? 0 : UInt64(Self.headerLength) + UInt64(extensions.count)
        var bytes: [UInt8] = []
        bytes.append(bigEndian: Qcow2Header.magic)
        bytes.append(bigEndian: UInt32(3))
        bytes.append(bigEndian: nameOffset)
        bytes.append(bigEndian: UInt32(name.count))
        bytes.append(bigEndian: UInt32(shape.clusterBits))
        bytes.append(bigEndian: sizeBytes)
        // No encryption.
        bytes.append(bigEndian: UInt32(0))
        bytes.append(bigEndian: UInt32((sizeBytes + shape.tableSpan - 1) / shape.tableSpan))
        bytes.append(bigEndian: places.l1Table * shape.clusterBytes)
        bytes.append(bigEndian: places.refcountTable * shape.clusterBytes)
        bytes.append(bigEndian: UInt32(places.refcountTableClusters))
        // No snapshots.
        bytes.append(bigEndian: UInt32(0))
        bytes.append(bigEndian: UInt64(0))
        bytes.append(bigEndian: shape.hasSubclusters ? Qcow2Header.Feature.extendedL2.mask : 0)
        // No compatible and no autoclear features.
        bytes.append(bigEndian: UInt64(0))
        bytes.append(bigEndian: UInt64(0))
        bytes.append(bigEndian: Self.refcountOrder)
        bytes.append(bigEndian: Self.headerLength)
        // Clusters would be compressed by deflate.
        bytes.append(bigEndian: UInt64(0))
        return bytes + extensions + name
    }
}

/// Why an image cannot be made.
public enum Qcow2CreationError: Error, Equatable, CustomStringConvertible {
    /// The disk has more than an image of this form can have.
    case tooLarge(UInt64, most: UInt64)
    /// The name of the backing file is empty, or too long.
    case backingName(byteCount: Int)

    /// The mistake, and the right way.
    public var description: String {
        switch self {
        case .tooLarge(let bytes, let most):
            "a disk of \(bytes) bytes is too large for a qcow2 image of this form, which has \(most) at most"
        case .backingName(let count):
            "the name of the backing file has \(count) bytes; a qcow2 image has room for 1 to 1023"
        }
    }
}

extension [UInt8] {
    fileprivate mutating func append(bigEndian number: some FixedWidthInteger) {
        for shift in stride(from: number.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }

    fileprivate mutating func put(_ number: UInt64, at place: Int) {
        for index in 0..<8 { self[place + index] = UInt8(truncatingIfNeeded: number >> UInt64(56 - index * 8)) }
    }

    fileprivate func bigEndian(at place: Int) -> UInt64 {
        self[place..<place + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
