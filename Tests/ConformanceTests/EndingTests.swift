// The end of a connection, by the client and by the server's end (checklist J, N).

import Foundation
import Support
import Testing

@Suite struct EndingTests {
    // 127: DISC behind requests: all replies, then the end, no reply to DISC; also for a client that shuts down its
    // side of the socket behind DISC, as libnbd does.
    @Test(arguments: [false, true], [10, 120, 1000])
    func disconnectFinishesWhatIsInFlight(endsSending: Bool, count: Int) throws {
        let image = try ServedImage(sizeBytes: count * 4096)
        let client = try image.open(structured: count == 120)
        let requests = (0..<count).map { number in
            client.register(
                number % 3 == 0 ? .read(0, 4096) : .write(number * 4096, pattern(4096, seed: UInt64(number))))
        }
        try client.send(requests.flatMap(\.bytes) + Request.disconnect.bytes)
        if endsSending { client.endSending() }
        for _ in requests { #expect(try client.reply().error == 0) }
        #expect(client.isClosedByServer())
        for number in 0..<count where number % 3 != 0 {
            #expect(try image.bytes(number * 4096, 4096) == pattern(4096, seed: UInt64(number)))
        }
    }

    // 128: what follows DISC is ignored, whole requests too.
    @Test func whatFollowsDisconnectIsIgnored() throws {
        let content = pattern(4096)
        let image = try ServedImage(content: content)
        let client = try image.open()
        let write = client.register(.write(0, pattern(4096, seed: 2)))
        try client.send(client.register(.read(0, 512)).bytes + Request.disconnect.bytes + write.bytes)
        #expect(try client.reply().data == content.bytes(0, 512))
        #expect(client.isClosedByServer())
        #expect(try image.server.stop() == 0)
        #expect(try image.bytes(0, 4096) == content)
    }

    // 127: the reserved fields of DISC have to be zero; a server that disconnects all the same helps most.
    @Test func disconnectWithReservedFieldsSetDisconnects() throws {
        let image = try ServedImage()
        let client = try image.open()
        try client.send(Request(type: CommandNumber.disconnect, flags: 1, offset: 7, length: 512).bytes)
        #expect(client.isClosedByServer())
        #expect(try image.open().read(0, 512) == .zeroes(512))
    }

    // 164: a client that stops sending without DISC still gets what it asked for.
    @Test(arguments: [false, true], [(100, 8192), (1000, 8192), (200, 65_536)])
    func aClientThatEndsSendingGetsItsReplies(tcp: Bool, _ load: (count: Int, bytes: Int)) throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(content: content, options: ["--listen", "tcp:127.0.0.1:0"])
        let client = try image.server.open(tcp: tcp)
        try client.send((0..<load.count).flatMap { client.register(.read($0 % 240 * 4096, load.bytes)).bytes })
        client.endSending()
        for _ in 0..<load.count {
            let reply = try client.reply()
            #expect(reply.data == content.bytes(Int(reply.request.offset), load.bytes))
        }
        #expect(client.isClosedByServer())
    }

