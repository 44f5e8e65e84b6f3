// STARTTLS and what it changes: modes of a server, refusals, what must not survive it (checklist G).

import CGnuTLS
import Support
import Testing

@Suite struct TLSOptionTests {
    private let key: TestKey

    init() throws { key = try TestKey() }

    /// Every option but EXPORT_NAME, STARTTLS and ABORT, with data that are right for it, and some that nobody knows.
    private static let options: [(UInt32, [UInt8])] = [
        (OptionNumber.list, []), (OptionNumber.list, [1]), (OptionNumber.peekExport, []),
        (OptionNumber.info, informationRequest()), (OptionNumber.go, informationRequest()),
        (OptionNumber.go, [1, 2, 3]), (OptionNumber.go, informationRequest("nowhere")),
        (OptionNumber.structuredReply, []), (OptionNumber.extendedHeaders, []),
        (OptionNumber.listMetaContext, contextQueries("", [])),
        (OptionNumber.setMetaContext, contextQueries("", ["base:allocation"])),
        (0, []), (12, []), (0x1234, pattern(60_000)), (0xFFFF_FFFF, [0]),
    ]

    // 70: without TLS, STARTTLS is not known, and nothing is answered with ERR_TLS_REQD.
    @Test func aServerWithoutTLSNeverAsksForIt() throws {
        let image = try ServedImage()
        for (number, data) in Self.options {
            let client = try image.negotiate()
            #expect(try client.ask(number, data).last?.type != ReplyType.errorTLSRequired, "option \(number)")
        }
        let client = try image.negotiate()
        #expect(try client.askOnce(OptionNumber.startTLS).type == ReplyType.errorUnsupported)
        #expect(try client.askOnce(OptionNumber.startTLS, [1]).type == ReplyType.errorUnsupported)
        #expect(try client.go().sizeBytes == UInt64(image.sizeBytes))
    }

    // 71, 83: where TLS is required, every other option is refused with ERR_TLS_REQD, again and again, and explained.
    @Test func aServerThatRequiresTLSAsksForItAtEachOption() throws {
        let image = try ServedImage(tls: "require", key)
        let client = try image.negotiate()
        for (number, data) in Self.options {
            let reply = try client.askOnce(number, data)
            #expect(reply.type == ReplyType.errorTLSRequired, "option \(number)")
            #expect(reply.message.contains("STARTTLS"))
        }
        try client.startTLS(key.settings)
        #expect(try client.go().sizeBytes == UInt64(image.sizeBytes))
        #expect(try client.read(0, 512) == .zeroes(512))
    }

    // 72: EXPORT_NAME cannot be refused in words.
    @Test(arguments: ["", "disk", "nowhere"])
    func aServerThatRequiresTLSClosesAtExportName(name: String) throws {
        let image = try ServedImage(tls: "require", key)
        let client = try image.negotiate()
        try client.send(option(OptionNumber.exportName, Array(name.utf8)))
        #expect(client.isClosedByServer())
        #expect(try image.open(key.settings).read(0, 512) == .zeroes(512))
    }

    // 71, 29: ABORT is acknowledged in the clear, too.
    @Test(arguments: ["on", "require"])
    func abortIsAcknowledgedInTheClear(mode: String) throws {
        let client = try ServedImage(tls: mode, key).negotiate()
        #expect(try client.askOnce(OptionNumber.abort).type == ReplyType.ack)
        client.endSending()
        #expect(client.isClosedByServer())
    }

    // 74: STARTTLS has no data; a client that sent some can try again.
    @Test(arguments: ["on", "require"], [1, 4096, 60_000])
    func startTLSWithDataIsRefused(mode: String, length: Int) throws {
        let image = try ServedImage(tls: mode, key)
        let client = try image.negotiate()
        #expect(try client.askOnce(OptionNumber.startTLS, pattern(length)).type == ReplyType.errorInvalid)
        try client.startTLS(key.settings)
        #expect(try client.go().sizeBytes == UInt64(image.sizeBytes))
    }

