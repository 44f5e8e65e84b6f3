// Commands, their data and their responses (RFC 7143, 4.2.2, 11.3, 11.4, 11.7, 11.8).

import ISCSI
import SCSI
import Testing

/// A command with the next CmdSN after `index` others.
func command(
    _ index: UInt32, tag: UInt32? = nil, reads: UInt32 = 0, writes: UInt32 = 0, _ data: [UInt8] = [],
    _ change: (inout SCSICommandPDU) -> Void = { _ in }
) -> [UInt8] {
    var request = SCSICommandPDU(cdb: .testUnitReady())
    request.reads = reads > 0
    request.writes = writes > 0
    request.expectedDataTransferLength = max(reads, writes)
    request.initiatorTaskTag = tag ?? 0x20 &+ index
    request.commandSN = 0x100 &+ index
    change(&request)
    return pdu(request, data)
}

/// Data for a task, without an R2T or with one's tag.
func dataOut(
    _ tag: UInt32, transfer: UInt32 = reservedTag, sequence: UInt32 = 0, offset: UInt32 = 0, final: Bool = true,
    _ data: [UInt8], _ change: (inout DataOutPDU) -> Void = { _ in }
) -> [UInt8] {
    var request = DataOutPDU()
    request.initiatorTaskTag = tag
    request.targetTransferTag = transfer
    request.dataSN = sequence
    request.bufferOffset = offset
    request.isFinal = final
    change(&request)
    return pdu(request, data)
}

/// The Target Transfer Tag of the first R2T of the first task at a place.
private func transferTag(_ place: UInt32, _ generation: UInt32 = 2) -> UInt32 { generation << 16 | place }

