// The operation codes of the commands that the translation layer knows by name (SPC-5 annex D, SBC-4 clause 5).

/// Byte 0 of a command descriptor block. Constants, because a client may send any of the 256 values.
public enum OperationCode {
    /// TEST UNIT READY.
    public static let testUnitReady: UInt8 = 0x00
    /// REZERO UNIT (SCSI-2).
    public static let rezeroUnit: UInt8 = 0x01
    /// REQUEST SENSE.
    public static let requestSense: UInt8 = 0x03
    /// READ (6).
    public static let read6: UInt8 = 0x08
    /// WRITE (6).
    public static let write6: UInt8 = 0x0A
    /// SEEK (6) (SCSI-2).
    public static let seek6: UInt8 = 0x0B
    /// INQUIRY.
    public static let inquiry: UInt8 = 0x12
    /// MODE SELECT (6).
    public static let modeSelect6: UInt8 = 0x15
    /// MODE SENSE (6).
    public static let modeSense6: UInt8 = 0x1A
    /// START STOP UNIT.
    public static let startStopUnit: UInt8 = 0x1B
    /// SEND DIAGNOSTIC.
    public static let sendDiagnostic: UInt8 = 0x1D
    /// READ CAPACITY (10).
    public static let readCapacity10: UInt8 = 0x25
    /// READ (10).
    public static let read10: UInt8 = 0x28
    /// WRITE (10).
    public static let write10: UInt8 = 0x2A
    /// SEEK (10) (SCSI-2).
    public static let seek10: UInt8 = 0x2B
    /// VERIFY (10).
    public static let verify10: UInt8 = 0x2F
    /// PRE-FETCH (10).
    public static let preFetch10: UInt8 = 0x34
    /// SYNCHRONIZE CACHE (10).
    public static let synchronizeCache10: UInt8 = 0x35
    /// MODE SELECT (10).
    public static let modeSelect10: UInt8 = 0x55
    /// MODE SENSE (10).
    public static let modeSense10: UInt8 = 0x5A
    /// ATA PASS-THROUGH (16).
    public static let ataPassThrough16: UInt8 = 0x85
    /// READ (16).
    public static let read16: UInt8 = 0x88
    /// WRITE (16).
    public static let write16: UInt8 = 0x8A
    /// VERIFY (16).
    public static let verify16: UInt8 = 0x8F
    /// PRE-FETCH (16).
    public static let preFetch16: UInt8 = 0x90
    /// SYNCHRONIZE CACHE (16).
    public static let synchronizeCache16: UInt8 = 0x91
    /// WRITE SAME (16).
    public static let writeSame16: UInt8 = 0x93
    /// SERVICE ACTION IN (16); the service action says which command.
    public static let serviceActionIn16: UInt8 = 0x9E
    /// REPORT LUNS.
    public static let reportLUNs: UInt8 = 0xA0
    /// ATA PASS-THROUGH (12).
    public static let ataPassThrough12: UInt8 = 0xA1
    /// MAINTENANCE IN; the service action says which command.
    public static let maintenanceIn: UInt8 = 0xA3
}

/// Byte 1, bits 4:0 of the commands that share an operation code.
public enum ServiceAction {
    /// REPORT SUPPORTED OPERATION CODES, under MAINTENANCE IN.
    public static let reportSupportedOperationCodes: UInt8 = 0x0C
    /// READ CAPACITY (16), under SERVICE ACTION IN (16).
    public static let readCapacity16: UInt8 = 0x10
    /// GET LBA STATUS (16), under SERVICE ACTION IN (16).
    public static let getLBAStatus16: UInt8 = 0x12
}
