// READ of sectors that cannot be read (NBD_REPLY_TYPE_ERROR_OFFSET; checklist 137, 146): what is good comes, then the
// place of the error.

import Support
import Testing

@Suite(.enabled(if: FaultyFile.canBeMade, "only root may mount"))
struct BrokenSectorTests {
    private static let broken = 5000
    /// Data and zeroes by turns, so that there would be more chunks than a reply has room for.
    private static let content: [UInt8] = (0..<4 << 20).map {
        $0 / 4096 % 3 == 1 ? 0 : UInt8(truncatingIfNeeded: $0 / 7) | 1
    }
    /// The page of the sector; nothing smaller is read through the page cache.
    private static let page = broken * 512 / 4096 * 4096

    @Test(arguments: Style.allCases, ["writeback", "none"])
    func goodDataComeBeforeTheError(style: Style, cache: String) throws {
        let file = try FaultyFile(content: Self.content, brokenSectors: [Self.broken])
        defer { withExtendedLifetime(file) {} }
        let server = try RunningServer(["--cache", cache, "--read-only", file.path], in: try TemporaryFolder())
        let client = try server.open(style)
        for (offset, length) in [
            (0, 4 << 20), (Self.page - 8192, 16384), (Self.page - 5, 20), (Self.page - 100_001, 200_000),
        ] {
            for flags in style == .simple ? [0] : [0, CommandFlag.df] {
                let reply = try client.perform(.read(offset, length, flags: flags))
                #expect(reply.error == ErrorNumber.inputOutput)
                guard style != .simple else { continue }
                let failed = Int(try #require(reply.failedOffset))
                #expect((Self.page...Self.broken * 512).contains(failed), "\(length) bytes at \(offset)")
                #expect(reply.data.difference(from: Array(Self.content[offset..<failed])) == nil)
                #expect(reply.message.count > 10)
                #expect(reply.chunks.last?.type == ChunkNumber.errorOffset)
                #expect(reply.chunks.filter { !$0.isContent }.count == 1)
            }
        }
        // The first byte already: there is nothing before.
        let reply = try client.perform(.read(Self.page, 4096))
        #expect(reply.error == ErrorNumber.inputOutput)
        if style != .simple, cache == "writeback" {
            #expect(reply.chunks.map(\.type) == [ChunkNumber.errorOffset])
            #expect(reply.failedOffset == UInt64(Self.page))
        }
        // All others are as good as ever.
        #expect(try client.read(0, Self.page).difference(from: Array(Self.content[..<Self.page])) == nil)
        let after = Self.page + 4096
        #expect(try client.read(after, 65536) == Array(Self.content[after..<after + 65536]))
        #expect(try server.stop() == 0)
    }
}