    // "Server-side requirements": to a client without FIXED_NEWSTYLE a server is one without TLS. Where TLS is
    // required, it gets nothing, and no ERR_TLS_REQD either.
    @Test(arguments: [0, 2] as [UInt32])
    func aClientThatIsNotFixedNewstyleHasNoTLS(flags: UInt32) throws {
        let image = try ServedImage(tls: "require", key)
        let client = try image.connect()
        try client.begin(flags: flags)
        for (number, data) in Self.options + [(OptionNumber.startTLS, [])] {
            #expect(try client.askOnce(number, data).type == ReplyType.errorPolicy, "option \(number)")
        }
        try client.send(option(OptionNumber.exportName))
        #expect(client.isClosedByServer())
    }

    // The same where TLS may be: it is served in the clear.
    @Test func aClientThatIsNotFixedNewstyleIsServedInTheClear() throws {
        let image = try ServedImage(tls: "on", key)
        let client = try image.connect()
        try client.begin(flags: 2)
        #expect(try client.askOnce(OptionNumber.startTLS).type == ReplyType.errorPolicy)
        try client.send(option(OptionNumber.exportName))
        #expect(try client.receive(10).number(at: 0, as: UInt64.self) == UInt64(image.sizeBytes))
        #expect(try client.read(0, 512) == .zeroes(512))
    }

    // 73, 82: inside of TLS everything is as it is without.
    @Test(arguments: ["on", "require"])
    func insideOfTLSNothingAsksForIt(mode: String) throws {
        let content = pattern(4096)
        let image = try ServedImage(tls: mode, key, content: content)
        let other = try ServedImage()
        let client = try image.negotiate(key.settings)
        let clear = try other.negotiate()
        for (number, data) in Self.options where number != OptionNumber.go || data.count != 6 {
            let types = try client.ask(number, data).map(\.type)
            #expect(try types == clear.ask(number, data).map(\.type), "option \(number)")
            #expect(!types.contains(ReplyType.errorTLSRequired))
        }
        let (inside, outside) = try (image.negotiate(key.settings), other.negotiate())
        #expect(try inside.go("disk", [1, 2, 3]) == outside.go("disk", [1, 2, 3]))
        #expect(try inside.read(0, 4096) == content)
    }

    // 73: where TLS may be, clients without are served.
    @Test func aServerWithTLSServesClientsWithout() throws {
        let content = pattern(4096)
        let image = try ServedImage(tls: "on", key, content: content)
        let clear = try image.open(.structured)
        let encrypted = try image.open(key.settings, .structured)
        #expect(try clear.read(0, 4096) == content)
        #expect(try encrypted.read(0, 4096) == content)
    }

    // 75: there is no TLS inside of TLS.
    @Test func startTLSASecondTimeIsInvalid() throws {
        let image = try ServedImage(tls: "on", key)
        let client = try image.negotiate(key.settings)
        for data in [[], [1]] as [[UInt8]] {
            #expect(try client.askOnce(OptionNumber.startTLS, data).type == ReplyType.errorInvalid)
        }
        #expect(try client.go().sizeBytes == UInt64(image.sizeBytes))
    }

    // 77: who was between client and server before TLS has agreed on nothing: structured replies and contexts are
    // forgotten (the client here takes simple replies only).
    @Test func whatWasNegotiatedBeforeTLSIsForgotten() throws {
        let content = pattern(4096)
        let image = try ServedImage(tls: "on", key, content: content)
        let client = try image.negotiate()
        try client.negotiateStructuredReplies()
        try client.selectContexts()
        try client.startTLS(key.settings)
        let facts = try client.go()
        #expect(facts.flags & TransmissionFlag.sendDF == 0)
        #expect(try client.read(0, 4096) == content)
        #expect(try client.perform(.status(0, 4096)).error == ErrorNumber.invalid)
    }

    // 77: contexts do not come back with structured replies; nor are extended headers kept, after which
    // STRUCTURED_REPLY would be refused.
    @Test func nothingComesBackInsideOfTLS() throws {
        let content = pattern(4096)
        let image = try ServedImage(tls: "on", key, content: content)
        let client = try image.negotiate()
        try client.negotiateExtendedHeaders()
        try client.selectContexts()
        try client.startTLS(key.settings)
        try client.negotiateStructuredReplies()
        try client.go()
        #expect(try client.read(0, 4096) == content)
        #expect(try client.perform(.status(0, 4096)).error == ErrorNumber.invalid)
        // And inside they are there for who asks.
        let other = try image.open(key.settings, .extended, contexts: ["base:allocation"])
        #expect(try other.perform(.status(0, 4096)).error == 0)
    }

