// The content of a TOML document (TOML 1.0.0, https://toml.io/en/v1.0.0).

/// A value of a document, and where it stands.
public struct TOMLValue: Equatable, Sendable {
    /// The types of TOML.
    public enum Content: Equatable, Sendable {
        case string(String)
        case integer(Int64)
        case float(Double)
        case boolean(Bool)
        /// One of the four kinds of dates and times, checked, as it was written.
        case dateTime(String)
        case array([TOMLValue])
        case table([String: TOMLValue])
    }

    /// The value.
    public var content: Content
    /// The line of its key, or of itself when it is an element of an array; the first line is 1.
    public var line: Int

    /// Creates a value.
    public init(_ content: Content, line: Int) {
        self.content = content
        self.line = line
    }

    /// Parses a document, which is a table.
    ///
    /// The time that this takes grows with the length of the text, its use of the stack does not: tables, arrays and
    /// keys may be nested ``maximumDepth`` deep.
    public init(parsing text: String) throws(TOMLError) {
        var parser = TOMLParser(text)
        self = try parser.document()
    }

    /// How deep a value may stand in tables and arrays. Nothing in the standard says how deep documents may be;
    /// configurations have three or four levels.
    public static let maximumDepth = 64
}

/// Why a text is no TOML document.
public struct TOMLError: Error, Equatable, CustomStringConvertible {
    /// Where it stops being one.
    public let line: Int
    /// The mistake there.
    public let description: String
}
