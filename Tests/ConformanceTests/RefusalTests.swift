// Requests that are refused: the right error, nothing done, and the stream stays in step (checklist H, I, J).

import Support
import Testing

@Suite struct RefusalTests {
    /// Performs requests in one go with a READ behind each, and expects their errors and the content unchanged.
    private func expect(
        _ refusals: [(Request, UInt32)], of client: Client, content: [UInt8],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        for (request, error) in refusals {
            let replies = try client.perform([request, .read(0, content.count)])
            #expect(
                replies[0].error == error,
                "command \(request.type) at \(request.offset) of \(request.length): \(replies[0].message)",
                sourceLocation: sourceLocation)
            #expect(replies[1].data.difference(from: content) == nil, sourceLocation: sourceLocation)
            if client.style != .simple {
                #expect(replies[0].message.count > 10, sourceLocation: sourceLocation)
            }
        }
    }

    private func request(_ type: UInt16, _ offset: UInt64, _ length: UInt32) -> Request {
        let payload = type == CommandNumber.write ? pattern(Int(length), seed: 5) : []
        return Request(type: type, offset: offset, length: UInt64(length), payload: payload)
    }

    // 106, 107, 114, 130, 143: past the end, beyond it, and so far beyond that the sum overflows.
    @Test(arguments: [false, true])
    func requestsPastTheEndAreRefused(structured: Bool) throws {
        let content = pattern(65536)
        let image = try ServedImage(sizeBytes: 65536, content: content)
        let client = try image.open(structured: structured)
        let ranges: [(UInt64, UInt32)] = [
            (65536, 1), (65535, 2), (65024, 1024), (0, 65537), (1 << 40, 512), (.max, 1), (.max - 511, 512),
            (.max - 511, 1024), (.max - 65535, 65536), (1 << 63, 4096),
        ]
        for (offset, length) in ranges {
            try expect(
                [
                    (request(CommandNumber.read, offset, length), ErrorNumber.invalid),
                    (request(CommandNumber.trim, offset, length), ErrorNumber.invalid),
                    (request(CommandNumber.cache, offset, length), ErrorNumber.invalid),
                    (request(CommandNumber.write, offset, length), ErrorNumber.noSpace),
                    (request(CommandNumber.writeZeroes, offset, length), ErrorNumber.noSpace),
                ], of: client, content: content)
        }
        #expect(try image.bytes().difference(from: content) == nil)
    }

    // 93, 107: payloads up to 64 MiB are stepped over, whether they are too long for the server or for the export.
    @Test(arguments: [false, true], [1 << 25, (1 << 25) + 1, 1 << 26])
    func theLongestPayloadsAreSteppedOver(structured: Bool, count: Int) throws {
        let content = pattern(4096)
        let small = try ServedImage(sizeBytes: 4096, content: content)
        let client = try small.open(structured: structured)
        try expect([(.write(0, pattern(count, seed: 6)), ErrorNumber.noSpace)], of: client, content: content)
        guard count > 1 << 25 else { return }
        let large = try ServedImage(sizeBytes: 128 << 20, content: content)
        try expect(
            [(.write(0, pattern(count, seed: 6)), ErrorNumber.invalid)], of: large.open(structured: structured),
            content: content)
        #expect(try large.bytes(0, 4096) == content)
    }

    // 94: a payload that nobody may expect to be taken ends the connection; nothing of it is written.
    @Test func anAbsurdPayloadClosesTheConnection() throws {
        let content = pattern(4096)
        let image = try ServedImage(sizeBytes: 128 << 20, content: content)
        for length in [(1 << 26) + 1, .max] as [UInt32] {
            let client = try image.open()
            let payload = pattern(4096, seed: 7)
            try client.submit(Request(type: CommandNumber.write, length: UInt64(length), payload: payload))
            #expect(client.isClosedByServer())
        }
        #expect(try image.open().read(0, 4096) == content)
        #expect(try image.bytes(0, 4096) == content)
    }

    // 110, 144: a READ that is longer than the maximum payload.
    @Test func readsLongerThanTheMaximumPayloadAreRefused() throws {
        let content = pattern(4096)
        let image = try ServedImage(sizeBytes: 128 << 20, content: content)
        let request = Request.read(0, (1 << 25) + 1)
        try expect([(request, ErrorNumber.invalid)], of: image.open(), content: content)
        try expect([(request, ErrorNumber.overflow)], of: image.open(structured: true), content: content)
    }

    // 108, 111: a read-only export.
    @Test(arguments: [false, true])
    func aReadOnlyExportRefusesWrites(structured: Bool) throws {
        let content = pattern(65536)
        let image = try ServedImage(sizeBytes: 65536, content: content, options: ["--read-only"])
        let client = try image.open(structured: structured)
        var refusals: [(Request, UInt32)] = []
        for (offset, length) in [(0, 512), (1, 3), (0, 65536), (0, 1 << 20)] as [(UInt64, UInt32)] {
            for type in [CommandNumber.write, CommandNumber.writeZeroes, CommandNumber.trim] {
                refusals.append((request(type, offset, length), ErrorNumber.notPermitted))
            }
        }
        try expect(refusals, of: client, content: content)
        #expect(try image.server.stop() == 0)
        #expect(try image.bytes().difference(from: content) == nil)
    }

    // 105: the document leaves zero lengths open, but for the connection, which stays. Ours are refused.
    @Test(arguments: [false, true])
    func zeroLengthsAreAnswered(structured: Bool) throws {
        let content = pattern(4096)
        let image = try ServedImage(sizeBytes: 4096, content: content)
        let client = try image.open(structured: structured)
        for type in [0, 1, 4, 5, 6] as [UInt16] {
            for offset in [0, 1, 4096, UInt64.max] {
                try expect([(request(type, offset, 0), ErrorNumber.invalid)], of: client, content: content)
            }
        }
    }

    // 119: offset and length of FLUSH are reserved.
    @Test func flushWithARangeIsRefused() throws {
        let content = pattern(4096)
        let client = try ServedImage(content: content).open(structured: true)
        try expect(
            [
                (Request(type: CommandNumber.flush, offset: 512), ErrorNumber.invalid),
                (Request(type: CommandNumber.flush, length: 512), ErrorNumber.invalid),
            ], of: client, content: content)
        try client.performSuccessfully(.flush)
    }

    // 91: a client that asked for the block sizes with GO has to keep to them.
    @Test(arguments: [false, true])
    func unalignedRequestsAreRefusedOnceTheBlockSizeWasAskedFor(structured: Bool) throws {
        let content = pattern(4096)
        let image = try ServedImage(sizeBytes: 4096, content: content)
        let client = try image.open(structured: structured, information: [InformationNumber.blockSize])
        for (offset, length) in [(1, 512), (0, 1), (511, 1), (512, 513), (256, 256)] as [(UInt64, UInt32)] {
            for type in [0, 1, 4, 5, 6] as [UInt16] {
                try expect([(request(type, offset, length), ErrorNumber.invalid)], of: client, content: content)
            }
        }
        try client.performSuccessfully(.write(512, pattern(512, seed: 8)))
        #expect(try image.bytes(512, 512) == pattern(512, seed: 8))
        // Asking with INFO binds nobody.
        let other = try image.negotiate()
        _ = try other.ask(OptionNumber.info, informationRequest("", [InformationNumber.blockSize]))
        try other.go()
        #expect(try other.read(1, 3) == content.bytes(1, 3))
    }

    // 100
    @Test(arguments: [0, 0x1256_0953, 0x2560_9514, 0x21E4_1C71, 0x1395_6025] as [UInt32])
    func aWrongRequestMagicClosesTheConnection(magic: UInt32) throws {
        let content = pattern(4096)
        let image = try ServedImage(content: content)
        let client = try image.open()
        var request = Request.write(0, pattern(512, seed: 9))
        request.magic = magic
        try client.submit(request)
        #expect(client.isClosedByServer())
        #expect(try image.open().read(0, 4096) == content)
    }
}
