// What is left of an ATA command once the drive has checked it: work for the medium, and how it ended.

/// Work that the drive asks of its medium. Addresses and counts are in logical sectors of 512 bytes and always inside
/// the medium.
public enum MediaOperation: Equatable, Sendable {
    /// Read `count` sectors from `lba` on into the command's data buffer.
    case read(lba: UInt64, count: UInt32)
    /// Write `count` sectors of the command's data from `lba` on.
    case write(lba: UInt64, count: UInt32)
    /// Everything whose write was answered reaches stable storage.
    case flush
    /// The content of these sectors is no longer needed.
    case discard(lba: UInt64, count: UInt32)
    /// Bring these sectors closer; nothing is transferred.
    case prefetch(lba: UInt64, count: UInt32)
}

/// How a ``MediaOperation`` ended.
public enum MediaOutcome: Equatable, Sendable {
    /// All of it was done.
    case done
    /// It failed, after so many sectors had been read or written. What a failed write left on the others is undefined.
    case failed(MediaError, afterSectors: UInt32 = 0)
}

/// Why a ``MediaOperation`` failed. The drive has one error register for most of these; the reason travels beside the
/// registers as sense data (ACS-4 4.22, Sense Data Reporting).
public enum MediaError: Equatable, Sendable {
    /// The sectors cannot be read or written.
    case unrecovered
    /// The image needs space that its file system does not have.
    case noSpace
    /// The medium is write-protected.
    case writeProtected
}