    // 163: SIGTERM with writes in flight: what is answered as written is in the file, what is refused says ESHUTDOWN
    // and is not, and the server ends well.
    @Test(arguments: [1, 2], [1, 40, 400])
    func sigtermFinishesOrRefusesWhatIsInFlight(threads: Int, count: Int) throws {
        let image = try ServedImage(sizeBytes: 4 * count * 4096, threads: threads)
        let clients = try (0..<4).map { try image.open(structured: $0 % 2 == 0) }
        for (part, client) in clients.enumerated() {
            let requests = (0..<count).map { number -> Request in
                let block = part * count + number
                return client.register(.write(block * 4096, pattern(4096, seed: UInt64(block) + 1)))
            }
            // The server may close while it is being talked to.
            try? client.send(requests.flatMap(\.bytes))
            if part == 2 { kill(image.server.processIdentifier, SIGTERM) }
        }
        var written = Set<Int>()
        var refused = Set<Int>()
        for client in clients {
            while let reply = try? client.reply() {
                #expect([0, ErrorNumber.shutdown].contains(reply.error))
                let block = Int(reply.request.offset) / 4096
                if reply.error == 0 { written.insert(block) } else { refused.insert(block) }
            }
        }
        #expect(try image.server.stop(signal: 0) == 0)
        for block in written { #expect(try image.bytes(block * 4096, 4096) == pattern(4096, seed: UInt64(block) + 1)) }
        for block in refused { #expect(try image.bytes(block * 4096, 4096) == .zeroes(4096)) }
    }

    /// Sends SIGTERM and waits until the only loop has taken notice: then it ends a client that is still in the
    /// handshake.
    private func beginStop(_ server: RunningServer) throws {
        let sentinel = try server.negotiate()
        #expect(try sentinel.askOnce(OptionNumber.structuredReply).type == ReplyType.ack)
        kill(server.processIdentifier, SIGTERM)
        #expect(sentinel.isClosedByServer())
    }

    // 163: a WRITE whose payload is arriving is in flight; what comes behind it is refused with ESHUTDOWN.
    @Test(arguments: [false, true])
    func requestsBehindSigtermAreRefused(structured: Bool) throws {
        let image = try ServedImage()
        let client = try image.open(structured: structured)
        let data = pattern(65536)
        // The READ in front, in the same piece, is answered when the WRITE's header has been seen.
        let read = client.register(.read(0, 512)).bytes
        let bytes = client.register(.write(0, data)).bytes
        try client.send(read + bytes.dropLast(1000))
        #expect(try client.reply().error == 0)
        try beginStop(image.server)
        let late = client.register(.write(65536, data))
        try client.send(bytes.suffix(1000) + late.bytes + client.register(.read(0, 512)).bytes)
        // In whatever order they come.
        var errors: [[UInt64]: UInt32] = [:]
        for _ in 0..<3 {
            let reply = try client.reply()
            errors[[UInt64(reply.request.type), reply.request.offset]] = reply.error
        }
        let first = try #require(errors[[UInt64(CommandNumber.write), 0]])
        #expect([0, ErrorNumber.shutdown].contains(first))
        #expect(errors[[UInt64(CommandNumber.write), 65536]] == ErrorNumber.shutdown)
        #expect(errors[[UInt64(CommandNumber.read), 0]] == ErrorNumber.shutdown)
        #expect(client.isClosedByServer())
        #expect(try image.server.stop(signal: 0) == 0)
        #expect(try image.bytes(0, 65536).difference(from: first == 0 ? data : .zeroes(65536)) == nil)
        #expect(try image.bytes(65536, 65536).difference(from: .zeroes(65536)) == nil)
    }

    // 163: whoever is in the handshake learns why it is not served, and may only leave.
    @Test func optionsBehindSigtermAreRefused() throws {
        let image = try ServedImage(threads: 1)
        let client = try image.negotiate()
        let idle = try image.open()
        kill(image.server.processIdentifier, SIGTERM)
        #expect(idle.isClosedByServer())
        #expect(try client.askOnce(OptionNumber.list).type == ReplyType.errorShutdown)
        #expect(try client.askOnce(OptionNumber.structuredReply).type == ReplyType.errorShutdown)
        #expect(try client.askOnce(OptionNumber.abort).type == ReplyType.ack)
        #expect(client.isClosedByServer())
        #expect(try image.server.stop(signal: 0) == 0)
    }

    // 163, 165: a client that never finishes its WRITE does not keep the server from ending, and has not written.
    @Test func sigtermDoesNotWaitForAPayloadThatNeverComes() throws {
        let image = try ServedImage()
        let client = try image.open()
        try client.send(client.register(.write(0, pattern(65536))).bytes.dropLast(1))
        #expect(try image.server.stop(limitSeconds: 12) == 0)
        #expect(client.isClosedByServer())
        #expect(try image.bytes(0, 65536).difference(from: .zeroes(65536)) == nil)
    }

    // 163, 165: clients that say nothing, in the handshake and behind it, do not hold up the end.
    @Test(arguments: [1, 2])
    func sigtermEndsIdleClients(threads: Int) throws {
        let image = try ServedImage(threads: threads)
        let clients = try [
            image.connect(), image.negotiate(), image.open(), image.open(structured: true), image.open(),
        ]
        try clients[0].receiveGreeting()
        #expect(try clients[2].read(0, 512) == .zeroes(512))
        #expect(try image.server.stop(limitSeconds: 4) == 0)
        for client in clients { #expect(client.isClosedByServer()) }
    }

    // 165, 166: nor does one that does not take its replies.
    @Test func sigtermEndsAClientThatDoesNotRead() throws {
        let image = try ServedImage(sizeBytes: 64 << 20)
        let raw = try RawConnection(unix: image.server.socketPath)
        try raw.send(clientFlags(3) + option(OptionNumber.go, informationRequest()))
        for _ in 0..<40 { try raw.send(Request.read(0, 1 << 20).bytes) }
        #expect(try image.server.stop(limitSeconds: 12) == 0)
    }

    /// At its end the server tells what no FLUSH had followed, and that this is stable now; all that a FLUSH has
    /// covered, and what is stable without one, is not worth a line.
    @Test(arguments: [("writeback", false), ("writeback", true), ("writethrough", false)])
    func theEndTellsWhatWasNotFlushed(mode: String, flushes: Bool) throws {
        let image = try ServedImage(options: ["--cache", mode])
        let client = try image.open()
        try client.performSuccessfully(.write(0, pattern(8192)))
        if flushes { try client.performSuccessfully(.flush) }
        try client.performSuccessfully(.read(0, 512))
        #expect(try image.server.stop() == 0)
        let isTold = image.server.log.contains("unflushed=8192")
        #expect(isTold == (mode == "writeback" && !flushes), "\(image.server.log)")
    }

    // 164, 169: kill -9 loses nothing that was answered, and the next server offers the same.
    @Test func aKilledServerLosesNothingThatWasAnswered() throws {
        let image = try ServedImage(sizeBytes: 4 << 20)
        let client = try image.negotiate()
        let facts = try client.go("disk", [InformationNumber.blockSize])
        for block in 0..<100 {
            try client.performSuccessfully(.write(block * 8192, pattern(8192, seed: UInt64(block))))
        }
        #expect(try image.server.stop(signal: SIGKILL) == 128 + SIGKILL)
        #expect(client.isClosedByServer())
        let next = try RunningServer([image.path], in: image.folder)
        let again = try next.negotiate()
        #expect(try again.go("disk", [InformationNumber.blockSize]) == facts)
        for block in 0..<100 { #expect(try again.read(block * 8192, 8192) == pattern(8192, seed: UInt64(block))) }
    }
}
