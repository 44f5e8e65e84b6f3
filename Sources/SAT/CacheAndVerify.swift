// Commands that move no data: SYNCHRONIZE CACHE, VERIFY, PRE-FETCH, START STOP UNIT
// (SBC-4 clause 5, SAT-5 clause 9).

import ATA
import SCSI

extension TranslationLayer {
    /// SYNCHRONIZE CACHE: FLUSH CACHE, whose EXT form Linux takes only for drives that need 48 bits for their last
    /// sector. The range is ignored. It is sent with the write cache off, too: the drive announces the command.
    func translateSynchronizeCache() -> Translation {
        let isLarge = supportsLBA48 && sectors >= 1 << 28
        let code = isLarge ? Command.flushCacheEXT : .flushCache
        return .taskfile(Taskfile(command: code.rawValue), isExtended: false)
    }

    /// VERIFY: READ VERIFY SECTORS (EXT). BYTCHK is ignored. Drives do not look at the range, so it is checked here.
    func translateVerify(_ range: SectorRange) -> Translation {
        guard range.count != 0 else { return .finished(dataLength: 0) }
        guard range.isInside(sectors), range.fitsLBA48 else { return outOfRange() }
        let (taskfile, isExtended) = readVerifyTaskfile(range)
        return .taskfile(taskfile, isExtended: isExtended)
    }

    /// PRE-FETCH: READ VERIFY SECTORS (EXT), as often as it takes. Linux does not have it; for exports only. The status
    /// is GOOD, not CONDITION MET, because the drive cannot say that its cache holds all of it (SBC-4).
    func translatePreFetch(_ command: inout SCSICommandInProgress, _ range: SectorRange) -> Translation {
        guard command.origin == .kernel else { return unknownCommand() }
        guard let range = range.upToEnd(of: sectors) else { return outOfRange() }
        command.continuation = .prefetch
        command.rest = range
        guard let first = command.rest.next() else { return .finished(dataLength: 0) }
        let (taskfile, isExtended) = readVerifyTaskfile(first)
        return .taskfile(taskfile, isExtended: isExtended)
    }

    /// The taskfile that verifies these sectors, and whether it is a 48-bit one.
    func readVerifyTaskfile(_ range: SectorRange) -> (Taskfile, isExtended: Bool) {
        range.fitsLBA28
            ? (Taskfile(lba28: .readVerifySectors, range), false)
            : (Taskfile(lba48: .readVerifySectorsEXT, range), true)
    }

    /// START STOP UNIT: to start, READ VERIFY of the first sector, which spins a disk up; to stop, STANDBY IMMEDIATE.
    /// IMMED is ignored; there is nothing to eject, and power conditions are not managed.
    func translateStartStopUnit(_ cdb: CommandDescriptorBlock) -> Translation {
        guard cdb[4] & 0x02 == 0 else { return invalidField(4, bit: 1) }
        guard cdb[4] & 0xF0 == 0 else { return invalidField(4, bit: 3) }
        if cdb[4] & 0x01 != 0 {
            let first = SectorRange(first: 0, count: 1)
            return .taskfile(Taskfile(lba28: .readVerifySectors, first), isExtended: false)
        }
        return .taskfile(Taskfile(command: Command.standbyImmediate.rawValue), isExtended: false)
    }
}

extension SectorRange {
    /// The range of a command whose length 0 means "up to the last sector"; nil if it is not on the medium.
    func upToEnd(of sectors: UInt64) -> SectorRange? {
        guard first < sectors, isInside(sectors) else { return nil }
        return SectorRange(first: first, count: count == 0 ? sectors - first : count)
    }
}
