// READ and WRITE (6), (10) and (16) (SBC-4, SAT-5 clause 9).

import ATA
import SCSI

extension TranslationLayer {
    /// READ and WRITE. The drive aborts addresses beyond the end.
    func translateTransfer(
        _ command: SCSICommandInProgress, _ range: SectorRange, writes: Bool, forceUnitAccess: Bool
    ) -> Translation {
        guard blockSize.bytes(ofBlocks: range.count) <= UInt64(command.transferLength) else { return invalidField(0) }
        guard range.count != 0 else { return .finished(dataLength: 0) }
        guard range.fitsLBA48 else { return outOfRange() }
        if usesFPDMA {
            var (taskfile, isExtended) = transferTaskfile(range, writes: writes)
            taskfile.device |= forceUnitAccess ? 0x80 : 0
            return .taskfile(taskfile, isExtended: isExtended)
        }
        if forceUnitAccess, writes, identifyData.supportsForceUnitAccess, supportsLBA48 {
            return .taskfile(Taskfile(lba48: .writeDMAFUAEXT, range), isExtended: true)
        }
        // READ DMA has no FUA form at all, and a QEMU HARDDISK does not announce WRITE DMA FUA EXT.
        guard !forceUnitAccess else { return invalidField(0) }
        guard range.fitsLBA28 || supportsLBA48 else { return outOfRange() }
        let (taskfile, isExtended) = transferTaskfile(range, writes: writes)
        return .taskfile(taskfile, isExtended: isExtended)
    }

    /// The taskfile that reads or writes these sectors, and whether it is a 48-bit one: queued where there is NCQ, else
    /// the shortest that can name them.
    func transferTaskfile(_ range: SectorRange, writes: Bool) -> (Taskfile, isExtended: Bool) {
        if usesFPDMA {
            // The count is in the feature register; the count register has the tag, and one is as good as another.
            let code = writes ? Command.writeFPDMAQueued : .readFPDMAQueued
            let taskfile = Taskfile(
                command: code.rawValue, feature: UInt16(truncatingIfNeeded: range.count), lba: range.first,
                device: Taskfile.deviceLBA)
            return (taskfile, true)
        }
        return range.fitsLBA28
            ? (Taskfile(lba28: writes ? .writeDMA : .readDMA, range), false)
            : (Taskfile(lba48: writes ? .writeDMAEXT : .readDMAEXT, range), true)
    }
}

extension Taskfile {
    /// A 28-bit command for these sectors. 256 of them are a count of 0.
    init(lba28 code: Command, _ range: SectorRange) {
        self.init(
            command: code.rawValue, count: UInt16(truncatingIfNeeded: range.count & 0xFF), lba: range.first & 0xFF_FFFF,
            device: Taskfile.deviceLBA | UInt8(truncatingIfNeeded: range.first >> 24) & 0x0F)
    }

    /// A 48-bit command for these sectors.
    init(lba48 code: Command, _ range: SectorRange) {
        self.init(
            command: code.rawValue, count: UInt16(truncatingIfNeeded: range.count), lba: range.first,
            device: Taskfile.deviceLBA)
    }
}
