// The names of images that a user may give: a path, `overlay:PATH`, `memory:SIZE` or `null:SIZE`.

/// An image as the command line names it. Nothing is opened here.
public enum ImageReference: Equatable, Sendable {
    /// A file or a block device.
    case file(path: String)
    /// An image in memory, all zeroes at first.
    case memory(sizeBytes: UInt64)
    /// An image that is nowhere: reads give zeroes, writes are forgotten.
    case null(sizeBytes: UInt64)
    /// A file that is only read, and what is written above it, in memory.
    case overlay(path: String)

    /// An address in a 48-bit command reaches this many sectors of 512 bytes (ACS-4 4.1.1).
    public static let maximumSectors: UInt64 = 1 << 48

    /// The unit `s` of a size, as in truncate(1) and fdisk(8), whatever the size of a drive's blocks.
    private static let sectorBytes: UInt64 = 512
    private static let overlayPrefix = "overlay:"

    /// Takes a name apart. A file whose name begins like one of the other kinds is written with its folder,
    /// `./memory:1`.
    public init(parsing text: String) throws(ImageReferenceError) {
        if text.hasPrefix("memory:") {
            self = .memory(sizeBytes: try Self.sizeBytes(text, prefix: "memory:"))
        } else if text.hasPrefix("null:") {
            self = .null(sizeBytes: try Self.sizeBytes(text, prefix: "null:"))
        } else if text.hasPrefix(Self.overlayPrefix) {
            let path = String(text.dropFirst(Self.overlayPrefix.count))
            guard !path.isEmpty else { throw .noBase }
            guard !path.hasPrefix("memory:"), !path.hasPrefix("null:"), !path.hasPrefix("dir:") else {
                throw .baseIsNoFile(path)
            }
            self = .overlay(path: path)
        } else if text.hasPrefix("dir:") {
            throw .directory(text)
        } else if text.isEmpty {
            throw .empty
        } else {
            self = .file(path: text)
        }
    }

    /// Its name in messages.
    public var name: String {
        switch self {
        case .file(let path): path
        case .memory(let sizeBytes): "memory:\(sizeBytes)"
        case .null(let sizeBytes): "null:\(sizeBytes)"
        case .overlay(let path): Self.overlayPrefix + path
        }
    }

    /// The file that it names; nil: none.
    public var path: String? {
        switch self {
        case .file(let path), .overlay(let path): path
        case .memory, .null: nil
        }
    }

    /// Changes are kept beside its file.
    public var isOverlay: Bool {
        if case .overlay = self { true } else { false }
    }

    /// The same with its file elsewhere.
    public func at(path: String) -> ImageReference {
        switch self {
        case .file: .file(path: path)
        case .overlay: .overlay(path: path)
        case .memory, .null: self
        }
    }

    /// A size behind a prefix: bytes, sectors with `s`, or a power of 1024 with K, M, G, T or P.
    public static func sizeBytes(_ text: String, prefix: String = "") throws(ImageReferenceError) -> UInt64 {
        let units: [Character: UInt64] = [
            "s": sectorBytes, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50,
        ]
        let size = text.dropFirst(prefix.count)
        let unit = size.last.flatMap { $0.isASCII ? units[Character($0.lowercased())] : nil }
        let digits = unit == nil ? size : size.dropLast()
        guard let count = UInt64(digits), digits.first != "+" else { throw .badSize(text, prefix: prefix) }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: unit ?? 1)
        guard !overflow, bytes <= maximumSectors * sectorBytes else { throw .tooLarge(text) }
        return bytes
    }
}

/// Mistakes in the name of an image.
public enum ImageReferenceError: Error, Equatable, CustomStringConvertible {
    /// There is no name.
    case empty
    /// All files of a directory are no image.
    case directory(String)
    /// An overlay has nothing below it.
    case noBase
    /// What is below an overlay is said to be in memory, nowhere, or many.
    case baseIsNoFile(String)
    /// The text behind `memory:` or `null:` is no size.
    case badSize(String, prefix: String)
    /// The size is beyond the last sector that an ATA drive can address.
    case tooLarge(String)
    /// The size is beyond the last block that a DVD-ROM can address.
    case tooLargeForDisc(String)

    /// The mistake, and the right way.
    public var description: String {
        switch self {
        case .empty:
            "the name of the image is empty: give a path, overlay:PATH, memory:SIZE or null:SIZE"
        case .directory(let text):
            "'\(text)' is no image: dir: is for 'spindle serve', and a [[directory]] does the same in a file; "
                + "a file of that name is ./\(text)"
        case .noBase:
            "'overlay:' has no image below it: write it as overlay:PATH; a file of that name is ./overlay:"
        case .baseIsNoFile(let path):
            "'overlay:\(path)' is above no file: what is below an overlay is a file or a block device, overlay:PATH. Without "
                + "'overlay:', memory:SIZE is a fresh disk already; a file of that name is overlay:./\(path)"
        case .badSize(let text, let prefix):
            "'\(text)' has no size: write it as \(prefix)64M, \(prefix)3G, \(prefix)6291456s (sectors) or in bytes"
                + (prefix.isEmpty ? "" : "; a file of that name is ./\(text)")
        case .tooLarge(let text):
            "'\(text)' is too large: an ATA drive has at most 2^48 sectors of 512 bytes, 128P"
        case .tooLargeForDisc(let text):
            "'\(text)' is too large: a DVD-ROM has at most 2^32 blocks of 2048 bytes, 8T"
        }
    }
}
