// How a simulated kernel behaves: what it delays, splits and lets fail, in parts of a million.

/// Chances, and bounds of delays in nanoseconds of the simulated clock.
public struct Behaviour: Sendable {
    /// A transfer of a file does less than it could.
    public var shortFileTransfers = 0
    /// So many bytes are a whole number of units in any case: nothing is torn inside of one.
    public var transferUnitBytes = 1
    /// A socket gives or takes less than it could.
    public var shortSocketTransfers = 0
    /// A READ of a file fails with EIO.
    public var failedReads = 0
    /// A WRITE fails, with EIO or ENOSPC, after none or some of its bytes.
    public var failedWrites = 0
    /// An FALLOCATE fails with EIO.
    public var failedAllocations = 0
    /// What was written since the last FSYNC cannot be written back.
    public var failedFlushes = 0
    /// The file system has no holes: FALLOCATE answers EOPNOTSUPP.
    public var lacksHoles = false
    /// The file system cannot zero ranges that keep their space.
    public var lacksZeroRanges = false
    /// A connection is reset while it receives.
    public var resets = 0
    /// An accept ends with EMFILE.
    public var failedAccepts = 0
    /// A multishot operation ends with a good completion, as it does when the completion queue is full.
    public var endedMultishots = 0
    /// A multishot receive sleeps on when the end comes together with the last bytes (axboe/liburing issue 1549).
    public var missedEnds = 0
    /// An operation on a file is done at the earliest after so long.
    public var fileDelay: ClosedRange<UInt64> = 0...0
    /// So many of them are slow.
    public var slowFileOperations = 0
    /// And take this long.
    public var slowFileDelay: ClosedRange<UInt64> = 0...0
    /// What is no operation on a file.
    public var otherDelay: ClosedRange<UInt64> = 0...0

    /// A kernel that does everything at once and well.
    public init() {}
}
