// The one table of the commands of a disk's device server: what each does, which of its bits mean something, and how
// long its data are. Dispatch, the check of a CDB's fields and REPORT SUPPORTED OPERATION CODES all read it (SPC-4
// 6.29, SBC-3 clause 5).

import SCSI

/// What a device server does for a command.
enum Duty: Equatable, Sendable {
    /// Blocks go to the initiator.
    case read
    /// Blocks come from the initiator.
    case write
    /// Blocks are read, and nobody gets them.
    case verify
    /// What was written becomes stable.
    case synchronizeCache
    /// Blocks are brought closer.
    case preFetch
    /// One block is written many times, or blocks are given back.
    case writeSame
    /// What is stored.
    case lbaStatus
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
}

/// Where a CDB says how long its data may be.
enum LengthField: Sendable {
    /// The command has no data, or as many as its blocks have.
    case none
    /// Nowhere: they have always so many bytes.
    case fixed(UInt32)
    case byte4
    case bytes3To4
    case bytes7To8
    case bytes6To9
    case bytes10To13
}

/// A row of the table.
struct CommandDescription: Sendable {
    let duty: Duty
    /// CDB USAGE DATA: each bit that the device server looks at is one, and the operation code and service action are
    /// their own.
    let usage: CommandDescriptorBlock
    let length: LengthField

    init(_ duty: Duty, _ high: UInt64, _ low: UInt64 = 0, length: LengthField = .none) {
        self.duty = duty
        usage = CommandDescriptorBlock(high: high, low: low)
        self.length = length
    }

    /// The row of a disk's command; nil if it has none.
    init?(disk cdb: CommandDescriptorBlock) {
        switch cdb.operationCode >> 5 {
        case 0: self.init(disk6: cdb)
        case 1, 2: self.init(disk10: cdb)
        case 4: self.init(disk16: cdb)
        case 5: self.init(disk12: cdb)
        default: return nil
        }
    }

    private init?(disk6 cdb: CommandDescriptorBlock) {
        switch cdb.operationCode {
        case OperationCode.testUnitReady: self.init(.translated, 0x00_00_00_00_00_00_0000)
        case OperationCode.rezeroUnit: self.init(.translated, 0x01_00_00_00_00_00_0000)
        case OperationCode.requestSense: self.init(.page, 0x03_01_00_00_FF_00_0000, length: .byte4)
        case OperationCode.read6: self.init(.read, 0x08_1F_FF_FF_FF_00_0000)
        case OperationCode.write6: self.init(.write, 0x0A_1F_FF_FF_FF_00_0000)
        case OperationCode.seek6: self.init(.translated, 0x0B_1F_FF_FF_00_00_0000)
        case OperationCode.inquiry: self.init(.page, 0x12_01_FF_FF_FF_00_0000, length: .bytes3To4)
        case OperationCode.modeSelect6: self.init(.modeSelect, 0x15_11_00_00_FF_00_0000, length: .byte4)
        case OperationCode.modeSense6: self.init(.page, 0x1A_08_FF_FF_FF_00_0000, length: .byte4)
        case OperationCode.startStopUnit: self.init(.translated, 0x1B_01_00_0F_F7_00_0000)
        case OperationCode.sendDiagnostic: self.init(.translated, 0x1D_04_00_00_00_00_0000)
        default: return nil
        }
    }

    private init?(disk10 cdb: CommandDescriptorBlock) {
        switch cdb.operationCode {
        case OperationCode.readCapacity10:
            self.init(.page, 0x25_00_00_00_00_00_00_00, length: .fixed(8))
        case OperationCode.read10: self.init(.read, 0x28_00_FF_FF_FF_FF_00_FF, 0xFF_00 << 48)
        case OperationCode.write10: self.init(.write, 0x2A_00_FF_FF_FF_FF_00_FF, 0xFF_00 << 48)
        case OperationCode.seek10: self.init(.translated, 0x2B_00_FF_FF_FF_FF_00_00)
        case OperationCode.verify10: self.init(.verify, 0x2F_00_FF_FF_FF_FF_00_FF, 0xFF_00 << 48)
        case OperationCode.preFetch10: self.init(.preFetch, 0x34_02_FF_FF_FF_FF_00_FF, 0xFF_00 << 48)
        case OperationCode.synchronizeCache10:
            self.init(.synchronizeCache, 0x35_02_FF_FF_FF_FF_00_FF, 0xFF_00 << 48)
        case OperationCode.modeSelect10:
            self.init(.modeSelect, 0x55_11_00_00_00_00_00_FF, 0xFF_00 << 48, length: .bytes7To8)
        case OperationCode.modeSense10:
            self.init(.page, 0x5A_18_FF_FF_00_00_00_FF, 0xFF_00 << 48, length: .bytes7To8)
        default: return nil
        }
    }

