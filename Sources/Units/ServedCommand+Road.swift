// The way of a command through the translation layer and the drive.

import ATA
import Blocks
import SAT
import SCSI

extension ServedCommand {
    /// Begins to serve the command.
    /// - Parameters:
    ///   - drive: the unit's.
    ///   - server: what the unit remembers of its initiators.
    ///   - buffer: as large as ``bufferNeeds`` says, with what the initiator has sent; for READ and WRITE it may be
    ///     somewhere else.
    public mutating func begin(
        on drive: inout ExportedDrive, by server: inout DeviceServer, buffer: inout MutableRawSpan
    ) -> UnitStep {
        drive.requestsServed &+= 1
        if let objection { return end(objection, drive.translation.descriptorSense) }
        return proceed(on: &drive, by: &server, buffer: &buffer)
    }

    /// Goes on after the medium has done, or failed to do, what the last step asked for.
    public mutating func resume(
        _ outcome: BlockOutcome, on drive: inout ExportedDrive, by server: inout DeviceServer,
        buffer: inout MutableRawSpan
    ) -> UnitStep {
        let step = drive.translation.resume(&scsi, drive: &drive.drive, outcome: outcome, data: &buffer)
        return follow(step, on: &drive, by: &server, buffer: &buffer)
    }

    /// Goes on after the medium was asked as ``UnitStep/lbaStatus(lba:limit:)`` says.
    public mutating func resumeLBAStatus(
        isMapped: Bool, count: UInt32, on drive: inout ExportedDrive, by server: inout DeviceServer,
        buffer: inout MutableRawSpan
    ) -> UnitStep {
        precondition(count > 0, "the medium has to say something of the block that it is asked about")
        let step = drive.translation.resumeLBAStatus(&scsi, mapped: isMapped, count: count, data: &buffer)
        return follow(step, on: &drive, by: &server, buffer: &buffer)
    }

    /// Goes on where ``UnitStep/commandEnded`` was the answer.
    public mutating func goOn(
        on drive: inout ExportedDrive, by server: inout DeviceServer, buffer: inout MutableRawSpan
    ) -> UnitStep {
        proceed(on: &drive, by: &server, buffer: &buffer)
    }

    /// Ends the command where ``UnitStep/commandEnded`` was the answer: nobody waits for the rest of it.
    public mutating func giveUp() -> UnitStep {
        status = .checkCondition
        sense = SenseData(.abortedCommand, .none, format: .fixed)
        return .finished
    }

    private mutating func end(_ objection: Objection, _ descriptorSense: Bool) -> UnitStep {
        status = .checkCondition
        sense = objection.sense(descriptorSense ? .descriptor : .fixed)
        // There the length is what is wrong.
        if objection == .incompleteBlock { transferBytes = facts.blockSize.bytes(ofBlocks: cdb.blocks.count) }
        return .finished
    }

    /// Sends the next command to the translation layer, or ends when there is none.
    private mutating func proceed(
        on drive: inout ExportedDrive, by server: inout DeviceServer, buffer: inout MutableRawSpan
    ) -> UnitStep {
        guard let (next, length) = nextCommand() else { return succeed() }
        commandsSent &+= 1
        drive.commandsSent &+= 1
        scsi.start(next, transferLength: length)
        let step = drive.translation.begin(&scsi, drive: &drive.drive, data: &buffer)
        return follow(step, on: &drive, by: &server, buffer: &buffer)
    }

    /// The next command, and the length of its data.
    private mutating func nextCommand() -> (CommandDescriptorBlock, UInt32)? {
        if let length = lengthOfOneCommand {
            return commandsSent == 0 ? (duty == .synchronizeCache ? .synchronizeCache10() : cdb, length) : nil
        }
        let count = UInt32(truncatingIfNeeded: nextBlockCount)
        guard count > 0 else { return nil }
        let first = nextBlock
        nextBlock += UInt64(count)
        let byteCount = UInt32(truncatingIfNeeded: facts.blockSize.bytes(ofBlocks: UInt64(count)))
        switch duty {
        case .read, .write:
            commandOffset = UInt32(truncatingIfNeeded: facts.blockSize.bytes(ofBlocks: first - firstBlock))
            if duty == .write { return (.write16(logicalBlockAddress: first, transferLength: count), byteCount) }
            guard facts.kind == .dvdROM else {
                return (.read16(logicalBlockAddress: first, transferLength: count), byteCount)
            }
            // Neither the address nor the length of a command for a disc is larger.
            return (
                .read10(
                    logicalBlockAddress: UInt32(truncatingIfNeeded: first),
                    transferLength: UInt16(truncatingIfNeeded: count)), byteCount
            )
        case .verify:
            return (.verify16(logicalBlockAddress: first, verificationLength: count), 0)
        case .preFetch:
            return (.preFetch16(logicalBlockAddress: first, prefetchLength: count), 0)
        default:
            return (
                .writeSame16(
                    logicalBlockAddress: first, numberOfLogicalBlocks: count, unmap: cdb.unmap,
                    noDataOutBuffer: cdb.noDataOutBuffer), cdb.noDataOutBuffer ? 0 : UInt32(facts.blockSize.bytes)
            )
        }
    }

