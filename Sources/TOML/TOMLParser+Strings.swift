// Strings of four kinds (TOML 1.0.0, "String"); the quotes before them have been taken.

extension TOMLParser {
    /// `"text"`, with escapes.
    mutating func basicString() throws(TOMLError) -> String {
        var text: [UInt8] = []
        while !take("\"") {
            if take("\\") {
                try appendEscaped(to: &text)
            } else {
                text.append(try characterByte())
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// `'text'`, as it stands there.
    mutating func literalString() throws(TOMLError) -> String {
        let start = position
        while next != UInt8(ascii: "'") { _ = try characterByte() }
        position += 1
        return String(decoding: bytes[start..<position - 1], as: UTF8.self)
    }

    /// `"""text"""`, with escapes and lines.
    mutating func longBasicString() throws(TOMLError) -> String {
        var text: [UInt8] = []
        _ = takeLineEnd()
        while true {
            if takeLongEnd("\"", "\"\"\"", &text) { return String(decoding: text, as: UTF8.self) }
            if takeLineEnd() {
                text.append(UInt8(ascii: "\n"))
            } else if take("\\") {
                if try !skipLineEnd() { try appendEscaped(to: &text) }
            } else {
                text.append(try characterByte())
            }
        }
    }

    /// `'''text'''`, with lines.
    mutating func longLiteralString() throws(TOMLError) -> String {
        var text: [UInt8] = []
        _ = takeLineEnd()
        while true {
            if takeLongEnd("'", "'''", &text) { return String(decoding: text, as: UTF8.self) }
            text.append(takeLineEnd() ? UInt8(ascii: "\n") : try characterByte())
        }
    }

    /// Three quotes end a string; before them may stand one or two that belong to it.
    private mutating func takeLongEnd(_ quote: StaticString, _ end: StaticString, _ text: inout [UInt8]) -> Bool {
        guard take(end) else { return false }
        for _ in 0..<2 where take(quote) { unsafe text.append(quote.utf8Start.pointee) }
        return true
    }

    /// A byte of a string on one line.
    private mutating func characterByte() throws(TOMLError) -> UInt8 {
        guard let byte = next, !isAtLineEnd else { throw error("the quotes of a text are not closed") }
        guard !Self.isControl(byte) else { throw error("there is a control character in a text: write it as \\u00XX") }
        position += 1
        return byte
    }

    /// A backslash at the end of a line takes all blanks and ends of lines with it, up to the next character.
    ///
    /// - Returns: false if the backslash does not stand at the end of a line; then nothing was taken.
    private mutating func skipLineEnd() throws(TOMLError) -> Bool {
        let start = position
        skipBlanks()
        guard takeLineEnd() else {
            position = start
            return false
        }
        repeat { skipBlanks() } while takeLineEnd()
        return true
    }

    /// The meaning of a backslash and the next characters.
    private mutating func appendEscaped(to text: inout [UInt8]) throws(TOMLError) {
        let escapes: [(StaticString, UInt8)] = [
            ("b", 0x08), ("t", 0x09), ("n", 0x0A), ("f", 0x0C), ("r", 0x0D), ("\"", 0x22), ("\\", 0x5C),
        ]
        for (character, byte) in escapes where take(character) {
            text.append(byte)
            return
        }
        let digitCount = take("u") ? 4 : take("U") ? 8 : 0
        guard digitCount > 0 else {
            throw error(
                "'\\' and \(nextInWords) mean nothing in a text; '\\\\' is a backslash, as is '\\' between single quotes"
            )
        }
        let digits = bytes[position...].prefix(digitCount)
        let isNumber = digits.count == digitCount && digits.allSatisfy { Unicode.Scalar($0).properties.isASCIIHexDigit }
        guard isNumber, let number = UInt32(String(decoding: digits, as: UTF8.self), radix: 16),
            let scalar = Unicode.Scalar(number)
        else {
            throw error("'\\u' needs four hexadecimal digits and '\\U' eight, which are the number of a character")
        }
        position += digitCount
        text += Array(String(scalar).utf8)
    }
}
