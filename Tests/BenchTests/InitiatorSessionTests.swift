// The full feature phase of `spindle bench`, with PDUs of a target by hand (RFC 7143, 11).

import ISCSI
import NBD
import Seeded
import Testing

@testable import Bench

@Suite struct InitiatorSessionTests {
    /// A session with these parameters, after a login whose last StatSN was 9.
    private func session(depth: Int = 4, _ keys: [String] = [], hasDigests: Bool = false) -> InitiatorSession {
        var wishes = InitiatorWishes(targetName: "iqn.t:d", isid: ISID(rawValue: 1))
        wishes.usesDigests = hasDigests
        var login = InitiatorLogin(wishes)
        let digests = hasDigests ? ["HeaderDigest=CRC32C", "DataDigest=CRC32C"] : []
        let responses =
            loginResponse(flags: 0x81, statusSN: 8) + loginResponse(flags: 0x87, statusSN: 9, text: keys + digests)
        var position = 0
        _ = login.next(responses.span.bytes, at: &position)
        let last = login.next(responses.span.bytes, at: &position)
        #expect(last == .open)
        return InitiatorSession(login, logicalUnit: LogicalUnitNumber(3), depth: depth)
    }

    private let payload = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }

    /// Begins a request at block 5 in slot 1, and takes what is said.
    private func begin(
        _ command: Command, _ session: inout InitiatorSession, lengthBytes: UInt32 = 4096, sequence: UInt64 = 1
    ) -> (cookie: Cookie, said: [UInt8]) {
        let cookie = Cookie(command, slot: 1, sequence: sequence)
        var outbox = Outbox(requestCapacity: 64)
        payload.withUnsafeBytes {
            session.begin(
                PlannedRequest(command: command, offsetBytes: 5 * 512, lengthBytes: lengthBytes), cookie, payload: $0,
                into: &outbox)
            session.goOn(payload: $0, into: &outbox)
        }
        return (cookie, outbox.take())
    }

    private func goOn(_ session: inout InitiatorSession) -> [UInt8] {
        var outbox = Outbox(requestCapacity: 64)
        payload.withUnsafeBytes { session.goOn(payload: $0, into: &outbox) }
        return outbox.take()
    }

    /// Gives bytes in two pieces; the steps that are not `needMoreBytes`.
    private func read(_ bytes: [UInt8], _ session: inout InitiatorSession, split: Int = 0) -> [SessionStep] {
        var steps: [SessionStep] = []
        var buffer: [UInt8] = []
        for piece in [bytes.prefix(split), bytes.dropFirst(split)] {
            buffer += piece
            var position = 0
            while true {
                let step = session.next(buffer.span.bytes, at: &position)
                if step == .needMoreBytes { break }
                steps.append(step)
                if case .reply = step { continue }
                return steps
            }
            buffer.removeFirst(position)
        }
        return steps
    }

    private let tag: UInt32 = 1 << 16 | 1

    private func dataIn(
        offset: UInt32, number: UInt32, count: Int, isLast: Bool, status: UInt8 = 0
    ) -> [UInt8] {
        var bytes = pdu(
            0x25, flags: isLast ? 0x81 : 0x00,
            fields: [16: tag, 20: 0xFFFF_FFFF, 24: isLast ? 10 : 0, 28: 2, 32: 65, 36: number, 40: offset],
            data: [UInt8](repeating: 0x25, count: count))
        bytes[3] = status
        return bytes
    }

    private func readyToTransfer(offset: UInt32, length: UInt32, number: UInt32 = 0) -> [UInt8] {
        pdu(
            0x31, fields: [16: tag, 20: 0xABCD, 24: 10, 28: 2, 32: 65, 36: number, 40: offset, 44: length])
    }

    private func response(status: UInt8 = 0, response: UInt8 = 0, sense: [UInt8] = []) -> [UInt8] {
        let data = sense.isEmpty ? [] : [UInt8(sense.count >> 8), UInt8(sense.count & 0xFF)] + sense
        var bytes = pdu(0x21, fields: [16: tag, 24: 10, 28: 2, 32: 65], data: data)
        bytes[2] = response
        bytes[3] = status
        return bytes
    }

    @Test(arguments: [false, true])
    func aReadIsAskedForAndRead(hasDigests: Bool) {
        let pdus = [
            dataIn(offset: 0, number: 0, count: 1023, isLast: false),
            dataIn(offset: 1023, number: 1, count: 3073, isLast: true),
        ]
        let bytes = pdus.flatMap { hasDigests ? digested($0) : $0 }
        for split in 0...bytes.count {
            var session = session(hasDigests: hasDigests)
            let (cookie, said) = begin(.read, &session)
            if split == 0 {
                var command = pdu(
                    0x01, flags: 0xC1, fields: [8: 0x0003_0000, 16: tag, 20: 4096, 24: 1, 28: 10])
                command[32] = 0x88
                command[41] = 5
                command[45] = 8
                #expect(said == (hasDigests ? digested(command) : command))
            }
            #expect(read(bytes, &session, split: split) == [.reply(cookie, error: 0, isLast: true)])
            let (statusSN, commandSN) = (session.expectedStatusSN, session.maximumCommandSN)
            #expect(statusSN == 11 && commandSN == 65)
        }
    }

    /// Immediate data, then unsolicited ones up to the first burst, then what each R2T asks for.
    @Test(arguments: [false, true])
    func aWriteGoesInBursts(hasDigests: Bool) {
        let asked = readyToTransfer(offset: 2048, length: 1024)
        let second = readyToTransfer(offset: 3072, length: 1024, number: 1)
        let bytes = [asked, second, response()].map { hasDigests ? digested($0) : $0 }
        for split in 0...bytes[0].count {
            var session = session(
                [
                    "MaxRecvDataSegmentLength=768", "FirstBurstLength=2048", "MaxBurstLength=1024", "ImmediateData=Yes",
                    "InitialR2T=No",
                ], hasDigests: hasDigests)
            let (cookie, said) = begin(.write, &session)
            var all = parts(said, hasDigests: hasDigests)
            #expect(read(bytes[0], &session, split: split).isEmpty)
            all += parts(goOn(&session), hasDigests: hasDigests)
            #expect(read(bytes[1], &session).isEmpty)
            all += parts(goOn(&session), hasDigests: hasDigests)
            // Command, unsolicited, and two pieces for each R2T.
            #expect(all.map { $0.header[0] } == [0x01, 0x05, 0x05, 0x05, 0x05, 0x05, 0x05])
            #expect(all.map { $0.header[1] } == [0x21, 0x00, 0x80, 0x00, 0x80, 0x00, 0x80])
            #expect(all.map(\.data.count) == [768, 768, 512, 768, 256, 768, 256])
            #expect(all.dropFirst().map { word($0.header, 36) } == [0, 1, 0, 1, 0, 1])
            #expect(all.dropFirst().map { word($0.header, 40) } == [768, 1536, 2048, 2816, 3072, 3840])
            #expect(
                all.dropFirst().map { word($0.header, 20) } == [
                    0xFFFF_FFFF, 0xFFFF_FFFF, 0xABCD, 0xABCD, 0xABCD, 0xABCD,
                ])
            #expect(all.flatMap(\.data) == payload)
            #expect(read(bytes[2], &session) == [.reply(cookie, error: 0, isLast: true)])
        }
    }

    @Test func digestsOfWhatIsSaidFit() {
        var session = session(["ImmediateData=Yes", "InitialR2T=Yes"], hasDigests: true)
        let said = begin(.write, &session).said
        let (header, data) = (Array(said[..<48]), Array(said[52..<52 + 4096]))
        #expect(data == payload && said == header + crc32c(header) + data + crc32c(data))
    }

    @Test func requestsThatReadNothing() {
        var session = session(depth: 4, ["ImmediateData=Yes"])
        let unmap = parts(begin(.trim, &session).said)[0]
        #expect(unmap.header[32..<42] == [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0])
        #expect(unmap.data == [0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 0])
        let same = parts(begin(.writeZeroes, &session).said)[0]
        #expect(same.header[32] == 0x93 && same.header[41] == 5 && same.header[45] == 8)
        #expect(same.data == [UInt8](repeating: 0, count: 512))
        let flush = parts(begin(.flush, &session).said)[0]
        #expect(flush.header[32] == 0x35 && flush.header[1] == 0x81 && flush.data.isEmpty)
        #expect(word(unmap.header, 24) == 1 && word(same.header, 24) == 2 && word(flush.header, 24) == 3)
    }

    /// No command goes beyond MaxCmdSN (4.2.2.1).
    @Test func theWindowIsKept() {
        var session = session()
        session.maximumCommandSN = 2
        var isOpen = [session.takesRequest]
        _ = begin(.flush, &session)
        _ = begin(.flush, &session, sequence: 1)
        isOpen.append(session.takesRequest)
        #expect(read(response(), &session).count == 1)
        isOpen.append(session.takesRequest)
        #expect(isOpen == [true, false, true], "the response says that it is open up to 65")
    }

    @Test(
        arguments: [
            ([0x70, 0, 0x05, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x21, 0x00], "CHECK CONDITION: ILLEGAL REQUEST, 21h/00h"),
            ([0x72, 0x07, 0x27, 0x00, 0, 0, 0, 0], "CHECK CONDITION: DATA PROTECT, 27h/00h"),
            ([0x70], "CHECK CONDITION"),
            ([], "CHECK CONDITION"),
        ] as [([UInt8], String)])
    func senseDataAreSaid(sense: [UInt8], words: String) {
        var session = session()
        let cookie = begin(.read, &session).cookie
        guard case .reply(cookie, let error, isLast: true) = read(response(status: 2, sense: sense), &session).first
        else {
            Issue.record("no reply")
            return
        }
        #expect(SCSIFailure(rawValue: error).words == words)
    }

    @Test(arguments: [
        (0x08 as UInt8, 0 as UInt8, "BUSY"), (0x18, 0, "RESERVATION CONFLICT"), (0x28, 0, "TASK SET FULL"),
        (0x99, 0, "status 0x99"), (0, 1, "response 0x1 of the target"),
    ])
    func statusIsSaid(status: UInt8, response code: UInt8, words: String) {
        var session = session()
        _ = begin(.read, &session)
        guard case .reply(_, let error, _) = read(response(status: status, response: code), &session).first else {
            Issue.record("no reply")
            return
        }
        #expect(SCSIFailure(rawValue: error).words == words)
    }

    @Test func aSignOfLifeIsGiven() {
        var session = session()
        let ping = pdu(0x20, fields: [8: 0x0003_0000, 16: 0xFFFF_FFFF, 20: 0x1234, 24: 10, 28: 1, 32: 64])
        #expect(read(ping, &session).isEmpty)
        var hasMore = [session.hasMoreToSay]
        let answer = parts(goOn(&session))[0].header
        #expect(answer[0..<2] == [0x40, 0x80] && word(answer, 16) == 0xFFFF_FFFF && word(answer, 20) == 0x1234)
        #expect(word(answer, 8) == 0x0003_0000)
        hasMore.append(session.hasMoreToSay)
        #expect(hasMore == [true, false])
        guard case .violation = read((0..<20).flatMap { _ in ping }, &session).last else {
            Issue.record("a flood of questions is kept")
            return
        }
    }

    @Test func leaveIsTaken() {
        var session = session()
        var outbox = Outbox(requestCapacity: 1)
        session.sayGoodbye(into: &outbox)
        let said = outbox.take()
        var awaits = [session.awaitsGoodbye]
        #expect(said[0..<2] == [0x46, 0x80])
        #expect(read(pdu(0x26, fields: [16: 4, 24: 10]), &session).isEmpty)
        awaits.append(session.awaitsGoodbye)
        #expect(awaits == [true, false])
    }

    /// What a target must not send ends the run, in words.
    @Test func whatIsNoAnswerEndsIt() {
        func words(_ bytes: [UInt8], _ command: Command = .read, hasDigests: Bool = false) -> String {
            var session = session(["ImmediateData=No"], hasDigests: hasDigests)
            _ = begin(command, &session)
            return switch read(bytes, &session).last {
            case .violation(let what): what
            case .ended(let why): why
            default: "nothing"
            }
        }
        var other = response()
        other[19] = 2
        var damaged = digested(dataIn(offset: 0, number: 0, count: 4096, isLast: true))
        damaged[2000] ^= 1
        var damagedHeader = digested(response())
        damagedHeader[40] ^= 1
        var extended = response()
        extended[4] = 1
        for (bytes, expected) in [
            (other, "a PDU has the task tag 0x10002, which no task has"),
            (dataIn(offset: 512, number: 0, count: 512, isLast: false), "512 bytes come for offset 512"),
            (dataIn(offset: 0, number: 1, count: 512, isLast: false), "has the DataSN 1 instead of 0"),
            (dataIn(offset: 0, number: 0, count: 4100, isLast: true), "4100 bytes come for offset 0"),
            (dataIn(offset: 0, number: 0, count: 512, isLast: true), "a command of 4096 bytes has succeeded with 512"),
            (response(), "a command of 4096 bytes has succeeded with 0"),
            (readyToTransfer(offset: 0, length: 512), "an R2T comes for a command that reads"),
            (pdu(0x26), "a Logout Response comes that answers nothing"),
            (pdu(0x23), "a PDU of kind loginResponse comes in the full feature phase"),
            (pdu(0x07), "a PDU has the opcode 0x7"), (extended, "a PDU has additional header segments"),
            (pdu(0x21, fields: [4: 0x00FF_0000]), "a PDU of kind scsiResponse has 16711680 bytes"),
            (pdu(0x21, fields: [16: tag], data: [0xFF, 0xFF, 1, 2]), "sense data of 65535 bytes stand in 2"),
            (pdu(0x32, fields: [36: 0x0100_0000]), "an asynchronous message says requestLogout"),
            (pdu(0x3F, fields: [0: 0x3F80_0400]), "it rejects a PDU: protocolError"),
        ] {
            #expect(words(bytes).contains(expected), "\(words(bytes))")
        }
        for (bytes, expected) in [
            (dataIn(offset: 0, number: 0, count: 512, isLast: false), "reads nothing is answered with data"),
            (readyToTransfer(offset: 0, length: 4097), "an R2T asks for 4097 bytes at 0 of 4096"),
            (readyToTransfer(offset: 0xFFFF_FFFF, length: 2), "an R2T asks for 2 bytes at 4294967295 of 4096"),
            (readyToTransfer(offset: 0, length: 0), "an R2T asks for 0 bytes"),
            (readyToTransfer(offset: 512, length: 512), "an R2T asks for 512 bytes at 512 of 4096"),
            (readyToTransfer(offset: 0, length: 512, number: 1), "has the R2TSN 1 instead of 0"),
            (
                readyToTransfer(offset: 0, length: 512) + readyToTransfer(offset: 512, length: 512, number: 1),
                "whose last one is not answered"
            ),
            (response(), "a command of 4096 bytes has succeeded with 0"),
        ] {
            #expect(words(bytes, .write).contains(expected), "\(words(bytes, .write))")
        }
        #expect(words(damaged, hasDigests: true) == "the digest of a Data-In PDU does not fit its data")
        #expect(words(damagedHeader, hasDigests: true) == "the digest of a header does not fit it")
    }

    /// No byte that a target can send makes the client trap.
    @Test(arguments: [false, true])
    func anyBytesAreRead(hasDigests: Bool) {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        let opcodes: [UInt8] = [0x20, 0x21, 0x25, 0x26, 0x31, 0x32, 0x3F]
        for _ in 0..<3000 {
            var session = session(hasDigests: hasDigests)
            _ = begin(Bool.random(using: &generator) ? .read : .write, &session)
            var stream: [UInt8] = []
            for _ in 0..<4 {
                var bytes = generator.bytes(48)
                bytes[0] = opcodes.randomElement(using: &generator)!
                bytes.replaceSubrange(4..<7, with: [0, 0, 0])
                if Int.random(in: 0..<4, using: &generator) > 0 {
                    bytes.replaceSubrange(16..<20, with: [0, 1, 0, 1])
                }
                if Bool.random(using: &generator) {
                    bytes.replaceSubrange(36..<44, with: [UInt8](repeating: 0, count: 8))
                }
                let data = generator.bytes((Int(bytes[7]) + 3) & ~3)
                stream += hasDigests ? digested(bytes + data) : bytes + data
            }
            let steps = read(stream, &session, split: Int.random(in: 0...stream.count, using: &generator))
            _ = goOn(&session)
            #expect(steps.count <= 4, "seed \(seed)")
        }
    }
}
