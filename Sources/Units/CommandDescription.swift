// The one table of the commands of a disk's device server: what each does, which of its bits mean something, how long
// its data are, and which reservations keep others from it. Dispatch, the check of a CDB's fields, REPORT SUPPORTED
// OPERATION CODES and reservations all read it (SPC-4 clause 6, SBC-3 clause 5).

import SCSI

/// The duty of a device server for a command.
enum Duty: Equatable, Sendable {
    /// Blocks go to the initiator.
    case read
    /// Blocks come from the initiator.
    case write
    /// Blocks come from the initiator, and are read after they were written.
    case writeAndVerify
    /// Blocks are read, and nobody gets them; or they are compared with those of the initiator.
    case verify
    /// If blocks are those that the initiator expects, they become others.
    case compareAndWrite
    /// Written data become stable.
    case synchronizeCache
    /// Blocks are brought closer.
    case preFetch
    /// One block is written many times, or blocks are given back.
    case writeSame
    /// Blocks of a list are given back.
    case unmap
    /// The stored extents.
    case lbaStatus
    /// INQUIRY.
    case inquiry
    /// REQUEST SENSE.
    case requestSense
    /// REPORT LUNS.
    case reportLUNs
    /// REPORT SUPPORTED OPERATION CODES.
    case supportedOperationCodes
    /// PERSISTENT RESERVE IN.
    case reserveIn
    /// PERSISTENT RESERVE OUT.
    case reserveOut
    /// RESERVE (6).
    case reserve
    /// RELEASE (6).
    case release
    /// Nothing: that is all that the command asks of a disk whose medium stays in it.
    case nothing
    /// The translation layer answers from what it knows.
    case page
    /// The translation layer has something that the drive does without data.
    case translated
    /// Mode parameters come from the initiator.
    case modeSelect
    /// A taskfile of the initiator's own.
    case passThrough
    /// A DVD-ROM's command, which goes through as it is.
    case packet
    /// There is no such command.
    case unknown
    /// INQUIRY of a logical unit that is not there.
    case absentInquiry
}

/// Where a CDB says how long its data may be.
enum LengthField: Sendable {
    /// The command has no data, or as many as its blocks have.
    case none
    /// Nowhere: they have always so many bytes.
    case fixed(UInt32)
    case byte4
    case bytes3To4
    case bytes5To8
    case bytes7To8
    case bytes8To9
    case bytes6To9
    case bytes10To13
}

/// A row of the table.
struct CommandDescription: Sendable {
    let duty: Duty
    /// CDB USAGE DATA: each bit that the device server looks at is one, and the operation code and service action are
    /// their own.
    private(set) var usage: CommandDescriptorBlock
    let length: LengthField
    let access: CommandAccess
    /// CDB USAGE DATA from byte 16 on, if the command is as long.
    private(set) var usageOfRest: CommandDescriptorBlock?

    /// The row of ATA PASS-THROUGH (32), whose CDB is judged before (``PassThrough32``).
    static var passThrough32: Self {
        var row = Self(.passThrough, .writes, PassThrough32.usage.0, PassThrough32.usage.1)
        row.usageOfRest = PassThrough32.usageOfRest
        return row
    }

    init(
        _ duty: Duty, _ access: CommandAccess, _ high: UInt64, _ low: UInt64 = 0, length: LengthField = .none
    ) {
        self.duty = duty
        self.access = access
        usage = CommandDescriptorBlock(high: high, low: low)
        self.length = length
    }

    /// The row of a disk's command; nil if it has none.
    init?(disk cdb: CommandDescriptorBlock, supportsTrim: Bool) {
        switch cdb.operationCode >> 5 {
        case 0: self.init(disk6: cdb)
        case 1, 2: self.init(disk10: cdb, supportsTrim: supportsTrim)
        case 4: self.init(disk16: cdb, supportsTrim: supportsTrim)
        case 5: self.init(disk12: cdb)
        default: return nil
        }
    }

