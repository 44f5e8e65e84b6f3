// An operator's view of standard error.

import Foundation
import Glibc
import Support
import Testing

@Suite struct LogTests {
    /// Lines of the log, once there are `count`.
    private func lines(of server: RunningServer, atLeast count: Int) throws -> [String] {
        var lines: [String] = []
        try waitUntil("there are \(count) lines: \(lines)") {
            lines = server.log.split(separator: "\n").map(String.init)
            return lines.count >= count
        }
        return lines
    }

    // The client and its mistake, in one line.
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
        try program.wait("to listen") { isListening("\(folder.path)/s") }
        let client = try RawConnection(unix: "\(folder.path)/s")
        _ = try client.receive(18)
        try client.send([0xFF, 0xFF, 0xFF, 0xFF])
        #expect(client.isClosedByServer())
        try program.wait("to log") { program.errors.hasSuffix("\n") }
        try program.stop()
        #expect(program.errors.hasPrefix(isJournal ? "<4>handshake ended " : "time=20"), "\(program.errors)")
    }

    /// The events of a server that logs JSON, as their messages and fields.
    private func events(_ log: String) throws -> [[String: String]] {
        try log.split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            return try #require(object, "\(line)").mapValues { "\($0)" }
        }
    }

    // Every client that was connected, with its export, the time, and the end.
    @Test func sessionsAreTold() throws {
        let image = try ServedImage(options: ["--log-format", "json", "--log-level", "debug"])
        let user = "unix:pid=\(getpid()),uid=\(geteuid())"
        let polite = try image.open()
        try polite.submit(.disconnect)
        #expect(polite.isClosedByServer())
        let rude = try image.open()
        try rude.send(Array(Request(type: CommandNumber.write, length: 512, payload: .zeroes(512)).bytes.prefix(100)))
        rude.close()
        let curious = try image.negotiate()
        try curious.send(option(OptionNumber.abort))
        curious.close()
        #expect(try image.server.stop() == 0)
        let events = try events(image.server.log).filter { $0["connection"] != nil }
        for event in events { #expect(event["client"] == user) }
        func told(_ connection: Int) -> [String] {
            events.filter { $0["connection"] == "\(connection)" }.map {
                "\($0["level"] ?? "") \($0["message"] ?? "") \($0["export"] ?? "-") \($0["ending"] ?? "")"
            }
        }
        #expect(
            told(1) == [
                "debug connection accepted - ", "info export opened disk ", "info connection closed disk disconnect",
            ])
        #expect(
            told(2) == [
                "debug connection accepted - ", "info export opened disk ",
                "notice the client closed in the middle of a request disk ", "info connection closed disk closed",
            ])
        #expect(told(3).first == "debug connection accepted - ")
        #expect(told(3).last == "debug connection closed - disconnect")
    }

    // The client's identity, proved by TLS.
    @Test func identitiesAreTold() throws {
        let key = try TestKey()
        let image = try ServedImage(tls: "require", key, options: ["--log-format", "json", "--log-level", "info"])
        let client = try image.open(key.settings, .simple)
        try client.submit(.disconnect)
        #expect(client.isToldGoodbyeAndClosed())
        #expect(try image.server.stop() == 0)
        let events = try events(image.server.log).filter { $0["connection"] != nil }
        #expect(events.map { $0["message"] } == ["export opened", "connection closed"])
        #expect(events.allSatisfy { $0["identity"] == key.user && $0["export"] == "disk" })
    }

    // Refused options and requests, with the reason. The log does not mention an honest client's requests.
    @Test func refusalsAreTold() throws {
        let image = try ServedImage(options: ["--log-format", "json", "--read-only"])
        let client = try image.negotiate()
        #expect(try client.askOnce(99).type == ReplyType.errorUnsupported)
        let name = Array("no\u{1B}[31m\nlevel=critical".utf8)
        #expect(try client.askOnce(OptionNumber.info, informationRequest(bytes: name)).type == ReplyType.errorUnknown)
        try client.go()
        #expect(try client.read(0, 512) == .zeroes(512))
        #expect(try client.perform(.write(512, .zeroes(1024))).error == ErrorNumber.notPermitted)
        #expect(try client.perform(.read(1 << 20, 512)).error == ErrorNumber.invalid)
        try client.submit(.disconnect)
        #expect(client.isClosedByServer())
        #expect(try image.server.stop() == 0)
        let events = try events(image.server.log)
        #expect(events.map { $0["message"] } == ["option refused", "request refused", "request refused"])
        for event in events { #expect(event["level"] == "notice" && event["connection"] == "1") }
        guard events.count == 3 else { return }
        #expect(events[0]["option"] == "6")
        #expect(events[0]["reason"] == #"the export "no\u{1B}[31m\nlevel=critical" does not exist"#)
        #expect(events[1]["export"] == "disk" && events[1]["command"] == "write")
        #expect(events[1]["offset"] == "512" && events[1]["length"] == "1024")
        #expect(events[1]["reason"] == "the export is read-only")
        #expect(events[2]["command"] == "read" && events[2]["offset"] == "1048576")
    }

    // A client that asks for nonsense as fast as it can.
    @Test func aFloodOfRefusedRequestsIsAFewLines() throws {
        let image = try ServedImage(options: ["--read-only"])
        let client = try image.open()
        for _ in 0..<100 {
            let replies = try client.perform([Request](repeating: .write(0, .zeroes(512)), count: 100))
            #expect(replies.allSatisfy { $0.error == ErrorNumber.notPermitted })
        }
        try client.submit(.disconnect)
        #expect(client.isClosedByServer())
        #expect(try image.server.stop() == 0)
        let lines = image.server.log.split(separator: "\n")
        #expect(lines.count < 20, "\(lines.count) lines")
        #expect(lines.last?.contains("event=\"request refused\"") == true)
    }

    // The medium: which export, whose request, where.
    @Test(.enabled(if: FaultyFile.canBeMade, "only root may mount"))
    func aMediumThatFailsIsAnError() throws {
        let file = try FaultyFile(content: [UInt8](repeating: 1, count: 1 << 20), brokenSectors: [1024])
        defer { withExtendedLifetime(file) {} }
        let server = try RunningServer(
            ["--log-format", "json", "--read-only", "bad=" + file.path], in: try TemporaryFolder())
        let client = try server.open()
        #expect(try client.perform(.read(0, 1 << 20)).error == ErrorNumber.inputOutput)
        try client.submit(.disconnect)
        #expect(client.isClosedByServer())
        #expect(try server.stop() == 0)
        let events = try events(server.log)
        #expect(events.count == 1)
        let event = try #require(events.first)
        #expect(event["level"] == "error" && event["message"] == "the medium failed")
        #expect(event["export"] == "bad" && event["connection"] == "1")
        #expect(event["command"] == "read" && event["operation"] == "read" && event["offset"] == "524288")
        #expect(event["reason"] == "Input/output error")
    }

    @Test func aFormatThatIsUnknownIsRefused() throws {
        let folder = try TemporaryFolder()
        let result = try Program.spindle.run(["serve", "--log-format", "xml", "null:1M"], in: folder)
        #expect(result.status == 64)
        #expect(result.errors.contains("'xml' is no log format: it is one of auto, text, json, journal"))
    }
}
