// Why a qcow2 image cannot be read: all of it, or some of its sectors.

/// An image's header keeps it from being opened.
public enum Qcow2Error: Error, Equatable, CustomStringConvertible {
    /// The file does not begin as a qcow2 image does.
    case noMagic
    /// The version is neither 2 nor 3.
    case version(UInt32)
    /// Clusters are smaller than 512 bytes, or larger than 2 MiB; with subclusters, smaller than 16 KiB.
    case clusterBits(UInt32)
    /// The header has fewer bytes than its version's, or more than a cluster.
    case headerLength(UInt64)
    /// A header extension reaches beyond the place for them.
    case extensionLength(type: UInt32, Int)
    /// Refcounts have more than 64 bits.
    case refcountOrder(UInt32)
    /// The data are in another file.
    case externalDataFile
    /// An incompatible feature that is not known here.
    case unknownFeature(bit: Int, name: String)
    /// Compressed clusters are not deflated, or the header contradicts itself about that.
    case compressionType(UInt8)
    /// The data are encrypted.
    case encrypted(UInt32)
    /// The name of its backing file is not to be found in it.
    case backingName
    /// The name of its backing file looks like a protocol's.
    case backingProtocol(String)
    /// The format of its backing file is not said, or cannot be read.
    case backingFormat(String, of: String)
    /// The L1 table is larger than 32 MiB.
    case l1Size(UInt64)
    /// The L1 table does not have all of the disk.
    case l1TooSmall(UInt64, needed: UInt64)
    /// The L1 table is at no cluster's beginning, or where the header is.
    case l1Offset(UInt64)
    /// The L1 table is not all in the file.
    case l1Outside(UInt64, fileBytes: UInt64)
    /// The table of internal snapshots is where none can be, or has more than 65536.
    case snapshotTable(UInt64, count: UInt32)
    /// What it says of an internal snapshot cannot be read, or cannot be; the first one is 1.
    case snapshotEntry(Int, at: UInt64)
    /// No internal snapshot has this name; the ones that there are.
    case noSnapshot(String, [String])
    /// Several have it.
    case severalSnapshots(String, [String])
    /// It is to be written, and its refcounts may be wrong.
    case isDirty
    /// It is to be written, and somebody has found it damaged.
    case isCorrupt
    /// It is to be written, and its refcount table is where none can be.
    case refcountTable(UInt64, clusters: UInt64)

    /// The mistake, and the right way.
    public var description: String {
        switch self {
        case .noMagic: "it does not begin as a qcow2 image does; a raw image is served with --image-format raw"
        case .version(let version): "its version is \(version); versions 2 and 3 can be read"
        case .clusterBits(let bits):
            "its clusters have 2^\(bits) bytes; 2^9 to 2^21 can be read, with subclusters 2^14 to 2^21"
        case .headerLength(let count):
            "its header has \(count) bytes; at least 72 (version 2) or 104 (version 3) are needed, at most a cluster"
        case .extensionLength(let type, let count):
            "its header extension \(hexadecimal(type)) has \(count) bytes, more than there is room for"
        case .refcountOrder(let order): "its refcounts have 2^\(order) bits; at most 2^6 are possible"
        case .externalDataFile:
            "its data are in another file, which is not opened; 'qemu-img convert -O qcow2' makes one file of both"
        case .unknownFeature(let bit, ""): "it uses incompatible feature \(bit), which is not known here"
        case .unknownFeature(let bit, let name):
            "it uses incompatible feature \(bit), '\(name)', which is not known here"
        case .compressionType(1):
            "its clusters are compressed with zstd, and only zlib can be read; "
                + "'qemu-img convert -c -O qcow2' compresses them so"
        case .compressionType(let type):
            "its compression type is \(type), which its incompatible features contradict, or which is not known here"
        case .encrypted(let method): "its data are encrypted (method \(method)), which cannot be read"
        case .backingName: "the name of its backing file is not in its first cluster, or is no text"
        case .backingProtocol(let name):
            "its backing file '\(name)' is named like a protocol, and only files are opened; a file's name is ./\(name)"
        case .backingFormat("", let name):
            "it does not say which format its backing file '\(name)' has: 'qemu-img rebase -u -F FORMAT -b NAME' does"
        case .backingFormat(let format, let name):
            "its backing file '\(name)' has format '\(format)'; raw and qcow2 can be read"
        case .l1Size(let count): "its L1 table has \(count) entries; at most 4194304 are possible"
        case .l1TooSmall(let count, let needed):
            "its L1 table has \(count) entries; a disk of its size needs \(needed)"
        case .l1Offset(let offset): "its L1 table is at byte \(offset), which is no place for it"
        case .l1Outside(let offset, let fileBytes):
            "its L1 table, at byte \(offset), is not all in the file, which has \(fileBytes) bytes"
        case .snapshotTable(let offset, let count):
            "its table of \(count) internal snapshots, at byte \(offset), is no place for it, or too large"
        case .snapshotEntry(let number, let offset):
            "what it says of internal snapshot \(number), at byte \(offset), cannot be read, or cannot be"
        case .noSnapshot(let name, []): "it has no internal snapshot '\(name)', and no other one"
        case .noSnapshot(let name, let others): "it has no internal snapshot '\(name)'; it has \(list(others))"
        case .severalSnapshots(let name, let those):
            "\(those.count) internal snapshots are called '\(name)': \(list(those)); name it by its number"
        case .isDirty: "its refcounts may be wrong: it is marked as dirty"
        case .isCorrupt:
            "it is marked as corrupt, so it is not written before 'qemu-img check -r all' has repaired it; --read-only serves it as it is"
        case .refcountTable(let offset, let clusters):
            "its refcount table, \(clusters) clusters at byte \(offset), is no place for it"
        }
    }
}

