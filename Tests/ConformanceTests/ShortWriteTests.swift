// Writes that the system takes only in part: the rest is tried again, and fails here, because the file may not be that
// long (RLIMIT_FSIZE, setrlimit(2)); a part that was taken is not the whole.

import Support
import Testing

@Suite struct ShortWriteTests {
    /// In the middle of a sector, so that every write across it is cut there.
    private static let limit = (1 << 20) + 700

    /// Sizes for each of the ways that a WRITE's data take: from where they were received, through memory and the ring,
    /// through a pipe, through the loop's memory for large requests.
    @Test(arguments: [1024, 4096, 65_536, 1 << 18, 3 << 20], [false, true])
    func aPartIsNotTheWhole(count: Int, tcp: Bool) throws {
        let image = try ServedImage(
            sizeBytes: 8 << 20, content: pattern(Self.limit, seed: 2), options: ["--listen", "tcp:127.0.0.1:0"],
            limits: ["--fsize=\(Self.limit)"])
        let client = try image.server.negotiate(tcp: tcp)
        try client.negotiate(count == 4096 ? .structured : .simple)
        try client.go()
        let before = max(0, (Self.limit / 512 * 512) - count + 512)
        // Large ones make more of them expected, which then take another way.
        for _ in 0..<4 { try client.performSuccessfully(.write(0, pattern(1 << 18, seed: 3))) }
        for shift in [0, 100] {
            let reply = try client.perform(.write(before + shift, pattern(count, seed: 4)))
            #expect(reply.error == ErrorNumber.noSpace, "\(count) bytes, moved by \(shift)")
        }
        // Up to the limit it works.
        try client.performSuccessfully(.write(4096, pattern(count > 1 << 19 ? 512 : count, seed: 5)))
        let zeroes = try client.perform(.zero(Self.limit / 512 * 512, 65536, flags: CommandFlag.noHole))
        #expect([0, ErrorNumber.noSpace].contains(zeroes.error))
        try client.performSuccessfully(.flush)
        #expect(try image.server.stop() == 0)
    }
}
