// From SCSI sense data to NBD's error values: the one table (SPC-5 4.4.2 sense keys; NBD protocol, "Error values").

import ATA
import NBD
import SCSI

extension NBDError {
    /// The error that a client is told for a command that ended with CHECK CONDITION.
    ///
    /// - Parameters:
    ///   - command: what the client has sent. NBD has another error for writes past the end than for reads.
    ///   - isBeyondEnd: the request ends behind the drive, whose end a host protected area has moved since the client
    ///     came.
    init(
        _ sense: SenseData?, from kind: DriveKind = .disk, for command: NBD.Command = .read, isBeyondEnd: Bool = false
    ) {
        guard let sense else {
            self = .inputOutput
            return
        }
        switch sense.senseKey {
        case .dataProtect where sense.additionalSenseCode == .spaceAllocationFailedWriteProtect:
            self = .noSpace
        case .dataProtect:
            self = .notPermitted
        case .illegalRequest where kind == .dvdROM && sense.additionalSenseCode == .logicalBlockAddressOutOfRange:
            // A DVD-ROM says so of blocks that cannot be read, and of those behind the end of another disc.
            self = .inputOutput
        case .illegalRequest
        where isBeyondEnd && !kind.isDisc && sense.additionalSenseCode == .logicalBlockAddressOutOfRange:
            self = command == .write || command == .writeZeroes ? .noSpace : .invalidArgument
        case .illegalRequest where kind.isWholeDisk && sense.additionalSenseCode == .logicalBlockAddressOutOfRange:
            // A whole disk says so of a sector that it does not find.
            self = .inputOutput
        case .illegalRequest:
            self = .invalidArgument
        default:
            self = .inputOutput
        }
    }
}

extension ServedRequest {
    /// What has failed, in words of the drive's registers; nil: they say no more than ``error``.
    public var failureInWords: StaticString? {
        switch scsi.sense?.additionalSenseCode {
        case .unrecoveredReadErrorAutoReallocateFailed: "unrecoverable read error (UNC)"
        case .logicalBlockAddressOutOfRange: "the drive does not find a sector (IDNF)"
        case .scsiParityError: "the transfer was damaged on the way (ICRC)"
        case .internalTargetFailure: "the drive has a fault (DF)"
        default: nil
        }
    }
}
