// The beginning of a connection: greeting, client flags, time limit, number of connections (checklist A).

import Foundation
import Support
import Testing

@Suite struct GreetingTests {
    // 1, 2: 18 bytes before the client says anything, and nothing behind them; FIXED_NEWSTYLE set, NO_ZEROES perhaps.
    @Test(arguments: [false, true])
    func theGreetingIsMagicNumbersAndHandshakeFlags(tcp: Bool) throws {
        let image = try ServedImage(options: ["--listen", "tcp:127.0.0.1:0"])
        let client = try image.server.connect(tcp: tcp)
        let flags = try client.receiveGreeting()
        #expect(flags & 1 == 1)
        #expect(flags & ~3 == 0)
        // Anything else would be taken for this reply.
        try client.send(clientFlags(1))
        #expect(try client.askOnce(OptionNumber.structuredReply).type == ReplyType.ack)
    }

    // 3, 6: FIXED_NEWSTYLE with and without NO_ZEROES, and none at all, which the document leaves to the server.
    @Test(arguments: [1, 3, 0] as [UInt32])
    func knownClientFlagsAreAccepted(flags: UInt32) throws {
        let image = try ServedImage()
        let client = try image.connect()
        try client.begin(flags: flags)
        #expect(try client.go().sizeBytes == UInt64(image.sizeBytes))
    }

    // 4
    @Test(arguments: [0x4, 0x80, 0x83, 0x8000_0000, 0xFFFF_FFFF] as [UInt32])
    func unknownClientFlagsCloseTheConnection(flags: UInt32) throws {
        let image = try ServedImage()
        let client = try image.connect()
        try client.receiveGreeting()
        try client.send(clientFlags(flags) + option(OptionNumber.list))
        #expect(client.isClosedByServer())
        #expect(try image.open().read(0, 512) == .zeroes(512))
    }

    // 9: the document sets no limit; ours is 10 s, so this test takes as long. One client is silent, one sends a byte
    // now and then, and one that has opened its export stays.
    @Test func aHandshakeThatIsNotFinishedInTimeIsEnded() throws {
        let image = try ServedImage()
        let opened = try image.open()
        let silent = try image.connect()
        try silent.receiveGreeting()
        let dribbling = try image.connect()
        try dribbling.receiveGreeting()
        let deadline = Date(timeIntervalSinceNow: 60)
        var bytes = (clientFlags(3) + option(OptionNumber.info, .zeroes(8000)))[...]
        while let byte = bytes.popFirst(), Date() < deadline {
            if try dribbling.isReadable(withinMilliseconds: 250) { break }
            try dribbling.send([byte])
        }
        #expect(dribbling.isClosedByServer())
        #expect(silent.isClosedByServer())
        #expect(try opened.read(0, 512) == .zeroes(512))
        #expect(try image.open().read(0, 512) == .zeroes(512))
    }

    // 10: so many connections are served at a time; one more is closed at once, and has room when another ends.
    @Test func connectionsBeyondTheLimitAreClosedAtOnce() throws {
        let image = try ServedImage(options: ["--connections", "256"])
        var clients = try (0..<256).map { _ in try image.open() }
        let refused = try image.connect()
        #expect(refused.isClosedByServer())
        for index in [0, 100, 255] { #expect(try clients[index].read(0, 512) == .zeroes(512)) }
        let last = clients.removeLast()
        last.close()
        let deadline = Date(timeIntervalSinceNow: 60)
        var isServed = false
        while !isServed && Date() < deadline {
            isServed = (try? image.open().read(0, 512)) == .zeroes(512)
        }
        #expect(isServed)
    }
}