    // 78: what somebody has put behind STARTTLS in the clear is not TLS, and is never answered: neither in the clear
    // nor inside. The acknowledgement and perhaps an alert of TLS are all that comes.
    @Test(arguments: ["on", "require"])
    func optionsBehindStartTLSAreNotAnswered(mode: String) throws {
        let image = try ServedImage(tls: mode, key)
        for injected in [option(OptionNumber.list), option(OptionNumber.go, informationRequest()), [0], pattern(5000)] {
            let client = try image.negotiate()
            try client.send(option(OptionNumber.startTLS) + injected)
            #expect(try client.replies(to: OptionNumber.startTLS).map(\.type) == [ReplyType.ack])
            // A client that was there would go on with this.
            let tls = TLSClient(key.settings)
            _ = tls.handshake()
            try? client.send(tls.takeOutgoing())
            var rest: [UInt8] = []
            while let bytes = try? client.receiveSome() { rest += bytes }
            // Alert, TLS 1.2, two bytes (RFC 8446, 5.1, 6).
            #expect(rest.isEmpty || (rest.count == 7 && rest.starts(with: [21, 3, 3, 0, 2])), "\(rest)")
            tls.incoming = rest
            #expect(tls.handshake() != 0)
        }
        #expect(try image.open(key.settings).read(0, 512) == .zeroes(512))
    }

    // 78: the TLS handshake itself may come in the same piece.
    @Test func aHandshakeBehindStartTLSIsTaken() throws {
        let image = try ServedImage(tls: "require", key)
        let client = try image.connect()
        let tls = TLSClient(key.settings)
        _ = tls.handshake()
        try client.send(clientFlags(3) + option(OptionNumber.startTLS) + tls.takeOutgoing())
        try client.receiveGreeting()
        #expect(try client.replies(to: OptionNumber.startTLS).map(\.type) == [ReplyType.ack])
        try client.shakeHands(tls)
        #expect(try client.go().sizeBytes == UInt64(image.sizeBytes))
    }

    // 76: garbage instead of a ClientHello ends that connection, and does nothing to others.
    @Test func garbageInTheHandshakeEndsOnlyThatConnection() throws {
        let image = try ServedImage(tls: "require", key)
        let good = try image.open(key.settings)
        for garbage in [
            Array("GET / HTTP/1.1\r\n\r\n".utf8), .zeroes(64), pattern(100_000),
            [22, 3, 1, 0xFF, 0xFF] + pattern(70_000),
        ] {
            let client = try image.negotiate()
            #expect(try client.askOnce(OptionNumber.startTLS).type == ReplyType.ack)
            try? client.send(garbage)
            var rest: [UInt8] = []
            while let bytes = try? client.receiveSome() { rest += bytes }
            #expect(rest.count <= 7)
            #expect(try good.read(0, 512) == .zeroes(512))
        }
        #expect(image.server.log.contains("TLS failed"))
    }

    // 76: a client with the wrong key is not served, in the clear neither.
    @Test(arguments: ["TLS1.2", "TLS1.3"])
    func aWrongKeyEndsTheConnection(version: String) throws {
        let image = try ServedImage(tls: "on", key)
        for wrong in [TLSClientSettings(preSharedKey: (key.user, [1, 2, 3])), .init(preSharedKey: ("eve", key.key))] {
            let client = try image.negotiate()
            expectError("the TLS handshake failed: A TLS fatal alert has been received.") {
                try client.startTLS(wrong.only(version))
                try client.go()
            }
            client.expectEnd()
        }
    }

    // 84: TLS 1.2 and 1.3, nothing older.
    @Test func versions() throws {
        let image = try ServedImage(tls: "require", key)
        for version in ["TLS1.2", "TLS1.3"] {
            #expect(try image.open(key.settings.only(version)).read(0, 512) == .zeroes(512))
        }
        for version in ["TLS1.0", "TLS1.1"] {
            let client = try image.negotiate()
            expectError("the TLS handshake failed: A TLS fatal alert has been received.") {
                try client.startTLS(key.settings.only(version))
            }
        }
    }
}
