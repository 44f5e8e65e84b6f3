// Which command goes which way: translated into taskfiles or simulated, or refused (SAT-5 clauses 8 to 12).

import ATA
import SCSI

/// A command's translation.
enum Translation {
    /// The drive has to execute this; it is a 48-bit command or not.
    case taskfile(Taskfile, isExtended: Bool)
    /// It is done, with this much data.
    case finished(dataLength: UInt32)
    /// It is refused with CHECK CONDITION.
    case refused(SenseData)
    /// The medium has to say what is at this address.
    case lbaStatus(UInt64)
}

extension TranslationLayer {
    /// The translate family; all other commands are simulated.
    mutating func translate(_ command: inout SCSICommandInProgress, _ data: inout MutableRawSpan) -> Translation {
        let cdb = command.cdb
        switch cdb.operationCode {
        case OperationCode.read16:
            return translateTransfer(command, .in16(cdb), writes: false, forceUnitAccess: cdb.forceUnitAccess)
        case OperationCode.write16:
            return translateTransfer(command, .in16(cdb), writes: true, forceUnitAccess: cdb.forceUnitAccess)
        case OperationCode.read10:
            return translateTransfer(command, .in10(cdb), writes: false, forceUnitAccess: cdb.forceUnitAccess)
        case OperationCode.write10:
            return translateTransfer(command, .in10(cdb), writes: true, forceUnitAccess: cdb.forceUnitAccess)
        case OperationCode.read6:
            return translateTransfer(command, .in6(cdb), writes: false, forceUnitAccess: false)
        case OperationCode.write6:
            return translateTransfer(command, .in6(cdb), writes: true, forceUnitAccess: false)
        case OperationCode.synchronizeCache10, OperationCode.synchronizeCache16:
            return translateSynchronizeCache()
        case OperationCode.writeSame16:
            return translateWriteSame(&command, &data)
        case OperationCode.verify10:
            return translateVerify(.in10(cdb))
        case OperationCode.verify16:
            return translateVerify(.in16(cdb))
        case OperationCode.preFetch10:
            return translatePreFetch(&command, .in10(cdb))
        case OperationCode.preFetch16:
            return translatePreFetch(&command, .in16(cdb))
        case OperationCode.startStopUnit:
            return translateStartStopUnit(cdb)
        case OperationCode.modeSelect6, OperationCode.modeSelect10:
            return translateModeSelect(&command, data.bytes)
        case OperationCode.ataPassThrough12, OperationCode.ataPassThrough16:
            return translatePassThrough(&command)
        default:
            return simulate(&command, &data)
        }
    }

    /// CHECK CONDITION with nothing but a sense key and a code.
    func refused(_ senseKey: SenseKey, _ code: AdditionalSenseCode) -> Translation {
        .refused(SenseData(senseKey, code, format: senseFormat))
    }

    /// INVALID COMMAND OPERATION CODE.
    func unknownCommand() -> Translation {
        refused(.illegalRequest, .invalidCommandOperationCode)
    }

    /// LOGICAL BLOCK ADDRESS OUT OF RANGE.
    func outOfRange() -> Translation {
        refused(.illegalRequest, .logicalBlockAddressOutOfRange)
    }

    /// INVALID FIELD IN CDB, with a pointer at it.
    func invalidField(_ byte: UInt16, bit: UInt8? = nil) -> Translation {
        var sense = SenseData(.illegalRequest, .invalidFieldInCDB, format: senseFormat)
        sense.fieldPointer = SenseFieldPointer(isInCommand: true, byte: byte, bit: bit)
        return .refused(sense)
    }

    /// INVALID FIELD IN PARAMETER LIST, with a pointer at it.
    func invalidParameter(_ byte: UInt16) -> Translation {
        var sense = SenseData(.illegalRequest, .invalidFieldInParameterList, format: senseFormat)
        sense.fieldPointer = SenseFieldPointer(isInCommand: false, byte: byte)
        return .refused(sense)
    }
}
