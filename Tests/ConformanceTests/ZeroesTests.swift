// WRITE_ZEROES, TRIM, and the space they give back or keep (checklist J).

import Support
import Testing

@Suite struct ZeroesTests {
    private static let size = 8 << 20

    // 121: without flags the space may go; the bytes are zero.
    @Test func zeroesReadAsZeroesAndMayGiveSpaceBack() throws {
        let image = try ServedImage(sizeBytes: Self.size, content: pattern(Self.size))
        let client = try image.open()
        try client.performSuccessfully(.flush)
        let before = try image.allocatedBytes()
        try client.performSuccessfully(.zero(0, 4 << 20))
        try client.performSuccessfully(.flush)
        #expect(try image.bytes(0, 4 << 20).difference(from: .zeroes(4 << 20)) == nil)
        #expect(try image.bytes(4 << 20).difference(from: pattern(Self.size).bytes(4 << 20, 4 << 20)) == nil)
        #expect(try image.allocatedBytes() <= before - (3 << 20))
    }

    // 122: with NO_HOLE the range is allocated afterwards, be it a hole or data before.
    @Test(arguments: [true, false])
    func noHoleAllocates(startsSparse: Bool) throws {
        let image = try ServedImage(sizeBytes: Self.size, content: startsSparse ? [] : pattern(Self.size))
        let client = try image.open()
        try client.performSuccessfully(.zero(0, Self.size, flags: CommandFlag.noHole))
        try client.performSuccessfully(.flush)
        #expect(try image.allocatedBytes() >= Self.size)
        #expect(try image.bytes().difference(from: .zeroes(Self.size)) == nil)
    }

    // 121, 122: exact at ends that are no sector boundaries.
    @Test(arguments: [0, CommandFlag.noHole], [(1, 5), (511, 2), (1000, 100_000), (4095, 8194), (65537, 65535)])
    func zeroesAreExact(flags: UInt16, range: (offset: Int, count: Int)) throws {
        var model = pattern(256 << 10)
        let image = try ServedImage(sizeBytes: 256 << 10, content: model)
        let client = try image.open()
        try client.performSuccessfully(.zero(range.offset, range.count, flags: flags))
        model.overwrite(range.offset, with: .zeroes(range.count))
        #expect(try client.read(0, 256 << 10).difference(from: model) == nil)
        #expect(try image.bytes().difference(from: model) == nil)
    }

    // 123, 124: FAST_ZERO zeroes or says ENOTSUP at once with nothing changed; without it ENOTSUP never comes. Memory
    // can give pages back, but cannot keep them without writing.
    @Test func fastZeroIsFastOrRefused() throws {
        let image = try ServedImage(options: ["memory:64M"])
        let client = try image.server.open("memory", structured: true)
        let content = pattern(1 << 20)
        try client.performSuccessfully(.write(0, content))
        let refused = try client.perform(.zero(0, 64 << 20, flags: CommandFlag.fastZero | CommandFlag.noHole))
        #expect(refused.error == ErrorNumber.notSupported)
        #expect(try client.read(0, 1 << 20).difference(from: content) == nil)
        try client.performSuccessfully(.zero(0, 4096, flags: CommandFlag.noHole))
        try client.performSuccessfully(.zero(8192, 10_000, flags: CommandFlag.fastZero))
        #expect(try client.read(0, 4096) == .zeroes(4096))
        #expect(try client.read(4096, 4096) == content.bytes(4096, 4096))
        #expect(try client.read(8192, 10_001) == .zeroes(10_000) + content.bytes(18192, 1))
    }

    // 123: the same on a file, whatever its file system can do.
    @Test(arguments: [CommandFlag.fastZero, CommandFlag.fastZero | CommandFlag.noHole])
    func fastZeroOnAFileIsDoneOrChangesNothing(flags: UInt16) throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(content: content)
        let client = try image.open()
        let reply = try client.perform(.zero(0, 1 << 20, flags: flags))
        #expect([0, ErrorNumber.notSupported].contains(reply.error))
        let expected = reply.error == 0 ? .zeroes(1 << 20) : content
        #expect(try client.read(0, 1 << 20).difference(from: expected) == nil)
    }

    // 120: TRIM punches a hole, and what it leaves reads as it did.
    @Test func trimPunchesAHole() throws {
        let content = pattern(Self.size)
        let image = try ServedImage(sizeBytes: Self.size, content: content)
        let client = try image.open()
        try client.performSuccessfully(.flush)
        let before = try image.allocatedBytes()
        try client.performSuccessfully(.trim(1 << 20, 4 << 20))
        try client.performSuccessfully(.flush)
        #expect(try image.allocatedBytes() <= before - (3 << 20))
        #expect(try image.bytes(0, 1 << 20).difference(from: content.bytes(0, 1 << 20)) == nil)
        #expect(try image.bytes(5 << 20).difference(from: content.bytes(5 << 20, 3 << 20)) == nil)
        // Writing there again works.
        try client.performSuccessfully(.write(2 << 20, content.bytes(0, 4096)))
        #expect(try client.read(2 << 20, 4096) == content.bytes(0, 4096))
    }

    // 121: an image that is sparse stays so: reading it allocates nothing, writing a block allocates little.
    @Test func aSparseImageStaysSparse() throws {
        let image = try ServedImage(sizeBytes: 1 << 30)
        let client = try image.open()
        for place in stride(from: 0, to: 1 << 30, by: 1 << 26) {
            #expect(try client.read(place, 1 << 20).difference(from: .zeroes(1 << 20)) == nil)
        }
        try client.performSuccessfully(.write(1 << 29, pattern(4096)))
        try client.performSuccessfully(.zero(0, 1 << 29))
        try client.performSuccessfully(.flush)
        #expect(try image.allocatedBytes() < 1 << 20)
        #expect(try image.bytes(1 << 29, 4096) == pattern(4096))
    }
}
