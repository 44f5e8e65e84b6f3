// The format of a recording (docs/recordings.md): a header of 4096 bytes, and an entry for each command. All numbers
// are little-endian.

/// What a recording says of the drive at its beginning.
public struct RecordingHeader: Equatable, Sendable {
    /// How many bytes it has.
    public static let byteCount = 4096
    /// `SPINDREC`
    static let magic: UInt64 = 0x4345_5244_4E49_5053
    static let version: UInt32 = 1
    /// The room for the base's name.
    public static let maximumNameBytes = 3072
    private static let nameOffset = 64
    private static let checksumOffset = byteCount - 8

    /// The state of the disk before the first entry.
    public enum Base: Equatable, Sendable {
        /// All zeroes.
        case zeroes
        /// That of an image, which the recorded drive does not write to.
        case image(path: String, isQcow2: Bool)
        /// That of an image which the recorded drive has changed: a copy from before is needed.
        case changed(path: String)
    }

    /// The drive's logical sector.
    public var blockSize: BlockSize
    /// Logical sectors in a physical one.
    public var sectorsPerPhysical: UInt64
    /// The size of the drive.
    public var sectors: UInt64
    /// When it began, in nanoseconds since 1970.
    public var began: UInt64
    /// What it began with.
    public var base: Base

    /// A header.
    public init(blockSize: BlockSize, sectorsPerPhysical: UInt64, sectors: UInt64, began: UInt64, base: Base) {
        self.blockSize = blockSize
        self.sectorsPerPhysical = sectorsPerPhysical
        self.sectors = sectors
        self.began = began
        self.base = base
    }

    /// The bytes of the header; nil if the name of the base is too long.
    public var bytes: [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        let (kind, path): (UInt32, String) =
            switch base {
            case .zeroes: (0, "")
            case .image(let path, isQcow2: false): (1, path)
            case .image(let path, isQcow2: true): (2, path)
            case .changed(let path): (3, path)
            }
        let name = Array(path.utf8)
        guard name.count <= Self.maximumNameBytes else { return nil }
        bytes.put(Self.magic, at: 0)
        bytes.put(Self.version, at: 8)
        bytes.put(UInt32(blockSize.bytes), at: 12)
        bytes.put(UInt32(sectorsPerPhysical), at: 16)
        bytes.put(kind, at: 20)
        bytes.put(sectors, at: 24)
        bytes.put(began, at: 32)
        bytes.put(UInt32(name.count), at: 40)
        bytes.replaceSubrange(Self.nameOffset..<Self.nameOffset + name.count, with: name)
        bytes.put(Self.checksum(bytes), at: Self.checksumOffset)
        return bytes
    }

    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        var checksum = CRC32()
        unsafe bytes.withUnsafeBytes { unsafe checksum.add(UnsafeRawBufferPointer(rebasing: $0[..<checksumOffset])) }
        return checksum.value
    }

    /// Reads a header.
    public init(_ bytes: [UInt8]) throws(RecordingError) {
        guard bytes.count >= Self.byteCount, bytes.number(at: 0) == Self.magic else { throw .noRecording }
        let version: UInt32 = bytes.number(at: 8)
        guard version == Self.version else { throw .version(version) }
        let sectorsPerPhysical: UInt32 = bytes.number(at: 16)
        let (kind, count): (UInt32, UInt32) = (bytes.number(at: 20), bytes.number(at: 40))
        guard bytes.number(at: Self.checksumOffset) == Self.checksum(bytes),
            let blockSize = BlockSize(bytes: bytes.number(at: 12)), (1...4096).contains(sectorsPerPhysical),
            count <= Self.maximumNameBytes,
            let name = String(
                validating: bytes[Self.nameOffset..<Self.nameOffset + Int(count)], as: UTF8.self)
        else { throw .header }
        self.blockSize = blockSize
        self.sectorsPerPhysical = UInt64(sectorsPerPhysical)
        sectors = bytes.number(at: 24)
        began = bytes.number(at: 32)
        guard sectors <= UInt64(Int64.max) / blockSize.bytes else { throw .header }
        switch kind {
        case 0: base = .zeroes
        case 1: base = .image(path: name, isQcow2: false)
        case 2: base = .image(path: name, isQcow2: true)
        case 3: base = .changed(path: name)
        default: throw .header
        }
    }
}

/// A command that the drive has executed, in the order of their ends.
public struct RecordingEntry: Equatable, Sendable {
    /// What stands in front of its data.
    public static let headerBytes = 64
    /// `SREC`
    private static let magic: UInt64 = 0x4345_5253

