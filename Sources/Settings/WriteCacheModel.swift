// Where what a drive has answered is until it is flushed.

import Backends

/// How the write cache of a drive behaves.
public enum WriteCacheModel: Equatable, Sendable {
    /// An answered write is in the image: the cache is the page cache of this machine.
    case image
    /// It is in the drive, in so many bytes, until it is flushed; a power cut loses it.
    case volatile(cacheBytes: Int)

    /// The size of `volatile` alone: as much as disks of a few terabytes have.
    private static let standardBytes = 8 << 20
    /// The sizes that a cache may have.
    static let sizes = 1 << 16...1 << 28

    /// Reads `image`, `volatile` or `volatile:SIZE`.
    public init(parsing text: String) throws {
        let words = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        switch (words[0], words.count) {
        case ("image", 1): self = .image
        case ("volatile", 1): self = .volatile(cacheBytes: Self.standardBytes)
        case ("volatile", 2):
            let bytes = try ImageReference.sizeBytes(String(words[1]))
            guard bytes <= Self.sizes.upperBound, bytes >= Self.sizes.lowerBound, bytes % 4096 == 0 else {
                throw SettingsError(
                    "'\(words[1])' is no size of a write cache: it has 64K to 256M, in whole pages of 4096 bytes")
            }
            self = .volatile(cacheBytes: Int(bytes))
        default:
            throw BadValue(text, "model of a write cache", allowed: ["image", "volatile", "volatile:SIZE"])
        }
    }
}
