// Clients that do not read what they asked for: bounded memory, others are served, nothing is lost (checklist B, N).

import Support
import Testing

@Suite struct UnreadReplyTests {
    // 13, 18: a client that asks much and reads late still gets every answer, and the next ones.
    @Test func answersThatAreReadLateAllCome() throws {
        let names = (0..<100).map { "\($0)" + String(repeating: "n", count: 1000) }
        let image = try ServedImage(options: names.map { "\($0)=memory:512" })
        let raw = try RawConnection(unix: image.server.socketPath)
        // Sent without reading: more answers than a socket holds, and more questions than the server keeps unread.
        let questions =
            (0..<8).flatMap { _ in option(OptionNumber.list) }
            + (0..<6).flatMap { _ in option(4242, pattern(60_000)) }
        try raw.send(clientFlags(3) + questions)
        let client = Client(raw, of: image.server)
        try client.receiveGreeting()
        for _ in 0..<8 { #expect(try client.replies(to: OptionNumber.list).count == 102) }
        for _ in 0..<6 { #expect(try client.replies(to: 4242).map(\.type) == [ReplyType.errorUnsupported]) }
        #expect(try client.go("disk").sizeBytes == UInt64(image.sizeBytes))
    }

    // 99: more requests than are worked on at a time; all are answered, whether the client reads meanwhile or only
    // then.
    @Test(arguments: [1500, 20_000])
    func thousandsOfOutstandingRequestsAreAllAnswered(count: Int) throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(content: content)
        let client = try image.open(structured: true)
        var expected: [UInt64: Int] = [:]
        var bytes: [UInt8] = []
        for number in 0..<count {
            var request = Request.read(number * 512 % (1 << 20), 512)
            request.cookie = UInt64(number)
            expected[UInt64(number)] = Int(request.offset)
            bytes += request.bytes
        }
        try client.send(bytes)
        for _ in 0..<count {
            // Data without a zero are one chunk: header, offset, 512 bytes.
            let message = try client.receive(20 + 8 + 512)
            #expect(message.number(at: 0, as: UInt32.self) == MagicNumber.structuredReply)
            #expect(message.number(at: 4, as: UInt16.self) == 1)
            #expect(message.number(at: 6, as: UInt16.self) == ChunkNumber.offsetData)
            let cookie = message.number(at: 8, as: UInt64.self)
            let offset = try #require(expected[cookie])
            expected[cookie] = nil
            #expect(message.number(at: 20, as: UInt64.self) == UInt64(offset))
            #expect(message.dropFirst(28) == content[offset..<offset + 512])
        }
        #expect(expected.isEmpty)
    }

    // 166: twenty clients that ask for a gigabyte and read nothing of it, and one that reads: it is served, and the
    // server's memory is bounded (each connection has 2.25 MiB, a thread 32 MiB for long requests).
    @Test func clientsThatNeverReadCostBoundedMemory() throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(sizeBytes: 64 << 20, content: content)
        let client = try image.open()
        #expect(try client.read(0, 1 << 20).difference(from: content) == nil)
        let before = image.server.residentBytes
        let greedy = try (0..<20).map { number in
            let raw = try RawConnection(unix: image.server.socketPath)
            try raw.send(clientFlags(3) + option(OptionNumber.go, informationRequest()))
            try raw.send((0..<1000).flatMap { _ in Request.read(0, number % 2 == 0 ? 1 << 20 : 4096).bytes })
            return raw
        }
        for _ in 0..<100 { #expect(try client.read(0, 65536).difference(from: content.bytes(0, 65536)) == nil) }
        let data = pattern(65536, seed: 2)
        try client.performSuccessfully(.write(0, data))
        #expect(try client.read(0, 65536).difference(from: data) == nil)
        #expect(image.server.residentBytes < before + (128 << 20))
        withExtendedLifetime(greedy) {}
    }

    // 166: the memory for long requests is one for all; who holds it without reading loses it (after 10 s, which this
    // test takes) to one that waits for it.
    @Test func aClientThatNeverReadsDoesNotKeepOthersFromLongRequests() throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(sizeBytes: 64 << 20, content: content)
        let raw = try RawConnection(unix: image.server.socketPath)
        try raw.send(clientFlags(3) + option(OptionNumber.go, informationRequest()))
        for _ in 0..<4 { try raw.send(Request.read(0, 1 << 25).bytes) }
        // Its first answers: the long request is being served.
        _ = try raw.receive(18 + 32 + 20 + 16 + 1000)
        let client = try image.open()
        client.limitSeconds = 40
        #expect(try client.read(0, 1 << 25).difference(from: content + .zeroes(31 << 20)) == nil)
    }

    // 166: nor does one that still owes the answer to a long WRITE, which is done and needs no memory any more.
    @Test func aFinishedLongWriteLetsOthersGoOn() throws {
        let image = try ServedImage(sizeBytes: 64 << 20)
        let raw = try RawConnection(unix: image.server.socketPath)
        try raw.send(clientFlags(3) + option(OptionNumber.go, informationRequest()))
        // More answers than its socket holds are before that of the WRITE.
        try raw.send((0..<16).flatMap { _ in Request.read(0, 65536).bytes })
        let data = pattern(1 << 25)
        let write = Request.write(0, data).bytes
        try raw.send(write.bytes(0, 1 << 24))
        // When the short READ is answered, the long one behind it waits.
        let client = try image.open()
        try client.send(client.register(.read(0, 1)).bytes + client.register(.read(1 << 25, 1 << 25)).bytes)
        #expect(try client.reply().data.count == 1)
        try raw.send(write.bytes(1 << 24, write.count - (1 << 24)))
        #expect(try client.reply().data.difference(from: .zeroes(1 << 25)) == nil)
        #expect(try client.read(0, 1 << 20).difference(from: data.bytes(0, 1 << 20)) == nil)
    }

    // 166: WRITEs on the way, replies unread: the payloads wait with the client.
    @Test func writesWhoseRepliesAreNotReadAreBoundedToo() throws {
        let image = try ServedImage(sizeBytes: 64 << 20)
        let client = try image.open()
        let before = image.server.residentBytes
        let data = pattern(1 << 20)
        // The client takes what comes while it sends.
        for number in 0..<200 { try client.submit(.write(number % 64 << 20, data)) }
        #expect(image.server.residentBytes < before + (64 << 20))
        for _ in 0..<200 { #expect(try client.reply().error == 0) }
    }
}
