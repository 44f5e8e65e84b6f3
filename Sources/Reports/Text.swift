// Small helpers for text in columns.

extension FixedWidthInteger {
    /// The number in decimal, with spaces before it up to a width.
    func rightAligned(_ width: Int) -> String { String(self).rightAligned(width, with: " ") }

    /// The number in hexadecimal, with zeroes before it up to a width.
    func hex(_ width: Int) -> String { String(self, radix: 16).rightAligned(width, with: "0") }
}

extension String {
    /// The text with copies of a filler before it up to a width.
    func rightAligned(_ width: Int, with filler: Character) -> String {
        String(repeating: filler, count: max(0, width - count)) + self
    }

    /// The text with spaces behind it up to a width.
    func leftAligned(_ width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }

    /// The text without spaces at either end.
    var withoutOuterSpaces: String {
        var rest = self[...]
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return String(rest)
    }
}

/// Bytes as hexadecimal pairs, 16 to a line: what the `--inhex` options of sg3-utils read.
func hexDump(_ bytes: [UInt8]) -> String {
    stride(from: 0, to: bytes.count, by: 16).map { start in
        bytes[start..<min(start + 16, bytes.count)].map { $0.hex(2) }.joined(separator: " ") + "\n"
    }.joined()
}
