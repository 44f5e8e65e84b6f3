// ATA PASS-THROUGH (12) and (16): a taskfile of the initiator's own (SAT-5 12.2).

import ATA
import Blocks
import SCSI

/// The state of an ATA PASS-THROUGH until it ends.
@usableFromInline struct PassThrough: Equatable, Sendable {
    /// Which way data go.
    @usableFromInline enum Direction: Sendable {
        case none
        case fromDevice
        case toDevice
    }

    var direction: Direction
    /// CK_COND: the registers are wanted even after success.
    var checkCondition: Bool
    /// A feature that shows in IDENTIFY DEVICE data was switched, so that they have to be read anew.
    var changesIdentifyData: Bool

    /// Whether data go the way that an operation needs.
    func allows(_ operation: BlockRequest) -> Bool {
        switch operation {
        case .read: direction == .fromDevice
        case .write, .discard: direction == .toDevice
        case .flush, .prefetch, .zeroes: true
        }
    }
}

extension TranslationLayer {
    /// ATA PASS-THROUGH, less what would confuse the layer.
    func translatePassThrough(_ command: inout SCSICommandInProgress) -> Translation {
        let cdb = command.cdb
        let isLong = cdb.operationCode == OperationCode.ataPassThrough16
        guard let direction = passThroughDirection(cdb) else { return invalidField(1) }
        // T_LENGTH 0 means that no data move.
        guard cdb[2] & 0x03 != 0 || command.transferLength == 0 else { return invalidField(2) }
        let isExtended = isLong && cdb[1] & 0x01 != 0
        var taskfile = isLong ? Taskfile(passThrough16: cdb) : Taskfile(passThrough12: cdb)
        if protocolField(cdb) == 12 {
            // The count register has the tag, which is not the initiator's business.
            taskfile.count &= 0xFF00
        }
        if let field = forbiddenField(taskfile, cdb, isLong: isLong) { return invalidField(field) }
        command.continuation = .passThrough(
            PassThrough(
                direction: direction, checkCondition: cdb[2] & 0x20 != 0,
                changesIdentifyData: isWholeDisk
                    ? CommandRow.changesIdentifyData(taskfile) : changesIdentifyData(taskfile)))
        return .taskfile(taskfile, isExtended: isExtended)
    }

    /// PROTOCOL: byte 1, bits 4:1.
    private func protocolField(_ cdb: CommandDescriptorBlock) -> UInt8 { cdb[1] >> 1 & 0x0F }

    /// The direction that the protocol implies, or T_DIR for those that leave it open; nil for protocols that are not
    /// there: resets, diagnostics, DMA QUEUED, and NCQ without NCQ.
    private func passThroughDirection(_ cdb: CommandDescriptorBlock) -> PassThrough.Direction? {
        let chosen = cdb[2] & 0x08 != 0 ? PassThrough.Direction.fromDevice : .toDevice
        return switch protocolField(cdb) {
        case 3: PassThrough.Direction.none
        case 4, 10: .fromDevice
        case 5, 11: .toDevice
        case 6: chosen
        case 12: usesFPDMA ? chosen : nil
        default: nil
        }
    }

    /// The byte of the command that makes it one that Linux does not let through.
    private func forbiddenField(_ taskfile: Taskfile, _ cdb: CommandDescriptorBlock, isLong: Bool) -> UInt16? {
        let isPIO = protocolField(cdb) == 4 || protocolField(cdb) == 5
        switch taskfile.command {
        case 0x22, 0x23, 0x32, 0x33:
            // READ and WRITE LONG have sectors of their own size.
            guard isPIO, taskfile.count & 0xFF == 1 else { return 1 }
        case 0x5C...0x5F:
            // TRUSTED SEND and RECEIVE could lock the drive behind the kernel's back.
            return isLong ? 14 : 9
        case Command.setFeatures.rawValue where taskfile.feature & 0xFF == 0x03:
            // The controller has to know the transfer mode.
            return isLong ? 4 : 3
        default:
            break
        }
        // MULTIPLE_COUNT is for READ and WRITE MULTIPLE.
        let isMultiple = [0x29, 0x39, 0xC4, 0xC5, 0xCE].contains(taskfile.command)
        return cdb[1] & 0xE0 != 0 && !isMultiple ? 1 : nil
    }

    /// SET FEATURES for write cache and look-ahead, INITIALIZE DEVICE PARAMETERS, SET MULTIPLE MODE.
    private func changesIdentifyData(_ taskfile: Taskfile) -> Bool {
        switch taskfile.command {
        case Command.setFeatures.rawValue: [0x02, 0x55, 0x82, 0xAA].contains(taskfile.feature & 0xFF)
        case Command.initializeDeviceParameters.rawValue, Command.setMultipleMode.rawValue: true
        default: false
        }
    }
}

extension Taskfile {
    /// DEV of the device register, which the layer sets as it has to be.
    private static let deviceSelect: UInt8 = 0x10

    /// The registers in ATA PASS-THROUGH (16): each previous content before the current one, if EXTEND is 1.
    init(passThrough16 cdb: CommandDescriptorBlock) {
        let isExtended = cdb[1] & 0x01 != 0
        func previous(_ byte: Int) -> UInt16 { isExtended ? UInt16(cdb[byte]) : 0 }
        // From byte 7 on: LBA low, mid and high.
        let current = UInt64(cdb[8]) | UInt64(cdb[10]) << 8 | UInt64(cdb[12]) << 16
        let before = UInt64(previous(7)) | UInt64(previous(9)) << 8 | UInt64(previous(11)) << 16
        self.init(
            command: cdb[14], feature: previous(3) << 8 | UInt16(cdb[4]), count: previous(5) << 8 | UInt16(cdb[6]),
            lba: before << 24 | current, device: cdb[13] & ~Self.deviceSelect)
    }

    /// The registers in ATA PASS-THROUGH (12), which has no 48-bit commands.
    init(passThrough12 cdb: CommandDescriptorBlock) {
        self.init(
            command: cdb[9], feature: UInt16(cdb[3]), count: UInt16(cdb[4]),
            lba: UInt64(cdb[5]) | UInt64(cdb[6]) << 8 | UInt64(cdb[7]) << 16, device: cdb[8] & ~Self.deviceSelect)
    }
}
