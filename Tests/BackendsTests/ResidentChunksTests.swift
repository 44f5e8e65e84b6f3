// What is known of the page cache: when it is found out, how long it holds, and that it is the file's content.

import Glibc
import IOUring
import Support
import Testing

@testable import Backends

@Suite struct ResidentChunksTests {
    /// A table in which `chunk` is worth looking at.
    private func table(worthLookingAt chunk: UInt64) throws -> ResidentChunks {
        let known = try ResidentChunks()
        expectLooking(at: chunk, known)
        return known
    }

    /// A chunk is looked at when the third of its pages is asked for.
    private func expectLooking(at chunk: UInt64, _ known: ResidentChunks) {
        for _ in 0..<2 { #expect(known.look(up: chunk, pageCount: 1) == .unknown) }
        #expect(known.look(up: chunk, pageCount: 1) == .worthLooking(byReading: false))
    }

    @Test func aChunkIsLookedAtOnceEnoughOfItIsAskedFor() throws {
        let known = try table(worthLookingAt: 77)
        #expect(known.settle(77, isResident: true))
        #expect(known.look(up: 77, pageCount: 1) == .resident)
        #expect(known.look(up: 78, pageCount: 16) == .worthLooking(byReading: false))
    }

    /// The kernel has not told: the chunk is read when as much as three times all of it was asked for.
    @Test func aChunkIsReadOnceThatCanPay() throws {
        let known = try table(worthLookingAt: 77)
        for _ in 3..<47 { #expect(known.look(up: 77, pageCount: 1) == .unknown) }
        #expect(known.look(up: 77, pageCount: 1) == .worthLooking(byReading: true))
        #expect(known.settle(77, isResident: true))
        _ = known.beginEpoch()
        #expect(known.look(up: 77, pageCount: 1) == .worthLooking(byReading: true), "that has paid before")
    }

    @Test func whatIsAbsentIsNotLookedAtAgainInItsEpoch() throws {
        let known = try table(worthLookingAt: 77)
        #expect(!known.settle(77, isResident: false))
        for _ in 0..<9 { #expect(known.look(up: 77, pageCount: 16) == .unknown) }
        _ = known.beginEpoch()
        expectLooking(at: 77, known)
    }

    @Test func knowledgeHoldsForAnEpoch() throws {
        let known = try table(worthLookingAt: 5)
        #expect(known.settle(5, isResident: true))
        #expect(!known.beginEpoch(), "what was used in the epoch before is still known")
        #expect(known.look(up: 5, pageCount: 1) == .worthLooking(byReading: true))
        #expect(!known.settle(5, isResident: false))
        #expect(known.look(up: 5, pageCount: 1) == .unknown)
    }

    @Test func whatIsNotAskedForIsForgotten() throws {
        let known = try table(worthLookingAt: 5)
        #expect(known.settle(5, isResident: true))
        #expect(!known.beginEpoch())
        #expect(known.beginEpoch(), "its pages have to be dropped")
        #expect(known.look(up: 5, pageCount: 1) == .unknown)
        #expect(!known.beginEpoch())
    }

    @Test func aPlaceBelongsToWhoIsResident() throws {
        let known = try table(worthLookingAt: 5)
        let other = 5 + UInt64(ResidentChunks.capacity)
        // One that is only asked for loses it to the next.
        #expect(known.look(up: other, pageCount: 1) == .unknown)
        expectLooking(at: 5, known)
        #expect(known.settle(5, isResident: true))
        for _ in 0..<9 { #expect(known.look(up: other, pageCount: 16) == .unknown) }
        #expect(!known.settle(other, isResident: true))
        #expect(known.look(up: 5, pageCount: 1) == .resident)
    }

    /// A fault may bring all 2 MiB around it, so that the table has no more chunks of different regions than rows.
    @Test func aRowBelongsToOneRegion() throws {
        let known = try table(worthLookingAt: 77)
        #expect(known.settle(77, isResident: true))
        let other = 78 + UInt64(ResidentChunks.capacity)
        expectLooking(at: other, known)
        #expect(!known.settle(other, isResident: true), "the row is that of 77")
        #expect(known.look(up: other, pageCount: 16) == .unknown)
        expectLooking(at: 78, known)
        #expect(known.settle(78, isResident: true))
        #expect(!known.beginEpoch())
        #expect(known.beginEpoch(), "nobody has asked for 77 and 78")
        expectLooking(at: other, known)
        #expect(known.settle(other, isResident: true))
        expectLooking(at: 79, known)
        #expect(!known.settle(79, isResident: true))
    }

    @Test func aLimitIsKept() throws {
        let known = try table(worthLookingAt: 700)
        #expect(known.settle(700, isResident: true))
        known.limit(to: 600)
        #expect(known.beginEpoch())
        for _ in 0..<9 { #expect(known.look(up: 700, pageCount: 16) == .unknown) }
        expectLooking(at: 599, known)
    }

    @Test func aLowerLimitHoldsAtOnce() throws {
        let known = try table(worthLookingAt: 700)
        #expect(known.settle(700, isResident: true))
        #expect(!known.lower(to: ResidentChunks.capacity))
        #expect(known.lower(to: 600), "pages have to be dropped")
        #expect(known.look(up: 700, pageCount: 1) == .unknown)
        #expect(!known.lower(to: 650))
        known.limit(to: 800)
        #expect(known.look(up: 700, pageCount: 1) == .resident)
    }

    @Test func aLateUseHasPagesDropped() throws {
        let known = try ResidentChunks()
        known.noteLateUse()
        #expect(known.beginEpoch())
        #expect(!known.beginEpoch())
    }

    /// The memory is that of the file at every offset, and what is beyond whole pages or not cached is not given.
    @Test func cachedBytesAreTheFiles() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let size = 300_000
        let content = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: content)
        let backend = try Backend(path: path, cache: .writeback, readOnly: true)
        defer { backend.close() }
        let known = try ResidentChunks()
        let scratch = HeapBytes(count: Int(ResidentChunks.chunkBytes))
        var found = 0
        for _ in 0..<6 {
            for (offset, count) in [(0, 4096), (65_536 - 100, 200), (1, 3), (131_072, 100_000), (294_000, 900)] {
                let bytes = backend.pageCache?.cachedBytes(
                    at: UInt64(offset), count: UInt64(count), known: known, scratch: scratch.range)
                guard let bytes else { continue }
                found += 1
                let start = try #require(bytes.start)
                #expect(memcmp(start, Array(content[offset..<offset + count]), count) == 0, "at \(offset)")
                #expect(backend.pageCache?.mappedOffset(of: start) == UInt64(offset))
            }
            for (offset, count) in [(299_000, 1000), (298_000, 1500), (0, 0), (Int.max, 512)] {
                #expect(
                    backend.pageCache?.cachedBytes(
                        at: UInt64(offset), count: UInt64(count), known: known, scratch: scratch.range) == nil)
            }
        }
        #expect(found >= 10, "the file has just been written, and is in the page cache")
        #expect(backend.pageCache?.mappedOffset(of: try #require(scratch.range.start)) == nil)
    }

    /// What the kernel has thrown away is not known to be there, until it has been read again.
    @Test func whatIsNotInThePageCacheIsNotGiven() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let size = 1 << 20
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: [UInt8](repeating: 1, count: size))
        let descriptor = open(path, O_RDWR)
        defer { close(descriptor) }
        #expect(fsync(descriptor) == 0 && posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0)
        let mapping = try #require(FileMapping(descriptor, sizeBytes: UInt64(size)))
        defer { mapping.unmap() }
        try #require(mapping.isResident(at: 0, pageCount: 16) == false)
        let backend = try Backend(path: path, cache: .writeback, readOnly: true)
        defer { backend.close() }
        let known = try ResidentChunks()
        let scratch = HeapBytes(count: Int(ResidentChunks.chunkBytes))
        func isGiven() -> Bool {
            backend.pageCache?.cachedBytes(at: 0, count: UInt64(size), known: known, scratch: scratch.range) != nil
        }
        for _ in 0..<9 { #expect(!isGiven()) }
        var bytes = [UInt8](repeating: 0, count: size)
        #expect(pread(descriptor, &bytes, size, 0) == size)
        #expect(mapping.isResident(at: 65_536, pageCount: 16) == true)
        #expect(!isGiven(), "it is not looked at again at once")
        _ = known.beginEpoch()
        #expect(isGiven())
    }

    /// A file smaller than a page, one that ends at a page, and one that does not: what lies behind is nobody's.
    @Test(arguments: [4096, 4097, 20_000]) func residencyIsKnownUpToTheEnd(size: Int) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let path = try folder.file("disk.img", sizeBytes: UInt64(size), beginning: [UInt8](repeating: 1, count: size))
        let descriptor = open(path, O_RDWR)
        defer { close(descriptor) }
        let mapping = try #require(FileMapping(descriptor, sizeBytes: UInt64(size)))
        defer { mapping.unmap() }
        #expect(mapping.byteCount == UInt64(size / 4096 * 4096))
        #expect(mapping.isResident(at: 0, pageCount: size / 4096) == true)
    }

    @Test func withoutThePageCacheNothingIsMapped() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let path = try folder.file("disk.img", sizeBytes: 1 << 20, beginning: [UInt8](repeating: 1, count: 1 << 20))
        for backend in [
            try Backend(path: path, cache: .none, readOnly: true), try Backend(memoryOfSize: 1 << 20, readOnly: true),
            Backend(nullOfSize: 1 << 20, readOnly: true),
        ] {
            #expect(backend.pageCache == nil)
            backend.close()
        }
    }
}
