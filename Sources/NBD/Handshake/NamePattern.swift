// The names of exports that are alike.

/// A name with one `*`, which stands for what tells exports apart: letters, digits, dots, underscores and dashes.
public struct NamePattern: Hashable, Sendable {
    /// The most bytes that the `*` stands for.
    public static let maximumBytes = 64

    /// The pattern as it was written.
    public let text: String
    /// The text before the `*`.
    public let prefix: String
    /// The text behind it.
    public let suffix: String

    /// Reads a pattern; nil unless it has exactly one `*`.
    public init?(_ text: String) {
        guard let star = text.firstIndex(of: "*") else { return nil }
        prefix = String(text[..<star])
        suffix = String(text[text.index(after: star)...])
        guard !suffix.contains("*") else { return nil }
        self.text = text
    }

    /// The longest name of the pattern, in bytes.
    public var longestNameBytes: Int { prefix.utf8.count + Self.maximumBytes + suffix.utf8.count }

    /// The name with something in the place of the `*`.
    public func name(_ middle: String) -> String { prefix + middle + suffix }

    /// Whether a name, as a client has sent it, is one of the pattern.
    public func matches(_ name: [UInt8]) -> Bool {
        let rest = name.count - prefix.utf8.count - suffix.utf8.count
        guard 1...Self.maximumBytes ~= rest, name.starts(with: prefix.utf8),
            name.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
        else { return false }
        return name.dropFirst(prefix.utf8.count).prefix(rest).allSatisfy(Self.isAllowed)
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
        default: false
        }
    }
}
