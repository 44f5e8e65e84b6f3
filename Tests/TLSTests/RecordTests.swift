// Application data: large and small, cut and changed, and the ends of a session.

import CGnuTLS
import Seeded
import Support
import Testing

@testable import TLS

@Suite struct RecordTests {
    let key: TestKey

    init() throws { key = try TestKey() }

    /// A conversation whose handshake is over.
    func open(
        _ version: String = "TLS1.3", outputBytes: Int = TLSSession.standardOutputBytes, recordBytes: Int? = nil
    ) throws -> Conversation {
        var settings = key.settings.only(version)
        settings.recordBytes = recordBytes
        let conversation = Conversation(try key.credentials, settings, outputBytes: outputBytes)
        let outcome = conversation.shakeHands()
        try #require(outcome.server == .done && outcome.client == 0, "\(outcome)")
        return conversation
    }

    /// Room for plaintext that fits no record, a part of one, several.
    @Test(arguments: ["TLS1.2", "TLS1.3"], [1000, 16384, 100_000])
    func muchDataBothWays(version: String, room: Int) throws {
        var random = SeededGenerator(seed: 1)
        let data = random.bytes(1 << 20)
        let conversation = try open(version, outputBytes: 64 << 10)
        conversation.client.send(data)
        conversation.pieceBytes = 65536
        let (bytes, state) = conversation.decrypt(room: room)
        #expect(bytes.elementsEqual(data))
        #expect(state == .open)
        #expect(conversation.encrypt(data))
        #expect(conversation.client.receive().bytes.elementsEqual(data))
    }

    @Test(arguments: ["TLS1.2", "TLS1.3"])
    func aByteAtATime(version: String) throws {
        let conversation = try open(version)
        var random = SeededGenerator(seed: 2)
        let data = random.bytes(20000)
        conversation.pieceBytes = 1
        conversation.client.send(data)
        #expect(conversation.decrypt(room: 100).bytes.elementsEqual(data))
        #expect(conversation.encrypt(data))
        #expect(conversation.client.receive().bytes.elementsEqual(data))
    }

