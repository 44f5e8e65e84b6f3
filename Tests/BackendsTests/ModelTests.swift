// Random operations on every kind of medium against an array of bytes.

import Backends
import Blocks
import Glibc
import Seeded
import Support
import Testing

@Suite struct ModelTests {
    private static let kinds: [BackendOperation] = [
        .read, .read, .write, .write, .writeZeroes(mayDeallocate: true), .writeZeroes(mayDeallocate: false), .discard,
        .flush, .prefetch,
    ]

    /// Performs random operations on whole sectors of a medium; what it holds at first is `content`.
    ///
    /// - Returns: the content afterwards, and where the last write ended.
    private func check(
        _ backend: Backend, _ content: [UInt8], seed: UInt64, count: Int
    ) throws -> (content: [UInt8], writtenEnd: Int) {
        var generator = SeededGenerator(seed: seed)
        var bench = try BackendBench(backend)
        let sectors = (content.count + 511) / 512
        // The tail of the last sector reads as zeroes.
        var model = content + [UInt8](repeating: 0, count: sectors * 512 - content.count)
        var writtenEnd = 0
        for step in 0..<count {
            let request = Self.kinds.randomElement(using: &generator)!
            let first = Int.random(in: 0..<sectors, using: &generator)
            // A third goes up to the end.
            let most = sectors - first
            let length =
                (Int.random(in: 0..<3, using: &generator) == 0 ? most : .random(in: 1...most, using: &generator)) * 512
            let range = first * 512..<first * 512 + length
            let place = "seed \(seed), step \(step): \(request) of \(length) at \(range.lowerBound)"
            switch request {
            case .read:
                let bytes = try bench.read(at: UInt64(range.lowerBound), length)
                try #require(bytes == Array(model[range]), "\(place)")
            case .write:
                let bytes = [UInt8](repeating: UInt8.random(in: 1...255, using: &generator), count: length)
                let code = try bench.write(bytes, at: UInt64(range.lowerBound))
                try #require(code == 0, "\(place)")
                model.replaceSubrange(range, with: bytes)
                writtenEnd = max(writtenEnd, range.upperBound)
            case .flush:
                let code = try bench.perform(.flush)
                try #require(code == 0, "\(place)")
            case .writeZeroes, .discard, .prefetch:
                let code = try bench.perform(request, at: UInt64(range.lowerBound), length)
                try #require(code == 0, "\(place)")
                // All media here can give space back, which reads as zeroes.
                if request != .prefetch { model.replaceSubrange(range, with: [UInt8](repeating: 0, count: length)) }
            case .lookUp:
                Issue.record("a look-up is no task (ExtentTests)")
            }
        }
        let all = try bench.read(at: 0, sectors * 512)
        try #require(all == model, "seed \(seed)")
        return (model, writtenEnd)
    }

    /// Sizes that end within a sector, within a page, with a page.
    @Test(arguments: CacheMode.allCases, [1, 511, 512, 1000, 4096, 12_988, 262_144])
    func files(cache: CacheMode, size: Int) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let folder = try TemporaryFolder(onDisk: true)
        let content = (0..<size).map { UInt8(1 + $0 % 251) }
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: content)
        let backend = try Backend(path: path, cache: cache, readOnly: false)
        #expect(backend.sizeBytes == UInt64(size) && !backend.isReadOnly)
        let (model, writtenEnd) = try check(backend, content, seed: seed, count: 150)
        let flushes = try ImageFlushes(backend, loopCount: 3, in: OpenImages())
        #expect(flushes.synchronize() == 0)
        #expect(flushes.close(backend) == 0)
        // What is in the file, and how long it is: a write at the tail extends it to a whole sector, nothing else does.
        let bytes = try folder.bytes("disk.img")
        #expect(bytes.count >= size && bytes.count <= model.count)
        #expect(bytes.count >= min(writtenEnd, model.count), "seed \(seed)")
        #expect(bytes == Array(model[..<bytes.count]), "seed \(seed)")
    }

    @Test(arguments: [1, 512, 1000, 4096, 40_000, 1 << 20])
    func memory(size: Int) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let backend = try Backend(memoryOfSize: UInt64(size), readOnly: false)
        #expect(backend.sizeBytes == UInt64(size) && backend.granularityBytes == 1)
        _ = try check(backend, [UInt8](repeating: 0, count: size), seed: seed, count: 200)
    }

    /// Reads give zeroes whatever was written, on 128 PiB as on a sector.
    @Test(arguments: [UInt64(1), 512, 1 << 57])
    func nothing(size: UInt64) throws {
        let backend = Backend(nullOfSize: size, readOnly: false)
        #expect(backend.sizeBytes == size)
        var bench = try BackendBench(backend)
        let last = (size - 1) / 512 * 512
        let written = try bench.write([UInt8](repeating: 7, count: 512), at: last)
        #expect(written == 0)
        for request in Self.kinds {
            let code = try bench.perform(request, at: last, 512)
            #expect(code == 0)
        }
        let bytes = try bench.read(at: last, 512)
        #expect(bytes.allSatisfy { $0 == 0 })
        #expect(try ImageFlushes(backend, loopCount: 1, in: OpenImages()).synchronize() == 0)
        #expect(backend.beginning(byteCount: 512) == [UInt8](repeating: 0, count: 512))
        backend.close()
    }

    /// The first sector, with zeroes for what a short file does not have.
    @Test(arguments: [0, 1, 511, 512, 600])
    func bootSectors(size: Int) throws {
        let folder = try TemporaryFolder()
        let content = (0..<size).map { UInt8(1 + $0 % 251) }
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: content)
        let backend = try Backend(path: path, cache: .writeback, readOnly: true)
        defer { backend.close() }
        #expect(backend.beginning(byteCount: 512) == Array((content + [UInt8](repeating: 0, count: 512)).prefix(512)))
        #expect(
            try Backend(memoryOfSize: 4096, readOnly: true).beginning(byteCount: 512)
                == [UInt8](repeating: 0, count: 512))
    }
}
