// The SCSI / ATA translation layer: SCSI commands become taskfiles, registers become sense data, as libata in Linux 6.1
// does it (SAT-5; where Linux and SAT differ, Linux).

import ATA
import Blocks
import SCSI

/// The layer above one drive, with what it learnt of the drive when it found it. Its methods come in two families:
/// *translate* makes taskfiles, *simulate* answers from what the layer knows.
public struct TranslationLayer: Sendable {
    /// IDENTIFY DEVICE, or IDENTIFY PACKET DEVICE, data as they were when the layer last asked.
    public private(set) var identifyData: IdentifyData
    /// D_SENSE of the control mode page: sense data come in descriptor format.
    public internal(set) var descriptorSense = false

    /// The drive has the PACKET feature set: commands go through as they are.
    private let isPacketDevice: Bool
    /// The drive has ``CommandRow``'s commands.
    let isWholeDisk: Bool
    private let controller: Controller
    /// Sectors of the drive.
    private(set) var sectors: UInt64 = 0
    /// Their size.
    private(set) var blockSize = BlockSize.smallest
    /// The drive takes 48-bit commands. A drive without sectors is not believed.
    private(set) var supportsLBA48 = false
    /// Reads and writes are queued ones, as Linux has it for every drive with NCQ behind AHCI.
    private(set) var usesFPDMA = false

    /// Finds the drive as Linux does: IDENTIFY DEVICE, SET FEATURES with the best transfer mode that drive and
    /// controller have, IDENTIFY DEVICE again.
    public init(drive: inout Drive, controller: Controller) {
        identifyData = drive.identifyData
        isPacketDevice = drive.kind.isDisc
        isWholeDisk = drive.kind.isWholeDisk
        self.controller = controller
        readIdentifyData(from: &drive)
        // Multiword DMA 2 is what a PIIX3 can do without help from its firmware, Ultra DMA 5 or 6 what the drive can.
        let mode: UInt16 = controller == .piix3IDE ? 0x22 : isWholeDisk ? 0x46 : 0x45
        var setFeatures = CommandInProgress(
            Taskfile(command: Command.setFeatures.rawValue, feature: 0x03, count: mode))
        _ = drive.begin(&setFeatures, data: RawSpan())
        readIdentifyData(from: &drive)
    }

    /// The drive has another size: the layer asks it again, as Linux does when it is told to look. The initiator's
    /// settings stay.
    public mutating func revalidate(_ drive: inout Drive) {
        readIdentifyData(from: &drive)
        if isPacketDevice { fetchMediumChange(&drive) }
    }

    /// IDENTIFY DEVICE (ACS-4 7.13), or IDENTIFY PACKET DEVICE. Those of a packet device do not know the medium.
    mutating func readIdentifyData(from drive: inout Drive) {
        let code = isPacketDevice ? Command.identifyPacketDevice : .identifyDevice
        var identify = CommandInProgress(Taskfile(command: code.rawValue))
        _ = drive.begin(&identify, data: RawSpan())
        identifyData = drive.identifyData
        sectors = isPacketDevice ? drive.sectors : identifyData.sectors
        blockSize = drive.blockSize
        supportsLBA48 = identifyData.supportsLBA48 && sectors != 0
        usesFPDMA = identifyData.supportsNCQ && controller == .ich9AHCI
    }

    /// The format of sense data that the initiator chose.
    var senseFormat: SenseData.Format { descriptorSense ? .descriptor : .fixed }

    /// Begins a command.
    /// - Parameters:
    ///   - command: a command that has not begun.
    ///   - drive: the drive below.
    ///   - data: the command's data buffer, for commands whose data the layer or the drive makes or reads. READ and
    ///     WRITE move theirs between medium and caller, so theirs may be empty here. WRITE SAME (16) with UNMAP needs
    ///     512 bytes, over which the list of ranges is written.
    public mutating func begin(
        _ command: inout SCSICommandInProgress, drive: inout Drive, data: inout MutableRawSpan
    ) -> Step {
        guard !isPacketDevice else { return beginPacket(&command, drive: &drive, data: &data) }
        switch translate(&command, &data) {
        case .taskfile(let taskfile, let isExtended):
            command.taskfile.start(taskfile)
            command.isExtended = isExtended
            let step =
                hasDataOut(command)
                ? drive.begin(&command.taskfile, data: data.bytes) : drive.begin(&command.taskfile, data: RawSpan())
            return proceed(&command, step, drive: &drive, data: &data)
        case .finished(let dataLength):
            return .finished(.good, dataLength: dataLength)
        case .refused(let sense):
            command.sense = sense
            return .finished(.checkCondition, dataLength: 0)
        case .lbaStatus(let lba):
            return .lbaStatus(lba: lba)
        }
    }

