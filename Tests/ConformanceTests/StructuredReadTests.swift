// READ with structured replies (checklist K). The client checks every chunk: its header, its bounds, DONE on the last
// one and no other, content that covers the request exactly once.

import Support
import Testing

@Suite struct StructuredReadTests {
    // 52, 20: negotiated once or twice.
    @Test(arguments: [1, 2])
    func structuredRepliesMayBeNegotiatedTwice(times: Int) throws {
        let content = pattern(4096)
        let client = try ServedImage(content: content).negotiate()
        for time in 0..<times {
            let type = try client.askOnce(OptionNumber.structuredReply).type
            #expect(type == ReplyType.ack || (time > 0 && type == ReplyType.errorInvalid))
        }
        client.style = .structured
        try client.go()
        #expect(try client.read(0, 4096) == content)
    }

    // 53
    @Test func structuredReplyWithDataIsInvalid() throws {
        let client = try ServedImage().negotiate()
        #expect(try client.askOnce(OptionNumber.structuredReply, [0]).type == ReplyType.errorInvalid)
        // It was not negotiated: the client would throw at a structured reply.
        try client.go()
        #expect(try client.read(0, 512) == .zeroes(512))
    }

    // 130, 143: errors come in words, for READ never as a simple reply (the client checks that).
    @Test func errorsOfReadAreStructured() throws {
        let client = try ServedImage().open(structured: true)
        for request in [
            .read(1 << 20, 512), .read(0, 512, flags: 0x8000), .read(0, 0), .read(0, 512, flags: CommandFlag.noHole),
        ] as [Request] {
            let reply = try client.perform(request)
            #expect(reply.error == ErrorNumber.invalid)
            #expect(reply.chunks.count == 1)
            #expect(reply.message.count > 10)
        }
    }

    // 134, 145: holes of a sparse image are said, not sent.
    @Test func holesAreChunksWithoutData() throws {
        let image = try ServedImage(sizeBytes: 1 << 30)
        let client = try image.open(structured: true)
        try client.performSuccessfully(.write(1 << 20, pattern(65536)))
        for (offset, count) in [(0, 1 << 20), (1 << 28, 1 << 25), (1 << 21, 512), ((1 << 21) + 1, 70_001)] {
            let reply = try client.performSuccessfully(.read(offset, count))
            #expect(reply.chunks.filter(\.isContent).map(\.type) == [ChunkNumber.offsetHole])
            #expect(reply.data.difference(from: .zeroes(count)) == nil)
        }
        let mixed = try client.performSuccessfully(.read((1 << 20) - 65536, 3 * 65536))
        #expect(
            mixed.chunks.filter(\.isContent).map(\.type)
                == [ChunkNumber.offsetHole, ChunkNumber.offsetData, ChunkNumber.offsetHole])
        #expect(mixed.data.difference(from: .zeroes(65536) + pattern(65536) + .zeroes(65536)) == nil)
    }

    // 135, 142, 144: data and holes in all sizes: exactly once, in few chunks with boundaries at sectors.
    @Test func contentCoversTheRequestExactlyOnce() throws {
        var model: [UInt8] = []
        for (run, length) in [4096, 8192, 512, 65536, 4096, 1024, 12288, 3584, 4096, 100_000, 20_000, 300_000]
            .enumerated()
        {
            model += run % 2 == 0 ? pattern(length, seed: UInt64(run)) : .zeroes(length)
        }
        model += .zeroes((1 << 20) - model.count)
        for place in stride(from: 600_000, to: 1 << 20, by: 8192) { model.overwrite(place, with: pattern(100)) }
        let image = try ServedImage(content: model)
        let client = try image.open(structured: true)
        var numbers = SeededNumbers(seed: 4711)
        for _ in 0..<200 {
            let offset = Int.random(in: 0..<model.count, using: &numbers)
            let count = Int.random(in: 1...model.count - offset, using: &numbers)
            let reply = try client.performSuccessfully(.read(offset, count))
            #expect(reply.data.difference(from: model.bytes(offset, count)) == nil, "\(count) bytes at \(offset)")
            #expect(reply.chunks.count <= 16)
            for chunk in reply.chunks where chunk.isContent && chunk.offset != UInt64(offset) {
                #expect(chunk.offset % 512 == 0)
            }
        }
    }

    // 140, 141: DF means one piece, holes or not, at least up to 64 KiB (the client checks the number of pieces).
    @Test func dontFragmentIsOnePieceOfData() throws {
        var model = [UInt8].zeroes(1 << 20)
        for place in stride(from: 0, to: 1 << 20, by: 16384) { model.overwrite(place, with: pattern(4096)) }
        let client = try ServedImage(content: model).open(structured: true)
        for (offset, count) in [(0, 65536), (8192, 65536), (1, 65535), (4096, 4096), (16380, 8), (0, 1 << 20)] {
            let reply = try client.perform(.read(offset, count, flags: CommandFlag.df))
            if reply.error == ErrorNumber.overflow && count > 65536 { continue }
            #expect(reply.error == 0)
            #expect(reply.data.difference(from: model.bytes(offset, count)) == nil)
            let isMixed = offset / 16384 * 16384 + 4096 > offset || (offset + count - 1) / 16384 != offset / 16384
            if isMixed { #expect(reply.chunks.filter(\.isContent).map(\.type) == [ChunkNumber.offsetData]) }
        }
    }

    // 131, 132: replies to other commands, one chunk each, with their cookies.
    @Test func otherCommandsHaveOneChunk() throws {
        let client = try ServedImage().open(structured: true)
        for request in [.write(0, pattern(512)), .zero(512, 512), .trim(1024, 512), .cache(0, 512), .flush] as [Request]
        {
            #expect(try client.performSuccessfully(request).chunks.count <= 1)
        }
    }

    // 131, 135: chunks of many replies may mix; each is complete.
    @Test func manyReadsAreEachAnsweredOnce() throws {
        var model = pattern(1 << 20)
        for place in stride(from: 0, to: 1 << 20, by: 32768) { model.overwrite(place, with: .zeroes(16384)) }
        let client = try ServedImage(content: model).open(structured: true)
        var numbers = SeededNumbers(seed: 99)
        let requests = (0..<500).map { _ -> Request in
            let offset = Int.random(in: 0..<1_000_000, using: &numbers)
            return .read(offset, Int.random(in: 1...40_000, using: &numbers))
        }
        for reply in try client.perform(requests) {
            let expected = model.bytes(Int(reply.request.offset), Int(reply.request.length))
            #expect(reply.error == 0)
            #expect(reply.data.difference(from: expected) == nil)
        }
        #expect(client.pending.isEmpty)
    }
}