@Test func commandWithoutData() {
    let happenings = course(of: login() + command(0)).suffix(2)
    guard case .begin(let task) = happenings.first else { return #expect(Bool(false), "\(happenings)") }
    #expect(task.initiatorTaskTag == 0x20 && task.cdb == .testUnitReady() && !task.reads && !task.writes)
    var response = SCSIResponsePDU()
    response.initiatorTaskTag = 0x20
    response.statusSN = 0x201
    response.expectedCommandSN = 0x101
    response.maximumCommandSN = 0x104
    #expect(happenings.last == .respond(pdu(response)))
}

/// The status comes with the last data, in PDUs of what the initiator receives.
@Test func readInSeveralPDUs() {
    let stream = login("MaxRecvDataSegmentLength=512\0MaxBurstLength=1024\0") + command(0, reads: 2500)
    let happenings = course(of: stream)
    let pdus = happenings.all(DataInPDU.self)
    #expect(pdus.map(\.dataSegmentLength) == [512, 512, 512, 512, 452])
    #expect(pdus.map(\.bufferOffset) == [0, 512, 1024, 1536, 2048])
    #expect(pdus.map(\.dataSN) == [0, 1, 2, 3, 4])
    // F at the end of each burst.
    #expect(pdus.map(\.isFinal) == [false, true, false, true, true])
    #expect(pdus.map(\.hasStatus) == [false, false, false, false, true])
    #expect(pdus.map(\.statusSN) == [0, 0, 0, 0, 0x201])
    #expect(pdus.map(\.maximumCommandSN) == [0x103, 0x103, 0x103, 0x103, 0x104])
    #expect(happenings.sent.dropFirst().flatMap(\.data) == pattern(2500))
    #expect(happenings.all(SCSIResponsePDU.self).isEmpty)
}

/// The end of an immediate command leaves the window as it is: it had no place in it (4.2.2.1).
@Test(arguments: [0, 512] as [UInt32])
func immediateCommandsAndTheWindow(reads: UInt32) {
    let stream = login() + command(0, reads: reads) { $0.isImmediate = true } + command(0, tag: 0x21, reads: reads)
    let sent = course(of: stream).sent.suffix(2)
    // ExpCmdSN and MaxCmdSN of both responses.
    #expect(sent.map { Array($0.header[28..<36]) } == [hex("00000100 00000103"), hex("00000101 00000104")])
}

/// More PDUs than one layout has room for, and lengths that need padding.
@Test func readInParts() {
    let happenings = course(of: login("MaxRecvDataSegmentLength=513\0") + command(0, reads: 20_001))
    let pdus = happenings.all(DataInPDU.self)
    #expect(pdus.count == 39 && pdus.map(\.dataSN) == Array(0..<39) && pdus.last?.hasStatus == true)
    #expect(happenings.sent.dropFirst().flatMap(\.data) == pattern(20_001))
}

@Test func residualsOfReads() {
    for (expected, moved, residual) in [
        (512, 36, .underflow(476)), (512, 1024, .overflow(512)), (512, 512, .none),
    ] as [(UInt32, UInt64, Residual)] {
        var script = Script()
        script.endings = { _ in Ending(status: .good, transferBytes: moved) }
        let happenings = course(of: login() + command(0, reads: expected), configuration(), script)
        let pdus = happenings.all(DataInPDU.self)
        #expect(pdus.count == 1 && pdus[0].residual == residual && pdus[0].hasStatus)
        #expect(pdus[0].dataSegmentLength == min(expected, UInt32(moved)))
    }
    // Nothing at all comes: a SCSI Response tells it.
    var script = Script()
    script.endings = { _ in Ending(status: .good) }
    let happenings = course(of: login() + command(0, reads: 512), configuration(), script)
    #expect(happenings.all(DataInPDU.self).isEmpty)
    #expect(happenings.all(SCSIResponsePDU.self).map(\.residual) == [.underflow(512)])
    // Data that were not expected at all.
    script.endings = { _ in Ending(status: .good, transferBytes: 36) }
    let none = course(of: login() + command(0), configuration(), script)
    #expect(none.all(SCSIResponsePDU.self).map(\.residual) == [.overflow(36)])
}

/// CHECK CONDITION: its sense data, with their length before them, behind what could be read.
@Test func checkCondition() {
    let sense = SenseData(.mediumError, AdditionalSenseCode(0x11, 0x00), format: .fixed)
    var script = Script()
    script.endings = { _ in Ending(status: .checkCondition, sense: sense, transferBytes: 1024) }
    let stream = login("MaxRecvDataSegmentLength=512\0") + command(0, reads: 2048) + command(1)
    let happenings = course(of: stream, configuration(), script)
    #expect(happenings.all(DataInPDU.self).map(\.hasStatus) == [false, false])
    let responses = happenings.all(SCSIResponsePDU.self)
    #expect(responses.map(\.status) == [2, 2])
    #expect(responses.map(\.residual) == [.underflow(1024), .overflow(1024)])
    #expect(responses.map(\.expectedDataSN) == [2, 0])
    #expect(responses.map(\.statusSN) == [0x201, 0x202])
    let data = happenings.sent.last?.data
    #expect(data == [0, UInt8(sense.bytes.count)] + sense.bytes)
}

@Test func immediateData() {
    let data = pattern(1021)
    let happenings = course(of: login() + command(0, writes: 1021, data))
    #expect(happenings.contains(.complete(TaskNumber(0), data)))
    #expect(happenings.all(SCSIResponsePDU.self).map(\.residual) == [.none])
    #expect(happenings.all(ReadyToTransferPDU.self).isEmpty)
}

/// Unsolicited data behind a command, then what R2Ts ask for, burst by burst.
@Test func allKindsOfData() {
    let data = pattern(4096)
    let keys = "InitialR2T=No\0ImmediateData=Yes\0FirstBurstLength=1024\0MaxBurstLength=1536\0"
    let stream =
        login(keys) + command(0, writes: 4096, Array(data[..<512])) { $0.isFinal = false }
        + dataOut(0x20, sequence: 0, offset: 512, final: false, Array(data[512..<700]))
        + dataOut(0x20, sequence: 1, offset: 700, Array(data[700..<1024]))
        + dataOut(0x20, transfer: transferTag(0), offset: 1024, final: false, Array(data[1024..<2048]))
        + dataOut(0x20, transfer: transferTag(0), sequence: 1, offset: 2048, Array(data[2048..<2560]))
        + dataOut(0x20, transfer: transferTag(0, 3), offset: 2560, Array(data[2560...]))
    let happenings = course(of: stream)
    #expect(happenings.contains(.complete(TaskNumber(0), data)))
    let asked = happenings.all(ReadyToTransferPDU.self)
    #expect(asked.map(\.bufferOffset) == [1024, 2560])
    #expect(asked.map(\.desiredDataTransferLength) == [1536, 1536])
    #expect(asked.map(\.readyToTransferSN) == [0, 1])
    #expect(asked.map(\.targetTransferTag) == [transferTag(0), transferTag(0, 3)])
    #expect(asked.map(\.initiatorTaskTag) == [0x20, 0x20])
    // An R2T names the next StatSN and does not take it.
    #expect(asked.map(\.statusSN) == [0x201, 0x201])
    let response = happenings.all(SCSIResponsePDU.self)
    #expect(response.map(\.statusSN) == [0x201] && response[0].expectedDataSN == 2 && response[0].status == 0)
}

/// An initiator that asks for short bursts only, and keeps the default of the first one, has not heard that this one is
/// shorter.
@Test func theFirstBurstIsAsLongAsTheInitiatorKnows() {
    let data = pattern(2048)
    let happenings = course(of: login("MaxBurstLength=512\0") + command(0, writes: 2048, data))
    #expect(happenings.contains(.complete(TaskNumber(0), data)))
}

/// Two writes at once, their data by turns.
@Test func dataOfSeveralTasks() {
    let (first, second) = (pattern(1024), Array(pattern(2048)[1024...]))
    let stream =
        login() + command(0, writes: 1024) + command(1, writes: 1024)
        + dataOut(0x21, transfer: transferTag(1), final: false, Array(second[..<512]))
        + dataOut(0x20, transfer: transferTag(0), first)
        + dataOut(0x21, transfer: transferTag(1), sequence: 1, offset: 512, Array(second[512...]))
    let happenings = course(of: stream)
    #expect(happenings.contains(.complete(TaskNumber(0), first)))
    #expect(happenings.contains(.complete(TaskNumber(1), second)))
}

/// A session neither moves nor asks for data that a command does not want.
@Test func moreDataThanWanted() {
    var script = Script()
    script.wants = { _ in 700 }
    script.endings = { _ in Ending(status: .good, transferBytes: 700) }
    let data = pattern(1024)
    let immediate = course(of: login() + command(0, writes: 1024, data), configuration(), script)
    #expect(immediate.contains(.complete(TaskNumber(0), Array(data[..<700]))))
    #expect(immediate.all(SCSIResponsePDU.self).map(\.residual) == [.underflow(324)])
    let solicited = course(
        of: login() + command(0, writes: 1024) + dataOut(0x20, transfer: transferTag(0), Array(data[..<700])),
        configuration(), script)
    #expect(solicited.all(ReadyToTransferPDU.self).map(\.desiredDataTransferLength) == [700])
    #expect(solicited.contains(.complete(TaskNumber(0), Array(data[..<700]))))
    // A command that wants more than it gets: only that much is asked for, and O tells.
    script.wants = { _ in 4096 }
    script.endings = { _ in Ending(status: .good, transferBytes: 4096) }
    let overflow = course(of: login() + command(0, writes: 1024, data), configuration(), script)
    #expect(overflow.all(SCSIResponsePDU.self).map(\.residual) == [.overflow(3072)])
    // None at all.
    script.wants = { _ in 0 }
    script.endings = { _ in Ending(status: .good) }
    let none = course(of: login() + command(0, writes: 1024, data), configuration(), script)
    #expect(none.contains(.complete(TaskNumber(0), [])))
}

/// Bug 9 of other targets: DataSN, offsets, lengths and ends of sequences are checked. The write has not begun, and its
/// response waits for the end of its data.
@Test(
    arguments: [
        (1, 0, 1024, true, DataOutFailure.dataSequence), (27, 0, 1024, true, .dataSequence),
        (.max, 0, 1024, true, .dataSequence), (0, 512, 1024, true, .bufferOffset),
        (0, 0, 1028, true, .incorrectAmountOfData),
        (0, 0, 512, true, .incorrectAmountOfData), (0, 0, 1024, false, .incorrectAmountOfData),
    ] as [(UInt32, UInt32, Int, Bool, DataOutFailure)])
func unsoundSolicitedData(sequence: UInt32, offset: UInt32, count: Int, final: Bool, failure: DataOutFailure) {
    var stream =
        login() + command(0, writes: 1024)
        + dataOut(
            0x20, transfer: transferTag(0), sequence: sequence, offset: offset, final: final, pattern(count))
    if !final {
        // The failure is told once the sequence ends, which this PDU does.
        #expect(course(of: stream).all(SCSIResponsePDU.self).isEmpty)
        stream += dataOut(0x20, transfer: transferTag(0), sequence: 1, offset: 1024, [])
    }
    let happenings = course(of: stream + command(1))
    #expect(happenings.contains(.fail(TaskNumber(0), failure)))
    #expect(!happenings.contains { if case .complete = $0 { true } else { false } })
    #expect(happenings.all(SCSIResponsePDU.self).map(\.status) == [2, 0])
    #expect(happenings.all(RejectPDU.self).isEmpty)
}

/// What may come without an R2T, by both keys about it (13.10, 13.11, 13.14), and what is asked for then.
@Test(arguments: [true, false], [true, false])
func unsolicitedDataThatWereAgreedOn(initialR2T: Bool, immediateData: Bool) {
    let data = pattern(2048)
    let (initial, immediately) = (initialR2T ? "Yes" : "No", immediateData ? "Yes" : "No")
    let keys = "InitialR2T=\(initial)\0ImmediateData=\(immediately)\0FirstBurstLength=1024\0"
    for (immediate, unsolicited) in [(0, 0), (512, 0), (1024, 0), (0, 1024), (512, 512), (512, 256)] {
        let first = immediate + unsolicited
        var stream =
            login(keys) + command(0, writes: 2048, pattern(immediate)) { $0.isFinal = unsolicited == 0 }
        if unsolicited > 0 {
            stream += dataOut(0x20, offset: UInt32(immediate), Array(data[immediate..<first]))
        }
        stream += dataOut(0x20, transfer: transferTag(0), offset: UInt32(first), Array(data[first...]))
        let happenings = course(of: stream)
        let isAgreed = (immediate == 0 || immediateData) && (unsolicited == 0 || !initialR2T)
        #expect(happenings.contains(.complete(TaskNumber(0), data)) == isAgreed, "\(immediate), \(unsolicited)")
        #expect(happenings.contains(.fail(TaskNumber(0), .unexpectedUnsolicitedData)) == !isAgreed)
        let asked = happenings.all(ReadyToTransferPDU.self).map {
            [Int($0.bufferOffset), Int($0.desiredDataTransferLength)]
        }
        #expect(asked == (isAgreed ? [[first, 2048 - first]] : []), "\(immediate), \(unsolicited)")
    }
}

@Test func unsoundUnsolicitedData() {
    func failure(_ keys: String, _ stream: [UInt8]) -> DataOutFailure? {
        let happenings = course(of: login(keys) + stream)
        for case .fail(_, let failure) in happenings { return failure }
        Issue.record("\(happenings)")
        return nil
    }
    let data = pattern(2048)
    // Not agreed on.
    #expect(failure("ImmediateData=No\0", command(0, writes: 512, pattern(512))) == .unexpectedUnsolicitedData)
    let open = command(0, writes: 2048) { $0.isFinal = false }
    #expect(failure("", open + dataOut(0x20, data)) == .unexpectedUnsolicitedData)
    // More than FirstBurstLength, or than the command is for.
    #expect(failure("FirstBurstLength=512\0", command(0, writes: 2048, pattern(1024))) == .incorrectAmountOfData)
    #expect(failure("", command(0, writes: 512, pattern(1024))) == .incorrectAmountOfData)
    let keys = "InitialR2T=No\0FirstBurstLength=1024\0"
    #expect(failure(keys, open + dataOut(0x20, data)) == .incorrectAmountOfData)
    #expect(failure(keys, open + dataOut(0x20, offset: 4, pattern(512))) == .bufferOffset)
    #expect(failure(keys, open + dataOut(0x20, sequence: 1, pattern(512))) == .dataSequence)
    // Data that were not asked for at all, of a task that is there and of none.
    for stream in [
        command(0, writes: 1024) + dataOut(0x20, pattern(1024)),
        command(0, writes: 1024) + dataOut(0x20, transfer: transferTag(0, 1), pattern(1024)),
        command(0, writes: 1024) + dataOut(0x20, transfer: transferTag(5), pattern(1024)),
        command(0, writes: 1024) + dataOut(0x99, transfer: transferTag(0), pattern(1024)),
        command(0, writes: 1024)
            + dataOut(0x20, transfer: transferTag(0), pattern(1024)) { $0.logicalUnit = LogicalUnitNumber(7) },
        dataOut(0x20, pattern(1024)),
    ] {
        let happenings = course(of: login() + stream)
        #expect(happenings.all(RejectPDU.self).map(\.reason) == [.invalidPDUField])
        #expect(happenings.all(SCSIResponsePDU.self).isEmpty)
    }
}

/// 4.2.2.1: a CmdSN outside of the window is ignored without a word, and so are its data; one that was left out ends
/// the session, for on one connection it cannot come any more.
@Test func commandNumbers() {
    let ignored = course(
        of: login() + command(9) + command(.max, writes: 512, pattern(512)) + command(4) + command(0)
            + command(0, tag: 9)
            + command(1))
    #expect(ignored.all(SCSIResponsePDU.self).map(\.initiatorTaskTag) == [0x20, 0x21])
    #expect(ignored.all(RejectPDU.self).isEmpty)
    let gap = course(of: login() + command(1))
    #expect(gap.last == .end(.violation, reason: "a CmdSN was left out", []))
}

/// Numbers go round (4.2.2).
@Test func numbersGoRound() {
    let start = loginRequest(
        1, to: 3, "InitiatorName=iqn.2026-11.org.example:i\0TargetName=iqn.2026-11.org.example:disk\0"
    ) {
        $0.commandSN = .max
        $0.expectedStatusSN = .max
    }
    let stream = start + command(0) { $0.commandSN = .max } + command(1) { $0.commandSN = 0 }
    let responses = course(of: stream).all(SCSIResponsePDU.self)
    #expect(responses.map(\.statusSN) == [0, 1])
    #expect(responses.map(\.expectedCommandSN) == [0, 1])
    #expect(responses.map(\.maximumCommandSN) == [3, 4])
}

/// As many commands as the window has places, and no more; immediate ones have places of their own.
@Test func windowIsBounded() {
    var script = Script()
    script.holdsWrites = true
    let full = (0..<4 as Range<UInt32>).flatMap { command($0, writes: 4, pattern(4)) }
    let urgent = (4..<7 as Range<UInt32>).flatMap { index in
        command(index, writes: 4, pattern(4)) {
            $0.isImmediate = true
            $0.commandSN = 0x104
        }
    }
    let happenings = course(of: login() + full + command(4) + urgent, configuration(), script)
    let begun = happenings.compactMap { if case .begin(let task) = $0 { task.initiatorTaskTag } else { nil } }
    #expect(begun == [0x20, 0x21, 0x22, 0x23, 0x24, 0x25])
    let rejected = happenings.all(RejectPDU.self)
    #expect(rejected.map(\.reason) == [.tooManyImmediateCommands])
    // The window is shut.
    #expect(rejected.map(\.expectedCommandSN) == [0x104] && rejected.map(\.maximumCommandSN) == [0x103])
}

@Test func commandsThatAreRejected() {
    var script = Script()
    script.holdsWrites = true
    func reasons(_ stream: [UInt8]) -> [RejectReason] {
        course(of: stream, configuration(), script).all(RejectPDU.self).map(\.reason)
    }
    #expect(reasons(login() + command(0, tag: reservedTag)) == [.invalidPDUField])
    #expect(reasons(login() + command(0, reads: 4, pattern(4))) == [.invalidPDUField])
    #expect(reasons(login() + command(0, reads: 4, writes: 4)) == [.commandNotSupported])
    #expect(
        reasons(login() + command(0, writes: 4, pattern(4)) + command(1, tag: 0x20)) == [.taskInProgress])
    // Data without a direction, and data behind a command that sends none.
    #expect(reasons(login() + command(0) { $0.expectedDataTransferLength = 1 }) == [.invalidPDUField])
    #expect(reasons(login() + command(0) { $0.isFinal = false }) == [.invalidPDUField])
    #expect(reasons(login() + command(0, reads: 4) { $0.isFinal = false }) == [.invalidPDUField])
    // A direction without data is sound.
    for change in [{ $0.reads = true }, { $0.writes = true }] as [(inout SCSICommandPDU) -> Void] {
        #expect(reasons(login() + command(0, [], change)) == [])
    }
    #expect(reasons(discovery + command(0)) == [.protocolError])
    #expect(reasons(login() + login()) == [.protocolError])
    #expect(reasons(login() + pdu(SNACKRequestPDU())) == [.snackReject])
    // A target's PDU, and one that is nobody's.
    #expect(reasons(login() + pdu(NOPInPDU())) == [.commandNotSupported])
    #expect(reasons(login() + [0x1E] + [UInt8](repeating: 0, count: 47)) == [.commandNotSupported])
    // A Reject has the header that it is about, and does not count its CmdSN as received.
    let bad = command(0, tag: reservedTag)
    let happenings = course(of: login() + bad + command(0))
    #expect(happenings.sent[1].data == bad)
    #expect(happenings.all(SCSIResponsePDU.self).count == 1)
}

