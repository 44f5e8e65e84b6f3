// Values: what can stand behind an equals sign (TOML 1.0.0, "Boolean", "Array", "Inline Table").

extension TOMLParser {
    /// A value, which stands so deep in tables and arrays.
    mutating func value(depth: Int) throws(TOMLError) -> TOMLValue {
        let start = line
        return TOMLValue(try content(depth: depth), line: start)
    }

    private mutating func content(depth: Int) throws(TOMLError) -> TOMLValue.Content {
        guard depth < TOMLValue.maximumDepth else { throw TOMLTables.tooDeep(line) }
        if take("\"\"\"") { return .string(try longBasicString()) }
        if take("\"") { return .string(try basicString()) }
        if take("'''") { return .string(try longLiteralString()) }
        if take("'") { return .string(try literalString()) }
        if take("[") { return .array(try array(depth: depth)) }
        if take("{") { return .table(try inlineTable(depth: depth)) }
        return try word()
    }

    /// The rest of `[value, value]`: lines may end everywhere in it, and a comma may stand behind the last value.
    private mutating func array(depth: Int) throws(TOMLError) -> [TOMLValue] {
        var elements: [TOMLValue] = []
        while true {
            try skipLines()
            if take("]") { return elements }
            elements.append(try value(depth: depth + 1))
            try skipLines()
            guard take(",") || isNext("]") else {
                throw error("',' or ']' has to stand behind a value of a list, not \(nextInWords)")
            }
        }
    }

    /// Blanks, ends of lines, comments.
    private mutating func skipLines() throws(TOMLError) {
        repeat {
            skipBlanks()
            try skipComment()
        } while takeLineEnd()
    }

    /// The rest of `{ key = value, key = value }`, which stands on one line and is never added to.
    private mutating func inlineTable(depth: Int) throws(TOMLError) -> [String: TOMLValue] {
        // Dotted keys make tables in it as they do below a header.
        var tables = TOMLTables()
        skipBlanks()
        if take("}") { return [:] }
        while true {
            let (keys, value) = try pair(depth: depth + 1)
            try tables.set(keys, to: value, in: 0)
            skipBlanks()
            if take("}") { break }
            guard take(",") else { throw error("',' or '}' has to stand behind a value in '{', not \(nextInWords)") }
        }
        guard case .table(let members) = tables.value().content else { preconditionFailure("a document is a table") }
        return members
    }

    /// A value without quotes or brackets.
    private mutating func word() throws(TOMLError) -> TOMLValue.Content {
        let start = position
        while let byte = next, Self.isWord(byte) { position += 1 }
        // A date and a time may have a blank between them.
        if Self.isDate(bytes[start..<position]), next == UInt8(ascii: " "),
            bytes[(position + 1)...].prefix(2).allSatisfy(Self.isDigit), bytes.count - position > 2
        {
            position += 1
            while let byte = next, Self.isWord(byte) { position += 1 }
        }
        let word = String(decoding: bytes[start..<position], as: UTF8.self)
        guard !word.isEmpty else { throw error("a value has to stand here, not \(nextInWords)") }
        if word == "true" { return .boolean(true) }
        if word == "false" { return .boolean(false) }
        if let content = Self.number(word) { return content }
        if Self.isDateTime(Array(word.utf8)) { return .dateTime(word) }
        throw error("'\(word)' is no value: a text needs quotes; numbers, dates, true and false do not")
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "+"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: ":"):
            true
        default: false
        }
    }

    static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
