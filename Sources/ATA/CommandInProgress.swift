// A command between the drive and its medium: what the drive wants next, and what it has to remember until then.

import Blocks

extension Drive {
    /// The drive's next wish for a command.
    public enum Step: Equatable, Sendable {
        /// The command has ended.
        case finished(TaskfileResult)
        /// The drive supplies this (``Drive/copy(_:into:)``), and the command ends with this result.
        case dataIn(DataPage, TaskfileResult)
        /// PACKET has ended with this result. So many bytes are in the reply, or were read from the medium.
        case packetEnded(byteCount: UInt64, TaskfileResult)
        /// Perform this, then call ``Drive/resume(_:_:data:)`` with how it ended.
        case blocks(BlockRequest)
    }
}

/// The pages of 512 bytes that the drive itself supplies: one, or several of a log.
public enum DataPage: Equatable, Sendable {
    /// IDENTIFY DEVICE, or IDENTIFY PACKET DEVICE (ACS-4).
    case identifyDevice
    /// SMART READ DATA (ATA8-ACS).
    case smartData
    /// SMART READ ATTRIBUTE THRESHOLDS (ATA-3).
    case smartThresholds
    /// SMART READ LOG, address 01h (ACS-4 clause 9, "Summary SMART Error log").
    case smartSummaryErrorLog
    /// SMART READ LOG, address 06h (ACS-4 clause 9, "SMART Self-Test log").
    case smartSelfTestLog
    /// READ BUFFER (ACS-3).
    case buffer
    /// Pages of a log of a whole disk (ACS-3 annex A).
    case log(LogPages)

    /// How many bytes are transferred.
    public var byteCount: Int {
        if case .log(let pages) = self { Int(pages.count) * IdentifyData.byteCount } else { IdentifyData.byteCount }
    }
}

/// A command that the drive works on. Kept by the caller between ``Drive/begin(_:data:)`` and the last step.
public struct CommandInProgress: Sendable {
    /// The medium's present work.
    @usableFromInline enum Phase: Sendable {
        /// Nothing: the command has not begun, or it has ended.
        case none
        /// Data from the medium.
        case reading
        /// Data to the medium.
        case writing
        /// Nothing but a flush before the command ends: FLUSH CACHE, and writes with the write cache off.
        case flushing
        /// The flush before the medium stops.
        case spinningDown
        /// A range of DATA SET MANAGEMENT.
        case trimming
        /// READ VERIFY, whose outcome does not count on a QEMU HARDDISK.
        case verifying
        /// The whole medium, piece by piece.
        case zeroing
        /// Data from the medium, block by block, each with its header and error correction (READ CD).
        case readingRaw
    }

    // Inlinable, and without initial values here, which would be a call each: a command is made for every request.

    /// The command as it was delivered.
    public var taskfile: Taskfile

    @usableFromInline var phase: Phase
    @usableFromInline var layout: TaskfileLayout
    /// What ends the command before its last sector.
    @usableFromInline var fault: MetFault?
    /// The sector that the registers name. Not always inside the medium.
    @usableFromInline var first: UInt64
    /// Sectors that the command asks for.
    @usableFromInline var count: UInt32
    /// Sectors that the medium was asked for: fewer if the command ends before a sector that is not there.
    @usableFromInline var transferred: UInt32
    /// The next entry of a list of ranges.
    @usableFromInline var entry: Int

    /// A command that has not begun.
    @inlinable
    public init(_ taskfile: Taskfile) {
        self.taskfile = taskfile
        phase = .none
        layout = .lba28
        fault = nil
        first = 0
        count = 0
        transferred = 0
        entry = 0
    }

    /// Makes it another command that has not begun, where it is. A new value would be copied here right after it was
    /// written, in other pieces than it was written in, and for that a processor waits until all of it is in its cache.
    public mutating func start(_ taskfile: Taskfile) {
        self.taskfile = taskfile
        phase = .none
        fault = nil
        count = 0
        transferred = 0
        entry = 0
    }
}
