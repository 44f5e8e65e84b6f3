// A drive's request to its blocks once it has checked a command, and how that ended. The drive does not know what its
// blocks are: a file, memory, or layers above one of these.

/// Work that the drive asks of its blocks. Addresses and counts are in the drive's logical blocks and always inside the
/// drive.
public enum BlockRequest: Equatable, Sendable {
    /// Read `count` blocks from `lba` on into the command's data buffer.
    case read(lba: UInt64, count: UInt32)
    /// Write `count` blocks of the command's data from `lba` on.
    case write(lba: UInt64, count: UInt32)
    /// Everything whose write was answered reaches stable storage.
    case flush
    /// The content of these blocks is no longer needed.
    case discard(lba: UInt64, count: UInt32)
    /// Store zeroes over these blocks, which may lose their space if so said; nothing is transferred.
    case zeroes(lba: UInt64, count: UInt32, mayDeallocate: Bool)
    /// Bring these blocks closer; nothing is transferred.
    case prefetch(lba: UInt64, count: UInt32)
}

/// How a ``BlockRequest`` or a ``BackendRequest`` ended.
public enum BlockOutcome: Equatable, Sendable {
    /// All of it was done.
    case done
    /// It failed, after so many bytes had been read or written. A failed write leaves the rest undefined.
    case failed(BlockFailure, afterBytes: UInt64 = 0)
}

/// Why blocks failed. The drive has one error register for most of these; the reason travels beside the registers as
/// sense data (ACS-4 4.22, Sense Data Reporting).
public enum BlockFailure: Equatable, Sendable {
    /// They cannot be read or written.
    case unrecovered
    /// The image needs space that its file system does not have.
    case noSpace
    /// They are write-protected.
    case writeProtected
}
