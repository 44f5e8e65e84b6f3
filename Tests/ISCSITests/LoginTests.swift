// The Login Phase (RFC 7143, 6.3, 11.12, 11.13, 12, 13).

import CGnuTLS
import ISCSI
import Testing

private let names = "InitiatorName=iqn.2026-11.org.example:i\0TargetName=iqn.2026-11.org.example:disk\0"
private let secretNames = "InitiatorName=iqn.2026-11.org.example:i\0TargetName=iqn.2026-11.org.example:secret\0"

@Test func leadingLoginInOneRequest() {
    let happenings = course(of: login("HeaderDigest=None\0MaxRecvDataSegmentLength=65536\0"))
    #expect(happenings.first == .open(0))
    var response = LoginResponsePDU()
    response.transits = true
    response.currentStage = 1
    response.nextStage = 3
    response.isid = ISID(rawValue: 0x8000_0000_0001)
    response.tsih = 0x0102
    response.initiatorTaskTag = 0x10
    response.statusSN = 0x200
    response.expectedCommandSN = 0x100
    response.maximumCommandSN = 0x103
    let text = "TargetPortalGroupTag=1\0HeaderDigest=None\0MaxRecvDataSegmentLength=262144\0"
    #expect(happenings.dropFirst() == [.say(pdu(response, Array(text.utf8)))])
}

@Test func bothStages() {
    let stream =
        loginRequest(0, to: 1, names + "AuthMethod=CHAP,None\0")
        + loginRequest(1, "InitialR2T=No\0ImmediateData=Yes\0")
        + loginRequest(1, to: 3, "MaxBurstLength=16776192\0")
    let happenings = course(of: stream)
    let responses = happenings.all(LoginResponsePDU.self)
    #expect(responses.map(\.transits) == [true, false, true])
    #expect(responses.map(\.currentStage) == [0, 1, 1])
    #expect(responses.map(\.nextStage) == [1, 0, 3])
    #expect(responses.map(\.statusSN) == [0x200, 0x201, 0x202])
    #expect(responses.map(\.tsih) == [0, 0, 0x0102])
    #expect(
        happenings.texts(.loginResponse) == [
            "TargetPortalGroupTag=1 AuthMethod=None ",
            "InitialR2T=No ImmediateData=Yes MaxRecvDataSegmentLength=262144 ", "MaxBurstLength=1048576 ",
        ])
}

/// libiscsi does that, if it has a user and the target does not ask for one. Another name is another initiator.
@Test func namesSaidTwice() {
    let first = loginRequest(0, to: 1, names + "SessionType=Normal\0AuthMethod=CHAP,None\0")
    let again = course(of: first + loginRequest(1, to: 3, names + "SessionType=Normal\0"))
    #expect(again.all(LoginResponsePDU.self).map(\.status) == [.success, .success])
    for other in [
        "InitiatorName=iqn.2026-11.org.example:j\0", "TargetName=iqn.2026-11.org.example:secret\0",
        "SessionType=Discovery\0",
    ] {
        #expect(status(first + loginRequest(1, to: 3, other)) == .initiatorError)
    }
}

/// From the security stage into Full Feature Phase at once: the defaults hold.
@Test func operationalStageIsLeftOut() {
    let happenings = course(of: loginRequest(0, to: 3, names + "AuthMethod=None\0"))
    #expect(happenings.texts(.loginResponse) == ["TargetPortalGroupTag=1 AuthMethod=None "])
    #expect(happenings.all(LoginResponsePDU.self).first?.nextStage == 3)
    var conversation = Conversation(configuration(), Script())
    conversation.feed(loginRequest(0, to: 3, names))
    let (settled, name, type) = (
        conversation.session.settled, conversation.session.initiator.name, conversation.session.sessionType
    )
    #expect(settled == SessionParameters())
    #expect(name == "iqn.2026-11.org.example:i" && type == .normal)
}

private let longestKey = "X-" + String(repeating: "k", count: Text.maximumKeyBytes - 2)

