// TOML (1.0) to values with lines.

import TOMLKit

extension SettingsValue {
    /// Parses a TOML document.
    public init(toml text: String) throws(SettingsError) {
        guard !text.utf8.contains(0) else { throw SettingsError("this is no text: there is a NUL byte in it") }
        let table: TOMLTable
        do {
            table = try TOMLTable(string: text)
        } catch let error as TOMLParseError {
            throw SettingsError(line: error.source.begin.line, "this is no TOML: \(error.description)")
        } catch {
            preconditionFailure("the parser throws nothing else")
        }
        self.init(table, try LineTree.of(document: text))
    }

    private init(_ table: TOMLTable, _ lines: LineTree) {
        var members: [String: SettingsValue] = [:]
        for (key, value) in table {
            // A key that was written with escapes is not found: its line is about that of its table.
            members[key] = SettingsValue(value, lines.members[key] ?? lines)
        }
        self.init(.table(members), line: lines.line)
    }

    private init(_ value: any TOMLValueConvertible, _ lines: LineTree) {
        if let table = value.table {
            self.init(table, lines)
        } else if let array = value.array {
            let elements = array.enumerated().map { index, element in
                SettingsValue(element, index < lines.elements.count ? lines.elements[index] : lines)
            }
            self.init(.array(elements), line: lines.line)
        } else if let string = value.string {
            self.init(.string(string), line: lines.line)
        } else if let integer = value.int {
            self.init(.integer(integer), line: lines.line)
        } else if let boolean = value.bool {
            self.init(.boolean(boolean), line: lines.line)
        } else {
            self.init(.other(value.type == .double ? "a number with a fraction" : "a date or time"), line: lines.line)
        }
    }
}
