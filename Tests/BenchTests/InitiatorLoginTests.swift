// The login of `spindle bench`, with responses of a target by hand (RFC 7143, 6.3, 11.13, 12, 13).

import ISCSI
import Seeded
import Testing

@testable import Bench

@Suite struct InitiatorLoginTests {
    private var wishes: InitiatorWishes {
        InitiatorWishes(targetName: "iqn.t:d", isid: ISID(rawValue: 0x8000_0102_0003))
    }

    /// Gives the responses to a login in two pieces, of which the first has so many bytes.
    private func run(
        _ login: inout InitiatorLogin, _ responses: [UInt8], split: Int
    ) -> (said: [(header: [UInt8], data: [UInt8])], last: InitiatorLogin.Step) {
        var said = parts(login.begin())
        var buffer: [UInt8] = []
        var last = InitiatorLogin.Step.needMoreBytes
        for piece in [responses.prefix(split), responses.dropFirst(split)] {
            buffer += piece
            while true {
                var position = 0
                last = login.next(buffer.span.bytes, at: &position)
                buffer.removeFirst(position)
                if case .say(let request) = last { said += parts(request) } else { break }
            }
            if last != .needMoreBytes { break }
        }
        return (said, last)
    }

    private func text(_ data: [UInt8]) -> [String] {
        data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }

    private let security = loginResponse(
        flags: 0x81, statusSN: 7, text: ["TargetPortalGroupTag=1", "AuthMethod=None"])

    /// A target that narrows everything, over each cut of the stream.
    @Test func aLoginTakesWhatTheTargetChooses() {
        let operational = loginResponse(
            flags: 0x87, statusSN: 8,
            text: [
                "HeaderDigest=None", "DataDigest=None", "MaxRecvDataSegmentLength=65536", "MaxBurstLength=131072",
                "FirstBurstLength=16384", "ImmediateData=No", "InitialR2T=Yes", "MaxOutstandingR2T=1",
                "DataPDUInOrder=Yes", "DataSequenceInOrder=Yes", "ErrorRecoveryLevel=0", "X-other=1",
            ])
        let responses = security + operational
        for split in 0...responses.count {
            var login = InitiatorLogin(wishes)
            let (said, last) = run(&login, responses, split: split)
            #expect(last == .open)
            #expect(said.count == 2)
            #expect(said[0].header[0..<2] == [0x43, 0x81] && said[1].header[0..<2] == [0x43, 0x87])
            #expect(said[0].header[8..<16] == [0x80, 0, 1, 2, 0, 3, 0, 0])
            #expect(text(said[0].data).contains("TargetName=iqn.t:d") && text(said[0].data).contains("AuthMethod=None"))
            #expect(text(said[1].data).contains("InitialR2T=No") && text(said[1].data).contains("HeaderDigest=None"))
            // ExpStatSN acknowledges what has come.
            #expect(word(said[1].header, 28) == 8 && login.expectedStatusSN == 9 && login.maximumCommandSN == 64)
            var expected = InitiatorParameters()
            expected.maxSendDataSegmentLength = 65536
            expected.maxBurstLength = 131072
            expected.firstBurstLength = 16384
            expected.immediateData = false
            #expect(login.parameters == expected)
        }
    }

    @Test func textThatGoesOnIsPutTogether() {
        let responses =
            security + loginResponse(flags: 0x44, statusSN: 8, text: []).replacingText("MaxRecvDataSegm")
            + loginResponse(flags: 0x87, statusSN: 9, text: []).replacingText("entLength=4096\0ImmediateData=Yes\0")
        var login = InitiatorLogin(wishes)
        let (said, last) = run(&login, responses, split: 0)
        #expect(last == .open && said.count == 3 && said[2].data.isEmpty && said[2].header[1] == 0x04)
        #expect(login.parameters.maxSendDataSegmentLength == 4096 && login.parameters.immediateData)
    }

    /// CHAP with MD5; the hash is openssl's: printf '\x2abattery-staple-1\x01\x02\x03\x04' | openssl md5.
    @Test func chapIsAnswered() {
        var asked = wishes
        asked.credentials = CHAPCredentials(name: "alice", secret: Array("battery-staple-1".utf8))
        var login = InitiatorLogin(asked)
        let responses =
            loginResponse(flags: 0x00, statusSN: 1, text: ["AuthMethod=CHAP"])
            + loginResponse(flags: 0x00, statusSN: 2, text: ["CHAP_A=5", "CHAP_I=42", "CHAP_C=0x01020304"])
            + loginResponse(flags: 0x81, statusSN: 3) + loginResponse(flags: 0x87, statusSN: 4)
        let (said, last) = run(&login, responses, split: 0)
        #expect(last == .open)
        #expect(said.map { $0.header[1] } == [0x00, 0x00, 0x81, 0x87])
        #expect(text(said[0].data).contains("AuthMethod=CHAP,None"))
        #expect(text(said[1].data) == ["CHAP_A=5,6,7"])
        #expect(text(said[2].data) == ["CHAP_N=alice", "CHAP_R=0x\(chapHash)"])
    }

