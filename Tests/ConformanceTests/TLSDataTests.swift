// Data through TLS: replies larger than what is encrypted at a time, clients that do not read, clients with and without
// TLS at one export (checklist G, N).

import CGnuTLS
import Glibc
import Support
import Testing

@Suite struct TLSDataTests {
    private let key: TestKey

    init() throws { key = try TestKey() }

    // The longest requests, between short ones; the replies are many times what is encrypted at a time.
    @Test(arguments: ["TLS1.2", "TLS1.3"], Style.allCases)
    func theLongestRequests(version: String, style: Style) throws {
        let content = pattern(32 << 20)
        let image = try ServedImage(tls: "require", key, sizeBytes: 64 << 20, content: content)
        let client = try image.open(key.settings.only(version), style)
        let replies = try client.perform(
            [.read(0, 512), .read(0, 32 << 20), .read(4096, 512), .write(32 << 20, content), .read(1 << 20, 1 << 20)])
        #expect(replies.allSatisfy { $0.error == 0 })
        #expect(replies[0].data == content.bytes(0, 512))
        #expect(replies[1].data.difference(from: content) == nil)
        #expect(replies[2].data == content.bytes(4096, 512))
        #expect(replies[4].data.difference(from: content.bytes(1 << 20, 1 << 20)) == nil)
        #expect(try image.bytes(32 << 20).difference(from: content) == nil)
    }

