// Requests that are no commands (RFC 7143, 11.5, 11.10, 11.14, 11.18), and messages of the target.

import ISCSI
import SCSI
import Testing

@Test func pings() {
    var ping = NOPOutPDU()
    ping.initiatorTaskTag = 0x30
    ping.commandSN = 0x100
    var counted = ping
    counted.isImmediate = false
    counted.initiatorTaskTag = 0x31
    let happenings = course(of: login() + pdu(ping, pattern(7)) + pdu(counted) + pdu(NOPOutPDU(), [1]) + command(1))
    let answers = happenings.all(NOPInPDU.self)
    #expect(answers.map(\.initiatorTaskTag) == [0x30, 0x31])
    #expect(answers.map(\.targetTransferTag) == [reservedTag, reservedTag])
    #expect(answers.map(\.statusSN) == [0x201, 0x202])
    #expect(answers.map(\.expectedCommandSN) == [0x100, 0x101])
    #expect(happenings.sent[1].data == pattern(7))
    // An initiator that receives less gets as much as it receives (11.19.3).
    let short = course(of: login("MaxRecvDataSegmentLength=512\0") + pdu(ping, pattern(1000)))
    #expect(short.sent[1].data == pattern(512))
    // No initiator needs more than 64 KiB back.
    let long = course(of: login() + pdu(ping, pattern(Session.maximumSegmentBytes + 1)) + command(0))
    #expect(long.all(RejectPDU.self).map(\.reason) == [.invalidPDUField])
    #expect(long.all(SCSIResponsePDU.self).count == 1)
}

@Test func targetPings() {
    var conversation = Conversation(configuration(), Script())
    conversation.feed(login())
    conversation.session.ping()
    conversation.feed([])
    let asked = conversation.happenings.all(NOPInPDU.self)
    #expect(asked.map(\.initiatorTaskTag) == [reservedTag] && asked[0].statusSN == 0x201)
    var isPinged = conversation.session.isPinged
    #expect(isPinged)
    var answer = NOPOutPDU()
    answer.targetTransferTag = asked[0].targetTransferTag &+ 1
    conversation.feed(pdu(answer))
    var rejected = conversation.happenings.all(RejectPDU.self)
    #expect(rejected.map(\.reason) == [.invalidPDUField])
    answer.targetTransferTag = asked[0].targetTransferTag
    conversation.feed(pdu(answer))
    isPinged = conversation.session.isPinged
    #expect(!isPinged)
    // Once is enough.
    conversation.feed(pdu(answer))
    rejected = conversation.happenings.all(RejectPDU.self)
    #expect(rejected.count == 2)
}

private func logout(_ reason: UInt8, _ connection: UInt16 = 1) -> [UInt8] {
    var request = LogoutRequestPDU()
    request.reason = reason
    request.initiatorTaskTag = 0x40
    request.connectionID = connection
    request.commandSN = 0x100
    return pdu(request)
}

@Test func logouts() {
    for (reason, response) in [(0, .closed), (1, .closed), (2, .recoveryNotSupported)] as [(UInt8, LogoutResponse)] {
        let happenings = course(of: login() + logout(reason))
        let responses = happenings.all(LogoutResponsePDU.self)
        #expect(responses.map(\.response) == [response] && responses[0].time2Wait == 2)
        if case .end(.loggedOut, nil, _) = happenings.last {
            #expect(response == .closed)
        } else {
            #expect(response != .closed)
        }
    }
    #expect(course(of: login() + logout(1, 5)).all(LogoutResponsePDU.self).map(\.response) == [.connectionIDNotFound])
    #expect(course(of: login() + logout(7)).all(RejectPDU.self).map(\.reason) == [.invalidPDUField])
    // Nothing is read behind a logout.
    guard case .end(.loggedOut, _, _) = course(of: login() + logout(0) + command(0)).last else {
        return #expect(Bool(false))
    }
}

private func management(
    _ function: TaskManagementFunction?, _ task: UInt32 = reservedTag,
    _ change: (inout TaskManagementRequestPDU) -> Void = { _ in }
) -> [UInt8] {
    var request = TaskManagementRequestPDU()
    request.function = function?.rawValue ?? 99
    request.initiatorTaskTag = 0x50
    request.referencedTaskTag = task
    request.commandSN = 0x102
    change(&request)
    return pdu(request)
}

