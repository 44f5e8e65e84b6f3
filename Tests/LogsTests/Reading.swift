// How the tests read a log: through pipes, with a parser of logfmt of their own and with Python's of JSON.

import Foundation
import Glibc
import Logging
import Support
import Testing

@testable import Logs

/// A pipe that a log writes to.
final class LogPipe {
    private(set) var reader: Int32
    let writer: Int32

    init() {
        var ends: [Int32] = [-1, -1]
        precondition(pipe(&ends) == 0, "there is no pipe")
        (reader, writer) = (ends[0], ends[1])
    }

    deinit {
        closeReader()
        close(writer)
    }

    func closeReader() {
        if reader >= 0 { close(reader) }
        reader = -1
    }

    /// The lines that are in it now, without their ends; at least `minimum`, for which it waits ten seconds.
    func lines(atLeast minimum: Int = 0) throws -> [String] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        var found = 0
        while true {
            var request = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
            guard poll(&request, 1, found < minimum ? 10_000 : 0) == 1 else { break }
            let count = read(reader, &buffer, buffer.count)
            bytes += buffer.prefix(max(0, count))
            found += buffer.prefix(max(0, count)).count { $0 == UInt8(ascii: "\n") }
        }
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let rest = lines.removeLast()
        #expect(rest.count == 0, "a line has no end")
        return lines.map { String(decoding: $0, as: UTF8.self) }
    }
}

/// What a reader of logfmt finds in a line: keys and values; a value is in quotation marks with escapes as JSON has
/// them, or goes on to the next space.
func parseLogfmt(_ line: String) throws -> [String: String] {
    let pair = try Regex(#"([a-z_]+)=(?:"((?:[^"\\]|\\["\\nrt]|\\u[0-9a-f]{4})*)"|([^\s"=\\]+))(?: |$)"#)
    var fields: [String: String] = [:]
    var rest = line[...]
    while !rest.isEmpty {
        let match = try #require(try pair.prefixMatch(in: rest), "no field begins at: \(rest)")
        let key = String(try #require(match[1].substring))
        #expect(fields[key] == nil, "\(key) is there twice")
        if let quoted = match[2].substring {
            fields[key] = try unescaped(quoted)
        } else {
            fields[key] = String(try #require(match[3].substring))
        }
        rest = rest[match.range.upperBound...]
    }
    return fields
}

private func unescaped(_ text: Substring) throws -> String {
    var units: [UInt16] = []
    var rest = text[...]
    while let character = rest.unicodeScalars.first {
        rest.unicodeScalars.removeFirst()
        guard character == "\\" else {
            units += Array(String(character).utf16)
            continue
        }
        switch rest.unicodeScalars.removeFirst() {
        case "n": units.append(10)
        case "r": units.append(13)
        case "t": units.append(9)
        case "u":
            units.append(try #require(UInt16(rest.prefix(4), radix: 16)))
            rest = rest.dropFirst(4)
        case let other: units += Array(String(other).utf16)
        }
    }
    return String(decoding: units, as: UTF16.self)
}

/// What Python prints for a program that is given some input.
func python(_ program: String, input: [String]) throws -> [String] {
    let result = try Program.tool("python3").run(
        ["-c", program], input: Array(input.map { $0 + "\n" }.joined().utf8), in: TemporaryFolder())
    #expect(result.status == 0, "\(result.errors)")
    return result.text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
}

/// Strings that a client could choose to spoil a log.
let hostileStrings = [
    "", " ", "two words", "a=b", "\"", "\\", "\\\"", "end\\", "\n", "\r\n", "\t", "\u{0}", "\u{7}",
    "\u{1B}[2J\u{1B}[31m", "\u{7F}",
    "x\ntime=2000-01-01T00:00:00.000000Z level=critical message=forged", "\"}\n{\"level\":\"critical\"",
    "x\" level=critical y=\"", "x\n<0>forged", "\u{85}\u{9B}31m", "\u{2028}\u{2029}", "\u{202E}drowssap", "\u{FEFF}",
    "\u{E000}", "\u{10FFFF}", "\u{1F4BE} Spindel, Grüße",
    String(decoding: [0xFF, 0xFE, 0x80] as [UInt8], as: UTF8.self),
    "level=critical", "'", "$(reboot)", "%s%n", "e\u{301}",
]