/// The answer to each key (13).
@Test(arguments: [
    ("HeaderDigest=CRC32C,None", "HeaderDigest=CRC32C "), ("HeaderDigest=X-other,None", "HeaderDigest=None "),
    ("DataDigest=None,CRC32C", "DataDigest=None "), ("MaxConnections=8", "MaxConnections=1 "),
    ("InitialR2T=Yes", "InitialR2T=Yes "), ("InitialR2T=No", "InitialR2T=No "),
    ("ImmediateData=Yes", "ImmediateData=Yes "), ("ImmediateData=No", "ImmediateData=No "),
    ("MaxRecvDataSegmentLength=512", ""), ("MaxBurstLength=512", "MaxBurstLength=512 "),
    ("MaxBurstLength=16777215", "MaxBurstLength=1048576 "), ("MaxBurstLength=0x400", "MaxBurstLength=1024 "),
    ("FirstBurstLength=65536", "FirstBurstLength=65536 "), ("FirstBurstLength=1048576", "FirstBurstLength=65536 "),
    // FirstBurstLength never exceeds MaxBurstLength, in whatever order they are asked for.
    ("FirstBurstLength=4096\0MaxBurstLength=512", "FirstBurstLength=512 MaxBurstLength=512 "),
    ("MaxBurstLength=512\0FirstBurstLength=4096", "MaxBurstLength=512 FirstBurstLength=512 "),
    ("DefaultTime2Wait=0", "DefaultTime2Wait=2 "), ("DefaultTime2Wait=60", "DefaultTime2Wait=60 "),
    ("DefaultTime2Retain=20", "DefaultTime2Retain=0 "), ("MaxOutstandingR2T=16", "MaxOutstandingR2T=1 "),
    ("DataPDUInOrder=No", "DataPDUInOrder=Yes "), ("DataSequenceInOrder=No", "DataSequenceInOrder=Yes "),
    ("ErrorRecoveryLevel=2", "ErrorRecoveryLevel=0 "), ("TaskReporting=FastAbort,RFC3720", "TaskReporting=RFC3720 "),
    ("iSCSIProtocolLevel=2", "iSCSIProtocolLevel=1 "), ("IFMarker=No", "IFMarker=No "),
    ("OFMarker=Yes", "OFMarker=No "), ("OFMarker=No", "OFMarker=No "), ("IFMarkInt=2048~8192", "IFMarkInt=Reject "),
    ("OFMarkInt=2048", "OFMarkInt=Reject "), ("InitiatorAlias=me", ""), ("X#NodeArchitecture=Linux", ""),
    ("X-com.example.colour=blue", "X-com.example.colour=NotUnderstood "), ("Unknown=1", "Unknown=NotUnderstood "),
    // The longest name of a key (6.1), keys of RDMA (RFC 7145), and the longest value that somebody may need.
    (longestKey + "=1", longestKey + "=NotUnderstood "), ("RDMAExtensions=Yes", "RDMAExtensions=NotUnderstood "),
    ("X-a=" + String(repeating: "v", count: 255), "X-a=NotUnderstood "),
    ("X-a=" + String(repeating: "v", count: Text.maximumValueBytes), "X-a=NotUnderstood "),
])
func operationalKey(offered: String, answered: String) {
    let happenings = course(of: login(offered + "\0"))
    #expect(
        happenings.texts(.loginResponse) == [
            "TargetPortalGroupTag=1 " + answered + "MaxRecvDataSegmentLength=262144 "
        ])
    #expect(happenings.all(LoginResponsePDU.self).map(\.status) == [.success])
}