@Test func taskManagement() {
    var script = Script()
    script.holdsWrites = true
    // Two writes: one is complete, one waits for its data.
    let writes = login() + command(0, writes: 4, pattern(4)) + command(1, writes: 4)
    func course(_ stream: [UInt8]) -> [Happening] { ISCSITests.course(of: writes + stream, configuration(), script) }
    func responses(_ stream: [UInt8]) -> [TaskManagementResponse] {
        course(stream).all(TaskManagementResponsePDU.self).map(\.response)
    }
    for (function, task) in [
        (.abortTask, TaskNumber(1)), (.abortTaskSet, nil), (.clearTaskSet, nil), (.logicalUnitReset, nil),
        (.targetWarmReset, nil), (.targetColdReset, nil),
    ] as [(TaskManagementFunction, TaskNumber?)] {
        let happenings = course(management(function, task == nil ? reservedTag : 0x21))
        let wanted = happenings.compactMap { if case .manage(let wanted) = $0 { wanted } else { nil } }
        #expect(wanted.map(\.function) == [function] && wanted.map(\.task) == [task])
        let response = happenings.all(TaskManagementResponsePDU.self)
        #expect(response.map(\.response) == [.functionComplete] && response[0].initiatorTaskTag == 0x50)
        // The places of what was aborted are free.
        #expect(response[0].maximumCommandSN == (task == nil ? 0x105 : 0x104))
    }
    #expect(responses(management(.abortTask, 0x99)) == [.taskDoesNotExist])
    #expect(responses(management(.abortTask)) == [.taskDoesNotExist])
    #expect(responses(management(.taskReassign)) == [.reassignmentNotSupported])
    #expect(responses(management(.clearACA)) == [.functionNotSupported])
    #expect(responses(management(nil)) == [.functionNotSupported])
    #expect(ISCSITests.course(of: discovery + management(.abortTask)).all(RejectPDU.self).count == 1)
    // Another logical unit has none of these tasks.
    let other = course(management(.logicalUnitReset) { $0.logicalUnit = LogicalUnitNumber(1) })
    #expect(other.all(TaskManagementResponsePDU.self).map(\.maximumCommandSN) == [0x103])
    script.response = .logicalUnitDoesNotExist
    #expect(responses(management(.logicalUnitReset)) == [.logicalUnitDoesNotExist])
}

/// A command that its initiator has given up: with ABORT TASK its CmdSN counts as received (11.6.1), whether or not it
/// has come. One that is not before the request, or outside the window, is not there.
@Test func abortOfACommandThatNeverCame() {
    func abort(_ referenced: UInt32, _ number: UInt32) -> [UInt8] {
        management(.abortTask, 0x99) {
            $0.isImmediate = true
            $0.referencedCommandSN = referenced
            $0.commandSN = number
        }
    }
    let happenings = course(of: login() + abort(0x100, 0x101) + command(1))
    let response = happenings.all(TaskManagementResponsePDU.self)
    #expect(response.map(\.response) == [.functionComplete] && response.map(\.expectedCommandSN) == [0x101])
    #expect(happenings.all(SCSIResponsePDU.self).map(\.status) == [0])
    for (referenced, number) in [(0x100, 0x100), (0x0FF, 0x101), (0x104, 0x105), (0x101, 0x102)] as [(UInt32, UInt32)] {
        let others = course(of: login() + abort(referenced, number)).all(TaskManagementResponsePDU.self)
        #expect(others.map(\.response) == [.taskDoesNotExist] && others.map(\.expectedCommandSN) == [0x100])
    }
}

