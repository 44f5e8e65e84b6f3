// Ends of TLS sessions, good and bad: close_notify, connections that are cut off, failures, time limits, the server's
// own end (checklist G, J, N).

import CGnuTLS
import Foundation
import Support
import Testing

@Suite struct TLSEndingTests {
    private let key: TestKey

    init() throws { key = try TestKey() }

    /// The ways of a connection whose TLS is up.
    enum Place: CaseIterable {
        case options
        case transmission
    }

    private func client(_ image: ServedImage, at place: Place) throws -> Client {
        place == .options ? try image.negotiate(key.settings) : try image.open(key.settings)
    }

    /// Expects that the server has nothing to do for a while.
    private func expectIdle(_ server: RunningServer, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let before = server.processorSeconds
        let silent = try server.connect()
        try silent.receiveGreeting()
        // Nothing comes: this is how long is measured.
        #expect(try !silent.isReadable(withinMilliseconds: 500), sourceLocation: sourceLocation)
        #expect(server.processorSeconds - before < 0.2, "the server is busy", sourceLocation: sourceLocation)
    }

    // 85, 127: DISC is followed by close_notify, behind all replies.
    @Test(arguments: ["TLS1.2", "TLS1.3"], [0, 1, 100])
    func disconnectIsFollowedByGoodbye(version: String, count: Int) throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(tls: "require", key, content: content)
        let client = try image.open(key.settings.only(version), .structured)
        try client.send(
            (0..<count).flatMap { client.register(.read($0 * 8192, 8192)).bytes } + Request.disconnect.bytes)
        for _ in 0..<count {
            let reply = try client.reply()
            #expect(reply.data == content.bytes(Int(reply.request.offset), 8192))
        }
        #expect(client.isToldGoodbyeAndClosed())
        #expect(try image.server.stop() == 0)
    }

    // 29, 85: the same for ABORT, and for EXPORT_NAME with a name that there is not.
    @Test func abortAndRefusalAreFollowedByGoodbye() throws {
        let image = try ServedImage(tls: "require", key)
        let aborting = try image.negotiate(key.settings)
        #expect(try aborting.askOnce(OptionNumber.abort).type == ReplyType.ack)
        #expect(aborting.isClosedByServer() && aborting.isToldGoodbye)
        aborting.endSending()
        #expect(aborting.isToldGoodbyeAndClosed())
        let refused = try image.negotiate(key.settings)
        try refused.send(option(OptionNumber.exportName, Array("nowhere".utf8)))
        #expect(refused.isToldGoodbyeAndClosed())
    }

    // A client that says goodbye (close_notify) and waits for the server to do so.
    @Test(arguments: Place.allCases)
    func goodbyeIsAnswered(place: Place) throws {
        let image = try ServedImage(tls: "require", key)
        let client = try client(image, at: place)
        try client.sayGoodbye()
        #expect(client.isToldGoodbyeAndClosed())
    }

    // What it has asked for before is answered first.
    @Test func goodbyeIsAnsweredBehindReplies() throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(tls: "require", key, content: content)
        let client = try image.open(key.settings)
        try client.send((0..<200).flatMap { client.register(.read($0 % 100 * 8192, 8192)).bytes })
        try client.sayGoodbye()
        for _ in 0..<200 {
            let reply = try client.reply()
            #expect(reply.data == content.bytes(Int(reply.request.offset), 8192))
        }
        #expect(client.isToldGoodbyeAndClosed())
    }

    // What comes behind close_notify is nothing.
    @Test(arguments: Place.allCases)
    func whatFollowsGoodbyeIsIgnored(place: Place) throws {
        let image = try ServedImage(tls: "require", key)
        let client = try client(image, at: place)
        let tls = try #require(client.tls)
        tls.sayGoodbye()
        try client.sendInTheClear(tls.takeOutgoing() + pattern(1000))
        #expect(client.isToldGoodbyeAndClosed())
        #expect(try image.open(key.settings).read(0, 512) == .zeroes(512))
        try expectIdle(image.server)
    }

    // Nor is what comes later, while the client is still told what it has asked for.
    @Test func whatComesAfterGoodbyeIsIgnored() throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(tls: "require", key, content: content)
        let client = try image.open(key.settings)
        try client.send((0..<64).flatMap { client.register(.read($0 % 8 << 17, 1 << 17)).bytes })
        try client.sayGoodbye()
        for number in 0..<64 {
            let reply = try client.reply()
            #expect(reply.data == content.bytes(Int(reply.request.offset), 1 << 17))
            try? client.sendInTheClear(pattern(1000, seed: UInt64(number)))
        }
        #expect(client.isToldGoodbyeAndClosed())
        try expectIdle(image.server)
    }

    // 76: a record that was changed on its way ends the session at once, whatever comes behind it.
    @Test(arguments: Place.allCases, [0, 1000, 300_000])
    func aChangedRecordEndsTheSession(place: Place, more: Int) throws {
        let image = try ServedImage(tls: "require", key)
        let client = try client(image, at: place)
        let tls = try #require(client.tls)
        var record = client.encrypt(pattern(40), tls)
        record[record.count - 1] ^= 1
        try? client.sendInTheClear(record + pattern(more))
        client.expectEnd()
        #expect(try image.open(key.settings).read(0, 512) == .zeroes(512))
        try expectIdle(image.server)
    }

    // 76: also when replies are on their way, which then nobody can read.
    @Test(arguments: [1, 2, 8])
    func aChangedRecordEndsASessionWithReplies(count: Int) throws {
        let image = try ServedImage(tls: "require", key, sizeBytes: 8 << 20)
        let client = try image.open(key.settings)
        let tls = try #require(client.tls)
        var records = client.encrypt((0..<count).flatMap { Request.read($0 << 20, 1 << 20).bytes }, tls)
        records += client.encrypt(pattern(40), tls)
        records[records.count - 1] ^= 1
        try client.sendInTheClear(records)
        client.expectEnd()
        #expect(try image.open(key.settings).read(0, 512) == .zeroes(512))
        #expect(image.server.log.contains("TLS failed"))
    }

    // 76: a client whose TLS fails can finish what it is saying before it reads why; a connection that is reset under
    // it would show it an error of the socket.
    @Test(arguments: [false, true])
    func aClientIsHeardOut(isInHandshake: Bool) throws {
        let image = try ServedImage(tls: "require", key, options: ["--listen", "tcp:127.0.0.1:0"])
        let client = try image.server.negotiate(tcp: true)
        if isInHandshake {
            try client.send(option(OptionNumber.startTLS))
            try client.send(.zeroes(100))
        } else {
            try client.startTLS(key.settings)
            try client.sendInTheClear(.zeroes(100))
        }
        client.expectEnd()
        for _ in 0..<50 { try client.sendInTheClear(pattern(100_000)) }
        client.close()
        #expect(try image.server.stop() == 0)
    }

    // 165: nor for ever.
    @Test func aClientThatIsHeardOutDoesNotHoldUpTheEnd() throws {
        let image = try ServedImage(tls: "require", key)
        let client = try image.negotiate()
        try client.send(option(OptionNumber.startTLS) + .zeroes(100))
        client.expectEnd()
        #expect(try image.server.stop(limitSeconds: 4) == 0)
    }

    // 86: the peer closes without close_notify: the session ends, and nothing keeps the server busy.
    @Test(arguments: Place.allCases)
    func aSessionThatIsCutOffEnds(place: Place) throws {
        let image = try ServedImage(tls: "require", key)
        // In the middle of a record, behind one, inside of a WRITE's payload.
        for (index, cut) in [0, 1, 5, 20, 1000].enumerated() {
            let client = try client(image, at: place)
            let tls = try #require(client.tls)
            if place == .transmission {
                try client.sendInTheClear(client.encrypt(Array(Request.write(0, pattern(8192)).bytes.prefix(cut)), tls))
            }
            let record = client.encrypt(index == 0 ? [] : pattern(2000), tls)
            try client.sendInTheClear(Array(record.prefix(cut)))
            client.endSending()
            #expect(client.isClosedByServer(), "\(cut)")
        }
        try expectIdle(image.server)
        #expect(try image.open(key.settings).read(0, 8192) == .zeroes(8192))
    }

    // 86: what was asked for completely is still answered.
    @Test func aSessionThatIsCutOffGetsItsReplies() throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(tls: "require", key, content: content)
        let client = try image.open(key.settings)
        try client.send((0..<100).flatMap { client.register(.read($0 * 8192, 8192)).bytes })
        client.endSending()
        for _ in 0..<100 {
            let reply = try client.reply()
            #expect(reply.data == content.bytes(Int(reply.request.offset), 8192))
        }
        #expect(client.isClosedByServer())
        try expectIdle(image.server)
    }

    // 86: cut off in the TLS handshake, wherever.
    @Test func aHandshakeThatIsCutOffEnds() throws {
        let image = try ServedImage(tls: "require", key)
        for cut in [0, 1, 5, 100, 1000] {
            let client = try image.negotiate()
            #expect(try client.askOnce(OptionNumber.startTLS).type == ReplyType.ack)
            let tls = TLSClient(key.settings)
            _ = tls.handshake()
            try client.sendInTheClear(Array(tls.takeOutgoing().prefix(cut)))
            client.endSending()
            client.expectEnd()
        }
        try expectIdle(image.server)
    }

    // 164: clients that vanish with a reset, in and behind the handshake.
    @Test func clientsThatVanishDoNoHarm() throws {
        let image = try ServedImage(tls: "require", key, options: ["--listen", "tcp:127.0.0.1:0"])
        for number in 0..<30 {
            let client = try image.server.negotiate(tcp: true)
            if number % 3 == 0 {
                try client.send(option(OptionNumber.startTLS))
            } else {
                try client.startTLS(key.settings)
                if number % 3 == 1 { try client.go() }
                if number % 3 == 1 { try client.send((0..<100).flatMap { _ in Request.read(0, 1 << 16).bytes }) }
            }
            if number % 2 == 0 { client.reset() } else { client.close() }
        }
        #expect(try image.open(key.settings).read(0, 512) == .zeroes(512))
        #expect(try image.server.stop() == 0)
    }

    // 167: the limit of 10 s holds for the TLS handshake as well, for a client that says nothing and for one that
    // dribbles.
    @Test(arguments: [false, true])
    func aSlowHandshakeIsEnded(dribbles: Bool) throws {
        let image = try ServedImage(tls: "require", key)
        let client = try image.negotiate()
        client.limitSeconds = 30
        #expect(try client.askOnce(OptionNumber.startTLS).type == ReplyType.ack)
        let tls = TLSClient(key.settings)
        _ = tls.handshake()
        let start = Date()
        for byte in tls.takeOutgoing().dropLast() where dribbles {
            guard (try? client.send([byte])) != nil, try !client.isReadable(withinMilliseconds: 60) else { break }
        }
        #expect(client.isClosedByServer())
        #expect((8..<25).contains(Date().timeIntervalSince(start)))
        #expect(image.server.log.contains("no export was opened within 10 s"))
    }

    // 163: SIGTERM: idle clients are told goodbye, those in the middle of a handshake hold nothing up.
    @Test(arguments: [1, 2])
    func sigtermSaysGoodbye(threads: Int) throws {
        let image = try ServedImage(tls: "require", key, threads: threads)
        let clients = try (0..<4).map { try image.open(key.settings, $0 % 2 == 0 ? .simple : .structured) }
        for client in clients { #expect(try client.read(0, 512) == .zeroes(512)) }
        let early = try image.negotiate(key.settings)
        let earlier = try image.negotiate()
        try earlier.send(option(OptionNumber.startTLS))
        #expect(try image.server.stop(limitSeconds: 5) == 0)
        for client in clients { #expect(client.isToldGoodbyeAndClosed()) }
        #expect(early.isClosedByServer())
        #expect(try earlier.replies(to: OptionNumber.startTLS).map(\.type) == [ReplyType.ack])
    }

    // 163: with requests in flight: what is answered as written is in the file, and what is not was refused.
    @Test(arguments: [40, 400])
    func sigtermFinishesOrRefusesWhatIsInFlight(count: Int) throws {
        let image = try ServedImage(tls: "require", key, sizeBytes: 2 * count * 4096, threads: 2)
        let clients = try (0..<2).map { _ in try image.open(key.settings, .structured) }
        for (part, client) in clients.enumerated() {
            let requests = (0..<count).map { number -> Request in
                let block = part * count + number
                return client.register(.write(block * 4096, pattern(4096, seed: UInt64(block) + 1)))
            }
            if part == 1 { kill(image.server.processIdentifier, SIGTERM) }
            // The server may close while it is being talked to.
            try? client.send(requests.flatMap(\.bytes))
        }
        var written = Set<Int>()
        for client in clients {
            while let reply = try? client.reply() {
                #expect([0, ErrorNumber.shutdown].contains(reply.error))
                if reply.error == 0 { written.insert(Int(reply.request.offset) / 4096) }
            }
        }
        #expect(try image.server.stop(signal: 0) == 0)
        for block in 0..<2 * count {
            let data = try image.bytes(block * 4096, 4096)
            // A WRITE whose answer was lost with the connection may have happened.
            #expect(
                data == pattern(4096, seed: UInt64(block) + 1) || (data == .zeroes(4096) && !written.contains(block)))
        }
    }

    // 165: a client that does not read does not keep the server from ending.
    @Test func sigtermEndsAClientThatDoesNotRead() throws {
        let image = try ServedImage(tls: "require", key, sizeBytes: 64 << 20)
        let client = try image.open(key.settings)
        let tls = try #require(client.tls)
        let raw = client.encrypt((0..<40).flatMap { _ in Request.read(0, 1 << 20).bytes }, tls)
        try client.sendInTheClear(raw)
        #expect(try image.server.stop(limitSeconds: 12) == 0)
    }
}
