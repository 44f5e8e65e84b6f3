// The header of a qcow2 image (QEMU, docs/interop/qcow2.txt, "Header"): where its tables are, if it can be read at all.

/// The header of a qcow2 image, checked: every number here is within its bounds.
public struct Qcow2Header: Equatable, Sendable {
    /// So much of an image's beginning is enough for its header.
    public static let byteCount = 1 << 16
    /// The most that a table of L1 entries has, as in QEMU.
    static let maximumL1Bytes: UInt64 = 1 << 25
    /// The most that a refcount table has, as in QEMU.
    static let maximumRefcountTableBytes: UInt64 = 1 << 23
    private static let clusterBitsRange: ClosedRange<UInt32> = 9...21
    /// 32 subclusters of at least 512 bytes.
    private static let leastClusterBitsWithSubclusters: UInt32 = 14
    static let magic: UInt32 = 0x5146_49FB
    private static let lengthOfVersion2 = 72
    private static let leastLengthOfVersion3 = 104

    /// 2 or 3.
    let version: UInt32
    /// A cluster has 1 << clusterBits bytes.
    let clusterBits: UInt64
    /// The size of the disk in bytes.
    public private(set) var sizeBytes: UInt64
    /// Where the active L1 table is.
    private(set) var l1TableOffset: UInt64
    /// So many of its entries are there.
    private(set) var l1EntryCount: UInt64
    /// Where the refcount table is, and how many clusters it has.
    var refcountTableOffset: UInt64
    var refcountTableClusters: UInt64
    /// Refcounts have 1 << refcountOrder bits.
    let refcountOrder: UInt64
    /// How large the file is.
    var fileBytes: UInt64
    /// The file with the sectors that it has not; nil: none.
    public let backing: Backing?
    /// What its backing file, that one's and so on were when it was made; empty if nobody says.
    public let stamps: [BackingStamp]
    /// Where in the file these begin; nil: nowhere.
    public let stampsOffset: UInt64?
    /// How many internal snapshots it has.
    public let snapshotCount: UInt32
    /// Where the table of these begins.
    let snapshotsOffset: UInt64
    /// It has dirty bitmaps, which are kept.
    let hasBitmaps: Bool
    /// L2 entries have a bitmap of 32 subclusters (Extended L2 Entries).
    let hasSubclusters: Bool
    fileprivate let incompatibleFeatures: UInt64
    /// What a writer has to clear, unless it sees to it.
    let autoclearFeatures: UInt64

    /// A backing file, as an image names it.
    public struct Backing: Equatable, Sendable {
        /// Its name. It is nothing but a file's, and begins at the image's folder.
        public var name: String
        /// It is a qcow2 image itself, or raw.
        public var isQcow2: Bool

        /// A backing file.
        public init(name: String, isQcow2: Bool) {
            self.name = name
            self.isQcow2 = isQcow2
        }

        /// A backing file as an image in a folder names it: alone if it is in the same one.
        ///
        /// - Parameters:
        ///   - path: its path, which says the same in any folder.
        ///   - folder: the image's, in the same form; nil: it is not known.
        public init(path: String, isQcow2: Bool, fromFolder folder: String?) {
            let slash = path.lastIndex(of: "/") ?? path.startIndex
            let own = slash == path.startIndex ? "/" : String(path[..<slash])
            self.init(name: own == folder ? String(path[path.index(after: slash)...]) : path, isQcow2: isQcow2)
        }
    }

    /// A sign of what a file was: whoever writes to it changes that. A header extension that only Spindle knows has one
    /// for each backing file of the chain (docs/images.md).
    public struct BackingStamp: Equatable, Sendable {
        /// How many bytes of the extension it takes.
        public static let byteCount = 24
        /// Of a file that the overlay's changes are just being brought to: all zeroes.
        public static let unsaid = BackingStamp(sizeBytes: 0, seconds: 0, nanoseconds: 0)

        /// The size of the file in bytes.
        public var sizeBytes: UInt64
        /// When it was written last, in seconds since 1970; 0 of what does not say that.
        public var seconds: Int64
        /// Beyond the seconds.
        public var nanoseconds: UInt32

        /// A sign.
        public init(sizeBytes: UInt64, seconds: Int64, nanoseconds: UInt32) {
            self.sizeBytes = sizeBytes
            self.seconds = seconds
            self.nanoseconds = nanoseconds
        }
    }

