// What of an image is stored and what is a hole (lseek(2), SEEK_DATA and SEEK_HOLE), and the map of an image in memory.

import Blocks
import Glibc
import IOUring
import Seeded
import Support
import Testing

@testable import Backends

@Suite struct ExtentTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    /// The extents of a whole medium, which have to follow each other without a gap, in whole sectors.
    private func extents(_ backend: Backend, _ size: UInt64, step: UInt64 = .max) throws -> [BackendExtent] {
        var all: [BackendExtent] = []
        var position: UInt64 = 0
        while position < size {
            let extent = backend.extent(at: position, limit: min(size - position, step), blockSize: .smallest)
            try #require(extent.lengthBytes > 0 && extent.lengthBytes % 512 == 0)
            try #require(extent.lengthBytes <= min(size - position, step))
            position += extent.lengthBytes
            if all.last?.isMapped == extent.isMapped {
                all[all.count - 1].lengthBytes += extent.lengthBytes
            } else {
                all.append(extent)
            }
        }
        return all
    }

    private func data(_ length: UInt64) -> BackendExtent { BackendExtent(isMapped: true, lengthBytes: length) }
    private func hole(_ length: UInt64) -> BackendExtent { BackendExtent(isMapped: false, lengthBytes: length) }

    @Test(arguments: [CacheMode.writeback, .none, .unsafe], [false, true])
    func aSparseFile(cache: CacheMode, isReadOnly: Bool) throws {
        let path = try folder.file("disk.img", sizeBytes: 6 << 30)
        let descriptor = open(path, O_RDWR)
        let bytes = [UInt8](repeating: 1, count: 65536)
        for place in [1 << 20, 1 << 32, (6 << 30) - 65536] {
            try #require(pwrite(descriptor, bytes, bytes.count, place) == bytes.count)
        }
        close(descriptor)
        let backend = try Backend(path: path, cache: cache, readOnly: isReadOnly)
        defer { backend.close() }
        let expected = [
            hole(1 << 20), data(65536), hole((1 << 32) - (1 << 20) - 65536), data(65536),
            hole((2 << 30) - 2 * 65536), data(65536),
        ]
        #expect(try extents(backend, 6 << 30) == expected)
        #expect(try extents(backend, 6 << 30, step: 100 << 20) == expected)
        #expect(backend.extent(at: 1 << 20, limit: 512, blockSize: .smallest) == data(512))
        #expect(backend.extent(at: (1 << 20) + 65024, limit: 1 << 20, blockSize: .smallest) == data(512))
        #expect(backend.extent(at: (1 << 20) + 65536, limit: 512, blockSize: .smallest) == hole(512))
    }

    /// The end of the file lies in a sector: that one is stored as far as it is, behind it there is nothing.
    @Test func behindTheEndOfAFile() throws {
        let path = try folder.file("odd.img", sizeBytes: 5000, beginning: [UInt8](repeating: 1, count: 5000))
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        #expect(try extents(backend, 5120) == [data(5120)])
        #expect(backend.extent(at: 5120, limit: 1 << 20, blockSize: .smallest) == hole(1 << 20))
        #expect(backend.extent(at: 1 << 57, limit: 1 << 40, blockSize: .smallest) == hole(1 << 40))
    }

    /// What cannot be asked for its holes has none.
    @Test func aFileThatCannotTell() throws {
        var pipes: [Int32] = [0, 0]
        try #require(pipe(&pipes) == 0)
        defer { for descriptor in pipes { close(descriptor) } }
        let file = FileBackend(
            descriptor: pipes[0], bufferedDescriptor: pipes[0], number: nil, granularityBytes: 512,
            ignoresFlushes: false,
            abilities: try FileAbilities(canPunchHoles: false, canZeroRanges: false),
            zeroes: try SharedMemory(byteCount: Int(FileBackend.zeroesByteCount)))
        #expect(file.extent(at: 4096, limit: 1 << 40, blockSize: .smallest) == data(1 << 40))
    }

    @Test func nowhereIsAHole() throws {
        let backend = Backend(nullOfSize: 1 << 57, readOnly: false)
        #expect(backend.extent(at: 0, limit: 1 << 57, blockSize: .smallest) == hole(1 << 57))
        #expect(backend.extent(at: (1 << 57) - 512, limit: 512, blockSize: .smallest) == hole(512))
    }

    /// Random changes of memory and of a file: what is not zero is never said to be a hole, and what was discarded in
    /// whole pages of memory is one.
    @Test(arguments: [false, true])
    func whatIsNoHoleIsNeverSaidToBeOne(inMemory: Bool) throws {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        let size = 4 << 20
        let zeroes = [UInt8](repeating: 0, count: size)
        let backend =
            inMemory
            ? try Backend(memoryOfSize: UInt64(size), readOnly: false)
            : try Backend(path: folder.file("disk.img", sizeBytes: UInt64(size)), cache: .writeback, readOnly: false)
        defer { backend.close() }
        var bench = try BackendBench(backend)
        for step in 0..<150 {
            let offset = Int.random(in: 0..<size / 512, using: &generator) * 512
            let length = min(Int.random(in: 1...300, using: &generator) * 512, size - offset)
            let request = [
                BackendOperation.write, .discard, .writeZeroes(mayDeallocate: true), .writeZeroes(mayDeallocate: false),
            ]
            .randomElement(using: &generator)!
            let code =
                request == .write
                ? try bench.write([UInt8](repeating: 7, count: length), at: UInt64(offset))
                : try bench.perform(request, at: UInt64(offset), length)
            try #require(code == 0)
            let content = try bench.read(at: 0, size)
            var position = 0
            for extent in try extents(backend, UInt64(size), step: UInt64.random(in: 1...4000, using: &generator) * 512)
            {
                let end = position + Int(extent.lengthBytes)
                let isZero = content.withUnsafeBytes {
                    memcmp($0.baseAddress! + position, zeroes, end - position) == 0
                }
                try #require(extent.isMapped || isZero, "seed \(seed), step \(step)")
                position = end
            }
            guard inMemory, request == .discard else { continue }
            let first = (offset + 4095) / 4096 * 4096
            let last = (offset + length) / 4096 * 4096
            guard first < last else { continue }
            let emptied = backend.extent(at: UInt64(first), limit: UInt64(last - first), blockSize: .smallest)
            #expect(emptied == hole(UInt64(last - first)), "seed \(seed), step \(step)")
        }
    }

    // MARK: The map

    /// Random ranges against an array, around the words that the bits are in.
    @Test func theMapIsAnArrayOfPages() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        let count: UInt64 = 300
        let map = try PageMap(pageCount: count)
        var model = [Bool](repeating: false, count: Int(count))
        for step in 0..<2000 {
            let first = UInt64.random(in: 0...count, using: &generator)
            let last = min(first + UInt64.random(in: 0...150, using: &generator), count)
            let isSet = Bool.random(using: &generator)
            if isSet { map.set(first..<last) } else { map.clear(first..<last) }
            for page in first..<last { model[Int(page)] = isSet }
            let start = UInt64.random(in: 0..<count, using: &generator)
            let end = UInt64.random(in: start + 1...count, using: &generator)
            let run = map.run(in: start..<end)
            let expected = model[Int(start)..<Int(end)].prefix { $0 == model[Int(start)] }.count
            try #require(
                run.isWritten == model[Int(start)] && run.count == UInt64(expected), "seed \(seed), step \(step)")
        }
    }
}
