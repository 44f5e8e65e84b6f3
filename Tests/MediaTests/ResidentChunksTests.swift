// What is known of the page cache: when it is found out, how long it holds, and that it is the file's content.

import Glibc
import IOUring
import Support
import Testing

@testable import Media

@Suite struct ResidentChunksTests {
    /// A table in which `chunk` is worth looking at.
    private func table(worthLookingAt chunk: UInt64) throws -> ResidentChunks {
        let known = try ResidentChunks()
        for _ in 0..<3 { #expect(known.look(up: chunk) == .unknown) }
        #expect(known.look(up: chunk) == .worthLooking)
        return known
    }

    @Test func aChunkIsLookedAtOnceItIsAskedForAgainAndAgain() throws {
        let known = try table(worthLookingAt: 77)
        #expect(known.settle(77, isResident: true))
        #expect(known.look(up: 77) == .resident)
    }

    @Test func whatIsAbsentIsNotLookedAtAgainInItsEpoch() throws {
        let known = try table(worthLookingAt: 77)
        #expect(!known.settle(77, isResident: false))
        for _ in 0..<9 { #expect(known.look(up: 77) == .unknown) }
        _ = known.beginEpoch()
        for _ in 0..<3 { #expect(known.look(up: 77) == .unknown) }
        #expect(known.look(up: 77) == .worthLooking)
    }

    @Test func knowledgeHoldsForAnEpoch() throws {
        let known = try table(worthLookingAt: 5)
        #expect(known.settle(5, isResident: true))
        #expect(!known.beginEpoch(), "what was used in the epoch before is still known")
        #expect(known.look(up: 5) == .worthLooking)
        #expect(!known.settle(5, isResident: false))
        #expect(known.look(up: 5) == .unknown)
    }

    @Test func whatIsNotAskedForIsForgotten() throws {
        let known = try table(worthLookingAt: 5)
        #expect(known.settle(5, isResident: true))
        #expect(!known.beginEpoch())
        #expect(known.beginEpoch(), "its pages have to be dropped")
        #expect(known.look(up: 5) == .unknown)
        #expect(!known.beginEpoch())
    }

    @Test func aPlaceBelongsToWhoIsResident() throws {
        let known = try table(worthLookingAt: 5)
        let other = 5 + UInt64(ResidentChunks.capacity)
        // One that is only asked for loses it to the next.
        #expect(known.look(up: other) == .unknown)
        for _ in 0..<3 { #expect(known.look(up: 5) == .unknown) }
        #expect(known.look(up: 5) == .worthLooking)
        #expect(known.settle(5, isResident: true))
        for _ in 0..<9 { #expect(known.look(up: other) == .unknown) }
        #expect(!known.settle(other, isResident: true))
        #expect(known.look(up: 5) == .resident)
    }

    @Test func aLimitIsKept() throws {
        let known = try table(worthLookingAt: 700)
        #expect(known.settle(700, isResident: true))
        known.limit(to: 600)
        #expect(known.beginEpoch())
        for _ in 0..<9 { #expect(known.look(up: 700) == .unknown) }
        for _ in 0..<3 { #expect(known.look(up: 599) == .unknown) }
        #expect(known.look(up: 599) == .worthLooking)
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
        let medium = try Medium(path: path, cache: .writeback, readOnly: true)
        defer { medium.close() }
        let known = try ResidentChunks()
        let scratch = try mapMemory(byteCount: Int(ResidentChunks.chunkBytes))
        defer { munmap(scratch, Int(ResidentChunks.chunkBytes)) }
        var found = 0
        for _ in 0..<6 {
            for (offset, count) in [(0, 4096), (65_536 - 100, 200), (1, 3), (131_072, 100_000), (294_000, 900)] {
                let bytes = medium.cachedBytes(
                    at: UInt64(offset), count: UInt64(count), known: known, scratch: scratch)
                guard let bytes else { continue }
                found += 1
                #expect(memcmp(bytes, Array(content[offset..<offset + count]), count) == 0, "at \(offset)")
                #expect(medium.mappedOffset(of: bytes) == UInt64(offset))
            }
            for (offset, count) in [(299_000, 1000), (298_000, 1500), (0, 0), (Int.max, 512)] {
                #expect(
                    medium.cachedBytes(at: UInt64(offset), count: UInt64(count), known: known, scratch: scratch) == nil)
            }
        }
        #expect(found >= 10, "the file has just been written, and is in the page cache")
        #expect(medium.mappedOffset(of: scratch) == nil)
    }

    @Test func withoutThePageCacheNothingIsMapped() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let path = try folder.file("disk.img", sizeBytes: 1 << 20, beginning: [UInt8](repeating: 1, count: 1 << 20))
        let known = try ResidentChunks()
        let scratch = try mapMemory(byteCount: Int(ResidentChunks.chunkBytes))
        defer { munmap(scratch, Int(ResidentChunks.chunkBytes)) }
        for medium in [
            try Medium(path: path, cache: .none, readOnly: true), try Medium(memoryOfSize: 1 << 20, readOnly: true),
            Medium(nullOfSize: 1 << 20, readOnly: true),
        ] {
            for _ in 0..<9 { #expect(medium.cachedBytes(at: 0, count: 512, known: known, scratch: scratch) == nil) }
            medium.close()
        }
    }

    @Test func readingNowGoesOnWithZeroesBehindTheEnd() throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("disk.img", sizeBytes: 1000, beginning: [UInt8](repeating: 7, count: 1000))
        let medium = try Medium(path: path, cache: .writeback, readOnly: true)
        defer { medium.close() }
        var bytes = [UInt8](repeating: 9, count: 600)
        #expect(bytes.withUnsafeMutableBytes { medium.readNow(at: 512, into: $0.baseAddress!, count: 600) } == 0)
        #expect(bytes == [UInt8](repeating: 7, count: 488) + [UInt8](repeating: 0, count: 112))
    }
}
