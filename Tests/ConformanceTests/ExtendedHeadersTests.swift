// Extended headers (checklist O): the option, requests of 32 bytes, payloads, 64-bit lengths.

import Support
import Testing

@Suite struct ExtendedHeadersTests {
    private static let size = 1 << 20

    // 171, 173: the option, its payload, its order with STRUCTURED_REPLY.
    @Test func theOption() throws {
        let image = try ServedImage()
        let client = try image.negotiate()
        #expect(try client.askOnce(OptionNumber.extendedHeaders, [0]).type == ReplyType.errorInvalid)
        #expect(try client.askOnce(OptionNumber.structuredReply).type == ReplyType.ack)
        #expect(try client.askOnce(OptionNumber.extendedHeaders).type == ReplyType.ack)
        let refused = try client.askOnce(OptionNumber.structuredReply)
        #expect(refused.type == ReplyType.errorExtendedHeadersRequired && refused.message.count > 10)
        client.style = .extended
        #expect(try client.go().flags & TransmissionFlag.sendDF != 0)
        #expect(try client.read(0, 4096) == .zeroes(4096))
    }

    // 171: EXPORT_NAME has no way to fail but the end.
    @Test func exportNameIsOut() throws {
        let image = try ServedImage()
        let client = try image.negotiate()
        try client.negotiateExtendedHeaders()
        try client.send(option(OptionNumber.exportName, Array("disk".utf8)))
        #expect(client.isClosedByServer())
        #expect(try image.open().read(0, 512) == .zeroes(512))
    }

    // 100: a compact header where an extended one has to be, and the other way round.
    @Test(arguments: Style.allCases)
    func headersDoNotMix(style: Style) throws {
        let image = try ServedImage()
        let client = try image.open(style)
        var request = Request.read(0, 512)
        request.magic = style == .extended ? MagicNumber.request : MagicNumber.extendedRequest
        try client.submit(request)
        #expect(client.isClosedByServer())
    }

    // 113, 116, 121, 126, 131, 172: every command; the client checks each header.
    @Test func everyCommand() throws {
        let image = try ServedImage(sizeBytes: Self.size)
        let client = try image.open(.extended, contexts: ["base:allocation"])
        let data = pattern(100_000)
        try client.performSuccessfully(.write(500, data))
        #expect(try client.read(500, 100_000) == data)
        try client.performSuccessfully(.flush)
        try client.performSuccessfully(.cache(0, Self.size))
        try client.performSuccessfully(.zero(500, 50_000))
        #expect(try client.read(500, 50_001) == .zeroes(50_000) + [data[50_000]])
        try client.performSuccessfully(.trim(0, Self.size))
        let size = UInt64(Self.size)
        #expect(try client.performSuccessfully(.status(0, size)).extents == [1: [.hole(size)]])
        try client.send(client.register(.disconnect).bytes)
        #expect(client.isClosedByServer())
    }

