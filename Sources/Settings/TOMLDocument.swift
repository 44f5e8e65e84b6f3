// TOML to values of settings.

import TOML

extension SettingsValue {
    /// Parses a TOML document.
    public init(toml text: String) throws(SettingsError) {
        guard !text.utf8.contains(0) else { throw SettingsError("this is no text: there is a NUL byte in it") }
        let document: TOMLValue
        do {
            document = try TOMLValue(parsing: text)
        } catch {
            throw SettingsError(line: error.line, "this is no TOML: \(error)")
        }
        try self.init(document)
    }

    private init(_ value: TOMLValue) throws(SettingsError) {
        let content: Content
        switch value.content {
        case .string(let text):
            try Self.check(text, value.line)
            content = .string(text)
        case .integer(let number): content = .integer(Int(number))
        case .boolean(let isTrue): content = .boolean(isTrue)
        case .float: content = .other("a number with a fraction")
        case .dateTime: content = .other("a date or time")
        case .array(let elements):
            var converted: [SettingsValue] = []
            for element in elements { converted.append(try SettingsValue(element)) }
            content = .array(converted)
        case .table(let members):
            var converted: [String: SettingsValue] = [:]
            for (key, member) in members {
                try Self.check(key, member.line)
                converted[key] = try SettingsValue(member)
            }
            content = .table(converted)
        }
        self.init(content, line: value.line)
    }

    /// TOML allows a NUL in a string; strings of C, which is what becomes of them all, end there.
    private static func check(_ text: String, _ line: Int) throws(SettingsError) {
        guard !text.utf8.contains(0) else {
            throw SettingsError(line: line, "a NUL character can be in no name, path or other text")
        }
    }
}