/// Data of a write that was aborted are thrown away without a word, and its tag may be used again.
@Test func dataBehindAnAbort() {
    let stream =
        login() + command(0, writes: 4) + management(.abortTask, 0x20) { $0.commandSN = 0x101 }
        + dataOut(0x20, transfer: 0x2_0000, pattern(4)) + command(1, tag: 0x20, writes: 4)
        + dataOut(0x20, transfer: 0x2_0000, pattern(4)) + dataOut(0x20, transfer: 0x4_0000, pattern(4))
    let happenings = course(of: stream)
    #expect(happenings.all(RejectPDU.self).isEmpty)
    #expect(happenings.all(SCSIResponsePDU.self).map(\.status) == [0])
    #expect(happenings.filter { $0 == .complete(TaskNumber(0), pattern(4)) }.count == 1)
}

/// Text of one request, or of one more.
private func text(
    _ index: UInt32, _ content: String, tag: UInt32 = reservedTag, _ change: (inout TextRequestPDU) -> Void = { _ in }
)
    -> [UInt8]
{
    var request = TextRequestPDU()
    request.initiatorTaskTag = 0x60
    request.commandSN = 0x100 &+ index
    request.targetTransferTag = tag
    change(&request)
    return pdu(request, Array(content.utf8))
}

private let both =
    "TargetName=iqn.2026-11.org.example:disk TargetAddress=192.0.2.1:3260,1 "
    + "TargetName=iqn.2026-11.org.example:secret TargetAddress=192.0.2.1:3260,1 TargetAddress=[2001:db8::1]:3260,1 "

@Test func sendTargets() {
    let happenings = course(of: discovery + text(0, "SendTargets=All\0"))
    #expect(happenings.texts(.textResponse) == [both])
    let response = happenings.all(TextResponsePDU.self)
    #expect(response.map(\.isFinal) == [true] && response[0].targetTransferTag == reservedTag)
    #expect(response[0].statusSN == 0x201 && response[0].expectedCommandSN == 0x101)
    let one = course(of: discovery + text(0, "SendTargets=iqn.2026-11.org.example:disk\0"))
    #expect(one.texts(.textResponse) == [String(both.prefix { $0 != " " }) + " TargetAddress=192.0.2.1:3260,1 "])
    #expect(course(of: discovery + text(0, "SendTargets=iqn.other\0")).texts(.textResponse) == [""])
    #expect(course(of: discovery + text(0, "SendTargets=\0")).texts(.textResponse) == ["SendTargets=Reject "])
    // Within a session, its own target.
    let own = "TargetName=iqn.2026-11.org.example:disk TargetAddress=192.0.2.1:3260,1 "
    #expect(course(of: login() + text(0, "SendTargets=\0")).texts(.textResponse) == [own])
    #expect(
        course(of: login() + text(0, "SendTargets=iqn.2026-11.org.example:disk\0")).texts(.textResponse) == [own])
    #expect(
        course(of: login() + text(0, "SendTargets=iqn.2026-11.org.example:secret\0")).texts(.textResponse) == [""])
    #expect(course(of: login() + text(0, "SendTargets=All\0")).texts(.textResponse) == ["SendTargets=Reject "])
}

/// Bug 8 of other targets: an answer for more targets than a PDU has room for.
@Test func longAnswer() {
    var script = Script()
    script.directory = (0..<300).map {
        TargetInformation(name: "iqn.2026-11.org.example:disk-\($0)", addresses: ["192.0.2.1:3260,1"])
    }
    let wanted = Text.compose(
        script.directory.flatMap { [TextPair("TargetName", $0.name), TextPair("TargetAddress", $0.addresses[0])] })
    var conversation = Conversation(configuration(), script)
    conversation.feed(discovery + text(0, "SendTargets=All\0"))
    var answer: [UInt8] = []
    for index in 1..<10 as Range<UInt32> {
        let (header, data) = conversation.happenings.sent.last!
        let response = TextResponsePDU(header.span.bytes)
        answer += data
        #expect(response.continues == !response.isFinal && data.count <= 8192)
        if response.isFinal { break }
        conversation.feed(text(index, "", tag: response.targetTransferTag))
    }
    #expect(answer == wanted)
}

