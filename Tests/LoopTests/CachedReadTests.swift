// READs that are sent from the page cache: always the file's bytes, whatever becomes of the file meanwhile.

import Backends
import Foundation
import Seeded
import Support
import Testing

@testable import Loop
@testable import LoopSupport

@Suite struct CachedReadTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    /// Bytes of which no two sectors are alike: a random piece of a prime length again and again.
    private func pattern(_ count: Int, _ seed: UInt64) -> [UInt8] {
        var numbers = SeededGenerator(seed: seed)
        let piece = numbers.bytes(16_381)
        var bytes: [UInt8] = []
        while bytes.count < count { bytes += piece }
        return Array(bytes[..<count])
    }

    /// Asks for the same bytes so often that they are known to be in the page cache.
    private func warm(_ client: Client, at offset: Int, _ expected: ArraySlice<UInt8>) throws {
        for _ in 0..<8 { #expect(try read(client, at: offset, expected.count) == Array(expected)) }
    }

    private func read(_ client: Client, at offset: Int, _ count: Int) throws -> [UInt8] {
        try client.request(.read, at: UInt64(offset), UInt32(count))
        let header = try client.connection.receive(16)
        try #require(Array(header[..<8]) == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0])
        return try client.connection.receive(count)
    }

    /// A byte-array model: two loops, requests of any alignment, each area asked for often enough.
    @Test func readsAgreeWithAModel() throws {
        let seed: UInt64 = 20_260_101
        var numbers = SeededGenerator(seed: seed)
        let size = 1_000_000
        var model = pattern(size, seed)
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: model)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        let loops = try RunningLoops(backend, loops: 2, in: folder)
        let clients = try (0..<2).map { _ in try Client(loops.path) }
        // The drive ends at a sector.
        let end = size / 512 * 512
        for step in 0..<3000 {
            let client = clients[step % 2]
            let count = Int.random(in: 1...(step % 20 == 0 ? 200_000 : 9000), using: &numbers)
            let offset = Int.random(in: 0...end - count, using: &numbers)
            if step % 5 == 0 {
                let bytes = numbers.bytes(count)
                try client.write(bytes, at: UInt64(offset))
                try client.reply()
                model.replaceSubrange(offset..<offset + count, with: bytes)
            } else {
                let bytes = try read(client, at: offset, count)
                try #require(bytes == Array(model[offset..<offset + count]), "seed \(seed), step \(step)")
            }
        }
        for client in clients { client.connection.close() }
        #expect(try loops.stop())
    }

    /// The file shrinks under a mapping that is in use: what is gone reads as zeroes, and nobody is cut off.
    @Test func aFileThatShrinksReadsAsZeroes() throws {
        let size = 1 << 20
        let content = pattern(size, 3)
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: content)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        let loops = try RunningLoops(backend, in: folder)
        let client = try Client(loops.path)
        let start = 300_000 / 512 * 512
        try warm(client, at: start, content[start..<start + 200_000])
        #expect(truncate(path, 400_000) == 0)
        let left = 400_000 - start
        let expected = Array(content[start..<400_000]) + [UInt8](repeating: 0, count: 200_000 - left)
        for _ in 0..<20 { #expect(try read(client, at: start, 200_000) == expected) }
        // What others asked for is not in the way, and answers stay in their order.
        for cookie in 0..<20 { try client.request(.read, at: UInt64(start), 65_536 * 2, cookie: UInt64(cookie)) }
        for _ in 0..<20 { try client.reply(65_536 * 2) }
        client.connection.close()
        #expect(try loops.stop())
    }

    /// The file shrinks while replies wait for a client that does not read.
    @Test func aFileThatShrinksBehindWaitingReplies() throws {
        let size = 4 << 20
        let content = pattern(size, 4)
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: content)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        let loops = try RunningLoops(backend, in: folder)
        let client = try Client(loops.path)
        let count = 1 << 20
        try warm(client, at: 0, content[..<count])
        for cookie in 0..<30 { try client.request(.read, at: 0, UInt32(count), cookie: UInt64(cookie)) }
        // The first one is on its way, and the others cannot follow it into the socket.
        var header = try client.connection.receive(16)
        #expect(truncate(path, 0) == 0)
        for number in 0..<30 {
            if number > 0 { header = try client.connection.receive(16) }
            try #require(Array(header[..<8]) == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0])
            let bytes = try client.connection.receive(count)
            // Which of them are sent before is the server's affair; each byte is one that the image had.
            for (place, byte) in bytes.enumerated() where byte != 0 && byte != content[place] {
                Issue.record("reply \(number), byte \(place)")
                break
            }
            if number == 29 { #expect(bytes.allSatisfy { $0 == 0 }) }
        }
        client.connection.close()
        #expect(try loops.stop())
    }

    /// Clients that go away while replies from the page cache wait for them.
    @Test func clientsThatDoNotRead() throws {
        let size = 4 << 20
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: pattern(size, 5))
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        // The clients are gone when the loops are stopped: they need no time, and a busy machine may take some.
        var limits = Limits()
        limits.shutdownSeconds = 60
        let loops = try RunningLoops(backend, loops: 2, limits: limits, in: folder)
        for _ in 0..<20 {
            let client = try Client(loops.path)
            for cookie in 0..<200 { try client.request(.read, at: 4096, 1 << 18, cookie: UInt64(cookie)) }
            _ = try client.connection.receive(16)
        }
        #expect(try loops.stop(), "a connection has been forgotten")
    }

    /// What is stored goes out in one piece to a client that understands chunks, from the page cache; holes are said.
    @Test func chunksOfWhatIsStoredAndHoles() throws {
        let size = 4 << 20
        let content = pattern(1 << 20, 6)
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: content)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        let cache = try #require(backend.pageCache)
        #expect(cache.residentBytes(at: 4096, count: 1 << 19) != nil, "what was just written is in the page cache")
        let descriptor = open(path, O_RDWR)
        defer { close(descriptor) }
        #expect(fsync(descriptor) == 0 && posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0)
        #expect(cache.residentBytes(at: 4096, count: 1 << 19) == nil, "the page cache was emptied")
        #expect(cache.residentBytes(at: UInt64(size) - 4096, count: 8192) == nil)
        #expect(cache.residentBytes(at: UInt64.max, count: 4096) == nil)
    }
}