    /// What the data of a command have that is sent once; nil for those of as many commands as their blocks take.
    private var lengthOfOneCommand: UInt32? {
        switch duty {
        case .read, .write, .verify, .preFetch, .writeSame: nil
        case .synchronizeCache, .translated, .unknown: 0
        case .page, .lbaStatus, .passThrough, .packet: UInt32(truncatingIfNeeded: bufferNeeds.byteCount)
        case .modeSelect: UInt32(truncatingIfNeeded: dataOutBytes)
        }
    }

    /// The most blocks of one command: what a taskfile carries, in whole 4 KiB, and for TRIM what a list of ranges does
    /// (the MAXIMUM WRITE SAME LENGTH of the Block Limits page).
    private var commandLimit: UInt64 { kind == .trim ? 64 * 65_535 : 65_528 }

    /// How many blocks the next command is for. One that others follow ends where 4 KiB do, so that these begin there:
    /// on most media they need not be alone.
    var nextBlockCount: UInt64 {
        let left = endBlock - nextBlock
        return left > commandLimit ? commandLimit - nextBlock % 8 : left
    }

    /// Passes the translation layer's wish on, in terms of the command's buffer; at the end of one command, the next
    /// begins.
    private mutating func follow(
        _ first: TranslationLayer.Step, on drive: inout ExportedDrive, by server: inout DeviceServer,
        buffer: inout MutableRawSpan
    ) -> UnitStep {
        var step = first
        while true {
            switch step {
            case .blocks(let operation, _, _, _) where facts.isReadOnly && operation.changesBlocks:
                // A taskfile of the initiator's own gets as far as this.
                step = drive.translation.resume(
                    &scsi, drive: &drive.drive, outcome: .failed(.writeProtected), data: &buffer)
            case .blocks(.write(let lba, let count), _, zeroes: true, let mayDeallocate):
                return .performZeroes(lba: lba, count: count, mayDeallocate: mayDeallocate)
            case .blocks(let operation, let dataOffset, _, _):
                return .perform(operation, bufferOffset: commandOffset + dataOffset)
            case .lbaStatus(let lba):
                return .lbaStatus(lba: lba, limit: UInt32(clamping: endBlock - lba))
            case .finished(.good, let length):
                return commandFinished(length, on: &drive, by: &server, buffer: &buffer)
            case .finished(_, let length):
                status = .checkCondition
                sense = scsi.sense
                // With CK_COND the data of a taskfile are good, and the registers come as sense data.
                if duty == .passThrough { transferBytes = UInt64(length) }
                return .finished
            }
        }
    }

    private mutating func commandFinished(
        _ length: UInt32, on drive: inout ExportedDrive, by server: inout DeviceServer, buffer: inout MutableRawSpan
    ) -> UnitStep {
        switch duty {
        case .page: transferBytes = UInt64(min(length, scsi.responseLength))
        case .lbaStatus, .passThrough, .packet: transferBytes = UInt64(length)
        default: break
        }
        guard lengthOfOneCommand == nil, nextBlock < endBlock else { return succeed() }
        return duty == .read || duty == .write ? proceed(on: &drive, by: &server, buffer: &buffer) : .commandEnded
    }

    private mutating func succeed() -> UnitStep {
        switch duty {
        case .read, .write: transferBytes = facts.blockSize.bytes(ofBlocks: cdb.blocks.count)
        case .writeSame: transferBytes = cdb.noDataOutBuffer ? 0 : facts.blockSize.bytes
        case .modeSelect: transferBytes = UInt64(dataLength)
        default: break
        }
        return .finished
    }
}

extension BlockRequest {
    /// It changes what is on the medium.
    var changesBlocks: Bool {
        switch self {
        case .write, .discard: true
        case .read, .flush, .prefetch: false
        }
    }
}
