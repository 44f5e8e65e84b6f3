// How the words of a protocol, NBD or iSCSI, become those of the loop.

import Blocks
import Counters
import Export
import ISCSI
import NBD
import SCSI
import Units

extension Limits {
    /// So many options a handshake may have, beside those that every export adds.
    public static var standardHandshakeOptions: Int { Session.standardOptionLimit }
}

extension Loop {
    /// Puts a request into a free place. Its data are nowhere yet.
    @inline(__always)  // where it is to be
    mutating func put(_ request: NBD.Request, _ kind: CommandKind, blockSize: BlockSize, at place: RequestPlace) {
        served.requests.insert(ServedRequest(request, blockSize: blockSize), at: place)
        let unit = ExportNumber(Int(request.unit))
        requests.insert(RequestSlot(unit, RequestFacts(served.requests[place]), kind), at: place)
    }
}

extension Loop {
    /// Puts a command into a free place. Its data are nowhere yet.
    mutating func put(_ task: SCSITask, to unit: SessionUnit, isPresent: Bool, at place: RequestPlace) {
        let command = ServedCommand(
            task.cdb, rest: task.restOfCDB, expectedBytes: task.expectedBytes, reads: task.reads, writes: task.writes,
            nexus: unit.nexus,
            unit: isPresent ? exports[unit.export].served.facts : .absent)
        served.commands.insert(command, at: place)
        requests.insert(RequestSlot(unit.export, RequestFacts(command), CommandKind(command.kind)), at: place)
        requests[place].taskNumber = UInt16(task.number.index)
    }
}

extension SCSITask {
    /// Bytes 16 to 31 of the CDB, if it has all of them.
    fileprivate var restOfCDB: CommandDescriptorBlock? {
        guard extendedCDB.byteCount == 16 else { return nil }
        return CommandDescriptorBlock(high: extendedCDB.high, low: extendedCDB.low)
    }
}

// How requests and their errors are counted.

extension CommandKind {
    /// The kind of a command that is served.
    init(_ command: NBD.Command) {
        self =
            switch command {
            case .read: .read
            case .write: .write
            case .disconnect: .unknown
            case .flush: .flush
            case .trim: .trim
            case .cache: .cache
            case .writeZeroes: .writeZeroes
            case .blockStatus: .blockStatus
            }
    }

    /// The kind of a request by its type, which may be anything.
    init(type: UInt16) {
        self = NBD.Command(rawValue: type).map(CommandKind.init) ?? .unknown
    }
}

extension CommandKind {
    /// The kind of an initiator's command.
    init(_ kind: ServedCommand.Kind) {
        self =
            switch kind {
            case .read: .read
            case .write: .write
            case .flush: .flush
            case .trim: .trim
            case .writeZeroes: .writeZeroes
            case .prefetch: .cache
            case .lbaStatus: .blockStatus
            case .other: .other
            }
    }
}

extension ErrorKind {
    /// The kind of a command's ending; nil if it has not failed. Only a failure of the storage is one of input and
    /// output: news for an initiator of the drive's state, or of its own mistake, are none. The registers of a disk
    /// say ABORTED COMMAND of both, so that the medium's own failure decides.
    init?(_ ending: ISCSI.Ending, _ mediumFailure: BlockFailure?) {
        guard ending.status != SCSIStatus.good.rawValue else { return nil }
        guard let sense = ending.sense else {
            self = .reservationConflict
            return
        }
        switch mediumFailure {
        case .unrecovered: self = .inputOutput
        case .noSpace: self = .noSpace
        case .writeProtected: self = .notPermitted
        case nil: self.init(sense)
        }
    }

    /// The kind of what a drive says whose medium has not failed.
    private init?(_ sense: SenseData) {
        switch sense.senseKey {
        // The registers that ATA PASS-THROUGH was asked for.
        case .noSense, .recoveredError: return nil
        case .dataProtect: self = .notPermitted
        case .illegalRequest: self = .invalidArgument
        case .unitAttention: self = .unitAttention
        case .notReady: self = .notReady
        case .abortedCommand: self = .abortedCommand
        case .miscompare: self = .miscompare
        case .mediumError, .hardwareError: self = .inputOutput
        }
    }

    /// The kind of an answer's error.
    init(_ error: NBDError) {
        self =
            switch error {
            case .notPermitted: .notPermitted
            case .inputOutput: .inputOutput
            case .noMemory: .noMemory
            case .invalidArgument: .invalidArgument
            case .noSpace: .noSpace
            case .overflow: .overflow
            case .notSupported: .notSupported
            case .shutdown: .shutdown
            }
    }
}
