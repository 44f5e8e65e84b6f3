// Commands for a device with the PACKET feature set: they go through as they are, as libata of Linux 6.1 does it.

import ATA
import Blocks
import SCSI

extension TranslationLayer {
    /// Begins a command for a device that speaks SCSI itself. GET LBA STATUS (16) alone, which exports need and discs
    /// do not have, is the layer's own.
    mutating func beginPacket(
        _ command: inout SCSICommandInProgress, drive: inout Drive, data: inout MutableRawSpan
    ) -> Step {
        let cdb = command.cdb
        if cdb.operationCode == OperationCode.serviceActionIn16, cdb.serviceAction == ServiceAction.getLBAStatus16,
            command.origin == .kernel
        {
            return askForLBAStatus(&command)
        }
        // A command of 16 bytes is no packet: Linux never sends it, and ends it as if the bus had failed.
        guard cdb.operationCode >> 5 != 4 else { return overrun(&command) }
        command.isExtended = false
        command.taskfile.start(Taskfile(packetWithData: command.transferLength))
        let step = drive.begin(&command.taskfile, packet: CommandPacket { cdb[$0] }, reply: &data)
        return followPacket(&command, step, drive: &drive, data: &data)
    }

    /// Goes on when blocks of the medium have been read.
    mutating func resumePacket(
        _ command: inout SCSICommandInProgress, drive: inout Drive, outcome: BlockOutcome, data: inout MutableRawSpan
    ) -> Step {
        let step = drive.resume(&command.taskfile, outcome, reply: &data)
        return followPacket(&command, step, drive: &drive, data: &data)
    }

    /// A host that was told of another medium tests the unit until it has heard of the change, as Linux's sr does.
    mutating func fetchMediumChange(_ drive: inout Drive) {
        for _ in 0..<3 {
            var command = SCSICommandInProgress(cdb: .testUnitReady(), transferLength: 0, origin: .kernel)
            var none = InlineArray<1, UInt8>(repeating: 0)
            var elements = none.mutableSpan
            // Every pattern of bits is a byte.
            var data = unsafe elements.mutableBytes
            if begin(&command, drive: &drive, data: &data) == .finished(.good, dataLength: 0) { return }
        }
    }

    private mutating func askForLBAStatus(_ command: inout SCSICommandInProgress) -> Step {
        let address = command.cdb.logicalBlockAddress16
        guard address >= sectors else { return .lbaStatus(lba: address) }
        command.sense = SenseData(.illegalRequest, .logicalBlockAddressOutOfRange, format: senseFormat)
        return .finished(.checkCondition, dataLength: 0)
    }

    private mutating func followPacket(
        _ command: inout SCSICommandInProgress, _ step: Drive.Step, drive: inout Drive, data: inout MutableRawSpan
    ) -> Step {
        switch step {
        case .blocks(let request):
            guard case .read(_, let count) = request else { return overrun(&command) }
            let offset = command.taskfile.blocksOffset
            guard offset + blockSize.bytes(ofBlocks: UInt64(count)) <= UInt64(command.transferLength) else {
                return overrun(&command)
            }
            return .blocks(
                request, dataOffset: UInt32(truncatingIfNeeded: offset), zeroes: false, mayDeallocate: false)
        case .packetEnded(let byteCount, let result):
            guard byteCount <= UInt64(command.transferLength) else { return overrun(&command) }
            let byteCount = UInt32(truncatingIfNeeded: byteCount)
            guard result.succeeded else {
                command.sense = fetchSense(result, from: &drive)
                return .finished(.checkCondition, dataLength: byteCount)
            }
            if command.cdb.operationCode == OperationCode.inquiry, command.cdb[1] & 0x03 == 0 {
                modernizeInquiryData(&data, byteCount)
            }
            return .finished(.good, dataLength: byteCount)
        case .finished, .dataIn:
            preconditionFailure("PACKET ends in its own way")
        }
    }

    /// Why PACKET has failed: the drive's own sense data, which Linux fetches with REQUEST SENSE.
    private mutating func fetchSense(_ result: TaskfileResult, from drive: inout Drive) -> SenseData {
        // PACKET itself was aborted: there is nothing to fetch.
        guard result.error & 0xF0 != 0 else { return SenseData(.abortedCommand, .none, format: .fixed) }
        var buffer = InlineArray<18, UInt8>(repeating: 0)
        var elements = buffer.mutableSpan
        // Every pattern of bits is a byte.
        var bytes = unsafe elements.mutableBytes
        let length = UInt8(bytes.byteCount)
        var taskfile = CommandInProgress(Taskfile(packetWithData: UInt32(length)))
        let packet = CommandPacket { $0 == 0 ? OperationCode.requestSense : $0 == 4 ? length : 0 }
        _ = drive.begin(&taskfile, packet: packet, reply: &bytes)
        return SenseData(parsingFixed: bytes.bytes) ?? SenseData(.hardwareError, .none, format: .fixed)
    }

    /// A version of 0 becomes that of SPC-3, and the response data format the present one with HISUP and NORMACA: so
    /// Linux's SCSI layer takes an old packet device for a modern one.
    private func modernizeInquiryData(_ data: inout MutableRawSpan, _ byteCount: UInt32) {
        guard byteCount >= 4, data.byteCount >= 4 else { return }
        // The guard keeps the offset inside, and every bit pattern is a UInt8.
        guard unsafe data.unsafeLoad(fromByteOffset: 2, as: UInt8.self) == 0 else { return }
        data.storeBytes(of: 0x05, toByteOffset: 2, as: UInt8.self)
        data.storeBytes(of: 0x32, toByteOffset: 3, as: UInt8.self)
    }
}

extension Taskfile {
    /// PACKET for so many bytes of data. Multiples of 16 go by DMA, others by PIO in blocks of at most 63 KiB, because
    /// many devices choke on other lengths.
    init(packetWithData byteCount: UInt32) {
        let usesDMA = byteCount != 0 && byteCount % 16 == 0
        let limit = UInt64(min(byteCount, 63 << 10) + 1) & ~1
        self.init(command: Command.packet.rawValue, feature: usesDMA ? 0x01 : 0, lba: limit << 8)
    }
}