    // 18, 19, 98: headers byte by byte, and many in one go.
    @Test func piecesAndPipelines() throws {
        let image = try ServedImage(sizeBytes: Self.size, content: pattern(Self.size))
        let client = try image.open(.extended, contexts: ["base:allocation"])
        let requests = [
            Request.read(512, 1000), .write(4096, pattern(700, seed: 3)), .status(0, 4096, of: [1]), .flush,
            .status(8192, 512, of: [1], flags: CommandFlag.reqOne), .zero(100_000, 5000), .read(100_000, 5000),
        ]
        for byte in requests.map(client.register).flatMap(\.bytes) { try client.send([byte]) }
        for _ in requests { #expect(try client.reply().error == 0) }
        let replies = try client.perform((0..<40).flatMap { _ in requests })
        #expect(replies.allSatisfy { $0.error == 0 })
        #expect(try client.read(4096, 700) == pattern(700, seed: 3))
    }

    // 134, 135, 142: data and holes by turns in one READ.
    @Test func holesInReads() throws {
        var content = [UInt8].zeroes(Self.size)
        for block in stride(from: 0, to: Self.size, by: 3 * 4096) {
            content.overwrite(block, with: pattern(4096, seed: UInt64(block + 1)))
        }
        let image = try ServedImage(sizeBytes: Self.size)
        let client = try image.open(.extended)
        for block in stride(from: 0, to: Self.size, by: 3 * 4096) {
            try client.performSuccessfully(.write(block, content.bytes(block, 4096)))
        }
        for count in [4096, 8192, 30_000, 40_000, 1 << 19] {
            let reply = try client.performSuccessfully(.read(4096, count))
            #expect(reply.data.difference(from: content.bytes(4096, count)) == nil)
            // Small ones may be sent as they are, straight from the page cache.
            #expect(count <= 32_768 || reply.chunks.contains { $0.type == ChunkNumber.offsetHole })
            let whole = try client.performSuccessfully(.read(4096, count, flags: CommandFlag.df))
            #expect(whole.data == reply.data)
        }
    }

    // 174: the flag and the payload that it announces, on every command.
    @Test func payloadsWhereNoneBelongs() throws {
        let content = pattern(4096)
        let image = try ServedImage(sizeBytes: Self.size, content: content)
        let client = try image.open(.extended)
        for type in [0, 3, 4, 5, 6, 7, 8, 999] as [UInt16] {
            for count in [1, 12, 512, 5000, 1 << 20] {
                let request = Request(
                    type: type, flags: CommandFlag.payloadLength, length: UInt64(count), payload: pattern(count))
                let replies = try client.perform([request, .read(0, 4096)])
                #expect(replies[0].error == ErrorNumber.invalid && replies[0].message.count > 10)
                #expect(replies[1].data == content)
            }
        }
    }

    // 174: the document asks a WRITE for the flag; clients of QEMU 8.2 to 10.0 leave it out, and send the payload.
    @Test func aWriteMayLeaveTheFlagOut() throws {
        let image = try ServedImage(sizeBytes: Self.size)
        let client = try image.open(.extended)
        let data = pattern(512)
        var request = client.register(.write(4096, data))
        request.flags = 0
        try client.send(request.bytes)
        #expect(try client.reply().error == 0)
        #expect(try client.read(4096, 512) == data)
    }

    // 93, 107, 108, 175: payloads up to the maximum are stepped over, longer ones end the connection.
    @Test func longPayloads() throws {
        let content = pattern(4096)
        let image = try ServedImage(sizeBytes: 4096, content: content)
        let client = try image.open(.extended)
        let replies = try client.perform([.write(0, pattern(1 << 25, seed: 2)), .read(0, 4096)])
        #expect(replies[0].error == ErrorNumber.noSpace && replies[1].data == content)
        for length in [(1 << 25) + 1, 1 << 32, (1 << 32) + 512, .max] as [UInt64] {
            for type in [CommandNumber.write, CommandNumber.blockStatus, 99] {
                let other = try image.open(.extended)
                try other.submit(
                    Request(type: type, flags: CommandFlag.payloadLength, length: length, payload: .zeroes(4096)))
                #expect(other.isClosedByServer())
            }
        }
        #expect(try client.read(0, 4096) == content)
    }

    // 178: what 32 bits cannot say is done from its first to its last byte.
    @Test(arguments: ["file", "memory", "null"])
    func longEffectLengths(kind: String) throws {
        let size: UInt64 = 12 << 30
        let image = try ServedImage(sizeBytes: Int(size), options: ["memory=memory:12G", "null=null:12G"])
        let name = kind == "file" ? "disk" : kind
        let client = try image.server.open(.extended, name: name, contexts: ["base:allocation"])
        // One reply for hundreds of taskfiles, on a file system that may be busy.
        client.limitSeconds = 60
        let places = [0, 4096, 1 << 32, 5 << 30, (9 << 30) - 4096, 9 << 30, Int(size) - 4096]
        let data = pattern(4096)
        func fill() throws { for place in places { try client.performSuccessfully(.write(place, data)) } }
        func expectZeroes(_ range: Range<Int>) throws {
            guard kind != "null" else { return }
            for place in places {
                let expected = range.contains(place) ? .zeroes(4096) : data
                #expect(try client.read(place, 4096) == expected, "\(place) and \(range)")
            }
        }
        try fill()
        // 9 GiB less a block, from 4 KiB on: truncated to 32 bits it would be 1 GiB or nothing.
        try client.performSuccessfully(.zero(4096, (9 << 30) - 8192))
        try expectZeroes(4096..<(9 << 30) - 4096)
        try fill()
        try client.performSuccessfully(.trim(4096, (9 << 30) - 8192))
        try expectZeroes(4096..<(9 << 30) - 4096)
        try client.performSuccessfully(.zero(0, Int(size)))
        try expectZeroes(0..<Int(size))
        try client.performSuccessfully(.cache(0, Int(size)))
        #expect(try client.performSuccessfully(.status(0, size)).extents == [1: [.hole(size)]])
        for type in [CommandNumber.trim, CommandNumber.cache, CommandNumber.writeZeroes, CommandNumber.blockStatus] {
            let error = type == CommandNumber.writeZeroes ? ErrorNumber.noSpace : ErrorNumber.invalid
            for (offset, length) in [(512, size), (0, 1 << 63), (0, .max), (.max, .max), (1 << 63, 1 << 63)]
                as [(UInt64, UInt64)]
            {
                #expect(try client.perform(Request(type: type, offset: offset, length: length)).error == error)
            }
        }
        let read = try client.perform(Request(type: CommandNumber.read, length: 1 << 32))
        #expect(read.error == ErrorNumber.overflow)
    }

    // 178: a request with hundreds of thousands of steps lets others be served, and ends with its client.
    @Test func anExabyteDoesNotHoldOthersUp() throws {
        let image = try ServedImage(options: ["null=null:128P"])
        let busy = try image.server.open(.extended, name: "null")
        try busy.submit(Request(type: CommandNumber.writeZeroes, length: 1 << 57))
        let other = try image.server.open(.extended, name: "disk")
        for number in 0..<50 {
            try other.performSuccessfully(.write(number * 512, pattern(512)))
            #expect(try other.read(number * 512, 512) == pattern(512))
        }
        // The same client too, and the reply is still to come.
        try busy.submit(.read(0, 512))
        #expect(try busy.reply().data == .zeroes(512))
        busy.close()
        #expect(try other.read(0, 512) == pattern(512))
        #expect(try image.server.stop() == 0)
    }

    // 177: status of the contexts that are named, with the effect length in the payload.
    @Test func blockStatusWithPayload() throws {
        let content = pattern(65536)
        let image = try ServedImage(sizeBytes: Self.size, content: content)
        let client = try image.open(.extended, contexts: ["base:allocation"])
        let hole = Extent.hole(UInt64(Self.size) - 65536)
        let all = try client.performSuccessfully(.status(0, UInt64(Self.size), of: [1]))
        #expect(all.extents == [1: [.data(65536), hole]])
        let one = try client.performSuccessfully(.status(512, 1 << 19, of: [1], flags: CommandFlag.reqOne))
        #expect(one.extents == [1: [.data(65024)]])
        let wrong: [Request] = [
            .status(0, 4096, of: []), .status(0, 4096, of: [0]), .status(0, 4096, of: [2]),
            .status(0, 4096, of: [1, 1]), .status(0, 4096, of: [1, 2]), .status(0, 0, of: [1]),
            .status(0, UInt64(Self.size) + 1, of: [1]), .status(0, .max, of: [1]), .status(.max, .max, of: [1]),
            Request(type: 7, flags: CommandFlag.payloadLength, length: 5, payload: [1, 2, 3, 4, 5]),
            Request(type: 7, flags: CommandFlag.payloadLength),
        ]
        for request in wrong {
            let replies = try client.perform([request, .read(0, 4096)])
            #expect(replies[0].error == ErrorNumber.invalid && replies[0].message.count > 10, "\(request)")
            #expect(replies[1].data == content.bytes(0, 4096))
        }
        // Without extended headers the flag does not exist, and nothing follows the header.
        let compact = try image.open(.structured, contexts: ["base:allocation"])
        let replies = try compact.perform([
            Request(type: 7, flags: CommandFlag.payloadLength, length: 512), .read(0, 4096),
        ])
        #expect(replies[0].error == ErrorNumber.invalid && replies[1].data == content.bytes(0, 4096))
    }

    // 167: a client that vanishes in the middle of a payload of BLOCK_STATUS.
    @Test func vanishingInAStatusPayload() throws {
        let image = try ServedImage(sizeBytes: Self.size)
        for count in [1, 31, 32, 33, 43] {
            let client = try image.open(.extended, contexts: ["base:allocation"])
            try client.send([UInt8](client.register(.status(0, 512, of: [1])).bytes.prefix(count)))
            client.endSending()
            #expect(client.isClosedByServer())
        }
        #expect(try image.open(.extended).read(0, 512) == .zeroes(512))
        #expect(try image.server.stop() == 0)
    }
}