    private init?(disk6 cdb: CommandDescriptorBlock) {
        switch cdb.operationCode {
        case OperationCode.testUnitReady: self.init(.translated, .ready, 0x00_00_00_00_00_00_0000)
        case OperationCode.rezeroUnit: self.init(.translated, .reads, 0x01_00_00_00_00_00_0000)
        case OperationCode.requestSense: self.init(.requestSense, .free, 0x03_01_00_00_FF_00_0000, length: .byte4)
        case OperationCode.read6: self.init(.read, .reads, 0x08_1F_FF_FF_FF_00_0000)
        case OperationCode.write6: self.init(.write, .writes, 0x0A_1F_FF_FF_FF_00_0000)
        case OperationCode.seek6: self.init(.translated, .reads, 0x0B_1F_FF_FF_00_00_0000)
        case OperationCode.inquiry: self.init(.inquiry, .free, 0x12_01_FF_FF_FF_00_0000, length: .bytes3To4)
        case OperationCode.modeSelect6: self.init(.modeSelect, .writes, 0x15_11_00_00_FF_00_0000, length: .byte4)
        case OperationCode.reserve6: self.init(.reserve, .reserves, 0x16_00_00_00_00_00_0000)
        case OperationCode.release6: self.init(.release, .releases, 0x17_00_00_00_00_00_0000)
        case OperationCode.modeSense6: self.init(.page, .reads, 0x1A_08_FF_FF_FF_00_0000, length: .byte4)
        case OperationCode.startStopUnit: self.init(.translated, .startsOrStops, 0x1B_01_00_0F_F7_00_0000)
        case OperationCode.sendDiagnostic: self.init(.translated, .writes, 0x1D_04_00_00_00_00_0000)
        case OperationCode.preventAllowMediumRemoval: self.init(.nothing, .prevents, 0x1E_00_00_00_03_00_0000)
        default: return nil
        }
    }

    private init?(disk10 cdb: CommandDescriptorBlock, supportsTrim: Bool) {
        let length: UInt64 = 0xFF_00_00_00_00_00_00_00
        switch cdb.operationCode {
        case OperationCode.readCapacity10:
            self.init(.page, .free, 0x25_00_00_00_00_00_00_00, length: .fixed(8))
        case OperationCode.read10: self.init(.read, .reads, 0x28_00_FF_FF_FF_FF_1F_FF, length)
        case OperationCode.write10: self.init(.write, .writes, 0x2A_00_FF_FF_FF_FF_1F_FF, length)
        case OperationCode.seek10: self.init(.translated, .reads, 0x2B_00_FF_FF_FF_FF_00_00)
        case OperationCode.writeAndVerify10: self.init(.writeAndVerify, .writes, 0x2E_02_FF_FF_FF_FF_1F_FF, length)
        case OperationCode.verify10: self.init(.verify, .reads, 0x2F_02_FF_FF_FF_FF_1F_FF, length)
        case OperationCode.preFetch10: self.init(.preFetch, .reads, 0x34_02_FF_FF_FF_FF_1F_FF, length)
        case OperationCode.synchronizeCache10:
            self.init(.synchronizeCache, .writes, 0x35_02_FF_FF_FF_FF_1F_FF, length)
        case OperationCode.writeSame10:
            self.init(.writeSame, .writes, supportsTrim ? 0x41_08_FF_FF_FF_FF_1F_FF : 0x41_00_FF_FF_FF_FF_1F_FF, length)
        case OperationCode.unmap where supportsTrim:
            self.init(.unmap, .writes, 0x42_00_00_00_00_00_1F_FF, length, length: .bytes7To8)
        case OperationCode.modeSelect10:
            self.init(.modeSelect, .writes, 0x55_11_00_00_00_00_00_FF, length, length: .bytes7To8)
        case OperationCode.modeSense10:
            self.init(.page, .reads, 0x5A_18_FF_FF_00_00_00_FF, length, length: .bytes7To8)
        case OperationCode.persistentReserveIn where ReserveInAction(rawValue: cdb.serviceAction) != nil:
            let action = UInt64(cdb.serviceAction) << 48
            self.init(.reserveIn, .free, 0x5E_00_00_00_00_00_00_FF | action, length, length: .bytes7To8)
        case OperationCode.persistentReserveOut where ReserveOutAction(rawValue: cdb.serviceAction) != nil:
            let action = UInt64(cdb.serviceAction) << 48
            self.init(
                .reserveOut, .reservesPersistently, 0x5F_00_FF_00_00_FF_FF_FF | action, length, length: .bytes5To8)
        default: return nil
        }
    }

