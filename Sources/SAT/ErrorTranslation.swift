// From status and error registers to sense data (SAT-5 clause 11; the table is that of Linux 6.1).

import ATA
import SCSI

/// A row of the table: if all bits of `pattern` are set, this is the sense.
struct ErrorTranslation: Sendable {
    let pattern: UInt8
    let senseKey: SenseKey
    let additionalSenseCode: AdditionalSenseCode

    init(_ pattern: UInt8, _ senseKey: SenseKey, _ additionalSenseCode: AdditionalSenseCode) {
        self.pattern = pattern
        self.senseKey = senseKey
        self.additionalSenseCode = additionalSenseCode
    }

    /// The error register. The first row that matches counts. ABRT alone is in no row: it says too little, and the
    /// status decides.
    static let error: [ErrorTranslation] = [
        ErrorTranslation(0xD1, .abortedCommand, .none),
        ErrorTranslation(0xD0, .abortedCommand, .none),
        ErrorTranslation(0x61, .hardwareError, .none),
        ErrorTranslation(0x84, .abortedCommand, .scsiParityError),
        ErrorTranslation(0x37, .notReady, .logicalUnitNotReady),
        ErrorTranslation(0x09, .notReady, .logicalUnitNotReady),
        ErrorTranslation(0x01, .mediumError, .addressMarkNotFoundForDataField),
        ErrorTranslation(0x02, .hardwareError, .none),
        ErrorTranslation(0x08, .notReady, .logicalUnitNotReady),
        ErrorTranslation(0x10, .illegalRequest, .logicalBlockAddressOutOfRange),
        ErrorTranslation(0x20, .unitAttention, .mediumMayHaveChanged),
        ErrorTranslation(0x40, .mediumError, .unrecoveredReadErrorAutoReallocateFailed),
        ErrorTranslation(0x80, .mediumError, .unrecoveredReadErrorAutoReallocateFailed),
    ]

    /// The status register, for what the error register leaves open.
    static let status: [ErrorTranslation] = [
        ErrorTranslation(0x80, .abortedCommand, .none),
        ErrorTranslation(0x20, .hardwareError, .internalTargetFailure),
        ErrorTranslation(0x04, .recoveredError, .none),
    ]

    /// The sense of a pair of registers. With BSY set, the error register means nothing.
    static func sense(status: UInt8, error: UInt8) -> (SenseKey, AdditionalSenseCode) {
        let meaningfulError = status & Status.busy == 0 ? error : 0
        let row =
            Self.error.first { $0.pattern & meaningfulError == $0.pattern }
            ?? Self.status.first { $0.pattern & status == $0.pattern }
        guard let row else { return (.abortedCommand, .none) }
        return (row.senseKey, row.additionalSenseCode)
    }
}

extension SenseData {
    /// Sense data for the end of a taskfile. The registers of a disk have no place for a full or write-protected
    /// medium; then the reason beside them decides (SBC-4 for the former).
    package init(_ result: TaskfileResult, format: Format) {
        switch result.blockFailure {
        case .noSpace:
            self.init(.dataProtect, .spaceAllocationFailedWriteProtect, format: format)
        case .writeProtected:
            self.init(.dataProtect, .writeProtected, format: format)
        case .unrecovered, nil:
            let (senseKey, code) = ErrorTranslation.sense(status: result.status, error: result.error)
            self.init(senseKey, code, format: format)
        }
    }
}
