// Loggers on a pipe: levels, threads, a reader that does not read, the journal's socket.

import Foundation
import Glibc
import Logging
import Synchronization
import Testing

@testable import Logs

@Suite struct LogsTests {
    @Test func theLevelChangesWhileItRuns() throws {
        let pipe = LogPipe()
        let logs = Logs(format: .text, level: .notice, descriptor: pipe.writer)
        let logger = logs.logger(label: "test")
        logger.debug("one")
        logger.notice("two")
        logs.level = .debug
        #expect(logs.level == .debug)
        logger.debug("three")
        logger.trace("four")
        logs.level = .critical
        logger.error("five")
        #expect(try pipe.lines().map { try parseLogfmt($0)["message"] } == ["two", "three"])
    }

    @Test(arguments: Logger.Level.allCases)
    func everyLevelIsKept(level: Logger.Level) {
        let pipe = LogPipe()
        #expect(Logs(format: .text, level: level, descriptor: pipe.writer).level == level)
    }

    @Test func aLoggersOwnFieldsAreInEveryLine() throws {
        let pipe = LogPipe()
        var logger = Logs(format: .text, level: .info, descriptor: pipe.writer).logger(label: "test")
        logger[metadataKey: "loop"] = "1"
        logger.info("begun", metadata: ["export": "a"])
        let fields = try parseLogfmt(try #require(try pipe.lines().first))
        #expect(fields["loop"] == "1" && fields["export"] == "a")
    }

    // Whole lines, all of them, whoever writes at the same time.
    @Test func threadsDoNotInterleave() throws {
        let pipe = LogPipe()
        // It has room for everything. (fcntl(2), F_SETPIPE_SZ)
        #expect(fcntl(pipe.writer, 1031, 1 << 20) == 1 << 20)
        let logs = Logs(format: .json, level: .debug, descriptor: pipe.writer)
        let count = 150
        let running = Atomic<Int>(8)
        for thread in 0..<8 {
            Thread.detachNewThread {
                let logger = logs.logger(label: "test")
                for number in 0..<count {
                    logger.debug(
                        "event",
                        metadata: [
                            "thread": .stringConvertible(thread), "number": .stringConvertible(number),
                            "text": "\(String(repeating: "\(thread)", count: number))",
                        ])
                }
                running.subtract(1, ordering: .sequentiallyConsistent)
            }
        }
        let lines = try pipe.lines(atLeast: 8 * count)
        var next = [Int](repeating: 0, count: 8)
        for line in lines {
            let fields = try #require(
                try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
            let thread = try #require(fields["thread"] as? Int)
            #expect(fields["number"] as? Int == next[thread])
            #expect(fields["text"] as? String == String(repeating: "\(thread)", count: next[thread]))
            next[thread] += 1
        }
        #expect(next == [Int](repeating: count, count: 8))
    }

    // A full pipe: whoever logs goes on, and the log says later what it has lost.
    @Test(arguments: [false, true])
    func aReaderThatDoesNotReadHoldsNobodyUp(isNonBlocking: Bool) throws {
        let pipe = LogPipe()
        if isNonBlocking { _ = fcntl(pipe.writer, F_SETFL, O_NONBLOCK) }
        let logger = Logs(format: .text, level: .debug, descriptor: pipe.writer).logger(label: "test")
        let count = 10_000
        let began = monotonicMilliseconds()
        for number in 0..<count { logger.debug("event", metadata: ["number": .stringConvertible(number)]) }
        // The first line without room waits 50 ms, and so would thousands.
        #expect(monotonicMilliseconds() - began < 20_000)
        let numbers = try pipe.lines().map { try parseLogfmt($0)["number"] }
        #expect(numbers.count > 100 && numbers.count < count)
        #expect(numbers == (0..<numbers.count).map { "\($0)" })
        logger.debug("after")
        let rest = try pipe.lines().map { try parseLogfmt($0) }
        #expect(rest.map { $0["message"] } == ["lines of the log were lost", "after"])
        #expect(rest.first?["count"] == "\(count - numbers.count)")
    }

    @Test func aClosedReaderHarmsNobody() {
        signal(SIGPIPE, SIG_IGN)
        let pipe = LogPipe()
        let logger = Logs(format: .text, level: .debug, descriptor: pipe.writer).logger(label: "test")
        pipe.closeReader()
        for _ in 0..<100 { logger.debug("event") }
    }

    // systemd.exec(5), JOURNAL_STREAM.
    @Test func theJournalIsRecognized() throws {
        var ends: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { for end in ends { close(end) } }
        var status = stat()
        fstat(ends[0], &status)
        #expect(leads("\(status.st_dev):\(status.st_ino)", to: ends[0]))
        #expect(!leads("\(status.st_dev):\(status.st_ino)", to: ends[1]))
        #expect(!leads("\(status.st_dev + 1):\(status.st_ino)", to: ends[0]))
        #expect(!leads("\(status.st_dev):\(status.st_ino)", to: -1))
        for nonsense in ["", ":", "1", "\(status.st_ino)", "\(status.st_dev):\(status.st_ino):", "a:b", "-1:-1"] {
            #expect(!leads(nonsense, to: ends[0]), "\(nonsense)")
        }
        let logs = Logs(format: .journal, level: .info, descriptor: ends[0])
        logs.logger(label: "test").error("it failed", metadata: ["reason": "No space left on device"])
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = read(ends[1], &buffer, buffer.count)
        #expect(
            String(decoding: buffer.prefix(count), as: UTF8.self)
                == "<3>it failed reason=\"No space left on device\"\n")
    }
}