    /// The kinds of commands.
    public enum Kind: UInt8, Sendable {
        /// Its data follow.
        case write = 1
        /// The sectors read as zeroes from here on.
        case zeroes = 2
        /// The sectors are not needed any more. They read as zeroes, too.
        case trim = 3
        /// The first ``RecordingEntry/covered`` entries are stable: a power cut cannot lose them.
        case flush = 4

        /// The word for it.
        public var name: String {
            switch self {
            case .write: "write"
            case .zeroes: "zeroes"
            case .trim: "trim"
            case .flush: "flush"
            }
        }
    }

    /// Its place in the order, from 1.
    public var number: UInt64
    /// Its kind.
    public var kind: Kind
    /// Its sectors; of a flush none.
    public var sectors: Range<UInt64>
    /// Of a flush: how many entries there were when it came.
    public var covered: UInt64
    /// Whose it was: a number that the server has for the connection.
    public var client: UInt64
    /// When it came, in nanoseconds since the recording's beginning.
    public var nanoseconds: UInt64

    /// A command.
    public init(
        number: UInt64, kind: Kind, sectors: Range<UInt64> = 0..<0, covered: UInt64 = 0, client: UInt64 = 0,
        nanoseconds: UInt64 = 0
    ) {
        self.number = number
        self.kind = kind
        self.sectors = sectors
        self.covered = covered
        self.client = client
        self.nanoseconds = nanoseconds
    }

    /// How many bytes of data follow.
    public func dataBytes(_ blockSize: BlockSize) -> UInt64 {
        kind == .write ? blockSize.bytes(ofBlocks: UInt64(sectors.count)) : 0
    }

    /// Its header, in words, with the checksum of it and the data behind it.
    func words(data: UnsafeRawBufferPointer) -> [8 of UInt64] {
        var words: [8 of UInt64] = [
            0, number, nanoseconds, client, sectors.lowerBound, UInt64(sectors.count), covered,
            UInt64(kind.rawValue),
        ]
        for index in words.indices { words[index] = words[index].littleEndian }
        var checksum = CRC32()
        unsafe withUnsafeBytes(of: words) {
            unsafe checksum.add(UnsafeRawBufferPointer(rebasing: $0[Self.checksumEnd...]))
        }
        unsafe checksum.add(data)
        words[0] = (Self.magic | UInt64(checksum.value) << 32).littleEndian
        return words
    }

    /// Reads a header; nil if it is none, or cannot be what comes next.
    ///
    /// - Parameter number: the number that it has to have.
    public init?(_ bytes: [UInt8], number: UInt64, in header: RecordingHeader) {
        guard bytes.count >= Self.headerBytes else { return nil }
        func word(_ index: Int) -> UInt64 { bytes.number(at: index * 8) }
        guard word(0) & 0xFFFF_FFFF == Self.magic, word(1) == number, word(7) <= 0xFF,
            let kind = Kind(rawValue: UInt8(word(7)))
        else { return nil }
        let (first, count) = (word(4), word(5))
        guard first <= header.sectors, count <= header.sectors - first, (kind == .flush) == (count == 0),
            word(6) < number
        else { return nil }
        self.init(
            number: number, kind: kind, sectors: first..<first + count, covered: word(6), client: word(3),
            nanoseconds: word(2))
    }

    /// Where in a header that begins which the checksum is of: all behind it, and the data.
    public static let checksumEnd = 8

    /// The checksum in a header.
    public static func checksum(in bytes: [UInt8]) -> UInt32 { bytes.number(at: 4) }
}

/// Why a file is no recording.
public enum RecordingError: Error, Equatable, CustomStringConvertible {
    /// It does not begin as one.
    case noRecording
    /// It has a version that is not known here.
    case version(UInt32)
    /// Its header contradicts itself.
    case header

    /// The mistake, and the right way.
    public var description: String {
        switch self {
        case .noRecording: "it is no recording of Spindle: 'record' of an export makes one"
        case .version(let version): "its version is \(version); only version \(RecordingHeader.version) is known here"
        case .header: "its header is damaged"
        }
    }
}

extension [UInt8] {
    fileprivate mutating func put(_ number: some FixedWidthInteger, at place: Int) {
        unsafe Swift.withUnsafeBytes(of: number.littleEndian) {
            unsafe replaceSubrange(place..<place + $0.count, with: $0)
        }
    }

    fileprivate func number<Number: FixedWidthInteger>(at place: Int) -> Number {
        unsafe withUnsafeBytes {
            unsafe Number(littleEndian: $0.loadUnaligned(fromByteOffset: place, as: Number.self))
        }
    }
}