/// The same list as often as a text has room for its key would be 64 lists.
@Test func noKeyComesTwice() {
    var conversation = Conversation(configuration(), Script())
    conversation.feed(discovery + text(0, "SendTargets=All\0SendTargets=All\0"))
    #expect(conversation.happenings.all(RejectPDU.self).map(\.reason) == [.protocolError])
    #expect(conversation.happenings.texts(.textResponse) == [])
    // What was rejected was not received (11.17.1).
    conversation.feed(text(0, "SendTargets=All\0"))
    #expect(conversation.happenings.texts(.textResponse) == [both])
}

@Test func textOverSeveralTextRequests() {
    var conversation = Conversation(configuration(), Script())
    conversation.feed(discovery)
    conversation.feed(text(0, "SendTar") { ($0.isFinal, $0.continues) = (false, true) })
    var response = conversation.happenings.all(TextResponsePDU.self).last!
    #expect(!response.isFinal && !response.continues && response.targetTransferTag != reservedTag)
    conversation.feed(text(1, "gets=All\0", tag: response.targetTransferTag))
    response = conversation.happenings.all(TextResponsePDU.self).last!
    let texts = conversation.happenings.texts(.textResponse)
    #expect(response.isFinal && texts == ["", both])
    // That tag is over.
    conversation.feed(text(2, "SendTargets=All\0", tag: 0))
    let rejected = conversation.happenings.all(RejectPDU.self)
    #expect(rejected.map(\.reason) == [.invalidPDUField])
}

@Test func otherTexts() {
    func answers(_ content: String) -> [String] { course(of: login() + text(0, content)).texts(.textResponse) }
    #expect(answers("X-a=1\0HeaderDigest=CRC32C\0") == ["X-a=NotUnderstood HeaderDigest=Reject "])
    #expect(answers("InitiatorAlias=me\0X#NodeArchitecture=Linux\0") == [""])
    #expect(answers("MaxRecvDataSegmentLength=4\0") == ["MaxRecvDataSegmentLength=Reject "])
    // What the initiator receives may change at any time.
    let smaller = course(of: login() + text(0, "MaxRecvDataSegmentLength=512\0") + command(1, reads: 1024))
    #expect(smaller.all(DataInPDU.self).map(\.dataSegmentLength) == [512, 512])
    func reasons(_ stream: [UInt8]) -> [RejectReason] {
        course(of: login() + stream).all(RejectPDU.self).map(\.reason)
    }
    #expect(reasons(text(0, "no key\0")) == [.protocolError])
    #expect(reasons(text(0, "") { $0.initiatorTaskTag = reservedTag }) == [.invalidPDUField])
    #expect(reasons(text(0, "") { $0.continues = true }) == [.invalidPDUField])
    #expect(reasons(text(0, "", tag: 77)) == [.invalidPDUField])
}

/// A text without an end is not kept (bug: text floods).
@Test func textsAreBounded() {
    var conversation = Conversation(configuration(), Script())
    conversation.feed(login())
    let piece = String(repeating: "x", count: 30_000)
    var tag = reservedTag
    for index in 0..<3 as Range<UInt32> {
        conversation.feed(text(index, piece, tag: tag) { ($0.isFinal, $0.continues) = (false, true) })
        tag = conversation.happenings.all(TextResponsePDU.self).last?.targetTransferTag ?? 0
    }
    let rejected = conversation.happenings.all(RejectPDU.self)
    #expect(rejected.map(\.reason) == [.longOperationReject])
}

@Test func asynchronousMessages() {
    var conversation = Conversation(configuration(), Script())
    conversation.feed(login())
    conversation.session.announce(.dropConnection, parameter1: 1, parameter2: 2, parameter3: 3)
    conversation.session.beginShutdown(seconds: 30)
    conversation.feed(command(0))
    let messages = conversation.happenings.all(AsynchronousMessagePDU.self)
    #expect(messages.map(\.event) == [.dropConnection, .requestLogout])
    #expect(messages.map(\.parameter3) == [3, 30] && messages[0].parameter1 == 1 && messages[0].parameter2 == 2)
    #expect(messages.map(\.statusSN) == [0x201, 0x202])
    // An initiator that has logged in is served on.
    let responses = conversation.happenings.all(SCSIResponsePDU.self)
    #expect(responses.map(\.statusSN) == [0x203])
}
