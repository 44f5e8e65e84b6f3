// BLOCK_STATUS (checklist L): what is a hole and what is data, in files, memory and nowhere.

import Foundation
import Support
import Testing

@Suite struct BlockStatusTests {
    private static let contexts = ["base:allocation"]
    private static let allocation: UInt32 = 1

    /// The extents of one context; the client has checked that they are what the document allows.
    private func extents(_ client: Client, _ request: Request) throws -> [Extent] {
        let reply = try client.performSuccessfully(request)
        return reply.extents.first?.value ?? []
    }

    /// All extents of a range, asked for as often as it takes, with neighbours of one kind put together.
    private func map(_ client: Client, _ start: UInt64, _ end: UInt64, step: UInt64 = .max) throws -> [Extent] {
        var result: [Extent] = []
        var position = start
        while position < end {
            for extent in try extents(client, .status(position, min(end - position, step))) {
                let inside = Extent(length: min(extent.length, end - position), flags: extent.flags)
                position += inside.length
                if result.last?.flags == inside.flags {
                    result[result.count - 1].length += inside.length
                } else if inside.length > 0 {
                    result.append(inside)
                }
            }
        }
        return result
    }

    /// Writes data into a file that is a hole otherwise.
    private func write(_ path: String, _ places: [UInt64], count: Int = 65536) throws {
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        for place in places {
            try handle.seek(toOffset: place)
            try handle.write(contentsOf: Data(pattern(count)))
        }
        try handle.close()
    }

    // 147: without a context it is refused, in every style, and the connection goes on.
    @Test(arguments: Style.allCases)
    func withoutAContextItIsRefused(style: Style) throws {
        let client = try ServedImage().open(style)
        let reply = try client.perform(.status(0, 4096))
        #expect(reply.error == ErrorNumber.invalid)
        if style != .simple { #expect(reply.message.count > 10) }
        #expect(try client.read(0, 512) == .zeroes(512))
    }

    // 148 - 150, 152, 153: a sparse file, in each way that it can be opened.
    @Test(arguments: [Style.structured, .extended], ["writeback", "none"])
    func aSparseFileShowsItsHoles(style: Style, mode: String) throws {
        let size = 8 << 20
        let image = try ServedImage(sizeBytes: size, options: ["--cache", mode])
        try write(image.path, [1 << 20, 6 << 20])
        let client = try image.open(style, contexts: Self.contexts)
        let mebibyte: UInt64 = 1 << 20
        let data: UInt64 = 65536
        #expect(
            try map(client, 0, UInt64(size)) == [
                .hole(mebibyte), .data(data), .hole(5 * mebibyte - data), .data(data), .hole(2 * mebibyte - data),
            ])
        #expect(try extents(client, .status(0, UInt64(size), flags: CommandFlag.reqOne)) == [.hole(mebibyte)])
        #expect(try extents(client, .status(mebibyte + 512, 512)) == [.data(512)])
        #expect(try extents(client, .status(mebibyte - 512, 1024)) == [.hole(512), .data(512)])
        // Unaligned, which is allowed to a client that was not told a minimum block size.
        #expect(try extents(client, .status(mebibyte - 700, 701)) == [.hole(700), .data(1)])
        #expect(try extents(client, .status(mebibyte - 1, 1)) == [.hole(1)])
        // Written blocks are data at once, zeroed ones a hole.
        try client.performSuccessfully(.write(4 << 20, pattern(65536)))
        #expect(try extents(client, .status(4 << 20, data)) == [.data(data)])
        try client.performSuccessfully(.zero(6 << 20, 65536))
        #expect(try extents(client, .status(6 << 20, data)) == [.hole(data)])
        try client.performSuccessfully(.zero(6 << 20, 65536, flags: CommandFlag.noHole))
        #expect(try client.read(6 << 20, 65536) == .zeroes(65536))
    }

    // 96: behind the end of a file that is no multiple of a sector there is nothing, within its last sector there is.
    @Test func theTailOfAnOddFile() throws {
        let folder = try TemporaryFolder()
        let data = try folder.file("data", sizeBytes: 4097, beginning: pattern(4097))
        let sparse = try folder.file("sparse", sizeBytes: 8192 + 100)
        let server = try RunningServer(["data=" + data, "sparse=" + sparse], in: folder)
        let first = try server.open(.structured, name: "data", contexts: Self.contexts)
        #expect(try map(first, 0, 4608) == [.data(4608)])
        let second = try server.open(.structured, name: "sparse", contexts: Self.contexts)
        #expect(try map(second, 0, 8704) == [.hole(8704)])
        #expect(try second.perform(.status(8192, 513)).error == ErrorNumber.invalid)
    }