/// A value that is not allowed ends the login (7.12).
@Test(arguments: [
    "HeaderDigest=MD5", "MaxConnections=0", "MaxConnections=65536", "InitialR2T=yes", "ImmediateData=1",
    "MaxRecvDataSegmentLength=511", "MaxRecvDataSegmentLength=16777216", "MaxBurstLength=511", "FirstBurstLength=-1",
    "DefaultTime2Wait=3601", "DefaultTime2Retain=x", "MaxOutstandingR2T=0", "DataPDUInOrder=", "ErrorRecoveryLevel=3",
    "TaskReporting=FastAbort", "iSCSIProtocolLevel=32", "SendTargets=All", "TargetAlias=a", "TargetAddress=b",
    "TargetPortalGroupTag=1", "AuthMethod=None", "CHAP_A=5", "MaxBurstLength=1024\0MaxBurstLength=2048",
    // Constants that are answers, and no offers (6.2): this target has offered nothing.
    "HeaderDigest=Reject", "InitialR2T=Irrelevant", "MaxBurstLength=NotUnderstood", "TaskReporting=Reject",
    "MaxRecvDataSegmentLength=NotUnderstood", "ErrorRecoveryLevel=Reject",
    longestKey + "k=1", "X-a=" + String(repeating: "v", count: Text.maximumValueBytes + 1),
])
func unsoundKey(offered: String) {
    let happenings = course(of: login(offered + "\0"))
    #expect(happenings.all(LoginResponsePDU.self).map(\.status) == [.initiatorError])
    guard case .end(.loginFailed, let reason?, _) = happenings.last else {
        Issue.record("\(happenings)")
        return
    }
    #expect(!reason.isEmpty)
}

private func status(_ stream: [UInt8], _ configuration: SessionConfiguration = configuration()) -> LoginStatus? {
    let happenings = course(of: stream, configuration)
    if case .end(.loginFailed, _, _) = happenings.last {} else { Issue.record("\(happenings)") }
    return happenings.all(LoginResponsePDU.self).last?.status
}

@Test func loginsThatFail() {
    #expect(status(loginRequest(1, to: 3, "TargetName=iqn.2026-11.org.example:disk\0")) == .missingParameter)
    #expect(status(loginRequest(1, to: 3, "InitiatorName=\0")) == .initiatorError)
    #expect(status(loginRequest(1, to: 3, "InitiatorName=iqn.2026-11.org.example:i\0")) == .missingParameter)
    #expect(status(loginRequest(1, to: 3, "InitiatorName=iqn.i\0TargetName=iqn.2026-11.org.example:no\0")) == .notFound)
    #expect(status(loginRequest(1, to: 3, names + "SessionType=Other\0")) == .sessionTypeNotSupported)
    #expect(status(loginRequest(1, to: 3, names) { $0.versionMinimum = 1 }) == .unsupportedVersion)
    #expect(status(loginRequest(1, to: 3, names) { $0.tsih = 5 }) == .sessionDoesNotExist)
    #expect(status(loginRequest(1, to: 3, "InitiatorName=i")) == .initiatorError)
    // Stages that do not exist, or do not follow.
    for (stage, next) in [(2, nil), (3, nil), (1, 0), (1, 1), (1, 2), (0, 0)] as [(UInt8, UInt8?)] {
        #expect(status(loginRequest(stage, to: next, names)) == .initiatorError)
    }
    #expect(status(loginRequest(0, to: 1, names) + loginRequest(0, to: 3, "")) == .initiatorError)
    #expect(status(loginRequest(1, to: 3, names, continues: true)) == .initiatorError)
    // Another session's PDU.
    #expect(status(loginRequest(1, names) + loginRequest(1, to: 3, "") { $0.connectionID = 2 }) == .invalidDuringLogin)
    // An operational key in the security stage.
    #expect(status(loginRequest(0, names + "MaxBurstLength=1024\0")) == .initiatorError)
}

/// A key is negotiated once in a login, in whichever of its requests (6.3).
@Test func noKeyComesTwiceInALogin() {
    let once = loginRequest(1, names + "InitialR2T=No\0")
    #expect(status(once + loginRequest(1, to: 3, "InitialR2T=No\0")) == .initiatorError)
    #expect(course(of: once + loginRequest(1, to: 3, "ImmediateData=No\0")).contains(.open(0)))
}

/// The names of nodes have up to 223 bytes (4.2.7.1).
@Test func theLongestInitiatorName() {
    func login(_ count: Int) -> [UInt8] {
        loginRequest(
            1, to: 3,
            "InitiatorName=iqn." + String(repeating: "n", count: count - 4)
                + "\0TargetName=iqn.2026-11.org.example:disk\0")
    }
    #expect(course(of: login(223)).contains(.open(0)))
    #expect(status(login(224)) == .initiatorError)
}

