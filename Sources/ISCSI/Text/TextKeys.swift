// Text as pairs of keys and values (RFC 7143, 6.1).

/// One key=value pair.
public struct TextPair: Equatable, Sendable {
    /// The key.
    public var key: String
    /// The value, which may be a list with commas.
    public var value: String

    /// A pair.
    public init(_ key: String, _ value: String) {
        self.key = key
        self.value = value
    }
}

/// The mistakes of a text.
public enum TextError: Error, Equatable, CustomStringConvertible {
    /// A pair without the null byte behind it.
    case unterminated
    /// A pair without '=', or with a key that is none.
    case malformed(String)
    /// A value that is too long, or no UTF-8.
    case badValue(key: String)
    /// More pairs than anyone needs.
    case tooManyPairs(limit: Int)

    /// The mistake in words.
    public var description: String {
        switch self {
        case .unterminated: "a text that does not end with a null byte"
        case .malformed(let pair): "\(quoted(pair)) where a key, '=' and a value belong"
        case .badValue(let key): "a value of \(key) that is too long, or no UTF-8"
        case .tooManyPairs(let limit): "a text of more than \(limit) keys"
        }
    }
}

/// The data segment of a Login or Text PDU, or of several of them put together.
public enum Text {
    /// The longest key in bytes.
    public static let maximumKeyBytes = 63
    /// The longest value in bytes: large binary values have 1024 bytes, each of which is two digits (6.1).
    public static let maximumValueBytes = 2 * 1024 + 2
    /// The most pairs: twice as many as there are keys.
    public static let maximumPairs = 64

    /// Parses pairs, each of which ends with at least one null byte.
    public static func parse(_ bytes: some Collection<UInt8>) throws(TextError) -> [TextPair] {
        var pairs: [TextPair] = []
        guard bytes.isEmpty || bytes.suffix(1).first == 0 else { throw .unterminated }
        for piece in bytes.split(separator: 0) {
            guard pairs.count < maximumPairs else { throw .tooManyPairs(limit: maximumPairs) }
            guard let equals = piece.firstIndex(of: UInt8(ascii: "=")), isKey(piece[..<equals]) else {
                throw .malformed(String(decoding: piece.prefix(64), as: UTF8.self))
            }
            let key = String(decoding: piece[..<equals], as: UTF8.self)
            let valueBytes = piece[piece.index(after: equals)...]
            guard valueBytes.count <= maximumValueBytes, let value = String(validating: valueBytes, as: UTF8.self)
            else { throw .badValue(key: key) }
            pairs.append(TextPair(key, value))
        }
        return pairs
    }

    /// A key begins with a letter, and has letters, digits and a few signs (6.1, "key-name"). That letter should be a
    /// capital one; iSCSIProtocolLevel does not know that.
    private static func isKey(_ bytes: some Collection<UInt8>) -> Bool {
        guard (1...maximumKeyBytes).contains(bytes.count), let first = bytes.first,
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(first & ~0x20)
        else { return false }
        return bytes.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: ".-+@_#/".utf8.contains(byte)
            }
        }
    }

    /// Composes pairs.
    public static func compose(_ pairs: [TextPair]) -> [UInt8] {
        pairs.flatMap { Array("\($0.key)=\($0.value)".utf8) + [0] }
    }

    /// A numerical value: decimal without leading zeroes, or hexadecimal (6.1).
    public static func number(_ value: some StringProtocol) -> UInt64? {
        if value.hasPrefix("0x") || value.hasPrefix("0X") {
            let digits = value.dropFirst(2)
            guard digits.utf8.first != UInt8(ascii: "+") else { return nil }
            return UInt64(digits, radix: 16)
        }
        guard let first = value.utf8.first, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first),
            first != UInt8(ascii: "0") || value.utf8.count == 1
        else { return nil }
        return UInt64(value)
    }

    /// A binary value of at most `limit` bytes: 0x and hexadecimal digits, or 0b and Base64 (6.1).
    public static func binary(_ value: String, limit: Int = 1024) -> [UInt8]? {
        let start = value.prefix(2)
        let digits = Array(value.utf8.dropFirst(2))
        switch start {
        case "0x", "0X":
            guard !digits.isEmpty, digits.count <= 2 * limit else { return nil }
            var bytes: [UInt8] = []
            // An odd number of digits has a zero before it.
            var high: UInt8? = digits.count % 2 == 0 ? nil : 0
            for digit in digits {
                guard let low = Character(UnicodeScalar(digit)).hexDigitValue else { return nil }
                if let known = high {
                    bytes.append(known << 4 | UInt8(low))
                    high = nil
                } else {
                    high = UInt8(low)
                }
            }
            return bytes
        case "0b", "0B": return base64(digits, limit: limit)
        default: return nil
        }
    }

    /// RFC 4648, 4, with its padding.
    private static func base64(_ digits: [UInt8], limit: Int) -> [UInt8]? {
        guard !digits.isEmpty, digits.count % 4 == 0, digits.count / 4 * 3 <= limit + 2 else { return nil }
        let padding = digits.suffix(2).count { $0 == UInt8(ascii: "=") }
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        for (index, digit) in digits.dropLast(padding).enumerated() {
            guard let value = base64Value(digit) else { return nil }
            bits = bits << 6 | UInt32(value)
            // Of every four digits, all but the first complete a byte.
            if index % 4 != 0 { bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(6 - index % 4 * 2))) }
        }
        // Bits that make no byte are zero.
        let left: UInt32 = padding == 2 ? bits & 0x0F : padding == 1 ? bits & 0x03 : 0
        guard left == 0, bytes.count <= limit else { return nil }
        return bytes
    }

    private static func base64Value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): digit - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): digit - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }

    /// Bytes as a hexadecimal constant.
    public static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.reduce(into: "0x") { text, byte in
            text += byte < 16 ? "0" : ""
            text += String(byte, radix: 16)
        }
    }
}

/// A name from outside, fit for a log line: at most 64 characters of it, control characters escaped.
func quoted(_ name: String) -> String {
    let start = String(String.UnicodeScalarView(name.unicodeScalars.prefix(64)))
    return start.debugDescription + (name.unicodeScalars.count > 64 ? "..." : "")
}
