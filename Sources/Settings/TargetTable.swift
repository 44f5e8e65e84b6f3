// The keys of [[target]]: several exports as logical units of one target.

import ATA
import ISCSI
import Logs
import Loop
import Server

/// A table as it stands in the file.
struct TargetTable {
    let name: TargetName
    /// The names of exports, by the numbers of their logical units; empty where there is none.
    let units: [String]
    /// Rules for initiators that may find the target, beside those of its exports.
    let access: [AccessRule]
    private let line: Int?

    /// Reads the keys; nil if they cannot be understood.
    init?(_ reader: inout TableReader) {
        for key in ["name", "luns"] where !reader.has(key) { reader.add("\(key) is missing") }
        line = reader.line(of: "luns")
        let name = reader.parsed("name", TargetName.init(_:))
        let units = reader.list("luns") { $0 }
        access = reader.tables("access").enumerated().compactMap { AccessRule($0.element, $0.offset + 1, &reader) }
        let limit = TargetPlace.logicalUnitLimit
        guard let name, !units.isEmpty else { return nil }
        guard units.count <= limit else {
            reader.add("luns", line: line, "a target has at most \(limit) logical units, and these are \(units.count)")
            return nil
        }
        self.name = name
        self.units = units
    }

    /// Gives the exports their places; what is wrong goes to the reader.
    func place(in exports: inout [ExportSettings], _ reader: inout TableReader) {
        for (number, unit) in units.enumerated() where !unit.isEmpty {
            guard let index = exports.firstIndex(where: { $0.name == unit }) else {
                let hint = nearestName(to: unit, among: exports.map(\.name)).map { "; did you mean '\($0.visible)'?" }
                reader.add("luns", line: line, "no [[export]] is named '\(unit.visible)'\(hint ?? "")")
                continue
            }
            guard exports[index].target.logicalUnit == nil else {
                reader.add(
                    "luns", line: line, "'\(unit.visible)' is a logical unit already; an export is in one target")
                continue
            }
            guard exports[index].target.name == nil else {
                reader.add(
                    "luns", line: line,
                    "'\(unit.visible)' has a target of its own by its key target; leave one of them out")
                continue
            }
            exports[index].target = TargetOptions(name: name, logicalUnit: UInt8(number), access: access)
        }
        if units.allSatisfy(\.isEmpty) { reader.add("luns", line: line, "it has no export") }
    }
}

extension ServeSettings {
    /// Exports that initiators could not find, because another one has their place. Names that are made of those of
    /// exports matter where initiators come.
    public var targetCollisions: [(export: String, message: String)] {
        let hasInitiators = endpoints.contains { $0.frontEnd == .iscsi }
        var seen: [TargetName: [(export: ExportSettings, place: TargetPlace)]] = [:]
        var collisions: [(export: String, message: String)] = []
        for export in exports {
            guard let place = export.place(prefix: targetPrefix ?? .standardPrefix) else { continue }
            let others = seen[place.name, default: []]
            if let other = others.first(where: { $0.place.collides(with: place) }),
                hasInitiators || export.target.name != nil && other.export.target.name != nil
            {
                let message = "the target '\(place.name.text)' is that of export '\(other.export.name)' already"
                collisions.append((export.name, message + "; give one of them another name, with target = \"iqn...\""))
            }
            seen[place.name, default: []].append((export, place))
        }
        return collisions
    }
}

extension ExportSettings {
    /// Where initiators find it.
    fileprivate func place(prefix: TargetName) -> TargetPlace? {
        TargetPlace(export: name, target, prefix: prefix)
    }
}
