// A configuration before its keys mean anything: the same values for TOML from a file and JSON from the control socket.

/// A value, and the line where it was written.
public struct SettingsValue: Equatable, Sendable {
    /// The kinds of values that some key takes, and one for all others.
    public enum Content: Equatable, Sendable {
        case string(String)
        case integer(Int)
        case boolean(Bool)
        case array([SettingsValue])
        case table([String: SettingsValue])
        /// Nothing that a key could take; the words say what it is, "a date".
        case other(String)
    }

    /// The value.
    public var content: Content
    /// The line of its key, or of itself when it stands in an array; nil if nobody knows lines.
    public var line: Int?

    /// Describes a value.
    public init(_ content: Content, line: Int? = nil) {
        self.content = content
        self.line = line
    }

    /// The line of a key of this table; its own if there is none.
    func line(of key: String) -> Int? {
        guard case .table(let members) = content else { return line }
        return members[key]?.line ?? line
    }

    /// The line of a key that is given with its table, `tls.mode`; nil if it is not there.
    func line(at path: String) -> Int? {
        var value: SettingsValue? = self
        for name in path.split(separator: ".") {
            guard case .table(let members)? = value?.content else { return nil }
            value = members[String(name)]
        }
        return value?.line
    }

    /// The text of a key of this table.
    func string(of key: String) -> String? {
        guard case .table(let members) = content, case .string(let text)? = members[key]?.content else { return nil }
        return text
    }

    /// Its kind, for people.
    var kind: String {
        switch content {
        case .string: "a string"
        case .integer: "a number"
        case .boolean: "true or false"
        case .array: "a list"
        case .table: "a table"
        case .other(let what): what
        }
    }
}