/// An initiator's name has a type (4.2.7.2) and goes into logs and listings.
@Test(arguments: ["i", "iqn.", "iqn", "host1", "iqn.a b", "iqn.a\u{7F}", "iqn.a\t", "x.iqn.a"])
func noNameOfAnInitiator(name: String) {
    let login = loginRequest(1, to: 3, "InitiatorName=\(name)\0TargetName=iqn.2026-11.org.example:disk\0")
    #expect(status(login) == .initiatorError)
}

/// Names are compared with small letters (RFC 3722): large ones are not another initiator, nor another target.
@Test(arguments: [
    ("iqn.2026-11.org.example:HOST_1", "iqn.2026-11.org.example:host_1"),
    ("EUI.02004567A425678D", "eui.02004567a425678d"),
    ("naa.52004567BA64678D", "naa.52004567ba64678d"),
])
func lettersOfNames(name: String, normalized: String) {
    #expect(Initiator.normalizedName(name) == normalized)
    let login =
        loginRequest(1, "InitiatorName=\(name)\0TargetName=IQN.2026-11.org.example:DISK\0")
        + loginRequest(1, to: 3, "InitiatorName=\(normalized)\0TargetName=iqn.2026-11.org.example:disk\0")
    #expect(course(of: login).contains(.open(0)))
}

/// A discovery session may be asked for what makes no difference to it (13, "Irrelevant when").
@Test func keysOfADiscoverySession() {
    let offers = "MaxConnections=2\0InitialR2T=No\0MaxBurstLength=1024\0TaskReporting=RFC3720\0"
    let happenings = course(
        of: loginRequest(1, to: 3, "InitiatorName=iqn.2026-11.org.example:i\0SessionType=Discovery\0" + offers))
    #expect(
        happenings.texts(.loginResponse) == [
            "MaxConnections=1 InitialR2T=No MaxBurstLength=1024 TaskReporting=RFC3720 "
                + "MaxRecvDataSegmentLength=262144 "
        ])
    #expect(happenings.contains(.open(nil)))
}

/// Login PDUs without an end, and texts without one.
@Test func loginsAreBounded() {
    let many = loginRequest(1, names) + (0..<40).flatMap { _ in loginRequest(1, "") }
    #expect(status(many) == .initiatorError)
    let piece = String(repeating: "x", count: 8000)
    let long = loginRequest(1, "X-a=" + piece, continues: true) + loginRequest(1, piece, continues: true)
    #expect(status(long + loginRequest(1, piece, continues: true)) == .initiatorError)
}

/// A text in pieces, cut inside of a key and of a value (11.12.2).
@Test func textOverSeveralRequests() {
    let stream =
        loginRequest(1, "InitiatorName=iqn.2026-11.org", continues: true)
        + loginRequest(1, ".example:i\0TargetNa", continues: true)
        + loginRequest(1, to: 3, "me=iqn.2026-11.org.example:disk\0MaxBurstLength=1024\0")
    let happenings = course(of: stream)
    #expect(
        happenings.texts(.loginResponse) == [
            "", "", "TargetPortalGroupTag=1 MaxBurstLength=1024 MaxRecvDataSegmentLength=262144 ",
        ])
    #expect(happenings.all(LoginResponsePDU.self).map(\.transits) == [false, false, true])
}

@Test func targetThatCannotBeOpened() {
    var script = Script()
    script.refusal = (.authorizationFailure, "not for this one")
    let happenings = course(of: login(), configuration(), script)
    #expect(happenings.all(LoginResponsePDU.self).map(\.status) == [.authorizationFailure])
    guard case .end(.loginFailed, "not for this one", _) = happenings.last else {
        Issue.record("\(happenings)")
        return
    }
}

