// Options as a stream: unknown ones, lengths, order, pieces, floods (checklist B), ABORT (checklist D).

import Support
import Testing

@Suite struct OptionTests {
    // 11, 12, 13: an option that the server does not know is refused and stepped over, whatever its length.
    @Test(arguments: [0, 4, 12, 0x1234, 0xFFFF_FFFF] as [UInt32], [0, 1, 4096, 65536])
    func anUnknownOptionIsRefusedAndSteppedOver(number: UInt32, length: Int) throws {
        let image = try ServedImage()
        let client = try image.negotiate()
        #expect(try client.askOnce(number, pattern(length)).type == ReplyType.errorUnsupported)
        #expect(try client.go().sizeBytes == UInt64(image.sizeBytes))
    }

    // 11, 70: what this server does not have, is not known to it either; never ERR_TLS_REQD without TLS.
    @Test func anOptionThatIsNotSupportedIsRefused() throws {
        let client = try ServedImage().negotiate()
        #expect(try client.askOnce(OptionNumber.startTLS).type == ReplyType.errorUnsupported)
        #expect(try client.askOnce(OptionNumber.structuredReply).type == ReplyType.ack)
    }

    // 14, 51: an error is explained in words; the client checks that they are a string of the protocol.
    @Test func errorsHaveAMessage() throws {
        let client = try ServedImage().negotiate()
        for (number, data) in [
            (77, []), (OptionNumber.list, [1]), (OptionNumber.structuredReply, [1]), (OptionNumber.info, [1]),
            (OptionNumber.go, informationRequest("nowhere")),
            (OptionNumber.info, informationRequest(bytes: [0xFF], [])),
        ] as [(UInt32, [UInt8])] {
            let reply = try client.askOnce(number, data)
            #expect(reply.isError)
            #expect(reply.message.count > 10, "option \(number)")
        }
    }

    // 15
    @Test func aWrongOptionMagicClosesTheConnection() throws {
        let image = try ServedImage()
        let client = try image.negotiate()
        try client.send([UInt8](repeating: 0x41, count: 64))
        #expect(client.isClosedByServer())
        #expect(try image.open().read(0, 512) == .zeroes(512))
    }

    // 16: an absurd length is neither allocated nor read.
    @Test(arguments: [OptionNumber.exportName, OptionNumber.go, OptionNumber.list, 99])
    func anAbsurdOptionLengthClosesTheConnection(number: UInt32) throws {
        let image = try ServedImage()
        let client = try image.negotiate()
        let before = image.server.residentBytes
        var header = option(number)
        header.overwrite(12, with: [0xFF, 0xFF, 0xFF, 0xFF])
        try client.send(header)
        #expect(client.isClosedByServer())
        #expect(image.server.residentBytes < before + (64 << 20))
    }

    // 17: the document lets a server end what it takes for an attack.
    @Test func aFloodOfOptionsIsEnded() throws {
        let image = try ServedImage()
        let client = try image.negotiate()
        var answered = 0
        // Once the server has closed, sending or receiving fails.
        try? client.send((0..<1000).flatMap { _ in option(OptionNumber.list) })
        while let replies = try? client.replies(to: OptionNumber.list), replies.last?.type == ReplyType.ack {
            answered += 1
        }
        #expect((32..<1000).contains(answered))
        #expect(try image.open().read(0, 512) == .zeroes(512))
    }

    // 18: options, and the first request behind GO, in one piece.
    @Test func optionsInOnePieceAreAnsweredInOrder() throws {
        let content = pattern(4096)
        let client = try ServedImage(content: content).connect()
        try client.receiveGreeting()
        let request = client.register(.read(512, 1024))
        try client.send(
            clientFlags(3) + option(OptionNumber.structuredReply) + option(4242, [1, 2, 3]) + option(OptionNumber.list)
                + option(OptionNumber.info, informationRequest()) + option(OptionNumber.go, informationRequest())
                + request.bytes)
        #expect(try client.replies(to: OptionNumber.structuredReply).map(\.type) == [ReplyType.ack])
        client.style = .structured
        #expect(try client.replies(to: 4242).map(\.type) == [ReplyType.errorUnsupported])
        #expect(try client.replies(to: OptionNumber.list).map(\.type) == [ReplyType.server, ReplyType.ack])
        let told = try exportFacts(client.replies(to: OptionNumber.info))
        #expect(try exportFacts(client.replies(to: OptionNumber.go)) == told)
        #expect(try client.reply().data == content.bytes(512, 1024))
    }

    // 19: the same byte by byte, the requests too.
    @Test(arguments: [false, true])
    func everythingMayComeByteByByte(tcp: Bool) throws {
        let content = pattern(4096)
        let image = try ServedImage(content: content, options: ["--listen", "tcp:127.0.0.1:0"])
        let client = try image.server.connect(tcp: tcp)
        try client.receiveGreeting()
        func dribble(_ bytes: [UInt8]) throws {
            for byte in bytes { try client.send([byte]) }
        }
        try dribble(
            clientFlags(3) + option(4242, [1, 2, 3]) + option(OptionNumber.info, informationRequest("disk", [3])))
        #expect(try client.replies(to: 4242).map(\.type) == [ReplyType.errorUnsupported])
        let told = try exportFacts(client.replies(to: OptionNumber.info))
        try dribble(option(OptionNumber.go, informationRequest("disk", [3])))
        #expect(try exportFacts(client.replies(to: OptionNumber.go)) == told)
        let new = pattern(512, seed: 2)
        try dribble(client.register(.write(1024, new)).bytes)
        #expect(try client.reply().error == 0)
        try dribble(client.register(.read(512, 1024)).bytes)
        #expect(try client.reply().data == content.bytes(512, 512) + new)
    }

    // 29, 30: ABORT is acknowledged, also with data that it should not have.
    @Test(arguments: [0, 5, 4096])
    func abortIsAcknowledgedAndEndsTheConnection(length: Int) throws {
        let image = try ServedImage()
        let client = try image.negotiate()
        #expect(try client.askOnce(OptionNumber.abort, pattern(length)).type == ReplyType.ack)
        client.endSending()
        #expect(client.isClosedByServer())
    }

    // 31: clients that abort and are gone before the answer.
    @Test func clientsThatAbortAndCloseAtOnceDoNoHarm() throws {
        let image = try ServedImage()
        for _ in 0..<50 {
            let client = try image.connect()
            try client.send(clientFlags(3) + option(OptionNumber.abort))
            client.close()
        }
        #expect(try image.open().read(0, 512) == .zeroes(512))
        #expect(image.server.isRunning)
    }
}
