// Mistakes in settings: all of them at once, each with its line and key.

import Logs

/// One thing that is wrong.
public struct SettingsError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Where it was written; nil if nobody knows.
    public var line: Int?
    /// The place of the value, `export 'disk'.cache`; empty for the whole.
    public var place: String
    /// The mistake and the right way.
    public var message: String

    /// Describes what is wrong.
    public init(line: Int? = nil, place: String = "", _ message: String) {
        self.line = line
        self.place = place
        self.message = message
    }

    /// Place and message.
    public var description: String { place.isEmpty ? message : "\(place): \(message)" }
}

extension [SettingsError] {
    /// Adds an error, unless it is about a line that has it already: all exports of a template have one.
    mutating func addOnce(_ error: SettingsError) {
        guard !contains(where: { $0.line != nil && $0.line == error.line && $0.message == error.message }) else {
            return
        }
        append(error)
    }
}

/// All that is wrong with a file, in the order of its lines.
public struct SettingsErrors: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file; nil if the settings came another way.
    public var file: String?
    /// At least one.
    public var errors: [SettingsError]

    /// Collects errors; those without a line come last.
    public init(file: String? = nil, _ errors: [SettingsError]) {
        self.file = file
        // By hand, because sorting is not stable: errors of one line stay as they were found.
        self.errors = errors.enumerated()
            .sorted { ($0.element.line ?? .max, $0.offset) < ($1.element.line ?? .max, $1.offset) }
            .map(\.element)
    }

    /// A line for each error: `FILE:LINE: PLACE: MESSAGE`; line breaks of names do not end it.
    public var lines: [String] {
        errors.map { error in
            let position = [file, error.line.map(String.init)].compactMap(\.self).map { $0 + ":" }.joined()
            return (position.isEmpty ? "\(error)" : "\(position) \(error)").visible
        }
    }

    /// The lines.
    public var description: String { lines.joined(separator: "\n") }
}