/// Bug 1 of other targets: a PDU that is no Login Request before the login; bug 2: one that is shorter than it says is
/// never looked at.
@Test func nothingButLoginsBeforeTheLogin() {
    for opcode in Opcode.allCases where opcode != .loginRequest {
        let stream = [opcode.rawValue | 0x40] + [UInt8](repeating: 0, count: 47)
        guard case .end(.violation, _?, let words) = course(of: stream).last else {
            Issue.record("\(opcode)")
            continue
        }
        #expect(words.isEmpty)
    }
    var conversation = Conversation(configuration(), Script())
    conversation.feed(login().dropLast(4))
    let (happenings, missing) = (conversation.happenings, conversation.missing)
    let isInsideRequest = conversation.session.isInsideRequest
    #expect(happenings.isEmpty && missing == 4 && isInsideRequest)
    // Additional segments, and a data segment of 16 MiB.
    var long = loginRequest(1, to: 3, names)
    long[4] = 1
    guard case .end(.violation, _?, _) = course(of: long).last else { return #expect(Bool(false)) }
    long[4] = 0
    long[5] = 0xFF
    guard case .end(.violation, _?, _) = course(of: long).last else { return #expect(Bool(false)) }
}

// MARK: CHAP

private func md5(_ bytes: [UInt8]) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 16)
    let code = gnutls_hash_fast(GNUTLS_DIG_MD5, bytes, bytes.count, &digest)
    #expect(code == 0)
    return digest
}

private let secret = Array("an initiator's secret".utf8)
private let targetSecret = Array("the target's secret".utf8)

/// Knows one initiator.
private func judge(_ answer: CHAPAnswer) -> CHAPJudgement {
    guard answer.name == "user", answer.response == md5(answer.asked.message(secret: secret)) else { return .refused }
    guard let question = answer.question else { return .accepted() }
    return .accepted(name: "target", response: md5(question.message(secret: targetSecret)))
}

private func chapLogin(_ answer: String) -> [UInt8] {
    loginRequest(0, to: 1, secretNames + "AuthMethod=CHAP,None\0") + loginRequest(0, "CHAP_A=8,5\0")
        + loginRequest(0, to: 1, answer) + loginRequest(1, to: 3, "")
}

private func chapCourse(_ answer: String) -> [Happening] {
    var script = Script()
    script.judge = judge
    return course(of: chapLogin(answer), configuration(), script)
}

@Test func chapOneWay() {
    let response = Text.hexadecimal(md5([0x2A] + secret + challenge.challenge))
    let happenings = chapCourse("CHAP_N=user\0CHAP_R=\(response)\0")
    #expect(
        happenings.texts(.loginResponse) == [
            "TargetPortalGroupTag=1 AuthMethod=CHAP ",
            "CHAP_A=5 CHAP_I=42 CHAP_C=0x000102030405060708090a0b0c0d0e0f ", "",
            "MaxRecvDataSegmentLength=262144 ",
        ])
    #expect(happenings.all(LoginResponsePDU.self).map(\.transits) == [false, false, true, true])
    #expect(happenings.contains(.open(1)))
    var script = Script()
    script.judge = judge
    var conversation = Conversation(configuration(), script)
    conversation.feed(chapLogin("CHAP_N=user\0CHAP_R=\(response)\0"))
    let name = conversation.session.initiator.chapName
    #expect(name == "user")
}

@Test func chapMutual() {
    let response = Text.hexadecimal(md5([0x2A] + secret + challenge.challenge))
    let happenings = chapCourse("CHAP_N=user\0CHAP_R=\(response)\0CHAP_I=0x07\0CHAP_C=0b////\0")
    let proof = Text.hexadecimal(md5([7] + targetSecret + [0xFF, 0xFF, 0xFF]))
    #expect(happenings.texts(.loginResponse)[2] == "CHAP_N=target CHAP_R=\(proof) ")
    #expect(happenings.contains(.open(1)))
}