    // 148, 153: memory knows its pages, and nowhere is a hole.
    @Test(arguments: [Style.structured, .extended])
    func memoryKnowsItsPages(style: Style) throws {
        let image = try ServedImage(options: ["memory:64M", "null:64M"])
        let client = try image.server.open(style, name: "memory", contexts: Self.contexts)
        let size: UInt64 = 64 << 20
        #expect(try map(client, 0, size) == [.hole(size)])
        try client.performSuccessfully(.write(4096, [1]))
        try client.performSuccessfully(.write(1 << 20, pattern(10_000)))
        #expect(
            try map(client, 0, size) == [
                .hole(4096), .data(4096), .hole((1 << 20) - 8192), .data(12288), .hole(size - (1 << 20) - 12288),
            ])
        try client.performSuccessfully(.trim((1 << 20) + 100, 8192 + 4000))
        #expect(try map(client, 1 << 20, 2 << 20) == [.data(4096), .hole((1 << 20) - 4096)])
        try client.performSuccessfully(.zero(0, 1 << 19, flags: CommandFlag.noHole))
        #expect(try map(client, 0, 1 << 20) == [.data(1 << 19), .hole(1 << 19)])
        try client.performSuccessfully(.zero(0, 1 << 20))
        #expect(try map(client, 0, 1 << 20) == [.hole(1 << 20)])
        let nowhere = try image.server.open(style, name: "null", contexts: Self.contexts)
        try nowhere.performSuccessfully(.write(0, pattern(4096)))
        #expect(try map(nowhere, 0, size) == [.hole(size)])
    }

    // 151: a file in shreds, told in parts.
    @Test(arguments: [Style.structured, .extended])
    func aShreddedFile(style: Style) throws {
        let count = 1000
        let unit: UInt64 = 65536
        let image = try ServedImage(sizeBytes: 2 * count * Int(unit))
        try write(image.path, (0..<count).map { UInt64($0) * 2 * unit }, count: 4096)
        let client = try image.open(style, contexts: Self.contexts)
        let first = try extents(client, .status(0, UInt64(image.sizeBytes)))
        #expect((1...1 << 20).contains(first.count))
        let all = try map(client, 0, UInt64(image.sizeBytes))
        // A file system may give a write more than it asked for.
        #expect(all.count == 2 * count)
        for (number, extent) in all.enumerated() { #expect(extent.flags == (number % 2 == 0 ? 0 : 3)) }
        #expect(all.reduce(0) { $0 + $1.length } == UInt64(image.sizeBytes))
    }

    // 95, 155: lengths at the end of 32 bits, on files and elsewhere.
    @Test(arguments: [0xFFFF_FFFF, 0xFFFF_FE00, 0xFFFF_F000, 0x8000_0000] as [UInt64])
    func lengthsNearTheEndOf32Bits(length: UInt64) throws {
        let size: UInt64 = 6 << 30
        let image = try ServedImage(sizeBytes: Int(size), options: ["null=null:6G"])
        try write(image.path, [4 << 30])
        for (name, hasData) in [("disk", true), ("null", false)] {
            let client = try image.server.open(.structured, name: name, contexts: Self.contexts)
            #expect(try map(client, 0, length) == [.hole(length)])
            #expect(try extents(client, .status(0, length, flags: CommandFlag.reqOne)) == [.hole(length)])
            let behind: UInt64 = (4 << 30) + 65536
            let expected: [Extent] = hasData ? [.data(65536), .hole(size - behind)] : [.hole(size - (4 << 30))]
            #expect(try map(client, 4 << 30, size, step: length) == expected)
            #expect(try map(client, size - length, size).reduce(0) { $0 + $1.length } == length)
            #expect(try client.perform(.status(size - length + 1, length)).error == ErrorNumber.invalid)
        }
    }

    // 106, 154, 105: past the end, far past it, of no length.
    @Test(arguments: [Style.structured, .extended])
    func rangesThatAreNotThere(style: Style) throws {
        let client = try ServedImage(sizeBytes: 65536).open(style, contexts: Self.contexts)
        for (offset, length) in [
            (65536, 512), (65024, 1024), (0, 65537), (.max, 1), (.max - 511, 512), (1 << 63, 0xFFFF_FFFF), (0, 0),
        ] as [(UInt64, UInt64)] {
            #expect(try client.perform(.status(offset, length)).error == ErrorNumber.invalid)
        }
        #expect(try client.perform(.status(0, 512, flags: CommandFlag.noHole)).error == ErrorNumber.invalid)
        #expect(try map(client, 0, 65536) == [.hole(65536)])
    }

    // 108, 163: reading the map is no writing.
    @Test func aReadOnlyExportHasAMapToo() throws {
        let image = try ServedImage(content: pattern(1 << 20), options: ["--read-only"])
        let client = try image.open(.structured, contexts: Self.contexts)
        #expect(try map(client, 0, 1 << 20) == [.data(1 << 20)])
    }

    // 130: READ is answered in chunks as before while the map is asked for, all in one go.
    @Test(arguments: [Style.structured, .extended])
    func mapAndDataTogether(style: Style) throws {
        let content = pattern(65536)
        let image = try ServedImage(content: content)
        let client = try image.open(style, contexts: Self.contexts)
        let replies = try client.perform(
            (0..<60).map { $0 % 2 == 0 ? .status(0, 1 << 20) : .read($0 * 512, 512) })
        for (number, reply) in replies.enumerated() {
            #expect(reply.error == 0)
            if number % 2 == 0 {
                #expect(reply.extents == [Self.allocation: [.data(65536), .hole((1 << 20) - 65536)]])
            } else {
                #expect(reply.data == content.bytes(number * 512, 512))
            }
        }
    }
}
