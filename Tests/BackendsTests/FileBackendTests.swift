// Raw files: space that is given back or kept, descriptors with and without O_DIRECT, file systems that cannot or are
// full.

import Glibc
import IOUring
import Support
import Testing

@testable import Backends

@Suite struct RawFileTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    /// A raw file on descriptors of the test's choice.
    private func backend(
        _ descriptor: Int32, buffered: Int32? = nil, granularity: UInt64 = 512, ignoresFlushes: Bool = false,
        canPunchHoles: Bool = true, canZeroRanges: Bool = true
    ) throws -> Backend {
        let file = FileBackend(
            descriptor: descriptor, bufferedDescriptor: buffered ?? descriptor, number: nil,
            granularityBytes: granularity,
            ignoresFlushes: ignoresFlushes,
            abilities: try FileAbilities(canPunchHoles: canPunchHoles, canZeroRanges: canZeroRanges),
            zeroes: try SharedMemory(byteCount: Int(FileBackend.zeroesByteCount)))
        return Backend(
            kind: .file(file), sizeBytes: 1 << 30, isReadOnly: false, granularityBytes: UInt32(granularity),
            zeroesFastByDeallocating: canPunchHoles, zeroesFastAllocated: canZeroRanges)
    }

    private func descriptor(_ path: String, _ flags: Int32 = O_RDWR) throws -> Int32 {
        let descriptor = open(path, flags | O_CLOEXEC, 0o600)
        try #require(descriptor >= 0, "\(path): \(errorText(errno))")
        return descriptor
    }

    // MARK: Space

    @Test func writingNowTellsOfFailures() throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("disk.img", sizeBytes: 8192)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 1024, alignment: 16)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 3, count: 1024)
        for (file, flags, code) in [(path, O_RDWR, 0), ("/dev/full", O_RDWR, ENOSPC), (path, O_RDONLY, EBADF)] {
            let descriptor = try descriptor(file, flags)
            defer { close(descriptor) }
            var task = BackendTask(.write, offset: 512, length: 1024, buffer: memory)
            #expect(task.bytesToWrite == 1024)
            let progress = try #require(try backend(descriptor).pageCache).writeNow(&task)
            #expect(progress == (code == 0 ? .finished : .failed(code)))
        }
        let content = try folder.bytes("disk.img")
        #expect(
            content == [UInt8](repeating: 0, count: 512) + [UInt8](repeating: 3, count: 1024)
                + [UInt8](repeating: 0, count: 6656))
    }

    @Test func openingLeavesAFileAsItIs() throws {
        let path = try folder.file("disk.img", sizeBytes: 1 << 20, beginning: [1, 2, 3])
        let before = try status(path)
        for cache in CacheMode.allCases {
            try Backend(path: path, cache: cache, readOnly: false).close()
            try Backend(path: path, cache: cache, readOnly: true).close()
        }
        let after = try status(path)
        #expect(after.st_size == before.st_size && after.st_blocks == before.st_blocks)
        #expect(after.st_ctim.tv_sec == before.st_ctim.tv_sec && after.st_ctim.tv_nsec == before.st_ctim.tv_nsec)
    }

    @Test func discardingAndZeroingGiveSpaceBack() throws {
        let path = try folder.file(
            "disk.img", sizeBytes: 1 << 20, beginning: [UInt8](repeating: 1, count: 1 << 20))
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        #expect(backend.zeroesFastByDeallocating)
        var bench = try BackendBench(backend)
        let synchronized = try bench.perform(.flush)
        let full = try status(path).st_blocks
        try #require(synchronized == 0 && full >= 2048)
        let discarded = try bench.perform(.discard, at: 0, 1 << 19)
        let half = try status(path).st_blocks
        #expect(discarded == 0 && half <= full - 1024)
        let zeroed = try bench.perform(.writeZeroes(mayDeallocate: true), at: 1 << 19, 1 << 18)
        #expect(try zeroed == 0 && status(path).st_blocks <= half - 512)
        let bytes = try bench.read(at: 0, 1 << 20)
        #expect(bytes[..<(3 << 18)].allSatisfy { $0 == 0 } && bytes[(3 << 18)...].allSatisfy { $0 == 1 })
        #expect(try status(path).st_size == 1 << 20)
    }

    /// NO_HOLE: later writes cannot fail for want of space.
    @Test func zeroesThatKeepTheirSpaceHaveIt() throws {
        let path = try folder.file("disk.img", sizeBytes: 1 << 20)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        var bench = try BackendBench(backend)
        try #require(try status(path).st_blocks == 0)
        let code = try bench.perform(.writeZeroes(mayDeallocate: false), at: 4096, 1 << 18)
        let flushed = try bench.perform(.flush)
        #expect(try code == 0 && flushed == 0 && status(path).st_blocks >= 512)
        let written = try bench.write([UInt8](repeating: 7, count: 8192), at: 0)
        let again = try bench.perform(.writeZeroes(mayDeallocate: false), at: 0, 4096)
        #expect(written == 0 && again == 0)
        let bytes = try bench.read(at: 0, 8192)
        #expect(bytes[..<4096].allSatisfy { $0 == 0 } && bytes[4096...].allSatisfy { $0 == 7 })
    }

    /// Without the fallocate(2) modes, known beforehand or found out, zeroes are written, in pieces.
    @Test(arguments: [true, false])
    func zeroesByHand(isKnown: Bool) throws {
        // A tmpfs cannot zero ranges.
        let path = "/dev/shm/spindle-\(UInt64.random(in: 0...UInt64.max))"
        let file = try descriptor(path, O_RDWR | O_CREAT | O_EXCL)
        unlink(path)
        defer { close(file) }
        var bench = try BackendBench(
            try backend(file, canPunchHoles: !isKnown, canZeroRanges: !isKnown))
        let length = 3 << 18 | 512
        let written = try bench.write([UInt8](repeating: 9, count: length + 1024), at: 0)
        try #require(written == 0)
        let code = try bench.perform(.writeZeroes(mayDeallocate: false), at: 512, length)
        #expect(code == 0)
        let bytes = try bench.read(at: 0, length + 1024)
        #expect(bytes[512..<512 + length].allSatisfy { $0 == 0 })
        #expect(bytes[..<512].allSatisfy { $0 == 9 } && bytes[(512 + length)...].allSatisfy { $0 == 9 })
        let holes = try bench.perform(.writeZeroes(mayDeallocate: true), at: 0, length + 1024)
        let zeroes = try bench.read(at: 0, length + 1024)
        #expect(holes == 0 && zeroes.allSatisfy { $0 == 0 })
    }

    @Test func whatIsFastIsKnown() throws {
        let path = "/dev/shm/spindle-\(UInt64.random(in: 0...UInt64.max))"
        close(try descriptor(path, O_RDWR | O_CREAT | O_EXCL))
        defer { unlink(path) }
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        #expect(backend.zeroesFastByDeallocating && !backend.zeroesFastAllocated)
        backend.close()
        let protected = try Backend(path: path, cache: .writeback, readOnly: true)
        #expect(protected.isReadOnly && !protected.zeroesFastByDeallocating && !protected.zeroesFastAllocated)
        protected.close()
        let memory = try Backend(memoryOfSize: 512, readOnly: true)
        #expect(memory.isReadOnly && memory.zeroesFastByDeallocating && !memory.zeroesFastAllocated)
        let null = Backend(nullOfSize: 512, readOnly: false)
        #expect(null.zeroesFastByDeallocating && null.zeroesFastAllocated)
    }

    // MARK: Descriptors

    /// Two files in place of one file's two descriptors show which one is used.
    @Test func whatIsNotAlignedGoesRoundODirect() throws {
        let aligned = try folder.file("aligned", sizeBytes: 1 << 16)
        let other = try folder.file("other", sizeBytes: 1 << 16)
        let descriptors = try (descriptor(aligned), descriptor(other))
        defer {
            close(descriptors.0)
            close(descriptors.1)
        }
        var bench = try BackendBench(try backend(descriptors.0, buffered: descriptors.1, granularity: 4096))
        let rows: [(offset: UInt64, length: Int, isAligned: Bool)] = [
            (0, 4096, true), (4096, 8192, true), (512, 4096, false), (4096, 512, false), (0, 4608, false),
            (3584, 512, false),
        ]
        for (number, row) in rows.enumerated() {
            let bytes = [UInt8](repeating: UInt8(number + 1), count: row.length)
            let code = try bench.write(bytes, at: row.offset)
            #expect(code == 0)
            let (used, unused) = row.isAligned ? ("aligned", "other") : ("other", "aligned")
            #expect(try folder.bytes(used, from: row.offset, count: row.length) == bytes, "\(row)")
            #expect(try folder.bytes(unused, from: row.offset, count: row.length) != bytes, "\(row)")
            let back = try bench.read(at: row.offset, row.length)
            #expect(back == bytes, "\(row)")
        }
        // Nothing is cached, so there is nothing to fetch.
        #expect(try bench.isDoneAtOnce(.prefetch))
    }

    /// The flags of an open file (proc(5), fdinfo), which show O_DIRECT.
    private func flags(_ descriptor: Int32) -> Int32 { fcntl(descriptor, F_GETFL) }

    @Test(arguments: CacheMode.allCases)
    func cacheModes(cache: CacheMode) throws {
        let path = try folder.file("disk.img", sizeBytes: 1 << 16)
        let backend = try Backend(path: path, cache: cache, readOnly: false)
        defer { backend.close() }
        guard case .file(let file) = backend.kind else {
            Issue.record("no file")
            return
        }
        let bypasses = cache == .none || cache == .directsync
        #expect((flags(file.descriptor) & LinuxFile.direct != 0) == bypasses)
        #expect(flags(file.bufferedDescriptor) & LinuxFile.direct == 0)
        #expect(cache.bypassesPageCache == bypasses)
        #expect(cache.hasVolatileWriteCache == (cache != .writethrough && cache != .directsync))
        #expect(
            (bypasses ? [512, 1024, 2048, 4096] : [1]).contains(backend.granularityBytes))
        var bench = try BackendBench(backend)
        let flushes = try ImageFlushes(backend, loopCount: 1, in: OpenImages())
        var flush = flushes.flush(ofLoop: 0)
        var ring = try Ring(entries: 1, completions: 2)
        #expect(flush.begin(ring: &ring, userData: 1) == (cache == .unsafe ? .finished : .pending))
        #expect(flushes.synchronize() == 0)
        #expect(try !bench.isDoneAtOnce(.read))
    }

    // MARK: Failures

    /// /dev/full has no space, whatever is written.
    @Test func aFullMedium() throws {
        let full = try descriptor("/dev/full")
        defer { close(full) }
        var bench = try BackendBench(try backend(full, canPunchHoles: false, canZeroRanges: false))
        let codes = try [
            bench.write([1], at: 0), bench.perform(.writeZeroes(mayDeallocate: true), at: 0, 512),
            bench.perform(.writeZeroes(mayDeallocate: false), at: 0, 512),
        ]
        #expect(codes == [ENOSPC, ENOSPC, ENOSPC])
        // A file that cannot punch holes keeps its data: TRIM may do nothing.
        #expect(try bench.isDoneAtOnce(.discard))
    }

    /// A file system that gets full in the middle of a write.
    @Test(.enabled(if: geteuid() == 0, "only root may mount"))
    func aFileSystemThatGetsFull() throws {
        let mount = try Program.tool("mount").run(
            ["-t", "tmpfs", "-o", "size=512k", "none", folder.path], in: TemporaryFolder())
        try #require(mount.status == 0, "\(mount.errors)")
        defer { umount2(folder.path, Int32(MNT_DETACH)) }
        let path = try folder.file("disk.img", sizeBytes: 1 << 20)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        defer { backend.close() }
        var bench = try BackendBench(backend)
        let tooMuch = try bench.write([UInt8](repeating: 1, count: 1 << 20), at: 0)
        #expect(tooMuch == ENOSPC)
        let discarded = try bench.perform(.discard, at: 0, 1 << 20)
        let enough = try bench.write([UInt8](repeating: 1, count: 1 << 18), at: 1 << 18)
        #expect(discarded == 0 && enough == 0)
    }

    @Test func errorsOfTheKernelAreTheirErrno() throws {
        let path = try folder.file("disk.img", sizeBytes: 4096)
        let readOnly = try descriptor(path, O_RDONLY)
        defer { close(readOnly) }
        var protected = try BackendBench(try backend(readOnly))
        let written = try protected.write([1], at: 0)
        let zeroed = try protected.perform(.writeZeroes(mayDeallocate: true), at: 0, 512)
        let discarded = try protected.perform(.discard, at: 0, 512)
        #expect(written == EBADF && zeroed == EBADF && discarded == EBADF)

        var closed = try BackendBench(try backend(-1))
        let read = try closed.perform(.read, at: 0, 512)
        #expect(read == EBADF)
        let backend = closed.backend
        #expect(throws: ImageError.cannotOpenAgain(errno: EBADF)) {
            try ImageFlushes(backend, loopCount: 1, in: OpenImages())
        }
        // Fetching in advance is advice.
        let fetched = try closed.perform(.prefetch, at: 0, 512)
        #expect(fetched == 0)
        let ignoring = try ImageFlushes(self.backend(-1, ignoresFlushes: true), loopCount: 2, in: OpenImages())
        #expect(ignoring.synchronize() == 0)
    }

    /// So is discarding, on a file system that has no fallocate(2).
    @Test func discardingThatIsNotSupportedIsNoFailure() throws {
        let comm = try descriptor("/proc/self/comm")
        defer { close(comm) }
        try #require(LinuxFile.allocate(comm, mode: LinuxFile.punchHole, offset: 0, length: 1) == EOPNOTSUPP)
        var bench = try BackendBench(try backend(comm))
        let code = try bench.perform(.discard, at: 0, 512)
        #expect(code == 0)
    }
}
