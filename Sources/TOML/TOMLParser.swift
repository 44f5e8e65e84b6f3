// A document line by line: headers, keys, comments (TOML 1.0.0, "Comment", "Key/Value Pair", "Keys", "Table").

/// Reads a document from its beginning to its end, or to its first error.
struct TOMLParser {
    /// The text; nothing stands behind its end.
    let bytes: [UInt8]
    var position = 0
    var line = 1
    private var tables = TOMLTables()

    init(_ text: String) {
        bytes = Array(text.utf8)
        // A byte order mark is no part of the text.
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    }

    mutating func document() throws(TOMLError) -> TOMLValue {
        var table = 0
        while true {
            skipBlanks()
            guard let byte = next else { return tables.value() }
            if byte == UInt8(ascii: "[") {
                table = try header()
            } else if !isAtLineEnd && byte != UInt8(ascii: "#") {
                try pair(in: table)
            }
            skipBlanks()
            try endLine()
        }
    }

    /// The byte at the position; nil at the end.
    var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    /// Whether these characters come next.
    func isNext(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { expected in
            guard bytes.count - position >= expected.count else { return false }
            for offset in 0..<expected.count where unsafe bytes[position + offset] != expected[offset] { return false }
            return true
        }
    }

    /// Takes the characters if they come next.
    mutating func take(_ text: StaticString) -> Bool {
        guard isNext(text) else { return false }
        position += text.utf8CodeUnitCount
        return true
    }

    func error(_ description: String) -> TOMLError {
        TOMLError(line: line, description: description)
    }

    /// The next character, for people.
    var nextInWords: String {
        guard next != nil else { return "the end of the text" }
        if isAtLineEnd { return "the end of the line" }
        let rest = String(decoding: bytes[position...].prefix(4), as: UTF8.self)
        return rest.unicodeScalars.first.map { "'\(String($0).debugDescription.dropFirst().dropLast())'" } ?? "nothing"
    }

    /// A line ends with LF or CR LF.
    var isAtLineEnd: Bool { next == UInt8(ascii: "\n") || isNext("\r\n") }

    mutating func skipBlanks() {
        while next == UInt8(ascii: " ") || next == UInt8(ascii: "\t") { position += 1 }
    }

    /// Takes the end of a line.
    ///
    /// - Returns: whether there was one.
    mutating func takeLineEnd() -> Bool {
        guard take("\n") || take("\r\n") else { return false }
        line += 1
        return true
    }

    /// A comment, and the end of the line or of the text.
    mutating func endLine() throws(TOMLError) {
        try skipComment()
        guard next == nil || takeLineEnd() else { throw error("\(nextInWords) stands behind what the line says") }
    }

    mutating func skipComment() throws(TOMLError) {
        guard next == UInt8(ascii: "#") else { return }
        while let byte = next, !isAtLineEnd {
            guard !Self.isControl(byte) else { throw error("there is a control character in the comment") }
            position += 1
        }
    }

    /// Characters that no comment and no string may hold.
    static func isControl(_ byte: UInt8) -> Bool { byte < 0x20 && byte != 0x09 || byte == 0x7F }

    /// `[key]` or `[[key]]`.
    private mutating func header() throws(TOMLError) -> Int {
        let isArray = take("[[")
        if !isArray { position += 1 }
        let start = line
        let keys = try keys()
        guard take(isArray ? "]]" : "]") else {
            throw error("\(isArray ? "']]'" : "']'") has to end the name of a table, not \(nextInWords)")
        }
        return isArray ? try tables.append(keys, line: start) : try tables.open(keys, line: start)
    }

    private mutating func pair(in table: Int) throws(TOMLError) {
        let (keys, value) = try pair(depth: tables.depth(ofMembersOf: table))
        try tables.set(keys, to: value, in: table)
    }

    /// `key.key = value`; the line of the value is that of its key.
    mutating func pair(depth: Int) throws(TOMLError) -> (keys: [String], value: TOMLValue) {
        let start = line
        let keys = try keys()
        guard take("=") else { throw error("'=' has to stand behind a key, not \(nextInWords)") }
        skipBlanks()
        var value = try value(depth: depth + keys.count - 1)
        value.line = start
        return (keys, value)
    }

    /// Keys with dots between them, and the blanks around.
    private mutating func keys() throws(TOMLError) -> [String] {
        var keys: [String] = []
        repeat {
            guard keys.count < TOMLValue.maximumDepth else { throw TOMLTables.tooDeep(line) }
            skipBlanks()
            keys.append(try key())
            skipBlanks()
        } while take(".")
        return keys
    }

    private mutating func key() throws(TOMLError) -> String {
        if take("\"") { return try basicString() }
        if take("'") { return try literalString() }
        let start = position
        while let byte = next, Self.isBare(byte) { position += 1 }
        guard position > start else { throw error("a key has to stand here, not \(nextInWords)") }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private static func isBare(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
