// A SCSI command between an initiator and the drive: what the caller has to do next, and what the translation layer
// has to remember until then.

import ATA
import Blocks
import SCSI

/// The sender of a command. The SAT layer of Linux takes some commands from the kernel only.
public enum Origin: Equatable, Sendable {
    /// A program, through SG_IO or the like.
    case user
    /// The kernel's own disk driver, and Spindle's exports in its place. Commands beyond Linux (exports need them to
    /// zero, to prefetch and to ask for the map) are for this origin too.
    case kernel
}

extension TranslationLayer {
    /// The translation layer's next wish for a command.
    public enum Step: Equatable, Sendable {
        /// Perform the operation, then call ``TranslationLayer/resume(_:drive:outcome:data:)`` with how it ended.
        ///
        /// The operation's data begin at byte `dataOffset` of the command's data. With `zeroes`, zeroes are written and
        /// there is no data buffer. With `mayDeallocate`, the sectors may lose their allocation, as long as they read
        /// as zeroes.
        case blocks(BlockRequest, dataOffset: UInt32, zeroes: Bool, mayDeallocate: Bool)
        /// Find out whether the sectors from `lba` on are mapped, then call
        /// ``TranslationLayer/resumeLBAStatus(_:mapped:count:data:)``.
        case lbaStatus(lba: UInt64)
        /// The command has ended; `dataLength` bytes of its data have been transferred. The command's `sense` has the
        /// sense data.
        case finished(SCSIStatus, dataLength: UInt32)
    }
}

/// A command that the translation layer works on. Kept by the caller until it has finished.
public struct SCSICommandInProgress: Sendable {
    /// The next step after a taskfile has succeeded.
    @usableFromInline enum Continuation: Sendable {
        /// The command has ended.
        case none
        /// Zeroes are written to what is left of a WRITE SAME.
        case zeroes(mayDeallocate: Bool)
        /// The rest of a PRE-FETCH is prefetched.
        case prefetch
        /// IDENTIFY DEVICE data are read anew, because a feature was switched.
        case readIdentifyData
        /// ATA PASS-THROUGH: the initiator may want the registers.
        case passThrough(PassThrough)
    }

    // Inlinable, and without initial values here, which would be a call each: a command is made for every request.

    /// The command.
    public var cdb: CommandDescriptorBlock
    /// Bytes in the command's data buffer, whichever way they go.
    public var transferLength: UInt32
    /// The command's sender.
    public let origin: Origin
    /// Why the command ended with CHECK CONDITION; nil before that.
    public var sense: SenseData?

    /// The taskfile that the drive works on.
    @usableFromInline var taskfile: CommandInProgress
    /// The taskfile is a 48-bit command.
    @usableFromInline var isExtended: Bool
    @usableFromInline var continuation: Continuation
    /// Sectors that a command of several taskfiles has still to do.
    @usableFromInline var rest: SectorRange
    /// Bytes of the data buffer that operations were given so far.
    @usableFromInline var dataLength: UInt32
    /// The length of what the layer itself answered, without the zeroes that Linux pads it with; more than the buffer
    /// holds if it was cut.
    public var responseLength: UInt32

    /// A command that has not begun.
    @inlinable
    public init(cdb: CommandDescriptorBlock, transferLength: UInt32, origin: Origin) {
        self.cdb = cdb
        self.transferLength = transferLength
        self.origin = origin
        sense = nil
        taskfile = CommandInProgress(Taskfile(command: 0))
        isExtended = false
        continuation = .none
        rest = SectorRange(first: 0, count: 0)
        dataLength = 0
        responseLength = 0
    }

    /// Makes it another command of the same origin that has not begun, where it is (see
    /// ``CommandInProgress/start(_:)``).
    public mutating func start(_ cdb: CommandDescriptorBlock, transferLength: UInt32) {
        self.cdb = cdb
        self.transferLength = transferLength
        sense = nil
        continuation = .none
        dataLength = 0
    }
}
