// What an operator reads on standard error.

import Foundation
import Glibc
import Support
import Testing

@Suite struct LogTests {
    /// Lines of the log, once there are `count`.
    private func lines(of server: RunningServer, atLeast count: Int) throws -> [String] {
        let deadline = Date(timeIntervalSinceNow: 10)
        while true {
            let lines = server.log.split(separator: "\n").map(String.init)
            guard lines.count < count else { return lines }
            guard Date() < deadline else { throw Breach("there are only \(lines.count) lines: \(lines)") }
            usleep(2000)
        }
    }

    // Who it was and what it did, in one line.
    @Test func aClientThatTalksNonsenseIsNamed() throws {
        let image = try ServedImage(options: ["--listen", "tcp:127.0.0.1:0"])
        let client = try RawConnection(port: try #require(image.server.port))
        _ = try client.receive(18)
        try client.send(Array("GET / HTTP/1.1\r\nHost: x\r\n".utf8))
        #expect(client.isClosedByServer())
        #expect(try image.server.stop() == 0)
        let lines = image.server.log.split(separator: "\n")
        #expect(lines.count == 1, "\(lines)")
        let line = try #require(lines.first)
        #expect(line.contains(" level=warning "))
        #expect(line.contains(" client=127.0.0.1:\(client.localPort) "))
        #expect(line.contains("0x47455420"), "\(line)")
    }

    @Test func linesAreJSON() throws {
        let image = try ServedImage(options: ["--listen", "tcp:127.0.0.1:0", "--log-format", "json"])
        let client = try RawConnection(port: try #require(image.server.port))
        _ = try client.receive(18)
        try client.send([0xFF, 0xFF, 0xFF, 0xFF])
        #expect(client.isClosedByServer())
        let line = try #require(try lines(of: image.server, atLeast: 1).first)
        let fields = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        #expect(fields["level"] as? String == "warning")
        #expect(fields["client"] as? String == "127.0.0.1:\(client.localPort)")
        #expect((fields["reason"] as? String)?.contains("0xffffffff") == true)
    }

    // A flood of bad handshakes: a few lines, and how many more there were.
    @Test func aFloodIsAFewLines() throws {
        let image = try ServedImage()
        let count = 10_000
        for _ in 0..<count {
            let client = try RawConnection(unix: image.server.socketPath)
            try client.send([0xFF, 0xFF, 0xFF, 0xFF])
            _ = try client.receive(18)
            #expect(client.isClosedByServer())
        }
        #expect(try image.server.stop() == 0)
        let lines = image.server.log.split(separator: "\n")
        #expect(lines.count < 20, "\(lines.count) lines")
        let leftOut = lines.compactMap { $0.firstMatch(of: #/more of the same was left out" .*count=(\d+) /#) }
        let sum = leftOut.compactMap { Int($0.1) }.reduce(lines.count - leftOut.count, +)
        #expect(sum == count)
    }

    // systemd.exec(5): JOURNAL_STREAM is what standard error is.
    @Test(arguments: [true, false])
    func theJournalHasPriorities(isJournal: Bool) throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        let other = isJournal ? "" : "1"
        // The shell's standard error is the server's.
        let program = try RunningProgram(
            try Program.tool("sh"),
            [
                "-c",
                "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)\(other) exec \"$@\"", "sh", Program.spindle.path,
                "serve", "--listen", "unix:\(folder.path)/s", image,
            ], in: folder)
        try program.wait("to listen") { FileManager.default.fileExists(atPath: "\(folder.path)/s") }
        let client = try RawConnection(unix: "\(folder.path)/s")
        _ = try client.receive(18)
        try client.send([0xFF, 0xFF, 0xFF, 0xFF])
        #expect(client.isClosedByServer())
        try program.wait("to log") { program.errors.hasSuffix("\n") }
        try program.stop()
        #expect(program.errors.hasPrefix(isJournal ? "<4>handshake ended " : "time=20"), "\(program.errors)")
    }

    @Test func aFormatThatIsUnknownIsRefused() throws {
        let folder = try TemporaryFolder()
        let result = try Program.spindle.run(["serve", "--log-format", "xml", "null:1M"], in: folder)
        #expect(result.status == 64)
        #expect(result.errors.contains("'xml' is no log format: it is one of auto, text, json, journal"))
    }
}