    @Test(arguments: [
        (loginResponse(flags: 0, statusSN: 1, status: 0x0203), "the target refuses the login: there is no such target"),
        (
            loginResponse(flags: 0, statusSN: 1, status: 0x0201),
            "the target refuses the login: it does not believe who this is; --chap FILE has a name and its secret"
        ),
        (loginResponse(flags: 0, statusSN: 1, status: 0xABCD), "the target refuses the login: status 0xabcd"),
        (loginResponse(flags: 0, statusSN: 1, text: ["AuthMethod=CHAP"]), "the target wants CHAP; give --chap FILE"),
        (
            pdu(0x25), "no iSCSI target answers there: the answer to a Login Request does not begin as one"
        ),
        (
            pdu(0x23, fields: [4: 0x00FF_FFFF]),
            "no iSCSI target answers there: the answer to a Login Request does not begin as one"
        ),
        (
            loginResponse(flags: 0x81, statusSN: 1).replacingText("no end"),
            "the server does not keep to the protocol: a text that does not end with a null byte"
        ),
    ])
    func whatIsWrongIsSaid(response: [UInt8], words: String) {
        var login = InitiatorLogin(wishes)
        let last = run(&login, response, split: 0).last
        guard case .failed(let error) = last else {
            Issue.record("\(last)")
            return
        }
        #expect(error.description == words)
    }

    /// Nothing that was not offered is taken.
    @Test(arguments: [
        "HeaderDigest=CRC32C", "MaxBurstLength=16777215", "MaxRecvDataSegmentLength=1", "FirstBurstLength=-1",
        "ImmediateData=Maybe", "DataPDUInOrder=No", "ErrorRecoveryLevel=2",
    ])
    func answersOutsideTheOfferAreRefused(pair: String) {
        var login = InitiatorLogin(wishes)
        let last = run(&login, security + loginResponse(flags: 0x87, statusSN: 2, text: [pair]), split: 0).last
        #expect(last == .failed(.violation("\(pair) is no answer to what was offered")))
    }

    @Test func digestsThatTheTargetDoesNotHaveAreSaid() {
        var digests = wishes
        digests.usesDigests = true
        var login = InitiatorLogin(digests)
        let answer = loginResponse(flags: 0x87, statusSN: 2, text: ["HeaderDigest=CRC32C", "DataDigest=None"])
        let last = run(&login, security + answer, split: 0).last
        #expect(last == .failed(.unsuitable("the target has no digests; leave out --digests")))
    }

    @Test func aLoginWithoutEndEnds() {
        var login = InitiatorLogin(wishes)
        let endless = (0..<64).flatMap { loginResponse(flags: 0x44, statusSN: UInt32($0)) }
        let last = run(&login, endless, split: 0).last
        #expect(last == .failed(.violation("the login does not come to an end")))
    }

    @Test func anyBytesAreRead() {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<3000 {
            var bytes = generator.bytes(Int.random(in: 48...300, using: &generator))
            bytes[0] = 0x23
            bytes.replaceSubrange(4..<7, with: [0, 0, 0])
            if Bool.random(using: &generator) { bytes.replaceSubrange(36..<38, with: [0, 0]) }
            var login = InitiatorLogin(wishes)
            let said = run(&login, bytes, split: Int.random(in: 0...bytes.count, using: &generator)).said
            #expect(said.count < 10, "seed \(seed)")
        }
    }
}

/// openssl's MD5 of the bytes that chapIsAnswered() names.
private let chapHash = "5bc15a80ac68a234434d0cf328aa9287"

extension [UInt8] {
    /// The same PDU with a text that may be no whole pairs.
    fileprivate func replacingText(_ text: String) -> [UInt8] {
        var header = Array(self[..<48])
        let data = Array(text.utf8)
        header[7] = UInt8(data.count)
        return header + data + [UInt8](repeating: 0, count: -data.count & 3)
    }
}