    /// The autoclear feature that the bitmaps extension is up to date.
    private static let bitmapsFeature: UInt64 = 1
    /// The header extension that says where dirty bitmaps are.
    static let bitmapsName: UInt32 = 0x2385_2875
    /// The header extension with the format of the backing file.
    static let backingFormatName: UInt32 = 0xE279_2ACA
    /// The one with a ``BackingStamp`` for each backing file: `SPBS`.
    static let backingStampsName: UInt32 = 0x5350_4253

    /// Reads and checks a header.
    ///
    /// - Parameters:
    ///   - bytes: the beginning of the file: all of it, or ``byteCount`` bytes.
    ///   - fileBytes: how many bytes the file has.
    public init(_ bytes: [UInt8], fileBytes: UInt64) throws(Qcow2Error) {
        guard bytes.count >= Self.lengthOfVersion2, bytes.number32(at: 0) == Self.magic else { throw .noMagic }
        version = bytes.number32(at: 4)
        guard version == 2 || version == 3 else { throw .version(version) }
        let clusterBits = bytes.number32(at: 20)
        guard Self.clusterBitsRange.contains(clusterBits) else { throw .clusterBits(clusterBits) }
        let fields = try Fields(bytes, isVersion3: version == 3)
        guard fields.length <= 1 << clusterBits, fields.length <= bytes.count else {
            throw .headerLength(UInt64(fields.length))
        }
        incompatibleFeatures = fields.incompatibleFeatures
        autoclearFeatures = fields.autoclearFeatures
        refcountOrder = fields.refcountOrder
        refcountTableOffset = bytes.number64(at: 48)
        refcountTableClusters = UInt64(bytes.number32(at: 56))
        snapshotCount = bytes.number32(at: 60)
        snapshotsOffset = bytes.number64(at: 64)
        l1EntryCount = UInt64(bytes.number32(at: 36))
        hasSubclusters = fields.incompatibleFeatures & Feature.extendedL2.mask != 0
        guard !hasSubclusters || clusterBits >= Self.leastClusterBitsWithSubclusters else {
            throw .clusterBits(clusterBits)
        }
        self.clusterBits = UInt64(clusterBits)
        sizeBytes = bytes.number64(at: 24)
        l1TableOffset = bytes.number64(at: 40)
        self.fileBytes = fileBytes
        let extensions = try HeaderExtensions(bytes, from: fields.length, clusterBytes: 1 << clusterBits)
        try Self.checkFeatures(fields, extensions)
        let cryptMethod = bytes.number32(at: 32)
        guard cryptMethod == 0 else { throw .encrypted(cryptMethod) }
        backing = try Self.backing(bytes, extensions, clusterBytes: 1 << clusterBits)
        stamps = extensions.stamps
        stampsOffset = extensions.stampsOffset
        hasBitmaps = extensions.hasBitmaps && autoclearFeatures & Self.bitmapsFeature != 0
        try checkL1Table()
    }

    /// The same image with another disk in it, which has to be there.
    func header(sizeBytes: UInt64, l1TableOffset: UInt64, l1EntryCount: UInt64) throws(Qcow2Error) -> Qcow2Header {
        var other = self
        other.sizeBytes = sizeBytes
        other.l1TableOffset = l1TableOffset
        other.l1EntryCount = l1EntryCount
        try other.checkL1Table()
        return other
    }

    /// A bit of the incompatible features.
    enum Feature: UInt64 {
        case dirty = 0
        case corrupt = 1
        case externalDataFile = 2
        case compressionType = 3
        case extendedL2 = 4

        var mask: UInt64 { 1 << rawValue }
        /// Those that do not keep a reader away: refcounts are no concern of it, and QEMU reads a corrupt image, too.
        static let readable = dirty.mask | corrupt.mask | compressionType.mask | extendedL2.mask
    }

    /// The fields in which versions differ.
    private struct Fields {
        var incompatibleFeatures: UInt64 = 0
        var autoclearFeatures: UInt64 = 0
        var refcountOrder: UInt64 = 4
        var length = Qcow2Header.lengthOfVersion2
        var compressionType: UInt8 = 0

        init(_ bytes: [UInt8], isVersion3: Bool) throws(Qcow2Error) {
            guard isVersion3 else { return }
            guard bytes.count >= Qcow2Header.leastLengthOfVersion3 else { throw .headerLength(UInt64(bytes.count)) }
            incompatibleFeatures = bytes.number64(at: 72)
            let refcountOrder = bytes.number32(at: 96)
            guard refcountOrder <= 6 else { throw .refcountOrder(refcountOrder) }
            self.refcountOrder = UInt64(refcountOrder)
            autoclearFeatures = bytes.number64(at: 88)
            let length = bytes.number32(at: 100)
            guard length >= Qcow2Header.leastLengthOfVersion3, length <= Qcow2Header.byteCount else {
                throw .headerLength(UInt64(length))
            }
            self.length = Int(length)
            // A field that the header ends before is zero.
            if length > 104, bytes.count > 104 { compressionType = bytes[104] }
        }
    }