    private init?(disk12 cdb: CommandDescriptorBlock) {
        switch (cdb.operationCode, cdb.serviceAction) {
        case (OperationCode.reportLUNs, _):
            self.init(.page, 0xA0_00_FF_00_00_00_FF_FF, 0xFF_FF_00_00 << 32, length: .bytes6To9)
        case (OperationCode.ataPassThrough12, _):
            self.init(.passThrough, 0xA1_FF_FF_FF_FF_FF_FF_FF, 0xFF_FF_00_00 << 32)
        case (OperationCode.maintenanceIn, ServiceAction.reportSupportedOperationCodes):
            self.init(.page, 0xA3_0C_87_FF_FF_FF_FF_FF, 0xFF_FF_00_00 << 32, length: .bytes6To9)
        case (OperationCode.read12, _): self.init(.read, 0xA8_00_FF_FF_FF_FF_FF_FF, 0xFF_FF_00_00 << 32)
        case (OperationCode.write12, _): self.init(.write, 0xAA_00_FF_FF_FF_FF_FF_FF, 0xFF_FF_00_00 << 32)
        case (OperationCode.verify12, _): self.init(.verify, 0xAF_00_FF_FF_FF_FF_FF_FF, 0xFF_FF_00_00 << 32)
        default: return nil
        }
    }

    private init?(disk16 cdb: CommandDescriptorBlock) {
        switch (cdb.operationCode, cdb.serviceAction) {
        case (OperationCode.ataPassThrough16, _):
            self.init(.passThrough, 0x85_FF_FF_FF_FF_FF_FF_FF, 0xFF_FF_FF_FF_FF_FF_FF_00)
        case (OperationCode.read16, _): self.init(.read, 0x88_00_FF_FF_FF_FF_FF_FF, 0xFF_FF_FF_FF_FF_FF_00_00)
        case (OperationCode.write16, _): self.init(.write, 0x8A_00_FF_FF_FF_FF_FF_FF, 0xFF_FF_FF_FF_FF_FF_00_00)
        case (OperationCode.verify16, _): self.init(.verify, 0x8F_00_FF_FF_FF_FF_FF_FF, 0xFF_FF_FF_FF_FF_FF_00_00)
        case (OperationCode.preFetch16, _):
            self.init(.preFetch, 0x90_02_FF_FF_FF_FF_FF_FF, 0xFF_FF_FF_FF_FF_FF_00_00)
        case (OperationCode.synchronizeCache16, _):
            self.init(.synchronizeCache, 0x91_02_FF_FF_FF_FF_FF_FF, 0xFF_FF_FF_FF_FF_FF_00_00)
        case (OperationCode.writeSame16, _):
            self.init(.writeSame, 0x93_19_FF_FF_FF_FF_FF_FF, 0xFF_FF_FF_FF_FF_FF_00_00)
        case (OperationCode.serviceActionIn16, ServiceAction.readCapacity16):
            self.init(.page, 0x9E_10_00_00_00_00_00_00, 0x00_00_FF_FF_FF_FF_00_00, length: .bytes10To13)
        case (OperationCode.serviceActionIn16, ServiceAction.getLBAStatus16):
            self.init(.lbaStatus, 0x9E_12_FF_FF_FF_FF_FF_FF, 0xFF_FF_FF_FF_FF_FF_00_00, length: .bytes10To13)
        default: return nil
        }
    }
}

extension CommandDescription {
    /// The row of a DVD-ROM's command. It judges its commands itself; packets have at most 12 bytes.
    init?(dvdROM cdb: CommandDescriptorBlock) {
        switch cdb.operationCode {
        case OperationCode.read10, OperationCode.read12: self.init(.read, .max, .max)
        case OperationCode.reportLUNs: self.init(.page, 0xA0_00_FF_00_00_00_FF_FF, 0xFF_FF << 48, length: .bytes6To9)
        case 0x00...0x5F, 0xA0...0xBF: self.init(.packet, .max, .max)
        default: return nil
        }
    }

    /// ALLOCATION LENGTH, or PARAMETER LIST LENGTH.
    func dataLength(of cdb: CommandDescriptorBlock) -> UInt32 {
        switch length {
        case .none: 0
        case .fixed(let count): count
        case .byte4: UInt32(cdb[4])
        case .bytes3To4: UInt32(cdb[3]) << 8 | UInt32(cdb[4])
        case .bytes7To8: cdb.transferLength10
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
        default: (logicalBlockAddress16, UInt64(transferLength16))
        }
    }
}