    private init?(disk12 cdb: CommandDescriptorBlock) {
        let length: UInt64 = 0xFF_FF_00_00_00_00_00_00
        let lengthAndGroup: UInt64 = 0xFF_FF_1F_00_00_00_00_00
        switch (cdb.operationCode, cdb.serviceAction) {
        case (OperationCode.reportLUNs, _):
            self.init(.reportLUNs, .free, 0xA0_00_FF_00_00_00_FF_FF, length, length: .bytes6To9)
        case (OperationCode.ataPassThrough12, _):
            self.init(.passThrough, .writes, 0xA1_FF_FF_FF_FF_FF_FF_FF, 0xFF_FF_FF_00_00_00_00_00)
        case (OperationCode.maintenanceIn, ServiceAction.reportSupportedOperationCodes):
            self.init(.supportedOperationCodes, .reads, 0xA3_0C_87_FF_FF_FF_FF_FF, length, length: .bytes6To9)
        case (OperationCode.read12, _): self.init(.read, .reads, 0xA8_00_FF_FF_FF_FF_FF_FF, lengthAndGroup)
        case (OperationCode.write12, _): self.init(.write, .writes, 0xAA_00_FF_FF_FF_FF_FF_FF, lengthAndGroup)
        case (OperationCode.writeAndVerify12, _):
            self.init(.writeAndVerify, .writes, 0xAE_02_FF_FF_FF_FF_FF_FF, lengthAndGroup)
        case (OperationCode.verify12, _): self.init(.verify, .reads, 0xAF_02_FF_FF_FF_FF_FF_FF, lengthAndGroup)
        default: return nil
        }
    }

    private init?(disk16 cdb: CommandDescriptorBlock, supportsTrim: Bool) {
        let blocks: UInt64 = 0xFF_FF_FF_FF_FF_FF_1F_00
        switch (cdb.operationCode, cdb.serviceAction) {
        case (OperationCode.ataPassThrough16, _):
            self.init(.passThrough, .writes, 0x85_FF_FF_FF_FF_FF_FF_FF, 0xFF_FF_FF_FF_FF_FF_FF_00)
        case (OperationCode.read16, _): self.init(.read, .reads, 0x88_00_FF_FF_FF_FF_FF_FF, blocks)
        case (OperationCode.compareAndWrite, _):
            self.init(.compareAndWrite, .writes, 0x89_00_FF_FF_FF_FF_FF_FF, 0xFF_FF_00_00_00_FF_1F_00)
        case (OperationCode.write16, _): self.init(.write, .writes, 0x8A_00_FF_FF_FF_FF_FF_FF, blocks)
        case (OperationCode.writeAndVerify16, _):
            self.init(.writeAndVerify, .writes, 0x8E_02_FF_FF_FF_FF_FF_FF, blocks)
        case (OperationCode.verify16, _): self.init(.verify, .reads, 0x8F_02_FF_FF_FF_FF_FF_FF, blocks)
        case (OperationCode.preFetch16, _): self.init(.preFetch, .reads, 0x90_02_FF_FF_FF_FF_FF_FF, blocks)
        case (OperationCode.synchronizeCache16, _):
            self.init(.synchronizeCache, .writes, 0x91_02_FF_FF_FF_FF_FF_FF, blocks)
        case (OperationCode.writeSame16, _):
            self.init(.writeSame, .writes, supportsTrim ? 0x93_09_FF_FF_FF_FF_FF_FF : 0x93_01_FF_FF_FF_FF_FF_FF, blocks)
        case (OperationCode.serviceActionIn16, ServiceAction.readCapacity16):
            self.init(.page, .free, 0x9E_10_00_00_00_00_00_00, 0x00_00_FF_FF_FF_FF_00_00, length: .bytes10To13)
        case (OperationCode.serviceActionIn16, ServiceAction.getLBAStatus16):
            self.init(
                .lbaStatus, .reads, 0x9E_12_FF_FF_FF_FF_FF_FF, 0xFF_FF_FF_FF_FF_FF_00_00, length: .bytes10To13)
        default: return nil
        }
    }
}