    // Records that the client wants small.
    @Test func smallRecords() throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(tls: "require", key, content: content)
        var settings = key.settings
        settings.recordBytes = 512
        let client = try image.open(settings, .structured)
        #expect(try client.read(0, 1 << 20).difference(from: content) == nil)
    }

    // 19: everything byte by byte, TLS's own messages too.
    @Test func everythingMayComeByteByByte() throws {
        let content = pattern(4096)
        let image = try ServedImage(tls: "require", key, content: content)
        let client = try image.negotiate()
        #expect(try client.askOnce(OptionNumber.startTLS).type == ReplyType.ack)
        let tls = TLSClient(key.settings)
        while tls.handshake() == GNUTLS_E_AGAIN {
            for byte in tls.takeOutgoing() { try client.sendInTheClear([byte]) }
            tls.incoming += try client.receiveSome()
        }
        let new = pattern(512, seed: 2)
        var records = tls.takeOutgoing() + client.encrypt(option(OptionNumber.go, informationRequest()), tls)
        records += client.encrypt(client.register(.write(1024, new)).bytes, tls)
        client.tls = tls
        for byte in records { try client.sendInTheClear([byte]) }
        #expect(try exportFacts(client.replies(to: OptionNumber.go)).sizeBytes == UInt64(image.sizeBytes))
        #expect(try client.reply().error == 0)
        #expect(try client.read(512, 1024) == content.bytes(512, 512) + new)
    }

    // 18: options and requests in one record, and one record for each byte of them.
    @Test(arguments: [false, true])
    func recordsNeedNotBeMessages(isOneForEachByte: Bool) throws {
        let content = pattern(4096)
        let image = try ServedImage(tls: "require", key, content: content)
        let client = try image.negotiate(key.settings)
        let bytes =
            option(OptionNumber.structuredReply) + option(4242, [1, 2, 3])
            + option(OptionNumber.go, informationRequest())
            + client.register(.read(512, 1024)).bytes
        if isOneForEachByte {
            for byte in bytes { try client.send([byte]) }
        } else {
            try client.send(bytes)
        }
        #expect(try client.replies(to: OptionNumber.structuredReply).map(\.type) == [ReplyType.ack])
        client.style = .structured
        #expect(try client.replies(to: 4242).map(\.type) == [ReplyType.errorUnsupported])
        _ = try exportFacts(client.replies(to: OptionNumber.go))
        #expect(try client.reply().data == content.bytes(512, 1024))
    }

    // A new key in the middle (RFC 8446, 4.6.3), on one side and on both; not too often, which GnuTLS takes for an
    // attack.
    @Test func keysMayChange() throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(tls: "require", key, content: content)
        let client = try image.open(key.settings.only("TLS1.3"))
        let tls = try #require(client.tls)
        for number in 0..<6 {
            let offset = number * 50_000
            gnutls_session_key_update(tls.session, number % 2 == 0 ? UInt32(GNUTLS_KU_PEER) : 0)
            try client.sendInTheClear(tls.takeOutgoing())
            #expect(try client.read(offset, 40_000).difference(from: content.bytes(offset, 40_000)) == nil)
        }
    }

    // 99: more requests than are worked on at a time, whose replies are read late.
    @Test func thousandsOfOutstandingRequestsAreAllAnswered() throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(tls: "require", key, content: content)
        let client = try image.open(key.settings)
        try client.send((0..<5000).flatMap { client.register(.read($0 % 256 * 4096, 4096)).bytes })
        for _ in 0..<5000 {
            let reply = try client.reply()
            try #require(reply.data == content.bytes(Int(reply.request.offset), 4096))
        }
    }

    // 166: thirty clients that ask for a gigabyte and read nothing of it, and one that reads: it is served, and memory
    // is bounded (each connection has 2.6 MiB, a thread 32 MiB for long requests).
    @Test func clientsThatNeverReadCostBoundedMemory() throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(tls: "require", key, sizeBytes: 64 << 20, content: content)
        let client = try image.open(key.settings)
        #expect(try client.read(0, 1 << 20).difference(from: content) == nil)
        let before = image.server.residentBytes
        let greedy = try (0..<30).map { number in
            let greedy = try image.open(key.settings)
            let tls = try #require(greedy.tls)
            let count = number % 2 == 0 ? 1 << 20 : 4096
            let records = greedy.encrypt((0..<1000).flatMap { _ in Request.read(0, count).bytes }, tls)
            try greedy.sendInTheClear(records)
            return greedy
        }
        for _ in 0..<100 { #expect(try client.read(0, 65536).difference(from: content.bytes(0, 65536)) == nil) }
        #expect(image.server.residentBytes < before + (160 << 20))
        withExtendedLifetime(greedy) {}
    }

    // 166: nor do those that begin TLS and say nothing more, in the handshake and behind it.
    @Test func silentClientsCostLittle() throws {
        let image = try ServedImage(tls: "require", key)
        #expect(try image.open(key.settings).read(0, 512) == .zeroes(512))
        let before = image.server.residentBytes
        let silent = try (0..<60).map { number -> Client in
            let client = try image.negotiate()
            guard number % 2 == 0 else {
                try client.send(option(OptionNumber.startTLS))
                return client
            }
            try client.startTLS(key.settings)
            return client
        }
        #expect(try image.open(key.settings).read(0, 512) == .zeroes(512))
        #expect(image.server.residentBytes < before + (60 << 20))
        withExtendedLifetime(silent) {}
    }

    // 131, 135: clients with TLS and without, each with many requests under way in a part of the image that is its own;
    // what one has been told is written, all read.
    @Test(arguments: [1, 2])
    func clientsWithAndWithoutTLSShareAnExport(threads: Int) throws {
        let seed = UInt64.random(in: 1 ... .max)
        var numbers = SeededNumbers(seed: seed)
        let parts = 6
        let partBytes = 150_001
        var model = pattern(parts * partBytes)
        let image = try ServedImage(
            tls: "on", key, sizeBytes: model.count, content: model, threads: threads,
            options: ["--listen", "tcp:127.0.0.1:0"])
        let clients = try (0..<parts).map { part -> Client in
            let client = try image.server.negotiate(tcp: part % 3 == 0)
            if part % 2 == 0 { try client.startTLS(key.settings.only(part % 4 == 0 ? "TLS1.2" : "TLS1.3")) }
            try client.negotiate(Style.allCases[part % 3])
            try client.go()
            return client
        }
        for round in 0..<8 {
            try playRound(
                clients, partBytes: partBytes, largestBytes: 20_000, &model, &numbers, "seed \(seed), round \(round)")
            for client in clients {
                #expect(try client.read(0, model.count).difference(from: model) == nil, "seed \(seed)")
            }
        }
        #expect(try image.server.stop() == 0)
        #expect(try image.bytes().difference(from: model) == nil, "seed \(seed)")
    }
}
