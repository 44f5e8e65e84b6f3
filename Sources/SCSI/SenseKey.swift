// Sense keys and additional sense codes (SPC-5 4.4.7, annex F).

/// The kind of trouble in sense data (SPC-5).
public enum SenseKey: UInt8, Sendable {
    /// Nothing to report.
    case noSense = 0x0
    /// Done, with some help; also the key of ATA PASS-THROUGH information.
    case recoveredError = 0x1
    /// The logical unit cannot be accessed.
    case notReady = 0x2
    /// A flaw of the medium, or of what is recorded on it.
    case mediumError = 0x3
    /// A failure of the device itself.
    case hardwareError = 0x4
    /// The command or its parameters make no sense to this device.
    case illegalRequest = 0x5
    /// Something changed since the last command.
    case unitAttention = 0x6
    /// The medium does not take writes.
    case dataProtect = 0x7
    /// The device gave up; trying again may help.
    case abortedCommand = 0xB
    /// The initiator's data are not those of the medium.
    case miscompare = 0xE
}

/// An ADDITIONAL SENSE CODE with its qualifier (SPC-5 annex F.2).
public struct AdditionalSenseCode: Equatable, Sendable {
    /// ASC.
    public var code: UInt8
    /// ASCQ.
    public var qualifier: UInt8

    /// Creates a pair of code and qualifier.
    @inlinable
    public init(_ code: UInt8, _ qualifier: UInt8) {
        self.code = code
        self.qualifier = qualifier
    }

    /// NO ADDITIONAL SENSE INFORMATION.
    public static let none = Self(0x00, 0x00)
    /// ATA PASS THROUGH INFORMATION AVAILABLE.
    public static let ataPassThroughInformationAvailable = Self(0x00, 0x1D)
    /// LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE.
    public static let logicalUnitNotReady = Self(0x04, 0x00)
    /// INVALID FIELD IN COMMAND INFORMATION UNIT.
    public static let invalidFieldInCommandInformationUnit = Self(0x0E, 0x03)
    /// UNRECOVERED READ ERROR - AUTO REALLOCATE FAILED.
    public static let unrecoveredReadErrorAutoReallocateFailed = Self(0x11, 0x04)
    /// ADDRESS MARK NOT FOUND FOR DATA FIELD.
    public static let addressMarkNotFoundForDataField = Self(0x13, 0x00)
    /// MISCOMPARE DURING VERIFY OPERATION.
    public static let miscompareDuringVerifyOperation = Self(0x1D, 0x00)
    /// PARAMETER LIST LENGTH ERROR.
    public static let parameterListLengthError = Self(0x1A, 0x00)
    /// INVALID COMMAND OPERATION CODE.
    public static let invalidCommandOperationCode = Self(0x20, 0x00)
    /// LOGICAL BLOCK ADDRESS OUT OF RANGE.
    public static let logicalBlockAddressOutOfRange = Self(0x21, 0x00)
    /// INVALID FIELD IN CDB.
    public static let invalidFieldInCDB = Self(0x24, 0x00)
    /// INVALID FIELD IN PARAMETER LIST.
    public static let invalidFieldInParameterList = Self(0x26, 0x00)
    /// WRITE PROTECTED.
    public static let writeProtected = Self(0x27, 0x00)
    /// SPACE ALLOCATION FAILED WRITE PROTECT: a thinly provisioned medium has no room for the write.
    public static let spaceAllocationFailedWriteProtect = Self(0x27, 0x07)
    /// NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED.
    public static let mediumMayHaveChanged = Self(0x28, 0x00)
    /// SAVING PARAMETERS NOT SUPPORTED.
    public static let savingParametersNotSupported = Self(0x39, 0x00)
    /// INTERNAL TARGET FAILURE.
    public static let internalTargetFailure = Self(0x44, 0x00)
    /// SCSI PARITY ERROR.
    public static let scsiParityError = Self(0x47, 0x00)
}