    private static func checkFeatures(_ fields: Fields, _ extensions: HeaderExtensions) throws(Qcow2Error) {
        guard fields.incompatibleFeatures & Feature.externalDataFile.mask == 0 else { throw .externalDataFile }
        let unknown = fields.incompatibleFeatures & ~Feature.readable
        guard unknown == 0 else {
            let bit = unknown.trailingZeroBitCount
            throw .unknownFeature(bit: bit, name: extensions.name(ofIncompatible: bit))
        }
        let saysType = fields.incompatibleFeatures & Feature.compressionType.mask != 0
        guard saysType == (fields.compressionType != 0), fields.compressionType == 0 else {
            throw .compressionType(fields.compressionType)
        }
    }

    /// All of the disk is in the table, and all of the table in the file.
    private func checkL1Table() throws(Qcow2Error) {
        let entryCount = l1EntryCount
        guard entryCount * 8 <= Self.maximumL1Bytes else { throw .l1Size(entryCount) }
        let spanBits = clusterBits + l2EntryBits
        let needed = sizeBytes >> spanBits + (sizeBytes & (1 << spanBits - 1) == 0 ? 0 : 1)
        guard needed <= entryCount else { throw .l1TooSmall(entryCount, needed: needed) }
        guard needed > 0 else { return }
        guard l1TableOffset & (clusterBytes - 1) == 0, l1TableOffset != 0 else { throw .l1Offset(l1TableOffset) }
        guard l1TableOffset < fileBytes, needed * 8 <= fileBytes - l1TableOffset else {
            throw .l1Outside(l1TableOffset, fileBytes: fileBytes)
        }
    }

    /// Checks what only a writer needs.
    public func checkWritable() throws(Qcow2Error) {
        guard incompatibleFeatures & Feature.corrupt.mask == 0 else { throw .isCorrupt }
        guard incompatibleFeatures & Feature.dirty.mask == 0 else { throw .isDirty }
        let tableBytes = refcountTableClusters << clusterBits
        guard tableBytes > 0, tableBytes <= max(Self.maximumRefcountTableBytes, clusterBytes),
            refcountTableOffset & (clusterBytes - 1) == 0, refcountTableOffset != 0, refcountTableOffset < fileBytes,
            tableBytes < fileBytes - refcountTableOffset + clusterBytes, !l1Table.overlaps(refcountTable)
        else { throw .refcountTable(refcountTableOffset, clusters: refcountTableClusters) }
    }

    /// A name with a colon before its first slash would be a protocol's for QEMU, which writes `./` before a file's.
    private static func backing(
        _ bytes: [UInt8], _ extensions: HeaderExtensions, clusterBytes: Int
    ) throws(Qcow2Error) -> Backing? {
        let (start, count) = (bytes.number64(at: 8), Int(bytes.number32(at: 16)))
        guard start != 0 else { return nil }
        let end = min(clusterBytes, bytes.count)
        guard let first = Int(exactly: start), first < end, (1...1023).contains(count), count <= end - first,
            let name = String(validating: bytes[first..<first + count], as: UTF8.self), !name.utf8.contains(0)
        else { throw .backingName }
        guard !name.prefix(while: { $0 != "/" }).contains(":") else { throw .backingProtocol(name) }
        switch extensions.backingFormat {
        case "raw": return Backing(name: name, isQcow2: false)
        case "qcow2": return Backing(name: name, isQcow2: true)
        case let format: throw .backingFormat(format, of: name)
        }
    }
}

/// Consequences of the header's numbers.
extension Qcow2Header {
    /// The size of a cluster.
    public var clusterBytes: UInt64 { 1 << clusterBits }

    /// Where the active L1 table is, in bytes of the file.
    var l1Table: Range<UInt64> {
        sizeBytes == 0 ? 0..<0 : l1TableOffset..<l1TableOffset + l1EntryCount * 8
    }

    /// Its refcounts may be wrong, and nobody has found anything else that is.
    public var needsRepair: Bool {
        incompatibleFeatures & (Feature.dirty.mask | Feature.corrupt.mask) == Feature.dirty.mask
    }

