// The operation codes of the commands that the translation layer knows by name (SPC-5 annex D, SBC-4 clause 5).

/// Byte 0 of a command descriptor block. Constants, not cases, because a client may send any of the 256 values;
/// inlinable, because every request looks at them.
public enum OperationCode {
    /// TEST UNIT READY.
    @inlinable public static var testUnitReady: UInt8 { 0x00 }
    /// REZERO UNIT (SCSI-2).
    @inlinable public static var rezeroUnit: UInt8 { 0x01 }
    /// REQUEST SENSE.
    @inlinable public static var requestSense: UInt8 { 0x03 }
    /// READ (6).
    @inlinable public static var read6: UInt8 { 0x08 }
    /// WRITE (6).
    @inlinable public static var write6: UInt8 { 0x0A }
    /// SEEK (6) (SCSI-2).
    @inlinable public static var seek6: UInt8 { 0x0B }
    /// INQUIRY.
    @inlinable public static var inquiry: UInt8 { 0x12 }
    /// MODE SELECT (6).
    @inlinable public static var modeSelect6: UInt8 { 0x15 }
    /// RESERVE (6) (SPC-2).
    @inlinable public static var reserve6: UInt8 { 0x16 }
    /// RELEASE (6) (SPC-2).
    @inlinable public static var release6: UInt8 { 0x17 }
    /// MODE SENSE (6).
    @inlinable public static var modeSense6: UInt8 { 0x1A }
    /// START STOP UNIT.
    @inlinable public static var startStopUnit: UInt8 { 0x1B }
    /// SEND DIAGNOSTIC.
    @inlinable public static var sendDiagnostic: UInt8 { 0x1D }
    /// PREVENT ALLOW MEDIUM REMOVAL.
    @inlinable public static var preventAllowMediumRemoval: UInt8 { 0x1E }
    /// READ CAPACITY (10).
    @inlinable public static var readCapacity10: UInt8 { 0x25 }
    /// READ (10).
    @inlinable public static var read10: UInt8 { 0x28 }
    /// WRITE (10).
    @inlinable public static var write10: UInt8 { 0x2A }
    /// SEEK (10) (SCSI-2).
    @inlinable public static var seek10: UInt8 { 0x2B }
    /// WRITE AND VERIFY (10).
    @inlinable public static var writeAndVerify10: UInt8 { 0x2E }
    /// VERIFY (10).
    @inlinable public static var verify10: UInt8 { 0x2F }
    /// PRE-FETCH (10).
    @inlinable public static var preFetch10: UInt8 { 0x34 }
    /// SYNCHRONIZE CACHE (10).
    @inlinable public static var synchronizeCache10: UInt8 { 0x35 }
    /// WRITE SAME (10).
    @inlinable public static var writeSame10: UInt8 { 0x41 }
    /// UNMAP.
    @inlinable public static var unmap: UInt8 { 0x42 }
    /// MODE SELECT (10).
    @inlinable public static var modeSelect10: UInt8 { 0x55 }
    /// MODE SENSE (10).
    @inlinable public static var modeSense10: UInt8 { 0x5A }
    /// PERSISTENT RESERVE IN; the service action says which command.
    @inlinable public static var persistentReserveIn: UInt8 { 0x5E }
    /// PERSISTENT RESERVE OUT; the service action says which command.
    @inlinable public static var persistentReserveOut: UInt8 { 0x5F }
    /// ATA PASS-THROUGH (16).
    @inlinable public static var ataPassThrough16: UInt8 { 0x85 }
    /// READ (16).
    @inlinable public static var read16: UInt8 { 0x88 }
    /// COMPARE AND WRITE.
    @inlinable public static var compareAndWrite: UInt8 { 0x89 }
    /// WRITE (16).
    @inlinable public static var write16: UInt8 { 0x8A }
    /// WRITE AND VERIFY (16).
    @inlinable public static var writeAndVerify16: UInt8 { 0x8E }
    /// VERIFY (16).
    @inlinable public static var verify16: UInt8 { 0x8F }
    /// PRE-FETCH (16).
    @inlinable public static var preFetch16: UInt8 { 0x90 }
    /// SYNCHRONIZE CACHE (16).
    @inlinable public static var synchronizeCache16: UInt8 { 0x91 }
    /// WRITE SAME (16).
    @inlinable public static var writeSame16: UInt8 { 0x93 }
    /// SERVICE ACTION IN (16); the service action says which command.
    @inlinable public static var serviceActionIn16: UInt8 { 0x9E }
    /// REPORT LUNS.
    @inlinable public static var reportLUNs: UInt8 { 0xA0 }
    /// ATA PASS-THROUGH (12).
    @inlinable public static var ataPassThrough12: UInt8 { 0xA1 }
    /// READ (12).
    @inlinable public static var read12: UInt8 { 0xA8 }
    /// WRITE (12).
    @inlinable public static var write12: UInt8 { 0xAA }
    /// WRITE AND VERIFY (12).
    @inlinable public static var writeAndVerify12: UInt8 { 0xAE }
    /// VERIFY (12).
    @inlinable public static var verify12: UInt8 { 0xAF }
    /// MAINTENANCE IN; the service action says which command.
    @inlinable public static var maintenanceIn: UInt8 { 0xA3 }
}

/// Byte 1, bits 4:0 of the commands that share an operation code.
public enum ServiceAction {
    /// REPORT SUPPORTED OPERATION CODES, under MAINTENANCE IN.
    @inlinable public static var reportSupportedOperationCodes: UInt8 { 0x0C }
    /// READ CAPACITY (16), under SERVICE ACTION IN (16).
    @inlinable public static var readCapacity16: UInt8 { 0x10 }
    /// GET LBA STATUS (16), under SERVICE ACTION IN (16).
    @inlinable public static var getLBAStatus16: UInt8 { 0x12 }
}