/// 11.2.2: CDBs of more than 16 bytes.
@Test func additionalHeaderSegments() {
    func stream(_ segments: [UInt8]) -> [UInt8] {
        var header = command(0)
        header[4] = UInt8(segments.count / 4)
        return login() + header + segments
    }
    let happenings = course(of: stream(hex("0011 01 00 101112131415161718191a1b1c1d1e1f")))
    guard case .begin(let task) = happenings.dropLast().last else { return #expect(Bool(false), "\(happenings)") }
    #expect(task.extendedCDB.byteCount == 16 && task.extendedCDB.high == 0x1011_1213_1415_1617)
    #expect(task.extendedCDB.low == 0x1819_1A1B_1C1D_1E1F)
    for segments in [
        // Too long a CDB, one twice, an unknown type, one that ends behind the segments, none.
        "0012 01 00 101112131415161718191a1b1c1d1e1f 20000000", "0002 01 00 10000000 0002 01 00 10000000",
        "0001 05 00", "0009 01 00", "0000 01 00", "0004 02 00 00000000",
    ] {
        let rejected = course(of: stream(hex(segments)))
        #expect(rejected.all(RejectPDU.self).map(\.reason) == [.invalidPDUField], "\(segments)")
    }
    // Bidirectional commands are none that this target has.
    let both = course(of: stream(hex("0005 02 00 00000200")))
    #expect(both.all(RejectPDU.self).map(\.reason) == [.commandNotSupported])
    // Other requests have none.
    var nop = pdu(NOPOutPDU())
    nop[4] = 1
    let other = course(of: login() + nop + [0, 0, 0, 0])
    #expect(other.all(RejectPDU.self).map(\.reason) == [.invalidPDUField])
}

/// Segments that are longer than was declared end the session.
@Test func segmentsAreBounded() {
    var long = command(0, writes: 1 << 20)
    long.replaceSubrange(5..<8, with: [0x04, 0x00, 0x01])
    guard case .end(.violation, let reason?, _) = course(of: login() + long).last else { return #expect(Bool(false)) }
    #expect(reason == "a data segment of 262145 bytes, of which 262144 are allowed")
}