    /// Goes on with a command whose medium operation has ended.
    /// - Parameters:
    ///   - command: the command that gave the operation.
    ///   - drive: the drive below.
    ///   - outcome: how the operation ended.
    ///   - data: as for ``begin(_:drive:data:)``.
    public mutating func resume(
        _ command: inout SCSICommandInProgress, drive: inout Drive, outcome: BlockOutcome, data: inout MutableRawSpan
    ) -> Step {
        guard !isPacketDevice else {
            return resumePacket(&command, drive: &drive, outcome: outcome, data: &data)
        }
        let step = drive.resume(&command.taskfile, outcome, data: data.bytes)
        return proceed(&command, step, drive: &drive, data: &data)
    }

    /// Follows the drive until there is something for the caller to do: one taskfile, or one after the other.
    private mutating func proceed(
        _ command: inout SCSICommandInProgress, _ first: Drive.Step, drive: inout Drive, data: inout MutableRawSpan
    ) -> Step {
        var step = first
        while true {
            let result: TaskfileResult
            switch step {
            case .blocks(let operation):
                return perform(operation, for: &command)
            case .dataIn(let page, let end):
                guard receive(page, for: &command, from: drive, into: &data) else { return overrun(&command) }
                result = end
            case .finished(let end):
                result = end
            case .packetEnded:
                preconditionFailure("no disk has packets")
            }
            guard result.succeeded else { return failed(&command, result) }
            guard let next = nextTaskfile(of: &command) else {
                return succeeded(&command, result, drive: &drive)
            }
            command.taskfile.start(next)
            step = drive.begin(&command.taskfile, data: data.bytes)
        }
    }

    /// Says where in the command's data those of an operation are. Mutating, though it changes nothing of the layer: a
    /// non-mutating method that is called from a mutating one gets a copy, and the layer is more than 500 bytes.
    private mutating func perform(_ operation: BlockRequest, for command: inout SCSICommandInProgress) -> Step {
        if case .passThrough(let passThrough) = command.continuation, !passThrough.allows(operation) {
            return overrun(&command)
        }
        switch operation {
        case .read(_, let count), .write(_, let count):
            if case .zeroes(let mayDeallocate) = command.continuation {
                return .blocks(operation, dataOffset: 0, zeroes: true, mayDeallocate: mayDeallocate)
            }
            let offset = command.dataLength
            let end = UInt64(offset) + blockSize.bytes(ofBlocks: UInt64(count))
            guard end <= UInt64(command.transferLength) else { return overrun(&command) }
            command.dataLength = UInt32(truncatingIfNeeded: end)
            return .blocks(operation, dataOffset: offset, zeroes: false, mayDeallocate: false)
        case .zeroes(let lba, let count, let mayDeallocate):
            return .blocks(
                .write(lba: lba, count: count), dataOffset: 0, zeroes: true, mayDeallocate: mayDeallocate)
        case .flush, .discard, .prefetch:
            return .blocks(operation, dataOffset: 0, zeroes: false, mayDeallocate: false)
        }
    }

    /// What is in the command's buffer comes from the initiator: a whole disk must not take its memory for data.
    private func hasDataOut(_ command: SCSICommandInProgress) -> Bool {
        guard isWholeDisk, case .passThrough(let passThrough) = command.continuation else { return true }
        return passThrough.direction == .toDevice
    }

    /// The next taskfile of a command that needs several; nil after the last.
    private func nextTaskfile(of command: inout SCSICommandInProgress) -> Taskfile? {
        switch command.continuation {
        case .none, .readIdentifyData, .passThrough: return nil
        case .zeroes:
            guard let piece = command.rest.next() else { return nil }
            let (taskfile, isExtended) = transferTaskfile(piece, writes: true)
            command.isExtended = isExtended
            return taskfile
        case .prefetch:
            guard let piece = command.rest.next() else { return nil }
            let (taskfile, isExtended) = readVerifyTaskfile(piece)
            command.isExtended = isExtended
            return taskfile
        }
    }
}

extension TaskfileResult {
    /// No error, no fault, and the device is not waiting for anything.
    var succeeded: Bool {
        status & (Status.busy | Status.deviceFault | Status.dataRequest | Status.error) == 0
    }
}
