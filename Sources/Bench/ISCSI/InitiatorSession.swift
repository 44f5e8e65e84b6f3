// An initiator's side of a session in the full feature phase (RFC 7143, 4.2 to 4.6, 11): commands and their data.
// InitiatorSession+Receive.swift has the target's side.

import ISCSI
import NBD
import SCSI

/// A command that was sent and is not answered.
struct InitiatorTask {
    /// Data that were asked for, or that go without that, and are not sent yet.
    struct Transfer {
        var targetTransferTag: UInt32
        var offset: UInt32
        let end: UInt32
        var dataSN: UInt32 = 0
    }

    var isActive = false
    var cookie = Cookie(rawValue: 0)
    var tag: UInt32 = 0
    var reads = false
    /// Its answer is collected; data of others are passed over.
    var isQuestion = false
    /// Expected Data Transfer Length.
    var byteCount: UInt32 = 0
    /// So many of them were received or sent.
    var movedBytes: UInt32 = 0
    /// The next DataSN of a Data-In PDU, or R2TSN: both are counted together for a command that does one of the two.
    var dataSN: UInt32 = 0
    var transfer: Transfer?
}

/// One session with its only connection.
@safe
struct InitiatorSession: ~Copyable, ClientSession {
    enum Phase {
        /// A basic header segment comes next.
        case header
        /// Data of a Data-In PDU.
        case data
        /// Padding and digest behind them.
        case trailer
    }

    /// More of a target's questions than one can have under way.
    static let maximumPings = 16
    /// No answer to a question of ours is longer.
    static let maximumAnswerBytes: UInt32 = 512
    private static let parameterListBytes = 24

    let parameters: InitiatorParameters
    let logicalUnit: LogicalUnitNumber
    /// The length of a logical block; until it is known no request begins.
    var blockBytes: UInt32 = 512
    var tasks: [InitiatorTask]
    /// Slots whose transfers are to be said, in that order.
    private var sending: [Int] = []
    private var commandSN: UInt32
    var maximumCommandSN: UInt32
    var expectedStatusSN: UInt32
    /// NOP-In PDUs that want an answer.
    var pings: [NOPInPDU] = []
    private(set) var awaitsGoodbye = false

    var phase = Phase.header
    var dataIn = DataInPDU()
    var dataLeft = 0
    var digest = CRC32C()
    /// The data of the answer to a question.
    var answer: [UInt8] = []
    /// The parameter lists of UNMAP, one for each slot; behind them a block of zeroes for WRITE SAME.
    private let lists: UnsafeMutableRawBufferPointer

