// Sectors that the kernel cannot read: where a large read has failed.

import Backends
import Glibc
import Support
import Testing

@Suite(.enabled(if: FaultyFile.canBeMade, "only root may mount"))
struct FaultyFileTests {
    private static let content = (0..<4 << 20).map { UInt8(truncatingIfNeeded: $0 / 512 &* 31 &+ $0) }

    // Through the page cache a read ends before the page that cannot be read; with O_DIRECT all of it fails, or all of
    // a piece, and the sector has to be looked for.
    @Test(arguments: [CacheMode.writeback, .none], [1, 100, 127, 128, 4095, 4096, 8191])
    func theSectorIsFound(cache: CacheMode, broken: Int) throws {
        let file = try FaultyFile(content: Self.content, brokenSectors: [broken])
        defer { withExtendedLifetime(file) {} }
        let backend = try Backend(path: file.path, cache: cache, readOnly: true)
        defer { backend.close() }
        var bench = try BackendBench(backend)
        let precision = max(Int(backend.granularityBytes), cache == .writeback ? 4096 : 512)
        let error = broken * 512 / precision * precision
        for (start, length) in [(0, 4 << 20), (max(0, error - 8192), 16384), (error, 4096)] {
            let length = min(length, (4 << 20) - start)
            let (code, bytes) = try bench.failToRead(at: UInt64(start), length)
            #expect(code == EIO)
            #expect(start + bytes.count == error, "sector \(broken), \(length) bytes at \(start)")
            #expect(bytes == Array(Self.content[start..<start + bytes.count]))
        }
        if error > 0 {
            #expect(try bench.read(at: 0, min(error, 1 << 20)) == Array(Self.content.prefix(min(error, 1 << 20))))
        }
    }
}
