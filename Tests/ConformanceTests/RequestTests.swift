// Single requests that succeed, and what they leave behind (checklist I, J).

import Support
import Testing

@Suite struct RequestTests {
    // 113, 116, 130: what was written is read, over either kind of socket, with either kind of reply.
    @Test(arguments: [false, true], [false, true])
    func writesAreRead(structured: Bool, tcp: Bool) throws {
        let content = pattern(65536)
        let image = try ServedImage(content: content, options: ["--listen", "tcp:127.0.0.1:0"])
        let client = try image.server.open(structured: structured, tcp: tcp)
        #expect(try client.read(0, 65536).difference(from: content) == nil)
        let new = pattern(8192, seed: 2)
        try client.performSuccessfully(.write(4096, new))
        #expect(
            try client.read(0, 65536).difference(from: content.prefix(4096) + new + content.dropFirst(12288)) == nil)
        try client.performSuccessfully(.flush)
        #expect(try image.bytes(4096, 8192).difference(from: new) == nil)
    }

    // 92: a client that did not ask for the block sizes may read and write any bytes.
    @Test(arguments: [
        (0, 1), (511, 1), (511, 2), (512, 1), (1, 511), (1, 512), (100, 200), (511, 513), (1000, 3000), (513, 1023),
        (4095, 4098), (1, 65534), (65535, 1), (7, 40_000),
    ])
    func unalignedRequestsChangeTheirBytesAndNoOthers(offset: Int, count: Int) throws {
        let content = pattern(65536)
        let image = try ServedImage(sizeBytes: 65536, content: content)
        let client = try image.open()
        #expect(try client.read(offset, count).difference(from: content.bytes(offset, count)) == nil)

        var model = content
        model.overwrite(offset, with: pattern(count, seed: 2))
        try client.performSuccessfully(.write(offset, pattern(count, seed: 2)))
        #expect(try client.read(0, 65536).difference(from: model) == nil)
        #expect(try image.bytes().difference(from: model) == nil)

        model.overwrite(offset, with: .zeroes(count))
        try client.performSuccessfully(.zero(offset, count))
        #expect(try client.read(0, 65536).difference(from: model) == nil)
        #expect(try image.bytes().difference(from: model) == nil)
    }

    // 120: TRIM leaves what is outside of its range alone; inside, only whole sectors may change, and only to zeroes.
    @Test(arguments: [
        (0, 1), (511, 2), (1, 511), (100, 200), (1000, 3000), (513, 1023), (4095, 4098), (1, 65534), (0, 65536),
    ])
    func trimTouchesNothingOutsideOfItsRange(offset: Int, count: Int) throws {
        let content = pattern(65536)
        let image = try ServedImage(sizeBytes: 65536, content: content)
        let client = try image.open()
        try client.performSuccessfully(.trim(offset, count))
        let after = try client.read(0, 65536)
        let first = (offset + 511) / 512 * 512
        let end = max(first, (offset + count) / 512 * 512)
        #expect(after.prefix(first) == content.prefix(first))
        #expect(after.dropFirst(end) == content.dropFirst(end))
        #expect(zip(after, content).allSatisfy { $0 == 0 || $0 == $1 })
        #expect(try image.bytes().difference(from: after) == nil)
    }

    // 98: cookies are opaque, and may even be used twice at a time.
    @Test(arguments: [false, true])
    func cookiesComeBackAsTheyWere(structured: Bool) throws {
        let content = pattern(65536)
        let client = try ServedImage(content: content).open(structured: structured)
        for cookie in [0, 1, .max, 0x8000_0000_0000_0000, 0x6744_6698_668E_33EF] as [UInt64] {
            var request = Request.read(512, 512)
            request.cookie = cookie
            #expect(try client.perform(request).request.cookie == cookie)
        }
        var request = Request.flush
        request.cookie = 42
        for _ in 0..<20 { try client.submit(request) }
        for _ in 0..<20 { #expect(try client.reply().error == 0) }
        #expect(try client.read(0, 512) == content.bytes(0, 512))
    }

    // 113, 90: 32 MiB, the longest payload that a client may assume to be taken, in both directions and not aligned
    // either.
    @Test(arguments: [(0, 1 << 25), (1 << 25, 1 << 25), (4097, 1 << 25), (1, (1 << 25) - 1), (513, 3_000_001)])
    func longRequestsAreServed(offset: Int, count: Int) throws {
        let image = try ServedImage(sizeBytes: 65 << 20)
        let client = try image.open()
        let data = pattern(count, seed: 3)
        try client.performSuccessfully(.write(offset, data))
        #expect(try image.bytes(offset, count).difference(from: data) == nil)
        #expect(try client.read(offset, count).difference(from: data) == nil)
        let structured = try image.open(structured: true)
        #expect(try structured.read(offset, count).difference(from: data) == nil)
        // The bytes at both ends are as they were.
        #expect(try client.read(max(offset, 1) - 1, 1) == [offset == 0 ? data[0] : 0])
        #expect(try client.read(offset + count, 1) == [0])
    }

    // 95: lengths without a payload go up to 4 GiB less a byte.
    @Test func hugeRequestsWithoutPayloadAreServed() throws {
        let size = 5 << 30
        let image = try ServedImage(sizeBytes: size, content: pattern(4096))
        let client = try image.open(structured: true)
        let end = Int(UInt32.max)
        for place in [end - 1, end, end + 1, size - 1] { try client.performSuccessfully(.write(place, [7])) }
        try client.performSuccessfully(.cache(0, end))
        try client.performSuccessfully(.zero(1, end - 1))
        #expect(try client.read(0, 4096) == pattern(1) + .zeroes(4095))
        #expect(try client.read(end - 1, 3) == [0, 7, 7])
        try client.performSuccessfully(.write(0, pattern(4096)))
        try client.performSuccessfully(.trim(513, end))
        #expect(try client.read(0, 1024) == pattern(1024))
        #expect(try client.read(size - 1, 1) == [7])
        try client.performSuccessfully(.write(end - 1, [7, 7, 7]))
        try client.performSuccessfully(.zero(0, end))
        #expect(try client.read(0, 4096) == .zeroes(4096))
        #expect(try client.read(end - 1, 3) == [0, 7, 7])
    }

    // 118: a flush with nothing to flush, and behind writes that were answered.
    @Test(arguments: ["writeback", "none", "unsafe"])
    func flushAnswers(mode: String) throws {
        let image = try ServedImage(options: ["--cache", mode])
        let client = try image.open()
        try client.performSuccessfully(.flush)
        for block in 0..<16 { try client.performSuccessfully(.write(block * 4096, pattern(4096, seed: UInt64(block)))) }
        try client.performSuccessfully(.flush)
        for block in 0..<16 { #expect(try image.bytes(block * 4096, 4096) == pattern(4096, seed: UInt64(block))) }
    }

    // 92, 116: the same bytes, whatever is between the server and its file.
    @Test(arguments: ["writeback", "writethrough", "none", "directsync", "unsafe"])
    func unalignedWritesKeepTheirNeighboursInEveryCacheMode(mode: String) throws {
        var model = pattern(65536)
        let image = try ServedImage(sizeBytes: 65536, content: model, options: ["--cache", mode])
        let client = try image.open()
        var numbers = SeededNumbers(seed: 77)
        for _ in 0..<60 {
            let offset = Int.random(in: 0..<65535, using: &numbers)
            let data = numbers.bytes(Int.random(in: 1...min(9000, 65536 - offset), using: &numbers))
            model.overwrite(offset, with: data)
            try client.performSuccessfully(.write(offset, data))
            #expect(try client.read(offset, data.count).difference(from: data) == nil)
        }
        #expect(try client.read(0, 65536).difference(from: model) == nil)
        #expect(try image.bytes().difference(from: model) == nil)
    }

    // 126: CACHE answers and changes nothing.
    @Test func cacheChangesNothing() throws {
        let content = pattern(65536)
        let image = try ServedImage(sizeBytes: 65536, content: content)
        let client = try image.open()
        for (offset, count) in [(0, 65536), (1, 3), (512, 512), (65535, 1)] {
            try client.performSuccessfully(.cache(offset, count))
        }
        #expect(try client.read(0, 65536).difference(from: content) == nil)
        #expect(try image.bytes().difference(from: content) == nil)
    }
}
