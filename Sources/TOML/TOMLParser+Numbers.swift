// Numbers, dates and times (TOML 1.0.0, "Integer", "Float", "Offset Date-Time" to "Local Time"; RFC 3339, 5.6).

extension TOMLParser {
    /// The number that a word is; nil if it is none, or an integer that 64 bits cannot hold.
    static func number(_ word: String) -> TOMLValue.Content? {
        let bytes = Array(word.utf8)
        if bytes.count > 2, bytes[0] == UInt8(ascii: "0"), let radix = radixes[bytes[1]] {
            guard let digits = digits(bytes[2...], radix: radix) else { return nil }
            return Int64(digits, radix: radix).map { .integer($0) }
        }
        let isSigned = bytes.first == UInt8(ascii: "+") || bytes.first == UInt8(ascii: "-")
        let unsigned = isSigned ? bytes[1...] : bytes[...]
        let sign = isSigned ? String(UnicodeScalar(bytes[0])) : ""
        if unsigned.elementsEqual("inf".utf8) { return .float(sign == "-" ? -.infinity : .infinity) }
        if unsigned.elementsEqual("nan".utf8) { return .float(.nan) }
        let isPart = { (byte: UInt8) in isDigit(byte) || byte == UInt8(ascii: "_") }
        let whole = unsigned.prefix(while: isPart)
        guard let digits = digits(whole, radix: 10), digits.count == 1 || !digits.hasPrefix("0") else { return nil }
        guard whole.count < unsigned.count else { return Int64(sign + digits).map { .integer($0) } }
        return fraction(unsigned[whole.endIndex...], behind: sign + digits)
    }

    private static let radixes = [UInt8(ascii: "x"): 16, UInt8(ascii: "o"): 8, UInt8(ascii: "b"): 2]

    /// `.digits`, `e+digits`, or both.
    private static func fraction(_ bytes: ArraySlice<UInt8>, behind whole: String) -> TOMLValue.Content? {
        var rest = bytes
        var text = whole
        if rest.first == UInt8(ascii: ".") {
            let part = rest.dropFirst().prefix { isDigit($0) || $0 == UInt8(ascii: "_") }
            guard let digits = digits(part, radix: 10) else { return nil }
            text += "." + digits
            rest = rest[part.endIndex...]
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest = rest.dropFirst()
            text += "e"
            if let sign = rest.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") {
                text += String(UnicodeScalar(sign))
                rest = rest.dropFirst()
            }
            guard let digits = digits(rest, radix: 10) else { return nil }
            text += digits
            rest = []
        }
        return rest.isEmpty ? Double(text).map { .float($0) } : nil
    }

    /// Digits, each underscore between two of them left out; nil if that is not what the bytes are.
    private static func digits(_ bytes: ArraySlice<UInt8>, radix: Int) -> String? {
        var text = ""
        var mayHaveUnderscore = false
        for byte in bytes {
            let scalar = Unicode.Scalar(byte)
            if scalar == "_" {
                guard mayHaveUnderscore else { return nil }
                mayHaveUnderscore = false
            } else {
                guard let digit = Character(scalar).hexDigitValue, digit < radix else { return nil }
                text.unicodeScalars.append(scalar)
                mayHaveUnderscore = true
            }
        }
        return mayHaveUnderscore ? text : nil
    }
}

extension TOMLParser {
    /// `1979-05-27`.
    static func isDate(_ bytes: ArraySlice<UInt8>) -> Bool {
        let text = Array(bytes)
        guard matches(text, "0000-00-00") else { return false }
        let (year, month, day) = (value(text, 0..<4), value(text, 5..<7), value(text, 8..<10))
        guard (1...12).contains(month) else { return false }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        return (1...days[month - 1]).contains(day)
    }

    /// A date, a time, or both, then perhaps with a distance from UTC.
    static func isDateTime(_ bytes: [UInt8]) -> Bool {
        guard bytes.count >= 10, isDate(bytes[..<10]) else { return isTime(bytes[...]) }
        guard bytes.count > 10 else { return true }
        guard [UInt8(ascii: "T"), UInt8(ascii: "t"), UInt8(ascii: " ")].contains(bytes[10]) else { return false }
        let time = bytes[11...]
        if time.last == UInt8(ascii: "Z") || time.last == UInt8(ascii: "z") { return isTime(time.dropLast()) }
        guard let sign = time.lastIndex(where: { $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "-") }) else {
            return isTime(time)
        }
        let offset = Array(time[(sign + 1)...])
        return matches(offset, "00:00") && value(offset, 0..<2) < 24 && value(offset, 3..<5) < 60
            && isTime(time[..<sign])
    }

    /// `07:32:00` or `07:32:00.999`; a minute may have a leap second.
    private static func isTime(_ bytes: ArraySlice<UInt8>) -> Bool {
        let text = Array(bytes)
        guard matches(Array(text.prefix(8)), "00:00:00"), value(text, 0..<2) < 24, value(text, 3..<5) < 60,
            value(text, 6..<8) <= 60
        else { return false }
        guard text.count > 8 else { return true }
        return text.count > 9 && text[8] == UInt8(ascii: ".") && text[9...].allSatisfy(isDigit)
    }

    /// Digits where the pattern has zeroes, and its other characters.
    private static func matches(_ text: [UInt8], _ pattern: String) -> Bool {
        text.count == pattern.utf8.count
            && zip(text, pattern.utf8).allSatisfy { $1 == UInt8(ascii: "0") ? isDigit($0) : $0 == $1 }
    }

    private static func value(_ text: [UInt8], _ range: Range<Int>) -> Int {
        text[range].reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    }
}
