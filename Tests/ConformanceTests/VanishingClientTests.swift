// Clients that are suddenly gone: nothing half reaches the image, and others are served (checklist N).

import Support
import Testing

@Suite struct VanishingClientTests {
    /// How a client vanishes.
    enum Way: CaseIterable {
        case close, endOfSending, reset
    }

    private func vanish(_ client: Client, _ way: Way) {
        switch way {
        case .close: client.close()
        case .endOfSending: client.endSending()
        case .reset: client.reset()
        }
    }

    // 167: in the middle of a payload, at any place of it; nothing of that WRITE is written, everything before it is.
    @Test(arguments: Way.allCases, [1, 100, 4096, 65535, 65536, 200_000, 999_999])
    func nothingOfAHalfWriteReachesTheImage(way: Way, sent: Int) throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(content: content, options: ["--listen", "tcp:127.0.0.1:0"])
        let client = try image.server.open(tcp: true)
        let first = pattern(512, seed: 2)
        try client.performSuccessfully(.write(0, first))
        try client.send(client.register(.write(4096, pattern(1_000_000, seed: 3))).bytes.bytes(0, 28 + sent))
        vanish(client, way)
        let other = try image.open()
        #expect(try other.read(512, 65536).difference(from: content.bytes(512, 65536)) == nil)
        #expect(try image.server.stop() == 0)
        #expect(try image.bytes().difference(from: first + content.dropFirst(512)) == nil)
    }

    // 166, 167: half headers, half options, half client flags, and nothing at all.
    @Test(arguments: Way.allCases)
    func halfHeadersDoNoHarm(way: Way) throws {
        let image = try ServedImage(options: ["--listen", "tcp:127.0.0.1:0"])
        let go = option(OptionNumber.go, informationRequest("disk"))
        let stream = clientFlags(3) + go + Request.write(0, pattern(512)).bytes
        for count in stride(from: 0, to: stream.count, by: 7) {
            let client = try image.server.connect(tcp: true)
            try client.send(stream.bytes(0, count))
            vanish(client, way)
        }
        #expect(try image.open().read(0, 512) == .zeroes(512))
        #expect(try image.server.stop() == 0)
        #expect(try image.bytes(0, 512) == .zeroes(512))
    }

    // 166: with replies under way that nobody takes.
    @Test(arguments: Way.allCases)
    func clientsThatVanishBeforeTheirRepliesDoNoHarm(way: Way) throws {
        let content = pattern(8 << 20)
        let image = try ServedImage(
            sizeBytes: 64 << 20, content: content, threads: 2, options: ["--listen", "tcp:127.0.0.1:0"])
        for round in 0..<12 {
            let client = try image.server.open(structured: round % 2 == 0, tcp: true)
            for number in 0..<50 { try client.submit(.read(number * 4096, 1 << 16)) }
            try client.submit(.read(0, 1 << 25))
            vanish(client, way)
        }
        let other = try image.open()
        #expect(try other.read(0, 8 << 20).difference(from: content) == nil)
        #expect(try other.read(0, 1 << 25).difference(from: content + .zeroes(24 << 20)) == nil)
        #expect(try image.server.stop() == 0)
    }

    // 167: in the middle of a payload that is refused and stepped over.
    @Test func aClientMayVanishInARefusedPayload() throws {
        let content = pattern(4096)
        let image = try ServedImage(sizeBytes: 4096, content: content)
        for _ in 0..<5 {
            let client = try image.open()
            // The answer to the READ says that the server has come this far; the WRITE's own waits for its payload.
            try client.submit(.read(0, 512))
            try client.send(client.register(.write(4096, pattern(1 << 20))).bytes.bytes(0, 500_000))
            #expect(try client.isReadable(withinMilliseconds: 10_000))
            client.close()
        }
        #expect(try image.open().read(0, 4096) == content)
    }

    // 164, 167: a client's slot and memory are free again when it is gone.
    @Test func manyClientsComeAndGo() throws {
        let image = try ServedImage(threads: 1)
        let before = image.server.residentBytes
        for number in 0..<600 {
            let client = try image.open(structured: number % 2 == 0)
            try client.send(client.register(.write(0, pattern(100_000))).bytes.bytes(0, number * 100))
            client.close()
        }
        #expect(try image.open().read(0, 512) == .zeroes(512))
        #expect(image.server.residentBytes < before + (96 << 20))
    }
}
