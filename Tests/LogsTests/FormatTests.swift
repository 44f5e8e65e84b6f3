// The form of lines: read back by parsers that know nothing of how they are made.

import Foundation
import Glibc
import Logging
import Testing

@testable import Logs

@Suite struct FormatTests {
    private func entry(_ value: String, level: Logger.Level = .warning) -> LogEntry {
        LogEntry(
            level: level, message: "connection closed",
            fields: [
                "reason": "\(value)", "client": "[::1]:4711", "connection": .stringConvertible(17), "export": "disk",
            ])
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test func aLineOfText() throws {
        var entry = entry("it sends too much")
        entry.time = WallTime(secondsSince1970: 1_700_000_000, microseconds: 42)
        #expect(
            text(entry.line(.text))
                == "time=2023-11-14T22:13:20.000042Z level=warning message=\"connection closed\" connection=17 "
                + "client=[::1]:4711 export=disk reason=\"it sends too much\"\n")
    }

    @Test func aLineOfJSON() throws {
        var entry = entry("it sends too much")
        entry.time = WallTime(secondsSince1970: 1_700_000_000, microseconds: 999_999)
        #expect(
            text(entry.line(.json))
                == #"{"time":"2023-11-14T22:13:20.999999Z","level":"warning","message":"connection closed","#
                + #""connection":17,"client":"[::1]:4711","export":"disk","reason":"it sends too much"}"# + "\n")
    }

    // sd-daemon(3): the priorities of syslog(3).
    @Test(arguments: [
        (Logger.Level.critical, 2), (.error, 3), (.warning, 4), (.notice, 5), (.info, 6), (.debug, 7), (.trace, 7),
    ])
    func aLineForTheJournal(level: Logger.Level, priority: Int) {
        #expect(
            text(entry("full", level: level).line(.journal))
                == "<\(priority)>connection closed connection=17 client=[::1]:4711 export=disk reason=full\n")
    }

    @Test(arguments: hostileStrings)
    func anythingIsReadBackFromText(value: String) throws {
        let line = text(entry(value).line(.text))
        let fields = try parseLogfmt(String(line.dropLast()))
        #expect(Set(fields.keys) == ["time", "level", "message", "connection", "client", "export", "reason"])
        #expect(fields["level"] == "warning")
        #expect(fields["reason"] == value)
    }

    @Test func anythingIsReadBackFromJSON() throws {
        let lines = hostileStrings.map { String(text(entry($0).line(.json)).dropLast()) }
        let program = """
            import json, sys
            for line in sys.stdin.buffer.read().split(b"\\n")[:-1]:
                found = json.loads(line)
                assert list(found) == ["time", "level", "message", "connection", "client", "export", "reason"], found
                assert found["level"] == "warning" and found["connection"] == 17, found
                print(found["reason"].encode().hex())
            """
        let found = try python(program, input: lines)
        #expect(found == hostileStrings.map { $0.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() })
    }

    /// A terminal shows JSON whose strings came from clients; programs read the same strings from it.
    @Test func aTerminalMayShowJSON() throws {
        let encoder = JSONEncoder()
        let lines = try hostileStrings.map { String(decoding: try encoder.encode([$0]), as: UTF8.self).visibleJSON }
        let scalars = lines.joined().unicodeScalars
        #expect(!scalars.contains { "\u{85}\u{9B}\u{2028}\u{202E}\u{FEFF}\u{1B}".unicodeScalars.contains($0) })
        let program = """
            import json, sys
            for line in sys.stdin.buffer.read().split(b"\\n")[:-1]:
                print(json.loads(line)[0].encode().hex())
            """
        let found = try python(program, input: lines)
        #expect(found == hostileStrings.map { $0.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() })
    }

    // Nobody forges a line, an end of one, or what a terminal obeys.
    @Test(arguments: [LogFormat.text, .json, .journal])
    func anythingIsOneLine(format: LogFormat) {
        for value in hostileStrings + hostileStrings.map({ String(repeating: $0 + "\u{1B}", count: 3000) }) {
            let fields: Logger.Metadata = [
                "client": "\(value)", "identity": "\(value)", "export": "\(value)", "name": "\(value)",
                "reason": "\(value)",
            ]
            let line = LogEntry(level: .error, message: "connection closed", fields: fields).line(format)
            #expect(line.count <= 4096 && line.last == UInt8(ascii: "\n"))
            #expect(line.dropLast().allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "\(text(line))")
            let scalars = text(line).dropLast().unicodeScalars
            #expect(!scalars.contains { "\u{85}\u{9B}\u{2028}\u{202E}\u{FEFF}".unicodeScalars.contains($0) })
        }
    }

    // What does not fit a line any more is left out, as a whole.
    @Test(arguments: [LogFormat.text, .json, .journal])
    func aLineHasALimit(format: LogFormat) {
        let value = String(repeating: "x", count: 600)
        let fields = (0..<10).map { ("field\($0)", Logger.MetadataValue.string(value)) }
        let line = LogEntry(
            level: .error, message: "full", fields: Logger.Metadata(uniqueKeysWithValues: fields)
        ).line(format)
        #expect((3600...4096).contains(line.count), "\(line.count)")
    }

    // A text that is too long is cut inside of its value: the line is still one that parsers read.
    @Test func whatIsTooLongIsCut() throws {
        let value = String(repeating: "\"\u{1B}", count: 5000)
        let fields: Logger.Metadata = [
            "client": "\(value)", "identity": "\(value)", "export": "\(value)", "reason": "\(value)", "x": "\(value)",
        ]
        let entry = LogEntry(level: .error, message: "it failed", fields: fields)
        let found = try parseLogfmt(String(text(entry.line(.text)).dropLast()))
        #expect(Set(found.keys) == ["time", "level", "message", "client", "identity", "export", "x", "reason"])
        #expect(found["reason"]?.hasSuffix("...") == true)
        let keys = try python(
            "import json, sys; print(*json.loads(sys.stdin.buffer.read()))",
            input: [String(text(entry.line(.json)).dropLast())])
        #expect(keys == ["time level message client identity export x reason"])
    }

    @Test func timesAreRFC3339() throws {
        let seconds = [0, 1, 951_782_399, 951_782_400, 1_709_164_800, 1_735_689_599, 4_102_444_800, 253_402_300_799]
        let program = """
            import sys, datetime
            for line in sys.stdin:
                seconds, text = line.split()
                time = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
                assert time == datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).replace(
                    microsecond=1204), line
            print("all")
            """
        let lines = seconds.map { "\($0) \(WallTime(secondsSince1970: $0, microseconds: 1204).text)" }
        #expect(try python(program, input: lines) == ["all"])
    }
}
