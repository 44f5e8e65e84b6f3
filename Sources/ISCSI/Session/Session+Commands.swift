// Requests of the Full Feature Phase: their turn, commands and how they begin (RFC 7143, 4.2.2.1, 11.3).

import SCSI

extension Session {
    /// The meaning of a CmdSN for its request.
    enum Turn {
        case now
        /// Outside of the window: the request is ignored without a word (4.2.2.1).
        case ignored
        /// One was left out. On its only connection an initiator sends them in order, and TCP loses none.
        case gap
    }

    func turn(_ commandSN: UInt32, isImmediate: Bool) -> Turn {
        if isImmediate { return .now }
        let ahead = commandSN &- expectedCommandSN
        if ahead >= UInt32(configuration.queueDepth - tasks.windowUse) { return .ignored }
        return ahead == 0 ? .now : .gap
    }

    /// The request of this CmdSN has been received.
    mutating func received(isImmediate: Bool) {
        if !isImmediate { expectedCommandSN &+= 1 }
    }

    mutating func judgeRequest(_ opcode: Opcode?, _ bhs: BasicHeaderSegment) -> Event? {
        guard bhs.totalAHSBytes == 0 || opcode == .scsiCommand else { return discard(.invalidPDUField) }
        switch opcode {
        case .dataOut: return judge(decode(DataOutPDU.self))
        case .snackRequest: return discard(.snackReject)
        case .scsiCommand, .taskManagementRequest, .textRequest, .nopOut, .logoutRequest: break
        // A Login Request, a target's opcode, or none that is known.
        default: return discard(opcode == .loginRequest ? .protocolError : .commandNotSupported)
        }
        switch turn(commandSN, isImmediate: bhs.isImmediate) {
        case .now: break
        case .ignored: return discard(nil)
        case .gap: return end(.violation, "a CmdSN was left out")
        }
        switch opcode {
        case .scsiCommand: return judge(decode(SCSICommandPDU.self))
        case .textRequest: return gather(.text(decode()))
        case .nopOut: return gather(.nop(decode()))
        case .logoutRequest: return gather(.logout(decode()))
        default: return gather(.management(decode()))
        }
    }

    /// The header as a PDU of this type.
    private func decode<PDU: ProtocolDataUnit>(_ type: PDU.Type = PDU.self) -> PDU {
        // Every bit pattern is a byte.
        unsafe PDU(header.span.bytes)
    }

    /// CmdSN, which is at the same place in all requests that have one.
    private var commandSN: UInt32 { unsafe header.span.bytes.load(24) }

    private var additionalSegments: AdditionalHeaderSegments? {
        let start = BasicHeaderSegment.byteCount
        return unsafe AdditionalHeaderSegments(header.span.bytes.extracting(start..<start + Int(header[4]) * 4))
    }

    private mutating func judge(_ request: SCSICommandPDU) -> Event? {
        guard sessionType == .normal else { return discard(.protocolError) }
        guard request.initiatorTaskTag != reservedTag,
            let additional = additionalSegments,
            request.writes || request.dataSegmentLength == 0, request.hasSoundFlags
        else { return discard(.invalidPDUField) }
        guard tasks.find(request.initiatorTaskTag) == nil else { return discard(.taskInProgress) }
        guard !(request.reads && request.writes), additional.bidirectionalReadLength == nil else {
            return discard(.commandNotSupported)
        }
        guard !request.isImmediate || tasks.immediateUse < configuration.immediateDepth else {
            return discard(.tooManyImmediateCommands)
        }
        let number = tasks.insert(request.initiatorTaskTag, isImmediate: request.isImmediate)
        received(isImmediate: request.isImmediate)
        tasks[number].reads = request.reads
        tasks[number].writes = request.writes
        tasks[number].logicalUnit = request.logicalUnit
        tasks[number].expectedBytes = request.expectedDataTransferLength
        if request.writes { beginUnsolicited(number, request) }
        current = .command(number)
        let event = Event.begin(
            SCSITask(
                number: number, initiatorTaskTag: request.initiatorTaskTag, logicalUnit: request.logicalUnit,
                attribute: request.attribute, cdb: request.cdb, extendedCDB: additional.cdb,
                expectedBytes: request.expectedDataTransferLength, reads: request.reads, writes: request.writes))
        phase = .waiting(event)
        return event
    }

    /// Judges data that come with a command, and behind it without an R2T (11.3.4, 13.10, 13.11, 13.14).
    private mutating func beginUnsolicited(_ number: TaskNumber, _ request: SCSICommandPDU) {
        let limit = min(parameters.firstBurstLength, request.expectedDataTransferLength)
        if request.dataSegmentLength > 0, !parameters.immediateData {
            tasks[number].failure = .unexpectedUnsolicitedData
        } else if request.dataSegmentLength > limit {
            tasks[number].failure = .incorrectAmountOfData
        }
        guard !request.isFinal else { return }
        tasks[number].awaited = .unsolicited
        tasks[number].sequenceEnd = limit
        if parameters.initialR2T { tasks[number].failure = .unexpectedUnsolicitedData }
    }

    /// The last event's task has a place, and wants so many bytes of data from the initiator.
    public mutating func accepted(dataOutBytes: Int) {
        guard case .waiting(.begin(let task)) = phase else { preconditionFailure("no task was to begin") }
        let number = task.number
        if task.writes { tasks[number].wantedBytes = min(UInt32(clamping: dataOutBytes), task.expectedBytes) }
        beginData(number)
    }

    /// A data segment of a task begins. The caller moves the wanted part, and the session throws the rest away. Wrong
    /// data are thrown away, and do not count.
    mutating func beginData(_ number: TaskNumber) {
        phase = .payload
        guard tasks[number].failure == nil else { return }
        let wanted = max(0, Int(tasks[number].wantedBytes) - Int(tasks[number].receivedBytes))
        payloadLeft = min(discardLeft, wanted)
        discardLeft -= payloadLeft
        if payloadLeft == 0 { tasks[number].receivedBytes += UInt32(discardLeft) }
    }

    /// The next event of a task with data to come.
    mutating func progress(_ number: TaskNumber) -> Event? {
        // The response to a failed write waits for the end of its data, so that none come behind it.
        guard tasks[number].writes, tasks[number].awaited == .nothing else { return nil }
        if let failure = tasks[number].failure { return .fail(number, failure) }
        guard tasks[number].receivedBytes < tasks[number].wantedBytes else { return .complete(number) }
        tasks[number].awaited = .solicited
        let missing = tasks[number].wantedBytes - tasks[number].receivedBytes
        tasks[number].sequenceEnd = tasks[number].receivedBytes + min(missing, parameters.maxBurstLength)
        tasks[number].dataSN = 0
        tasks[number].transfers &+= 1
        return .solicit(number)
    }

    /// A task is gone without a response.
    public mutating func aborted(_ number: TaskNumber) {
        precondition(tasks[number].isActive, "there is no such task")
        if tasks[number].awaited != .nothing { mayHaveLateData = true }
        tasks.remove(number)
    }
}