@Test func chapThatFails() {
    let response = Text.hexadecimal(md5([0x2A] + secret + challenge.challenge))
    let wrong = Text.hexadecimal(md5([0x2B] + secret + challenge.challenge))
    let own = Text.hexadecimal(challenge.challenge)
    for answer in [
        "CHAP_N=user\0CHAP_R=\(wrong)\0", "CHAP_N=other\0CHAP_R=\(response)\0", "CHAP_N=user\0", "CHAP_R=\(response)\0",
        // Too long, too short, and as Base64 of more than it may be.
        "CHAP_N=user\0CHAP_R=\(response)00\0", "CHAP_N=user\0CHAP_R=0x00\0",
        "CHAP_N=user\0CHAP_R=0b" + String(repeating: "A", count: 2000) + "\0",
        // The target's own question, for it to answer; and questions that are none.
        "CHAP_N=user\0CHAP_R=\(response)\0CHAP_I=1\0CHAP_C=\(own)\0",
        "CHAP_N=user\0CHAP_R=\(response)\0CHAP_I=256\0CHAP_C=0x01\0", "CHAP_N=user\0CHAP_R=\(response)\0CHAP_I=1\0",
    ] {
        let happenings = chapCourse(answer)
        #expect(happenings.all(LoginResponsePDU.self).last?.status == .authenticationFailure, "\(answer)")
        #expect(!happenings.contains(.open(1)))
    }
    let security = secretNames + "AuthMethod=CHAP\0"
    // No CHAP, no algorithm in common, an answer before the question, no security stage at all, and a way around it.
    #expect(status(loginRequest(0, to: 1, secretNames + "AuthMethod=None\0")) == .authenticationFailure)
    #expect(status(loginRequest(0, security) + loginRequest(0, "CHAP_A=8,9\0")) == .authenticationFailure)
    #expect(status(loginRequest(0, security) + loginRequest(0, "CHAP_R=0x00\0")) == .authenticationFailure)
    #expect(status(loginRequest(1, to: 3, secretNames)) == .authenticationFailure)
    #expect(status(loginRequest(0, to: 3, secretNames)) == .authenticationFailure)
    #expect(status(loginRequest(0, to: 1, names + "AuthMethod=CHAP\0")) == .authenticationFailure)
    // To be ready for the next stage does not help before CHAP is over.
    let early = course(of: loginRequest(0, to: 3, security) + loginRequest(0, to: 3, "CHAP_A=5\0"))
    #expect(early.all(LoginResponsePDU.self).map(\.transits) == [false, false])
    // The target has no secret to prove itself with.
    var script = Script()
    script.judge = { _ in .accepted() }
    let unproven = course(
        of: chapLogin("CHAP_N=user\0CHAP_R=\(response)\0CHAP_I=1\0CHAP_C=0x01\0"), configuration(), script)
    #expect(unproven.all(LoginResponsePDU.self).last?.status == .authenticationFailure)
}

@Test func discoveryMayWantCHAPToo() {
    let strict = configuration { $0.discoveryRequiresCHAP = true }
    #expect(status(discovery, strict) == .authenticationFailure)
    #expect(course(of: discovery).contains(.open(nil)))
}

/// RFC 1994: what is hashed.
@Test func chapMessage() {
    #expect(CHAPChallenge(identifier: 1, challenge: [4, 5]).message(secret: [2, 3]) == [1, 2, 3, 4, 5])
    #expect(CHAPAlgorithm.sha256.hashBytes == 32 && CHAPAlgorithm.sha1.hashBytes == 20)
}

/// The server is stopping: nobody new comes in.
@Test func loginsFailDuringShutdown() {
    var conversation = Conversation(configuration(), Script())
    conversation.session.beginShutdown(seconds: 5)
    conversation.feed(login())
    let responses = conversation.happenings.all(LoginResponsePDU.self)
    #expect(responses.map(\.status) == [.serviceUnavailable])
}

/// Targets that come when they are asked for are found by their names.
@Test(arguments: [
    ("iqn.2026-11.org.example:vm-7", true), ("iqn.2026-11.org.example:vm-", false),
    ("iqn.2026-11.org.example:wm-7", false), ("iqn.2026-11.org.example:vm-*", true),
])
func targetsThatAreYetToCome(name: String, isFound: Bool) {
    var session = Session(configuration())
    var names = TargetInformation(name: "iqn.2026-11.org.example:vm-*")
    names.names = TargetNames(prefix: "iqn.2026-11.org.example:vm-", suffix: "")
    session.directory = [names]
    let stream = loginRequest(1, to: 3, "InitiatorName=iqn.i\0TargetName=\(name)\0")
    let (_, event) = session.advance(stream.span.bytes)
    if isFound {
        #expect(event == .open(target: 0) && session.targetName == name)
    } else {
        #expect(event == .end(.loginFailed))
    }
}
