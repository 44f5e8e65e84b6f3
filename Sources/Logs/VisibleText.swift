// Text that comes from elsewhere, a file's name for instance, as a terminal may show it: on one line, and nothing in it
// is a command to the terminal.

extension String {
    /// The text with an escape, as JSON has them, for everything that has no shape of its own but changes what is seen:
    /// a terminal's control characters, marks that turn the direction of writing, separators of lines.
    public var visible: String {
        guard unicodeScalars.contains(where: { !$0.isVisible }) else { return self }
        return unicodeScalars.map { $0.isVisible ? String($0) : $0.escape }.joined()
    }
}

extension String {
    /// JSON that a terminal may show: RFC 8259 has escapes for ASCII's control characters only.
    public var visibleJSON: String {
        guard unicodeScalars.contains(where: { !$0.isASCII && !$0.isVisible }) else { return self }
        return unicodeScalars.map { $0.isASCII || $0.isVisible ? String($0) : $0.escape }.joined()
    }

    /// The visible text between quotes, which no quote in it ends: programs look for what stands behind them.
    public var quoted: String {
        "'" + visible.unicodeScalars.map { $0 == "'" ? "\\u0027" : String($0) }.joined() + "'"
    }

    /// Bytes that are no text, with those that are no ASCII as a shell writes them: `caf\xe9.img`.
    public init(showing bytes: some Sequence<UInt8>) {
        self = bytes.map { byte in
            let isPlain = byte >= 0x20 && byte < 0x7F
            return isPlain ? String(Unicode.Scalar(byte)) : "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
    }
}

extension Unicode.Scalar {
    /// It has a shape, or is a space.
    var isVisible: Bool {
        if isASCII { return value >= 0x20 && value < 0x7F }
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned, .surrogate: return false
        default: return true
        }
    }

    /// How a string of JSON has it (RFC 8259, section 7).
    var escape: String {
        switch self {
        case "\"": return "\\\""
        case "\\": return "\\\\"
        case "\n": return "\\n"
        case "\r": return "\\r"
        case "\t": return "\\t"
        default:
            return String(self).utf16.map { unit in
                let digits = String(unit, radix: 16)
                return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }.joined()
        }
    }
}
