// Events as bytes: logfmt, JSON (RFC 8259), lines for the journal. Text from a client (a name, the subject of its
// certificate) is in a value, and no value ends its quotation marks or its line.

import Logging

extension LogEntry {
    /// The event as one line, its end included.
    func line(_ format: LogFormat) -> [UInt8] {
        switch format {
        case .auto, .text:
            var line = LogLine()
            line.append("time=\(time.text) level=\(level.rawValue) message=")
            line.appendLogfmt(message)
            for field in fields { line.appendPart(logfmt(field)) }
            return line.finished()
        case .json:
            var line = LogLine(end: "}\n")
            line.append("{\"time\":\"\(time.text)\",\"level\":\"\(level.rawValue)\",\"message\":")
            line.appendQuoted(message)
            for field in fields { line.appendPart(json(field)) }
            return line.finished()
        case .journal:
            var line = LogLine()
            line.append("<\(level.priority)>")
            line.appendEscaped(message)
            for field in fields { line.appendPart(logfmt(field)) }
            return line.finished()
        }
    }

    private func logfmt(_ field: Field) -> LogLine {
        var part = LogLine()
        part.append(" \(field.key)=")
        part.appendLogfmt(field.value)
        return part
    }

    private func json(_ field: Field) -> LogLine {
        var part = LogLine()
        part.append(",")
        part.appendQuoted(field.key)
        part.append(":")
        if field.isNumber { part.append(field.value) } else { part.appendQuoted(field.value) }
        return part
    }
}

extension Logger.Level {
    /// The priority of syslog(3), as it stands before a line for the journal.
    fileprivate var priority: Int {
        switch self {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}

/// A line under construction.
struct LogLine {
    /// pipe(7) writes so much in one piece (PIPE_BUF); no line is longer.
    static let maximumBytes = 4096
    /// Of one value, no more than this is written.
    static let maximumValueBytes = 640

    private var bytes: [UInt8] = []
    private let end: String

    init(end: String = "\n") {
        self.end = end
        bytes.reserveCapacity(256)
    }

    mutating func append(_ text: String) {
        bytes += text.utf8
    }

    /// Appends a part that has room, as a whole; leaves it out otherwise.
    mutating func appendPart(_ part: LogLine) {
        guard bytes.count + part.bytes.count + end.utf8.count <= Self.maximumBytes else { return }
        bytes += part.bytes
    }

    consuming func finished() -> [UInt8] {
        bytes += end.utf8
        return bytes
    }

    /// A value of logfmt: bare if every reader of logfmt takes it for one word, else in quotation marks.
    mutating func appendLogfmt(_ value: String) {
        let isWord = value.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x3D && $0 != 0x5C }
        if isWord && !value.isEmpty && value.utf8.count <= Self.maximumValueBytes {
            append(value)
        } else {
            appendQuoted(value)
        }
    }

    /// A string of JSON, which readers of logfmt understand as well.
    mutating func appendQuoted(_ value: String) {
        append("\"")
        appendEscaped(value)
        append("\"")
    }

    /// The text between the quotation marks of a string of JSON. Beyond RFC 8259, it escapes all characters that have
    /// no shape of their own but change the display: a terminal's control characters, marks that turn the direction of
    /// writing, separators of lines.
    mutating func appendEscaped(_ value: String) {
        let limit = bytes.count + Self.maximumValueBytes
        for scalar in value.unicodeScalars {
            guard bytes.count < limit else {
                append("...")
                return
            }
            append(scalar.isVisible && scalar != "\"" && scalar != "\\" ? String(scalar) : scalar.escape)
        }
    }
}
