// Which line a key of a TOML document stands in. The parser, TOMLKit, knows lines of syntax errors only; so this looks at
// the document once more. It knows how TOML nests (TOML 1.0: keys, tables, arrays, comments) and nothing of its values.

/// The lines of a table or array and of all that is in it.
final class LineTree {
    let line: Int
    /// By key, for a table.
    fileprivate(set) var members: [String: LineTree] = [:]
    /// For an array.
    fileprivate(set) var elements: [LineTree] = []

    fileprivate init(line: Int) { self.line = line }

    /// Looks at a document, which has to be valid.
    static func of(document: String) throws(SettingsError) -> LineTree {
        var scanner = LineScanner(document)
        return try scanner.document()
    }

    /// The member of a table, made if this is its first mention. The member of an array of tables is that of its last one.
    fileprivate func member(_ key: String, line: Int) -> LineTree {
        let table = elements.last ?? self
        if let known = table.members[key] { return known }
        let new = LineTree(line: line)
        table.members[key] = new
        return new
    }

    /// One more element of an array.
    fileprivate func element(line: Int) -> LineTree {
        let new = LineTree(line: line)
        elements.append(new)
        return new
    }
}

/// Walks over a document. What is not as it should be is stepped over: every turn of every loop moves on.
private struct LineScanner {
    private let bytes: [UInt8]
    private var position = 0
    private var line = 1

    init(_ document: String) {
        bytes = Array(document.utf8)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    }

    mutating func document() throws(SettingsError) -> LineTree {
        let root = LineTree(line: 1)
        var table = root
        while skipBlanks() {
            if next == UInt8(ascii: "[") {
                table = try header(root)
            } else {
                try pair(in: table)
            }
        }
        return root
    }

    /// The byte at the position; nil at the end.
    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func take() {
        if next == UInt8(ascii: "\n") { line += 1 }
        position += 1
    }

    /// Takes the byte if it is next.
    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        take()
        return true
    }

    /// Moves to what is no blank, line end or comment; false if there is no such thing any more.
    private mutating func skipBlanks() -> Bool {
        while let byte = next {
            switch byte {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: "\n"): take()
            case UInt8(ascii: "#"): while let byte = next, byte != UInt8(ascii: "\n") { take() }
            default: return true
            }
        }
        return false
    }

    /// `[key.key]` or `[[key.key]]`.
    private mutating func header(_ root: LineTree) throws(SettingsError) -> LineTree {
        let start = line
        _ = take("[")
        let isArray = take("[")
        var table = root
        for key in try keys() { table = table.member(key, line: start) }
        if isArray { table = table.element(line: start) }
        _ = take("]") && isArray && take("]")
        return table
    }

    /// `key.key = value`.
    private mutating func pair(in table: LineTree) throws(SettingsError) {
        let start = line
        var place = table
        for key in try keys() { place = place.member(key, line: start) }
        if take("=") { try value(of: place) } else { take() }
    }

    /// Keys with dots between them, and the blanks around.
    private mutating func keys() throws(SettingsError) -> [String] {
        var keys: [String] = []
        repeat {
            _ = skipBlanks()
            let start = position
            if next == UInt8(ascii: "\"") || next == UInt8(ascii: "'") {
                try string()
                keys.append(String(decoding: bytes[start..<position].dropFirst().dropLast(), as: UTF8.self))
            } else {
                while let byte = next, Self.isBare(byte) { take() }
                keys.append(String(decoding: bytes[start..<position], as: UTF8.self))
            }
            _ = skipBlanks()
        } while take(".")
        return keys
    }

    private static func isBare(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private mutating func value(of place: LineTree) throws(SettingsError) {
        _ = skipBlanks()
        switch next {
        case UInt8(ascii: "\""), UInt8(ascii: "'"): try string()
        case UInt8(ascii: "["):
            take()
            while skipBlanks(), !take("]") {
                try value(of: place.element(line: line))
                _ = skipBlanks() && take(",")
            }
        case UInt8(ascii: "{"):
            take()
            while skipBlanks(), !take("}") {
                try pair(in: place)
                _ = skipBlanks() && take(",")
            }
        default:
            // A number, a date, true or false: up to what can follow a value.
            repeat { take() } while next.map { !Array(",]}#\n".utf8).contains($0) } ?? false
        }
    }

    /// A string of any of the four kinds.
    private mutating func string() throws(SettingsError) {
        guard let quote = next else { return }
        let isBasic = quote == UInt8(ascii: "\"")
        let isLong = bytes[position...].starts(with: [quote, quote, quote])
        for _ in 0..<(isLong ? 3 : 1) { take() }
        while let byte = next {
            if isBasic, byte == UInt8(ascii: "\\") {
                try checkEscape()
                take()
                take()
            } else if byte != quote || (isLong && !bytes[position...].starts(with: [quote, quote, quote])) {
                take()
            } else {
                break
            }
        }
        // Up to two quotes may stand before the three that end a long string.
        for _ in 0..<(isLong ? 5 : 1) where next == quote { take() }
    }

    /// TOML allows a NUL in a string; strings of C, which is what becomes of them all, end there.
    private func checkEscape() throws(SettingsError) {
        let escape = bytes[position...].dropFirst()
        if escape.starts(with: "u0000".utf8) || escape.starts(with: "U00000000".utf8) {
            throw SettingsError(line: line, "a NUL character can be in no name, path or other text")
        }
    }
}