    /// A session that has logged in.
    init(_ login: InitiatorLogin, logicalUnit: LogicalUnitNumber, depth: Int) {
        parameters = login.parameters
        commandSN = login.commandSN
        maximumCommandSN = login.maximumCommandSN
        expectedStatusSN = login.expectedStatusSN
        self.logicalUnit = logicalUnit
        tasks = Array(repeating: InitiatorTask(), count: depth)
        unsafe lists = .allocate(byteCount: depth * Self.parameterListBytes + Int(UInt16.max) + 1, alignment: 8)
        unsafe lists.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit {
        unsafe lists.deallocate()
    }

    /// The command window is open (4.2.2.1).
    var takesRequest: Bool { Int32(bitPattern: maximumCommandSN &- commandSN) >= 0 }
    var hasMoreToSay: Bool { !sending.isEmpty || !pings.isEmpty }

    /// Asks the unit something. Its answer is collected in ``answer``.
    mutating func ask(_ cdb: CommandDescriptorBlock, _ answerBytes: UInt32, into outbox: inout Outbox) {
        precondition(answerBytes <= Self.maximumAnswerBytes, "an answer that is not collected")
        answer = []
        var task = InitiatorTask()
        task.cookie = Cookie(.read, slot: 0, sequence: UInt64(commandSN))
        task.isQuestion = true
        task.reads = true
        task.byteCount = answerBytes
        unsafe say(cdb, task, slot: 0, UnsafeRawBufferPointer(start: nil, count: 0), into: &outbox)
    }

    mutating func begin(
        _ request: PlannedRequest, _ cookie: Cookie, payload: UnsafeRawBufferPointer, into outbox: inout Outbox
    ) {
        let address = request.offsetBytes / UInt64(blockBytes)
        let count = request.lengthBytes / blockBytes
        var task = InitiatorTask()
        task.cookie = cookie
        task.reads = request.command == .read
        let cdb: CommandDescriptorBlock
        switch request.command {
        case .read, .write:
            task.byteCount = request.lengthBytes
            cdb =
                task.reads
                ? .read16(logicalBlockAddress: address, transferLength: count)
                : .write16(logicalBlockAddress: address, transferLength: count)
        case .trim:
            task.byteCount = UInt32(Self.parameterListBytes)
            unsafe Self.encodeUnmap(address, count, lists[rebased: listPlace(cookie.slot)])
            // PARAMETER LIST LENGTH (SBC-4 5.35).
            cdb = CommandDescriptorBlock(
                high: UInt64(OperationCode.unmap) << 56, low: UInt64(Self.parameterListBytes) << 56)
        case .writeZeroes:
            task.byteCount = blockBytes
            cdb = .writeSame16(
                logicalBlockAddress: address, numberOfLogicalBlocks: count, unmap: false, noDataOutBuffer: false)
        default: cdb = .synchronizeCache10()
        }
        unsafe say(cdb, task, slot: cookie.slot, payload, into: &outbox)
    }

    /// SBC-4 5.35.2: one UNMAP block descriptor.
    private static func encodeUnmap(_ address: UInt64, _ count: UInt32, _ list: UnsafeMutableRawBufferPointer) {
        unsafe list.storeBytes(of: UInt16(22).bigEndian, toByteOffset: 0, as: UInt16.self)
        unsafe list.storeBytes(of: UInt16(16).bigEndian, toByteOffset: 2, as: UInt16.self)
        unsafe list.storeBytes(of: address.bigEndian, toByteOffset: 8, as: UInt64.self)
        unsafe list.storeBytes(of: count.bigEndian, toByteOffset: 16, as: UInt32.self)
    }

    private func listPlace(_ slot: Int) -> Range<Int> {
        slot * Self.parameterListBytes..<(slot + 1) * Self.parameterListBytes
    }

    /// The bytes that a task sends.
    private func source(
        of task: InitiatorTask, _ payload: UnsafeRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        switch task.cookie.command {
        case UInt8(Command.trim.rawValue): unsafe UnsafeRawBufferPointer(lists[rebased: listPlace(task.cookie.slot)])
        case UInt8(Command.writeZeroes.rawValue):
            unsafe UnsafeRawBufferPointer(rebasing: lists[(tasks.count * Self.parameterListBytes)...])
        default: unsafe payload
        }
    }

    /// Says a command, with as much of its data as was agreed on (11.3, 13.10, 13.11).
    private mutating func say(
        _ cdb: CommandDescriptorBlock, _ task: InitiatorTask, slot: Int, _ payload: UnsafeRawBufferPointer,
        into outbox: inout Outbox
    ) {
        var task = task
        task.isActive = true
        task.tag = UInt32(truncatingIfNeeded: task.cookie.rawValue >> 24) << 16 & 0x7FFF_0000 | UInt32(slot)
        let sends = !task.reads && task.byteCount > 0
        let unsolicited = sends ? min(task.byteCount, parameters.firstBurstLength) : 0
        let immediate = parameters.immediateData ? min(unsolicited, parameters.maxSendDataSegmentLength) : 0
        let end = parameters.initialR2T ? immediate : unsolicited
        var pdu = SCSICommandPDU(cdb: cdb)
        pdu.isFinal = end == immediate
        pdu.reads = task.reads && task.byteCount > 0
        pdu.writes = sends
        pdu.logicalUnit = logicalUnit
        pdu.initiatorTaskTag = task.tag
        pdu.expectedDataTransferLength = task.byteCount
        pdu.commandSN = commandSN
        pdu.expectedStatusSN = expectedStatusSN
        commandSN &+= 1
        task.movedBytes = immediate
        if end > immediate {
            task.transfer = .init(targetTransferTag: reservedTag, offset: immediate, end: end)
            sending.append(slot)
        }
        tasks[slot] = task
        unsafe say(&pdu, source(of: task, payload), 0..<Int(immediate), into: &outbox)
    }

    /// Says a PDU with its data, padding and digests (11.2.3, 11.2.4, 11.7).
    private func say(
        _ pdu: inout some ProtocolDataUnit, _ source: UnsafeRawBufferPointer, _ range: Range<Int>,
        into outbox: inout Outbox
    ) {
        pdu.dataSegmentLength = UInt32(range.count)
        let headerBytes = BasicHeaderSegment.byteCount
        outbox.appendHeader(headerBytes + (parameters.hasHeaderDigest ? 4 : 0)) { header in
            pdu.encode(into: &header)
            guard parameters.hasHeaderDigest else { return }
            let digest = CRC32C.of(header.bytes.extracting(0..<headerBytes))
            header.storeBytes(of: digest.wireValue.bigEndian, toByteOffset: headerBytes, as: UInt32.self)
        }
        guard !range.isEmpty else { return }
        let data = unsafe UnsafeRawBufferPointer(rebasing: source[range])
        unsafe outbox.appendPayload(data)
        let padding = -range.count & 3
        let trailerBytes = padding + (parameters.hasDataDigest ? 4 : 0)
        guard trailerBytes > 0 else { return }
        outbox.appendHeader(trailerBytes) { trailer in
            for index in 0..<padding { trailer.storeBytes(of: 0, toByteOffset: index, as: UInt8.self) }
            guard parameters.hasDataDigest else { return }
            // The payload stays as it is until it is sent.
            var digest = unsafe CRC32C.of(RawSpan(_unsafeBytes: data))
            digest.update(trailer.bytes.extracting(0..<padding))
            trailer.storeBytes(of: digest.wireValue.bigEndian, toByteOffset: padding, as: UInt32.self)
        }
    }

    /// Data of this task are to be sent.
    mutating func send(_ transfer: InitiatorTask.Transfer, of slot: Int) {
        tasks[slot].transfer = transfer
        sending.append(slot)
    }

    /// A task is over, though the target may not have taken all of its data.
    mutating func finish(_ slot: Int) {
        tasks[slot].isActive = false
        if tasks[slot].transfer != nil { sending.removeAll { $0 == slot } }
    }

    mutating func goOn(payload: UnsafeRawBufferPointer, into outbox: inout Outbox) {
        while outbox.hasRoom, let ping = pings.popLast() {
            var pdu = NOPOutPDU()
            pdu.logicalUnit = ping.logicalUnit
            pdu.targetTransferTag = ping.targetTransferTag
            pdu.commandSN = commandSN
            pdu.expectedStatusSN = expectedStatusSN
            unsafe say(&pdu, UnsafeRawBufferPointer(start: nil, count: 0), 0..<0, into: &outbox)
        }
        while outbox.hasRoom, let slot = sending.first, var transfer = tasks[slot].transfer {
            let count = min(parameters.maxSendDataSegmentLength, transfer.end - transfer.offset)
            let begin = Int(transfer.offset)
            var pdu = DataOutPDU()
            pdu.isFinal = transfer.offset + count == transfer.end
            pdu.logicalUnit = logicalUnit
            pdu.initiatorTaskTag = tasks[slot].tag
            pdu.targetTransferTag = transfer.targetTransferTag
            pdu.expectedStatusSN = expectedStatusSN
            pdu.dataSN = transfer.dataSN
            pdu.bufferOffset = transfer.offset
            unsafe say(&pdu, source(of: tasks[slot], payload), begin..<begin + Int(count), into: &outbox)
            tasks[slot].movedBytes += count
            transfer.offset += count
            transfer.dataSN += 1
            tasks[slot].transfer = pdu.isFinal ? nil : transfer
            if pdu.isFinal { sending.removeFirst() }
        }
    }

    mutating func sayGoodbye(into outbox: inout Outbox) {
        var pdu = LogoutRequestPDU()
        pdu.reason = LogoutReason.closeSession.rawValue
        // No command has this tag: its slot would be one too many.
        pdu.initiatorTaskTag = UInt32(tasks.count)
        pdu.commandSN = commandSN
        pdu.expectedStatusSN = expectedStatusSN
        unsafe say(&pdu, UnsafeRawBufferPointer(start: nil, count: 0), 0..<0, into: &outbox)
        awaitsGoodbye = true
    }

    /// The target has taken leave.
    mutating func endGoodbye() {
        awaitsGoodbye = false
    }
}

extension UnsafeMutableRawBufferPointer {
    /// A part of the buffer.
    fileprivate subscript(rebased range: Range<Int>) -> UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(rebasing: self[range])
    }
}
