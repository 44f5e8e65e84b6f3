// The work of a server with new settings on its exports: as little as possible.

/// The way from some exports to others.
public struct ReloadPlan: Equatable, Sendable {
    /// Exports that are new.
    public var added: [ExportSettings] = []
    /// Exports that are there with other settings: they go and come again.
    public var changed: [ExportSettings] = []
    /// The names of exports that go.
    public var removed: [String] = []
    /// The names of exports whose clients notice nothing.
    public var unchanged: [String] = []

    /// Compares exports by their names; no name is there twice.
    ///
    /// - Parameters:
    ///   - moved: exports that tables give another place among the targets, or that have another image, though their
    ///     settings are the same.
    public init(from old: [ExportSettings], to new: [ExportSettings], moved: Set<String> = []) {
        let present = Dictionary(uniqueKeysWithValues: old.map { ($0.name, $0) })
        for export in new {
            switch present[export.name] {
            case nil: added.append(export)
            case export where !moved.contains(export.name): unchanged.append(export.name)
            default: changed.append(export)
            }
        }
        let wanted = Set(new.map(\.name))
        removed = old.map(\.name).filter { !wanted.contains($0) }
    }

    /// For people: `added 'a', 'b'; removed 'c'`.
    public var summary: String {
        let words = Self.words(added: added.map(\.name), changed: changed.map(\.name), removed: removed)
        return words.isEmpty ? "no export has changed" : words
    }

    /// The changes, by names; empty if there are none.
    static func words(added: [String], changed: [String] = [], removed: [String]) -> String {
        [("added", added), ("changed", changed), ("removed", removed)].filter { !$0.1.isEmpty }
            .map { "\($0.0) \($0.1.map { "'\($0)'" }.joined(separator: ", "))" }.joined(separator: "; ")
    }
}

extension ServeSettings {
    /// The keys whose new values a running server cannot take up.
    public func keysThatNeedRestart(to new: ServeSettings) -> [String] {
        let candidates = [
            ("listen", endpoints == new.endpoints), ("target-prefix", targetPrefix == new.targetPrefix),
            ("chap", (chap == nil) == (new.chap == nil)), ("reservations", reservations == new.reservations),
            ("threads", threads == new.threads),
            ("log-format", logFormat == new.logFormat),
            ("[limits]", limits == new.limits),
            ("tls.mode", tls.isUsed == new.tls.isUsed),
        ]
        return candidates.filter { !$0.1 }.map(\.0)
    }
}
