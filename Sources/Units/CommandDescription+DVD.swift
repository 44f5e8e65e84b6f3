// The table of the commands of a DVD-ROM (MMC-6 clause 6). The drive judges its commands itself, and says what is wrong
// with them: the bits here are for REPORT SUPPORTED OPERATION CODES.

import ATA
import SCSI

extension CommandDescription {
    /// The row of a DVD-ROM's command; nil if it has none.
    init?(dvdROM cdb: CommandDescriptorBlock) {
        switch cdb.operationCode {
        case 0x00: self.init(.packet, .ready, 0x00_00_00_00_00_00_0000)  // TEST UNIT READY
        case 0x03: self.init(.packet, .free, 0x03_00_00_00_FF_00_0000, length: .byte4)  // REQUEST SENSE
        case 0x12: self.init(.packet, .free, 0x12_01_FF_00_FF_00_0000, length: .byte4)  // INQUIRY
        // MODE SENSE (6): the device server asks with (10).
        case 0x1A: self.init(.packet, .reads, 0x1A_00_FF_FF_FF_00_0000, length: .byte4)
        case 0x1B: self.init(.packet, .startsOrStops, 0x1B_00_00_00_F3_00_0000)  // START STOP UNIT
        case 0x1E: self.init(.packet, .prevents, 0x1E_00_00_00_01_00_0000)  // PREVENT ALLOW MEDIUM REMOVAL
        case 0x25: self.init(.packet, .free, 0x25_00_00_00_00_00_00_00, length: .fixed(8))  // READ CAPACITY
        case 0x28: self.init(.read, .reads, 0x28_00_FF_FF_FF_FF_00_FF, 0xFF << 56)  // READ (10)
        case 0x2B: self.init(.packet, .reads, 0x2B_00_FF_FF_FF_FF_00_00)  // SEEK (10)
        case 0x43:  // READ TOC/PMA/ATIP
            self.init(.packet, .reads, 0x43_02_00_00_00_00_FF_FF, 0xFFC0 << 48, length: .bytes7To8)
        case 0x46:  // GET CONFIGURATION
            self.init(.packet, .free, 0x46_00_FF_FF_00_00_00_FF, 0xFF << 56, length: .bytes7To8)
        case 0x4A:  // GET EVENT STATUS NOTIFICATION
            self.init(.packet, .free, 0x4A_01_00_00_FF_00_00_FF, 0xFF << 56, length: .bytes7To8)
        case 0x51:  // READ DISC INFORMATION
            self.init(.packet, .reads, 0x51_07_00_00_00_00_00_FF, 0xFF << 56, length: .bytes7To8)
        case 0x5A:  // MODE SENSE (10)
            self.init(.packet, .reads, 0x5A_00_FF_00_00_00_00_FF, 0xFF << 56, length: .bytes7To8)
        case 0xA0: self.init(.reportLUNs, .free, 0xA0_00_FF_00_00_00_FF_FF, 0xFFFF << 48, length: .bytes6To9)
        case 0xA3 where cdb.serviceAction == ServiceAction.reportSupportedOperationCodes:
            self.init(.supportedOperationCodes, .reads, 0xA3_0C_87_FF_FF_FF_FF_FF, 0xFFFF << 48, length: .bytes6To9)
        case 0xA8: self.init(.read, .reads, 0xA8_00_FF_FF_FF_FF_FF_FF, 0xFFFF << 48)  // READ (12)
        case 0xAD:  // READ DISC STRUCTURE
            self.init(.packet, .reads, 0xAD_FF_00_00_00_00_FF_FF, 0xFFFF << 48, length: .bytes8To9)
        case 0xBB: self.init(.packet, .reads, 0xBB_00_00_00_00_00_00_00)  // SET CD SPEED
        case 0xBD:  // MECHANISM STATUS
            self.init(.packet, .reads, 0xBD_00_00_00_00_00_00_00, 0xFFFF << 48, length: .bytes8To9)
        case 0xBE: self.init(.packet, .reads, 0xBE_00_FF_FF_FF_FF_FF_FF, 0xFFF8 << 48)  // READ CD
        default: return nil
        }
    }
}

extension CommandDescription {
    /// The row of a command of the full DVD-ROM; nil if it has none.
    init?(fullDVDROM cdb: CommandDescriptorBlock) {
        switch cdb.operationCode {
        case 0x43:  // READ TOC/PMA/ATIP
            self.init(.packet, .reads, 0x43_02_0F_00_00_00_FF_FF, 0xFFC0 << 48, length: .bytes7To8)
        case 0x46:  // GET CONFIGURATION
            self.init(.packet, .free, 0x46_03_FF_FF_00_00_00_FF, 0xFF << 56, length: .bytes7To8)
        case 0x55:  // MODE SELECT (10)
            self.init(.packet, .writes, 0x55_11_00_00_00_00_00_FF, 0xFF << 56, length: .bytes7To8)
        case 0x5A:  // MODE SENSE (10)
            self.init(.packet, .reads, 0x5A_00_FF_FF_00_00_00_FF, 0xFF << 56, length: .bytes7To8)
        case 0xB9: self.init(.packet, .reads, 0xB9_00_00_FF_FF_FF_FF_FF, 0xFFF8 << 48)  // READ CD MSF
        default: self.init(dvdROM: cdb)
        }
    }
}

extension Duty {
    /// The drive finds mistakes in the CDB.
    func isJudgedByDrive(_ kind: DriveKind) -> Bool {
        kind.isDisc && (self == .packet || self == .read)
    }
}

extension CommandDescriptorBlock {
    /// A DVD-ROM executes the command while a unit attention condition is pending, and leaves it pending (MMC-6
    /// 4.1.6.1).
    var allowsUnitAttentionOfDisc: Bool {
        switch operationCode {
        // REQUEST SENSE ends it, and is answered by the device server then.
        case OperationCode.inquiry, OperationCode.requestSense, 0x46, 0x4A: true
        default: false
        }
    }

    /// It may open or close a DVD-ROM's tray, or lock it.
    var movesTray: Bool {
        operationCode == OperationCode.startStopUnit || operationCode == OperationCode.preventAllowMediumRemoval
    }
}