extension CommandDescription {
    /// The row of a unit's command; nil if it has none.
    init?(_ cdb: CommandDescriptorBlock, of unit: UnitFacts) {
        switch unit.kind {
        case .disk, .hardDisk, .solidState:
            self.init(disk: cdb, supportsTrim: unit.supportsTrim)
            if unit.supportsForceUnitAccess { allowForceUnitAccess() }
        case .dvdROM: self.init(dvdROM: cdb)
        case .fullDVDROM: self.init(fullDVDROM: cdb)
        }
    }

    /// DPO and FUA, bits 4 and 3 of byte 1, in READ and WRITE of more than 6 bytes, and in COMPARE AND WRITE; of the
    /// commands that verify, DPO.
    private mutating func allowForceUnitAccess() {
        guard usage.operationCode >> 5 != 0 else { return }
        switch duty {
        case .read, .write, .compareAndWrite: usage.setBits(0x18, ofByte: 1)
        case .writeAndVerify, .verify: usage.setBits(0x10, ofByte: 1)
        default: break
        }
    }

    /// There is no such service action, but others of this operation code.
    static func hasOtherActions(_ cdb: CommandDescriptorBlock, of unit: UnitFacts) -> Bool {
        guard hasServiceActions(cdb.operationCode) else { return false }
        return !unit.kind.isDisc || cdb.operationCode == OperationCode.maintenanceIn
    }

    /// Commands of these operation codes are told apart by their service action.
    static func hasServiceActions(_ operationCode: UInt8) -> Bool {
        switch operationCode {
        case OperationCode.maintenanceIn, OperationCode.serviceActionIn16, OperationCode.persistentReserveIn,
            OperationCode.persistentReserveOut, PassThrough32.operationCode:
            true
        default: false
        }
    }

    /// ALLOCATION LENGTH, or PARAMETER LIST LENGTH.
    func dataLength(of cdb: CommandDescriptorBlock) -> UInt32 {
        switch length {
        case .none: 0
        case .fixed(let count): count
        case .byte4: UInt32(cdb[4])
        case .bytes3To4: UInt32(cdb[3]) << 8 | UInt32(cdb[4])
        case .bytes5To8: (5...8).reduce(0) { $0 << 8 | UInt32(cdb[$1]) }
        case .bytes7To8: cdb.transferLength10
        case .bytes8To9: UInt32(cdb[8]) << 8 | UInt32(cdb[9])
        case .bytes6To9: cdb.transferLength12
        case .bytes10To13: cdb.transferLength16
        }
    }
}

extension CommandDescriptorBlock {
    /// The blocks that a command names: the place of the address and their number follows from the command's length.
    var blocks: (first: UInt64, count: UInt64) {
        switch operationCode >> 5 {
        case 0: (logicalBlockAddress6, UInt64(transferLength6))
        case 1, 2: (logicalBlockAddress10, UInt64(transferLength10))
        case 5: (logicalBlockAddress10, UInt64(transferLength12))
        default:
            (
                logicalBlockAddress16,
                operationCode == OperationCode.compareAndWrite ? UInt64(self[13]) : UInt64(transferLength16)
            )
        }
    }

    /// BYTCHK of VERIFY and WRITE AND VERIFY, 01b: the blocks are compared with those of the initiator.
    var comparesBytes: Bool { self[1] & 0x02 != 0 }
}
