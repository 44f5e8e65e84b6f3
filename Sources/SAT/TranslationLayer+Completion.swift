// How a command ends: data that the drive itself supplies, sense data from its registers (SAT-5 clause 11).

import ATA
import SCSI

extension TranslationLayer {
    /// The last taskfile of a command has succeeded.
    mutating func succeeded(
        _ command: inout SCSICommandInProgress, _ result: TaskfileResult, drive: inout Drive
    ) -> Step {
        switch command.continuation {
        case .none, .zeroes, .prefetch:
            break
        case .readIdentifyData:
            readIdentifyData(from: &drive)
        case .passThrough(let passThrough):
            if passThrough.changesIdentifyData { readIdentifyData(from: &drive) }
            if passThrough.checkCondition {
                // The initiator asked for the registers. This information is in descriptor format even if D_SENSE is 0.
                var sense = SenseData(.recoveredError, .ataPassThroughInformationAvailable, format: .descriptor)
                sense.ataStatusReturn = ATAStatusReturn(result, isExtended: command.isExtended)
                command.sense = sense
                return .finished(.checkCondition, dataLength: command.dataLength)
            }
        }
        return .finished(.good, dataLength: command.dataLength)
    }

    /// A taskfile has failed, and the command with it.
    func failed(_ command: inout SCSICommandInProgress, _ result: TaskfileResult) -> Step {
        var sense = SenseData(result, format: senseFormat)
        if case .passThrough = command.continuation {
            sense.ataStatusReturn = ATAStatusReturn(result, isExtended: command.isExtended)
        } else {
            sense.information = result.logicalBlockAddress(isExtended: command.isExtended)
        }
        command.sense = sense
        let transferred = min(blockSize.bytes(ofBlocks: UInt64(result.sectorsTransferred)), UInt64(command.dataLength))
        return .finished(.checkCondition, dataLength: UInt32(transferred))
    }

    /// The drive would move more data than the command has room for, or in the other direction. On a bus this ends as a
    /// protocol violation, which Linux reports as a command that was aborted.
    func overrun(_ command: inout SCSICommandInProgress) -> Step {
        command.sense = SenseData(.abortedCommand, .none, format: senseFormat)
        return .finished(.checkCondition, dataLength: 0)
    }

    /// Copies a page that the drive supplies. Returns false if the data buffer cannot take it.
    func receive(
        _ page: DataPage, for command: inout SCSICommandInProgress, from drive: Drive, into data: inout MutableRawSpan
    ) -> Bool {
        guard case .passThrough(let passThrough) = command.continuation, passThrough.direction == .fromDevice,
            Int(command.transferLength) >= page.byteCount, data.byteCount >= page.byteCount
        else { return false }
        drive.copy(page, into: &data)
        command.dataLength = UInt32(page.byteCount)
        return true
    }
}

extension TaskfileResult {
    /// The address in the registers, if they hold an LBA.
    func logicalBlockAddress(isExtended: Bool) -> UInt64? {
        guard device & Taskfile.deviceLBA != 0 else { return nil }
        return isExtended ? lba & 0xFFFF_FFFF_FFFF : UInt64(device & 0x0F) << 24 | lba & 0xFF_FFFF
    }
}

extension ATAStatusReturn {
    /// The registers as SCSI carries them.
    init(_ result: TaskfileResult, isExtended: Bool) {
        self.init(
            extend: isExtended, error: result.error, count: result.count, logicalBlockAddress: result.lba,
            device: result.device, status: result.status)
    }
}