/// An impossible entry of an image's tables.
public struct Qcow2Damage: Error, Equatable, Sendable, CustomStringConvertible {
    /// The kinds of damage.
    public enum Kind: Equatable, Sendable {
        /// A table or a cluster begins at no cluster's beginning.
        case misaligned
        /// A table or a cluster begins beyond the end of the file.
        case outside
        /// A compressed cluster begins in the header.
        case inHeader
        /// A zero cluster in an image of version 2, which has none.
        case zeroInVersion2
        /// A subcluster that is stored and zero, or that is stored nowhere.
        case subclusters
        /// The data of a compressed cluster are not those of a cluster.
        case compressedData
        /// What is to be written is a table, or a table is in two places at once.
        case overlap
        /// A cluster that is used is said to be free.
        case refcount
        /// A table cannot be read.
        case unreadable
    }

    /// The kind of this damage.
    public var kind: Kind
    /// Which sectors it concerns: those from this byte of the disk on.
    public var diskOffset: UInt64
    /// Their place in the file, as the table has it.
    public var fileOffset: UInt64
    /// In which file that is: 0, or so many behind it in its chain of backing files.
    public internal(set) var backingFile = 0

    /// Damage.
    public init(kind: Kind, diskOffset: UInt64, fileOffset: UInt64) {
        self.kind = kind
        self.diskOffset = diskOffset
        self.fileOffset = fileOffset
    }

    /// The damage and its place.
    public var description: String {
        backingFile == 0 ? words : words + ", in backing file \(backingFile) of the chain"
    }

    private var words: String {
        let place = "what is said to be at byte \(fileOffset) of the file, for byte \(diskOffset) of the disk,"
        return switch kind {
        case .misaligned: "\(place) begins at no cluster's beginning"
        case .outside: "\(place) is beyond the end of the file"
        case .inHeader: "\(place) would be in the header"
        case .zeroInVersion2: "byte \(diskOffset) of the disk is in a zero cluster, which version 2 does not have"
        case .subclusters: "the subclusters of byte \(diskOffset) of the disk contradict each other"
        case .compressedData: "\(place) is not what a compressed cluster is"
        case .overlap: "\(place) is where a table of the image is"
        case .refcount: "\(place) is said to be used by nobody"
        case .unreadable: "\(place) cannot be read"
        }
    }
}

/// The first ones, and how many there are beside them.
private func list(_ names: [String]) -> String {
    let shown = 8
    let rest = names.count - shown
    return names.prefix(shown).joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
}

private func hexadecimal(_ number: UInt32) -> String { "0x" + String(number, radix: 16) }
