// A command between the drive and its medium: what the drive wants next, and what it has to remember until then.

/// What has to be done for a command now.
public enum Step: Equatable, Sendable {
    /// The command has ended.
    case finished(TaskfileResult)
    /// The drive supplies this page (``Drive/copy(_:into:)``) and the command ends with this result.
    case dataIn(DataPage, TaskfileResult)
    /// Perform this, then call ``Drive/resume(_:_:data:)`` with how it ended.
    case medium(MediaOperation)
}

/// The 512-byte pages that the drive itself supplies.
public enum DataPage: Equatable, Sendable {
    /// IDENTIFY DEVICE (ACS-4).
    case identifyDevice
    /// SMART READ DATA (ATA8-ACS).
    case smartData
    /// SMART READ ATTRIBUTE THRESHOLDS (ATA-3).
    case smartThresholds
    /// SMART READ LOG, address 01h (ACS-4 clause 9, "Summary SMART Error log").
    case smartSummaryErrorLog
    /// SMART READ LOG, address 06h (ACS-4 clause 9, "SMART Self-Test log").
    case smartSelfTestLog
}

/// A command that the drive works on. Kept by the caller between ``Drive/begin(_:data:)`` and the last step.
public struct CommandInProgress: Sendable {
    /// What the medium is working on.
    enum Phase {
        /// Nothing: the command has not begun, or it has ended.
        case none
        /// Data from the medium.
        case reading
        /// Data to the medium.
        case writing
        /// Nothing but a flush before the command ends: FLUSH CACHE, and writes with the write cache off.
        case flushing
        /// A range of DATA SET MANAGEMENT.
        case trimming
        /// READ VERIFY, whose outcome does not count.
        case verifying
    }

    /// The command as it was delivered.
    public let taskfile: Taskfile

    var phase = Phase.none
    var layout = TaskfileLayout.lba28
    /// The sector that the registers name. Not always inside the medium.
    var first: UInt64 = 0
    /// Sectors that the command asks for.
    var count: UInt32 = 0
    /// Sectors that the medium was asked for: fewer if the command ends before a sector that is not there.
    var transferred: UInt32 = 0
    /// The next entry of a list of ranges.
    var entry = 0

    /// A command that has not begun.
    @inlinable
    public init(_ taskfile: Taskfile) {
        self.taskfile = taskfile
    }
}