    @Test func requestsAndRepliesOfAnySize() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let conversation = try open(outputBytes: 40 << 10)
        for round in 0..<60 {
            let question = random.bytes(1 + Int(random.next() % (round % 4 == 0 ? 60000 : 100)))
            let answer = random.bytes(1 + Int(random.next() % (round % 3 == 0 ? 60000 : 100)))
            conversation.pieceBytes = 1 + Int(random.next() % 5000)
            conversation.client.send(question)
            let decrypted = conversation.decrypt(room: 1 + Int(random.next() % 40000))
            #expect(decrypted.bytes.elementsEqual(question), "seed \(seed), round \(round)")
            #expect(conversation.encrypt(answer), "seed \(seed), round \(round)")
            #expect(conversation.client.receive().bytes.elementsEqual(answer), "seed \(seed), round \(round)")
        }
    }

    /// Limits that a client may set: max_fragment_length in TLS 1.2, record_size_limit in TLS 1.3.
    @Test(arguments: ["TLS1.2", "TLS1.3"])
    func clientsWithSmallRecords(version: String) throws {
        let conversation = try open(version, recordBytes: 1024)
        let data = [UInt8](repeating: 5, count: 100_000)
        let taken = conversation.server.encrypt(data.span.bytes)
        #expect(taken == data.count)
        conversation.server.endRecord()
        conversation.client.incoming = conversation.takeOutput()
        let lengths = try #require(recordLengths(conversation.client.incoming))
        // 100,000 bytes in pieces of 1,024 (the limit of TLS 1.3 counts one byte for the content type); and a few
        // shorter ones, because the limit shows only in the first full record.
        #expect((98...100).contains(lengths.count), "\(lengths)")
        #expect(lengths.allSatisfy { $0 <= 1024 + 64 })
        #expect(conversation.client.receive().bytes.elementsEqual(data))
    }

    /// The output is full, and stays as large as it was; nothing in it moves while it is sent.
    @Test func outputIsBounded() throws {
        let size = 100_000
        let conversation = try open(outputBytes: size)
        let data = [UInt8](repeating: 1, count: 300_000)
        let first = conversation.server.encrypt(([2, 3] as [UInt8]).span.bytes)
        #expect(first == 2)
        conversation.server.endRecord()
        let start = conversation.server.output.baseAddress
        let inFlight = Array(conversation.server.output)
        let taken = conversation.server.encrypt(data.span.bytes)
        #expect(taken > 60_000 && taken < size)
        #expect(conversation.server.output.count <= size)
        #expect(conversation.server.output.baseAddress == start)
        #expect(conversation.server.output.starts(with: inFlight))
        let more = conversation.server.encrypt(data.span.bytes)
        #expect(more == 0)
        conversation.client.incoming = conversation.takeOutput(10)
        let stillFull = conversation.server.encrypt(data.span.bytes)
        #expect(stillFull == 0)
        conversation.client.incoming += conversation.takeOutput()
        let afterSending = conversation.server.encrypt(data.span.bytes)
        #expect(afterSending > 60_000)
        // A full output still has room for the end.
        conversation.server.close()
        conversation.client.incoming += conversation.takeOutput()
        let (bytes, result) = conversation.client.receive()
        #expect(bytes.elementsEqual([2, 3] + data[..<(taken + afterSending)]))
        #expect(result == 0)
    }

    @Test func headerAndDataShareARecord() throws {
        let conversation = try open()
        for part in [[UInt8](repeating: 1, count: 20), [UInt8](repeating: 2, count: 4096)] {
            let taken = conversation.server.encrypt(part.span.bytes)
            #expect(taken == part.count)
        }
        #expect(conversation.server.output.isEmpty)
        conversation.server.endRecord()
        #expect(recordLengths(Array(conversation.server.output))?.count == 1)
        conversation.server.endRecord()
        #expect(recordLengths(Array(conversation.server.output))?.count == 1)
    }

    @Test(arguments: ["TLS1.2", "TLS1.3"])
    func truncatedRecord(version: String) throws {
        let conversation = try open(version)
        conversation.client.send([1])
        let complete = conversation.client.outgoing
        conversation.client.send([2, 3])
        let both = conversation.client.outgoing
        for end in complete.count..<both.count - 1 {
            // The rest follows byte by byte below; here is as much as there is.
            conversation.client.outgoing = end == complete.count ? Array(both[..<end]) : [both[end - 1]]
            let (bytes, state) = conversation.decrypt()
            #expect(bytes == (end == complete.count ? [1] : []))
            #expect(state == .open)
        }
        conversation.client.outgoing = Array(both[(both.count - 2)...])
        #expect(conversation.decrypt().bytes == [2, 3])
    }

    @Test(arguments: ["TLS1.2", "TLS1.3"])
    func changedRecord(version: String) throws {
        let conversation = try open(version)
        conversation.client.send([1, 2])
        let intact = conversation.client.outgoing.count
        conversation.client.send([3, 4])
        conversation.client.outgoing[intact + 12] ^= 1
        let (bytes, state) = conversation.decrypt()
        #expect(bytes == [1, 2])
        guard case .failed(let failure) = state else {
            Issue.record("\(state)")
            return
        }
        #expect("\(failure)".contains("decrypted"), "\(failure)")
        conversation.client.incoming = conversation.takeOutput()
        #expect(conversation.client.receive().result == GNUTLS_E_FATAL_ALERT_RECEIVED)
        #expect(gnutls_alert_get(conversation.client.session) == GNUTLS_A_BAD_RECORD_MAC)
        let taken = conversation.server.encrypt(([1] as [UInt8]).span.bytes)
        #expect(taken == 0)
        #expect(conversation.server.failure == failure)
    }

    @Test func randomRecords() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for round in 0..<60 {
            let conversation = try open(round % 2 == 0 ? "TLS1.2" : "TLS1.3")
            conversation.client.outgoing = random.bytes(Int(random.next() % 40))
            if round % 3 > 0 {
                let type = UInt8(20 + random.next() % 5)
                let body = random.bytes(Int(random.next() % 300))
                conversation.client.outgoing =
                    [type, 3, 3, UInt8(body.count >> 8), UInt8(truncatingIfNeeded: body.count)] + body
            }
            let (bytes, state) = conversation.decrypt()
            #expect(bytes.isEmpty, "seed \(seed), round \(round)")
            #expect(state != .closedByClient, "seed \(seed), round \(round)")
        }
    }

    @Test(arguments: ["TLS1.2", "TLS1.3"])
    func theClientCloses(version: String) throws {
        let conversation = try open(version)
        conversation.client.send([1])
        gnutls_bye(conversation.client.session, GNUTLS_SHUT_WR)
        let (bytes, state) = conversation.decrypt()
        #expect(bytes == [1])
        #expect(state == .closedByClient)
        conversation.client.outgoing = [9, 9, 9]
        #expect(conversation.decrypt().state == .closedByClient)
        // Its earlier requests are still answered.
        #expect(conversation.encrypt([2, 3]))
        conversation.server.close()
        conversation.client.incoming += conversation.takeOutput()
        let heard = conversation.client.receive()
        #expect(heard.bytes == [2, 3])
        #expect(heard.result == 0)
    }

    /// Plaintext that waits for more of its record leaves before the end.
    @Test func whatIsStagedLeavesBeforeTheEnd() throws {
        let conversation = try open()
        let taken = conversation.server.encrypt(([1, 2, 3] as [UInt8]).span.bytes)
        #expect(taken == 3)
        #expect(conversation.server.output.isEmpty)
        conversation.server.close()
        conversation.client.incoming = conversation.takeOutput()
        let heard = conversation.client.receive()
        #expect(heard.bytes == [1, 2, 3])
        #expect(heard.result == 0)
    }

    @Test func renegotiationIsRefused() throws {
        let conversation = try open("TLS1.2")
        conversation.client.send([1])
        #expect(conversation.client.handshake() == GNUTLS_E_AGAIN)
        let (bytes, state) = conversation.decrypt()
        #expect(bytes == [1])
        guard case .failed(let failure) = state else {
            Issue.record("\(state)")
            return
        }
        #expect("\(failure)".contains("renegotiation"))
        conversation.client.incoming = conversation.takeOutput()
        #expect(conversation.client.handshake() != 0)
    }

    /// TLS 1.3's way to change keys, which happens by itself after many records.
    @Test func keyUpdates() throws {
        let conversation = try open("TLS1.3")
        for number in UInt8(0)..<5 {
            #expect(gnutls_session_key_update(conversation.client.session, UInt32(GNUTLS_KU_PEER)) == 0)
            conversation.client.send([number])
            let (bytes, state) = conversation.decrypt()
            #expect(bytes == [number])
            #expect(state == .open)
            #expect(conversation.encrypt([number, number]))
            #expect(conversation.client.receive().bytes == [number, number])
        }
    }

    /// A warning, a key update and the data behind them are one call: nobody waits for more bytes before they are
    /// looked at.
    @Test(arguments: ["TLS1.2", "TLS1.3"])
    func dataBehindAMessageDoNotWait(version: String) throws {
        let conversation = try open(version)
        for _ in 0..<3 {
            if version == "TLS1.3" {
                #expect(gnutls_session_key_update(conversation.client.session, 0) == 0)
            } else {
                #expect(gnutls_alert_send(conversation.client.session, GNUTLS_AL_WARNING, GNUTLS_A_USER_CANCELED) == 0)
            }
        }
        conversation.client.send([1])
        let sent = conversation.client.outgoing
        var buffer: [UInt8] = [0, 0]
        var span = buffer.mutableSpan
        var target = span.mutableBytes
        let result = conversation.server.decrypt(sent.span.bytes, into: &target)
        #expect(result == TLSDecryption(consumed: sent.count, count: 1, state: .open))
        #expect(buffer[0] == 1)
    }

    /// Warnings do no harm, however many there are.
    @Test func warnings() throws {
        let conversation = try open("TLS1.2")
        for _ in 0..<1000 {
            #expect(gnutls_alert_send(conversation.client.session, GNUTLS_AL_WARNING, GNUTLS_A_USER_CANCELED) == 0)
        }
        conversation.client.send([1])
        let (bytes, state) = conversation.decrypt()
        #expect(bytes == [1])
        #expect(state == .open)
    }
}
