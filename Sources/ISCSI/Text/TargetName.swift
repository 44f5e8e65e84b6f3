// Names of iSCSI nodes (RFC 7143, 4.2.7; RFC 3722).

/// The name of a target.
public struct TargetName: Hashable, Sendable {
    /// The name as it is said.
    public let text: String

    /// The longest name (4.2.7.2).
    public static let maximumBytes = 223
    /// The prefix of names by default; the name of an export follows it.
    public static let standardPrefix = TargetName(unchecked: "iqn.2026-11.org.spindle")

    private init(unchecked text: String) { self.text = text }

    /// A name as somebody has written it.
    public init(_ text: String) throws(TargetNameError) {
        guard Self.hasType(text) else { throw .noType(text) }
        if let character = text.first(where: { !$0.utf8.allSatisfy(Self.isAllowed) }) {
            throw .badCharacter(text, character)
        }
        guard text.utf8.count <= Self.maximumBytes else { throw .tooLong(text) }
        self.text = text
    }

    /// The name of an export's target: the prefix, a colon, and the export's name. If that has characters that no name
    /// may have, they are small letters or dashes, and the checksum (CRC32C) of the export's name follows: `vm-A` and
    /// `vm-a` are two targets, whichever of them comes first. The empty name, and one that would be too long, have no
    /// target.
    public init?(export: String, prefix: TargetName) {
        var name = export
        if !export.utf8.allSatisfy(Self.isAllowed) {
            // Every bit pattern is a byte.
            let checksum = unsafe CRC32C.of(Array(export.utf8).span.bytes).value
            name = String(export.unicodeScalars.map(Self.allowed)) + "-" + String(checksum, radix: 16)
        }
        guard !name.isEmpty, prefix.text.utf8.count + 1 + name.utf8.count <= Self.maximumBytes else { return nil }
        text = prefix.text + ":" + name
    }

    /// It begins with a type (4.2.7.2), and is more than that.
    static func hasType(_ text: String) -> Bool {
        ["iqn.", "eui.", "naa."].contains { text.hasPrefix($0) && text != $0 }
    }

    private static func allowed(_ scalar: Unicode.Scalar) -> Character {
        guard scalar.isASCII else { return "-" }
        let byte = UInt8(scalar.value)
        if UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte { return Character(Unicode.Scalar(byte | 0x20)) }
        return isAllowed(byte) ? Character(scalar) : "-"
    }

    /// Small letters, digits, dash, dot and colon.
    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: ":"): true
        default: false
        }
    }
}

/// Why a text is no name of a target.
public enum TargetNameError: Error, Equatable, CustomStringConvertible {
    /// It begins like no name, or is nothing but a beginning.
    case noType(String)
    /// No name may have this character.
    case badCharacter(String, Character)
    /// It has too many bytes.
    case tooLong(String)

    /// The mistake and the right way.
    public var description: String {
        switch self {
        case .noType(let text):
            "'\(text)' is no name of a target: one is iqn., eui. or naa. and more, as in iqn.2026-11.org.example:disk"
        case .badCharacter(let text, let character):
            "'\(text)' is no name of a target: it has '\(character)'; small letters, digits, '-', '.' and ':' are allowed"
        case .tooLong(let text):
            "a target's name of \(text.utf8.count) bytes is too long; at most \(TargetName.maximumBytes) are allowed"
        }
    }
}
