// Takes the keys of one table, each with the type it has to have, and collects what is wrong.

import ATA

/// Reads one table. Keys that nobody took are unknown.
struct TableReader {
    let section: SettingsKey.Section
    /// The text before a key in messages, `export 'disk'`; empty for the top.
    let place: String
    let line: Int?
    /// The folder of relative paths; nil for those of the process.
    let folder: String?
    let users: UserNames
    private var entries: [String: SettingsValue] = [:]
    private(set) var errors: [SettingsError] = []

    init(_ value: SettingsValue, _ section: SettingsKey.Section, place: String, folder: String?, users: UserNames) {
        self.section = section
        self.users = users
        self.place = place
        self.folder = folder
        line = value.line
        if case .table(let entries) = value.content {
            self.entries = entries
        } else {
            errors.append(SettingsError(line: value.line, place: place, "\(value.kind) stands where a table belongs"))
        }
    }

    /// Whether the key is there and was not taken.
    func has(_ key: String) -> Bool { entries[key] != nil }

    mutating func string(_ key: String) -> String? {
        take(key, "a string") { if case .string(let text) = $0 { text } else { nil } }?.value
    }

    mutating func boolean(_ key: String) -> Bool? {
        take(key, "true or false") { if case .boolean(let value) = $0 { value } else { nil } }?.value
    }

    mutating func number(_ key: String, _ range: ClosedRange<Int>) -> Int? {
        guard let (number, line) = take(key, "a number", { if case .integer(let value) = $0 { value } else { nil } })
        else { return nil }
        guard range.contains(number) else {
            let needed = "a number from \(range.lowerBound) to \(range.upperBound) is needed"
            add(SettingsError(line: line, place: full(key), "\(number) is not allowed: \(needed)"))
            return nil
        }
        return number
    }

    /// A string that means something: what `parse` makes of it.
    ///
    /// - Parameter orNumber: a number will do, too.
    mutating func parsed<Value>(
        _ key: String, orNumber: Bool = false, _ parse: (String) throws -> Value
    ) -> Value? {
        let taken = take(key, "a string") { content -> String? in
            switch content {
            case .string(let text): text
            case .integer(let number) where orNumber: String(number)
            default: nil
            }
        }
        guard let (text, line) = taken else { return nil }
        do {
            return try parse(text)
        } catch {
            add(SettingsError(line: line, place: full(key), "\(error)"))
            return nil
        }
    }

    /// A list of strings that mean something. One string alone is a list, too.
    mutating func list<Value>(_ key: String, _ parse: (String) throws -> Value) -> [Value] {
        let wanted = "a list of strings"
        let taken = take(key, wanted) { content -> [SettingsValue]? in
            switch content {
            case .array(let elements): elements
            case .string: [SettingsValue(content)]
            default: nil
            }
        }
        guard let (elements, line) = taken else { return [] }
        var values: [Value] = []
        for element in elements {
            guard case .string(let text) = element.content else {
                add(wrongType(element, line: element.line ?? line, key, wanted))
                continue
            }
            do {
                values.append(try parse(text))
            } catch {
                add(SettingsError(line: element.line ?? line, place: full(key), "\(error)"))
            }
        }
        return values
    }

    /// A path, which begins at the folder of the settings unless it begins at the root.
    mutating func path(_ key: String) -> String? {
        let folder = folder
        return parsed(key) { path in
            guard !path.isEmpty else {
                throw SettingsError("'' is no path: name a file or folder, or leave \(key) out")
            }
            return resolvedPath(path, folder)
        }
    }

    /// A table in this one.
    mutating func table(_ key: String) -> SettingsValue? {
        entries.removeValue(forKey: key)
    }

    /// The tables of an array of tables.
    mutating func tables(_ key: String) -> [SettingsValue] {
        guard let value = entries.removeValue(forKey: key) else { return [] }
        if case .array(let elements) = value.content { return elements }
        let hint = section == .server ? ": each begins with [[\(key)]]" : ""
        let message = "\(value.kind) stands where a list of tables belongs\(hint)"
        add(SettingsError(line: value.line, place: full(key), message))
        return []
    }

    /// The mistakes, unknown keys included. The words for keys that are tables are the caller's.
    mutating func finish(tables: [String] = []) -> [SettingsError] {
        let known = SettingsKey.names(in: section) + tables
        for (key, value) in entries {
            let hint =
                Self.option(key, in: section)
                ?? Self.otherSection(of: key).map { "it belongs in \($0)" }
                ?? nearestName(to: key, among: known).map { "did you mean '\($0)'?" }
                ?? "known are \(known.joined(separator: ", "))"
            add(SettingsError(line: value.line, place: full(key), "there is no such key; \(hint)"))
        }
        return errors
    }

    /// Something wrong with the whole.
    mutating func add(_ message: String) { add(SettingsError(line: line, place: place, message)) }

    /// Adds the mistakes in a table inside this one.
    mutating func add(_ errors: [SettingsError]) { self.errors += errors }

    private mutating func add(_ error: SettingsError) { errors.append(error) }

    /// Something wrong with the value of a key, taken or not.
    mutating func add(_ key: String, line: Int?, _ message: String) {
        add(SettingsError(line: line, place: full(key), message))
    }

    /// The line of a key that was not taken yet.
    func line(of key: String) -> Int? { entries[key]?.line ?? line }

    private static func option(_ key: String, in section: SettingsKey.Section) -> String? {
        guard section == .server, SettingsKey.optionsWithoutKey.contains(key) else { return nil }
        return "it is an option of the command line only, --\(key)"
    }

    private static func otherSection(of key: String) -> String? {
        let sections = SettingsKey.all.filter { $0.name == key && $0.section != .server }.map(\.section.rawValue)
        if !sections.isEmpty { return sections.joined(separator: " or ") }
        return SettingsKey.names(in: .server).contains(key) ? "the top of the file, above the first table" : nil
    }

    private func full(_ key: String) -> String { place.isEmpty ? key : "\(place).\(key)" }

    private mutating func take<Value>(
        _ key: String, _ wanted: String, _ convert: (SettingsValue.Content) -> Value?
    ) -> (value: Value, line: Int?)? {
        precondition(SettingsKey.names(in: section).contains(key), "\(key) is in the table of keys")
        guard let value = entries.removeValue(forKey: key) else { return nil }
        guard let converted = convert(value.content) else {
            add(wrongType(value, line: value.line, key, wanted))
            return nil
        }
        return (converted, value.line)
    }

    private func wrongType(_ value: SettingsValue, line: Int?, _ key: String, _ wanted: String) -> SettingsError {
        SettingsError(line: line, place: full(key), "\(value.kind) stands where \(wanted) belongs")
    }
}

/// A path that does not begin at the root begins at the folder.
func resolvedPath(_ path: String, _ folder: String?) -> String {
    guard let folder, !path.hasPrefix("/") else { return path }
    return folder + "/" + path
}