    /// What the incompatible features are when the refcounts are right.
    var cleanFeatures: UInt64 { incompatibleFeatures & ~Feature.dirty.mask }

    /// Where the refcount table is.
    var refcountTable: Range<UInt64> {
        refcountTableOffset..<refcountTableOffset + refcountTableClusters << clusterBits
    }

    /// Whether bytes of the file are the header's, or those of a table whose place it has.
    func isOwn(_ range: Range<UInt64>) -> Bool {
        range.lowerBound < clusterBytes || range.overlaps(l1Table) || range.overlaps(refcountTable)
    }

    /// How many refcounts a refcount block has.
    var refcountsPerBlock: UInt64 { (clusterBytes * 8) >> refcountOrder }

    /// Where in its refcount block a cluster's refcount is.
    func refcountByte(of cluster: UInt64) -> UInt64 { ((cluster % refcountsPerBlock) << refcountOrder) / 8 }

    /// An L2 entry has so many bytes.
    var l2EntryBytes: UInt64 { hasSubclusters ? 16 : 8 }

    /// An L2 table has 1 << l2EntryBits entries.
    var l2EntryBits: UInt64 { clusterBits - (hasSubclusters ? 4 : 3) }

    /// The unit of allocation: a cluster, or one of its 32 subclusters.
    var unitBytes: UInt64 { hasSubclusters ? clusterBytes >> 5 : clusterBytes }
}

/// The header extensions: the names of features that are unknown here (qcow2.txt, "Feature name table"), the format of
/// the backing file, and what backing files were.
private struct HeaderExtensions {
    private static let featureNameTable: UInt32 = 0x6803_F857
    private static let entryBytes = 48
    private let bytes: [UInt8]
    private var table = 0..<0
    /// Empty if nobody says it.
    private(set) var backingFormat = ""
    private(set) var stamps: [Qcow2Header.BackingStamp] = []
    private(set) var stampsOffset: UInt64?
    private(set) var hasBitmaps = false

    /// Goes through the extensions. They end before the name of the backing file, or with the first cluster.
    init(_ bytes: [UInt8], from start: Int, clusterBytes: Int) throws(Qcow2Error) {
        self.bytes = bytes
        let nameOffset = bytes.number64(at: 8)
        var end = min(clusterBytes, bytes.count)
        if nameOffset != 0 { end = Int(min(UInt64(end), nameOffset)) }
        var place = start
        while place + 8 <= end {
            let type = bytes.number32(at: place)
            guard type != 0 else { return }
            let count = Int(bytes.number32(at: place + 4))
            place += 8
            guard count <= end - place else { throw .extensionLength(type: type, count) }
            switch type {
            case Self.featureNameTable: table = place..<place + count
            case Qcow2Header.backingFormatName:
                backingFormat = String(decoding: bytes[place..<place + count], as: UTF8.self)
            case Qcow2Header.bitmapsName: hasBitmaps = true
            case Qcow2Header.backingStampsName:
                stamps = Self.stamps(bytes, place..<place + count)
                stampsOffset = UInt64(place)
            default: break
            }
            place += (count + 7) & ~7
        }
    }

    private static func stamps(_ bytes: [UInt8], _ range: Range<Int>) -> [Qcow2Header.BackingStamp] {
        let step = Qcow2Header.BackingStamp.byteCount
        return stride(from: range.lowerBound, to: range.upperBound - step + 1, by: step).map { place in
            Qcow2Header.BackingStamp(
                sizeBytes: bytes.number64(at: place), seconds: Int64(bitPattern: bytes.number64(at: place + 8)),
                nanoseconds: UInt32(clamping: bytes.number64(at: place + 16)))
        }
    }

    /// The name of an incompatible feature; empty if nobody says.
    func name(ofIncompatible bit: Int) -> String {
        for start in stride(from: table.lowerBound, to: table.upperBound, by: Self.entryBytes) {
            guard table.upperBound - start >= Self.entryBytes else { break }
            if bytes[start] == 0, bytes[start + 1] == bit {
                let name = bytes[start + 2..<start + Self.entryBytes].prefix { $0 != 0 }
                return String(decoding: name, as: UTF8.self)
            }
        }
        return ""
    }
}

extension [UInt8] {
    /// A number in a header, all of which is there.
    func number16(at place: Int) -> UInt16 { UInt16(self[place]) << 8 | UInt16(self[place + 1]) }

    func number32(at place: Int) -> UInt32 {
        self[place..<place + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }

    func number64(at place: Int) -> UInt64 {
        self[place..<place + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
