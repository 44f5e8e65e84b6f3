// Why a command is not done, or has failed, in the device server's own words.

import SCSI

/// A sense key and a code, with what points at the reason.
struct Objection: Equatable, Sendable {
    let senseKey: SenseKey
    let code: AdditionalSenseCode
    /// The first bit that is wrong.
    var field: SenseFieldPointer?
    /// INFORMATION.
    var information: UInt64?

    init(_ senseKey: SenseKey, _ code: AdditionalSenseCode, field: SenseFieldPointer? = nil) {
        self.senseKey = senseKey
        self.code = code
        self.field = field
    }

    /// INVALID FIELD IN CDB, at this byte.
    static func invalidField(_ byte: UInt16, bit: UInt8? = nil) -> Self {
        Self(
            .illegalRequest, .invalidFieldInCDB,
            field: SenseFieldPointer(isInCommand: true, byte: byte, bit: bit))
    }

    /// INVALID FIELD IN PARAMETER LIST, at this byte.
    static func invalidParameter(_ byte: UInt16, bit: UInt8? = nil) -> Self {
        Self(
            .illegalRequest, .invalidFieldInParameterList,
            field: SenseFieldPointer(isInCommand: false, byte: byte, bit: bit))
    }

    /// MISCOMPARE DURING VERIFY OPERATION; the information is the first byte that differs in the initiator's data.
    static func miscompare(at offset: UInt64) -> Self {
        var objection = Self(.miscompare, .miscompareDuringVerifyOperation)
        objection.information = offset
        return objection
    }

    /// INVALID COMMAND OPERATION CODE.
    static let unknownCommand = Self(.illegalRequest, .invalidCommandOperationCode)
    /// LOGICAL UNIT NOT SUPPORTED.
    static let noLogicalUnit = Self(.illegalRequest, AdditionalSenseCode(0x25, 0x00))
    /// LOGICAL BLOCK ADDRESS OUT OF RANGE.
    static let outOfRange = Self(.illegalRequest, .logicalBlockAddressOutOfRange)
    /// INVALID FIELD IN COMMAND INFORMATION UNIT: the initiator's data are not as long as the command's have to be.
    static let wrongLength = Self(.illegalRequest, .invalidFieldInCommandInformationUnit)
    /// PARAMETER LIST LENGTH ERROR.
    static let parameterListLength = Self(.illegalRequest, .parameterListLengthError)
    /// INTERNAL TARGET FAILURE.
    static let notKept = Self(.hardwareError, AdditionalSenseCode(0x44, 0x00))
    /// WRITE PROTECTED.
    static let writeProtected = Self(.dataProtect, .writeProtected)

    /// MEDIUM NOT PRESENT.
    static let mediumNotPresent = Self(.notReady, AdditionalSenseCode(0x3A, 0x00))
    /// NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED.
    static let mediumMayHaveChanged = Self(.unitAttention, AdditionalSenseCode(0x28, 0x00))

    /// As sense data.
    func sense(_ format: SenseData.Format) -> SenseData {
        var sense = SenseData(senseKey, code, format: format)
        sense.fieldPointer = field
        sense.information = information
        return sense
    }
}
