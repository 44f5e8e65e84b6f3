// The way of a command through the device server, the translation layer and the drive.

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
        let format: SenseData.Format = drive.translation.descriptorSense ? .descriptor : .fixed
        if server.hasExceptions, facts.isPresent,
            isIntercepted(by: &server, hasMedium: drive.drive.hasMedium, format)
        {
            return .finished
        }
        if let objection { return end(objection, format) }
        switch duty {
        case .unmap:
            if let objection = judgeDescriptors(buffer.bytes) { return end(objection, format) }
        case .writeSame: prepareCopies(&buffer)
        case .modeSelect: takeWriteProtection(from: &buffer)
        case .requestSense, .reportLUNs, .supportedOperationCodes, .reserveIn, .reserveOut, .reserve, .release,
            .nothing, .inquiry, .absentInquiry, .packet:
            if let step = answerItself(&server, format, &buffer) { return step }
        default: break
        }
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

    /// The command ends with CHECK CONDITION.
    mutating func end(_ objection: Objection, _ format: SenseData.Format) -> UnitStep {
        status = .checkCondition
        sense = objection.sense(format)
        // There the residual says by how much the length is wrong.
        movedBytes = objection == .wrongLength ? commandBytes : 0
        return .finished
    }

    /// Sends the next command to the translation layer, or ends when there is none.
    private mutating func proceed(
        on drive: inout ExportedDrive, by server: inout DeviceServer, buffer: inout MutableRawSpan
    ) -> UnitStep {
        if duty == .unmap { nextDescriptor(buffer.bytes) }
        guard let (next, length) = work == nil ? onlyCommand : nextBlocksCommand() else { return succeed(&server) }
        commandsSent &+= 1
        drive.commandsSent &+= 1
        scsi.start(next, transferLength: length)
        let step =
            duty == .packet
            ? beginPacket(on: &drive, by: &server, buffer: &buffer)
            : drive.translation.begin(&scsi, drive: &drive.drive, data: &buffer)
        return follow(step, on: &drive, by: &server, buffer: &buffer)
    }

    /// The command that the translation layer gets, and the length of its data; nil if it has got it.
    private var onlyCommand: (CommandDescriptorBlock, UInt32)? {
        guard commandsSent == 0 else { return nil }
        return switch duty {
        case .synchronizeCache: (.synchronizeCache10(), 0)
        case .modeSelect: (cdb, UInt32(truncatingIfNeeded: dataOutBytes))
        case .inquiry: (cdb, UInt32(Judgement.longestPage))
        case .packet where cdb.operationCode == OperationCode.modeSense6:
            (cdb.asModeSense10, UInt32(truncatingIfNeeded: bufferNeeds.byteCount))
        default: (cdb, UInt32(truncatingIfNeeded: bufferNeeds.byteCount))
        }
    }

    /// Passes the translation layer's wish on, in terms of the command's buffer; at the end of one command, the next
    /// begins.
    private mutating func follow(
        _ first: TranslationLayer.Step, on drive: inout ExportedDrive, by server: inout DeviceServer,
        buffer: inout MutableRawSpan
    ) -> UnitStep {
        var step = first
        let isProtected = facts.isReadOnly || server.isWriteProtected
        while true {
            switch step {
            case .blocks(let operation, _, _, _) where operation.changesBlocks && (isProtected || !writes):
                // A taskfile of the initiator's own gets as far as this, and it may come without data to write.
                step = drive.translation.resume(
                    &scsi, drive: &drive.drive,
                    outcome: .failed(isProtected ? .writeProtected : .unrecovered), data: &buffer)
            case .blocks(.write(let lba, let count), _, zeroes: true, let mayDeallocate):
                return .performZeroes(lba: lba, count: count, mayDeallocate: mayDeallocate)
            case .blocks(let operation, let dataOffset, _, _):
                return .perform(operation, bufferOffset: UInt32(truncatingIfNeeded: commandOffset) + dataOffset)
            case .lbaStatus(let lba):
                return .lbaStatus(lba: lba, limit: UInt32(clamping: endBlock - lba))
            case .finished(.good, let length):
                return commandFinished(length, on: &drive, by: &server, buffer: &buffer)
            case .finished(_, let length):
                status = .checkCondition
                sense = scsi.sense
                if isPassThrough32 { sense = sense?.pointing(PassThrough32.place) }
                // With CK_COND the data of a taskfile are good, and the registers come as sense data.
                if duty == .passThrough {
                    movedBytes = UInt64(length)
                    noteSettings(on: &drive, by: &server)
                }
                return .finished
            }
        }
    }

    private mutating func commandFinished(
        _ length: UInt32, on drive: inout ExportedDrive, by server: inout DeviceServer, buffer: inout MutableRawSpan
    ) -> UnitStep {
        switch duty {
        case .page:
            amendModeData(&buffer, Int(min(length, scsi.responseLength)), server)
            movedBytes = UInt64(min(length, scsi.responseLength))
        case .inquiry: movedBytes = UInt64(min(dataLength, amendInquiryData(&buffer, server)))
        case .packet where cdb.operationCode == OperationCode.modeSense6:
            movedBytes = UInt64(min(dataLength, shortenModeData(&buffer, length)))
        case .lbaStatus, .passThrough, .packet: movedBytes = UInt64(length)
        default: break
        }
        if duty == .passThrough { noteSettings(on: &drive, by: &server) }
        if work == .compare, let objection = compare(buffer.bytes) {
            return end(objection, drive.translation.descriptorSense ? .descriptor : .fixed)
        }
        if mayPause, hasMore { return .commandEnded }
        return proceed(on: &drive, by: &server, buffer: &buffer)
    }

    /// A taskfile of the initiator's own may have changed the drive's size: the others are told.
    private func noteSettings(on drive: inout ExportedDrive, by server: inout DeviceServer) {
        if drive.noteSize() { server.tellAll(.capacityChanged, but: nexus) }
    }

    private mutating func succeed(_ server: inout DeviceServer) -> UnitStep {
        if commandBytes != 0 { movedBytes = commandBytes }
        if duty == .modeSelect {
            if let selectsWriteProtection { server.setWriteProtected(selectsWriteProtection) }
            server.tellAll(.modeParametersChanged, but: nexus)
        }
        return .finished
    }
}

extension BlockRequest {
    /// It changes what is on the medium.
    var changesBlocks: Bool {
        switch self {
        case .write, .discard, .zeroes: true
        case .read, .flush, .prefetch: false
        }
    }
}
