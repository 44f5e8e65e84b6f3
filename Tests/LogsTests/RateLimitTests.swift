// Floods, by a clock that the tests turn.

import Glibc
import Logging
import Testing

@testable import Logs

/// A limit that expectations can use: they cannot change a value.
private final class Limit {
    private var limit = RateLimit()

    func admits(_ entry: LogEntry, at now: Int) -> Bool { limit.admits(entry, at: now) }
    func takeDue(at now: Int) -> [LogEntry] { limit.takeDue(at: now) }
    var nextDue: Int? { limit.nextDue }
}

@Suite struct RateLimitTests {
    private func entry(
        _ message: String = "handshake ended", client: String? = "10.0.0.1:4711", export: String? = nil,
        level: Logger.Level = .warning, reason: String = "nonsense"
    ) -> LogEntry {
        var fields: Logger.Metadata = ["reason": "\(reason)"]
        if let client { fields["client"] = "\(client)" }
        if let export { fields["export"] = "\(export)" }
        return LogEntry(level: level, message: message, fields: fields)
    }

    /// How many of `count` events are admitted, of which each comes from another port.
    private func admitted(
        _ count: Int, of limit: Limit, at now: Int, _ entry: (Int) -> LogEntry
    ) -> Int {
        (0..<count).filter { limit.admits(entry($0), at: now) }.count
    }

    @Test func theFirstFiveAndTheNumberOfTheOthers() throws {
        let limit = Limit()
        let count = admitted(10_000, of: limit, at: 5000) { entry(client: "10.0.0.1:\($0)", reason: "reason \($0)") }
        #expect(count == 5)
        #expect(limit.nextDue == 15_000)
        #expect(limit.takeDue(at: 14_999).isEmpty)
        let summary = try #require(limit.takeDue(at: 15_000).first)
        #expect(summary.level == .warning)
        #expect(summary.message == "more of the same was left out")
        #expect(summary["event"] == "handshake ended")
        #expect(summary["client"] == "10.0.0.1")
        #expect(summary["count"] == "9995")
        #expect(summary["seconds"] == "10")
        #expect(summary["reason"] == "reason 9999")
        #expect(limit.nextDue == nil)
        #expect(limit.takeDue(at: 15_000).isEmpty)
    }

    @Test func afterAQuietWindowAllIsForgotten() {
        let limit = Limit()
        #expect(admitted(5, of: limit, at: 0) { _ in entry() } == 5)
        #expect(limit.nextDue == nil)
        #expect(admitted(5, of: limit, at: 10_000) { _ in entry() } == 5)
    }

    @Test func aFloodThatGoesOnIsALineAMinute() {
        let limit = Limit()
        var lines = 0
        for now in stride(from: 0, to: 3_600_000, by: 100) {
            if limit.admits(entry(), at: now) { lines += 1 }
            if let due = limit.nextDue, due <= now { lines += limit.takeDue(at: now).count }
        }
        #expect((60...66).contains(lines), "\(lines)")
        // An hour later it is as if nothing had been.
        #expect(limit.takeDue(at: 7_200_000).count == 1)
        #expect(admitted(10, of: limit, at: 10_800_000) { _ in entry() } == 5)
    }

    @Test func nobodyPaysForAnother() {
        let limit = Limit()
        #expect(admitted(100, of: limit, at: 0) { _ in entry(client: "10.0.0.1:1") } == 5)
        #expect(limit.admits(entry(client: "10.0.0.2:1"), at: 0))
        #expect(limit.admits(entry(client: "[2001:db8::1]:1"), at: 0))
        #expect(limit.admits(entry("TLS failed", client: "10.0.0.1:1"), at: 0))
        #expect(limit.admits(entry(client: "10.0.0.1:1", export: "disk"), at: 0))
        // An event without a client is counted, too: a system that is out of descriptors, say.
        #expect(admitted(100, of: limit, at: 0) { _ in entry("cannot accept a connection", client: nil) } == 5)
    }

    @Test func processesDoNotCount() throws {
        let limit = Limit()
        #expect(admitted(100, of: limit, at: 0) { entry(client: "unix:pid=\($0),uid=1000") } == 5)
        #expect(limit.takeDue(at: 10_000).first?["client"] == "unix:uid=1000")
        #expect(admitted(10, of: limit, at: 0) { entry(client: "unix:pid=\($0),uid=1001") } == 5)
        // Each virtual machine is another client.
        #expect(admitted(100, of: limit, at: 0) { entry(client: "vsock:\($0)") } == 100)
    }

    @Test(arguments: ["[2001:db8::1]", "10.0.0.1"])
    func portsDoNotCount(host: String) {
        let limit = Limit()
        #expect(admitted(100, of: limit, at: 0) { entry(client: "\(host):\($0)") } == 5)
    }

    // A failing medium is no client's doing.
    @Test func errorsOfAnExportAreCountedForAllClients() {
        let limit = Limit()
        let count = admitted(1000, of: limit, at: 0) {
            entry("the medium failed", client: "10.0.\($0 / 250).\($0 % 250):7", export: "disk", level: .error)
        }
        #expect(count == 5)
        #expect(limit.admits(entry("the medium failed", export: "other", level: .error), at: 0))
    }

    // More clients than anybody counts: the table has an end, and so has the log.
    @Test func thereIsAnEndToTheTable() throws {
        let limit = Limit()
        let count = admitted(100_000, of: limit, at: 0) {
            entry(client: "10.\($0 >> 16).\($0 >> 8 & 255).\($0 & 255):1")
        }
        #expect(count == RateLimit.capacity + RateLimit.burst)
        let summaries = limit.takeDue(at: 10_000)
        #expect(summaries.count == 1)
        #expect(summaries.first?["client"] == nil)
        #expect(summaries.first?["count"] == "\(100_000 - count)")
        // Those who come later are counted by themselves again.
        #expect(admitted(10, of: limit, at: 10_001) { _ in entry(client: "10.9.9.9:1") } == 5)
    }

    @Test func informationHasMoreRoomAndDebuggingAll() {
        let limit = Limit()
        #expect(admitted(1000, of: limit, at: 0) { _ in entry("export opened", level: .info) } == 100)
        #expect(admitted(1000, of: limit, at: 0) { _ in entry("connection accepted", level: .debug) } == 1000)
    }

    // The summary comes although nothing follows that could bring it.
    @Test func somebodyWaitsForTheEndOfTheWindow() throws {
        let pipe = LogPipe()
        let limit = RateLimit(windowMilliseconds: 50, floodWindowMilliseconds: 100)
        let logs = Logs(format: .text, level: .notice, descriptor: pipe.writer, limit: limit)
        let logger = logs.logger(label: "test")
        for port in 0..<100 { logger.warning("handshake ended", metadata: ["client": "10.0.0.1:\(port)"]) }
        let lines = try pipe.lines(atLeast: 6).map { try parseLogfmt($0) }
        #expect(lines.count >= 6)
        let left = lines.compactMap { $0["count"].flatMap { Int($0) } }
        #expect(left.reduce(lines.count - left.count, +) == 100)
    }

    @Test func theEndOfTheProgramTellsTheRest() throws {
        let pipe = LogPipe()
        let logs = Logs(format: .text, level: .notice, descriptor: pipe.writer)
        let logger = logs.logger(label: "test")
        for port in 0..<100 { logger.warning("handshake ended", metadata: ["client": "10.0.0.1:\(port)"]) }
        logs.finish()
        logs.finish()
        let lines = try pipe.lines().map { try parseLogfmt($0) }
        #expect(lines.count == 6)
        #expect(lines.last?["count"] == "95")
    }
}
