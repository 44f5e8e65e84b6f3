// The keys of [[target]]: several exports as logical units of one target. They are named, and may come later: from the
// control socket, or as files of a directory.

import ATA
import ISCSI
import Logs
import Loop
import Server

/// A table as it stands in the file.
public struct TargetTable: Equatable, Sendable {
    let name: TargetName
    /// The names of exports, by the numbers of their logical units; empty where there is none.
    let units: [String]
    /// Rules for initiators that may find the target, beside those of its exports.
    let access: [AccessRule]
    private let line: Int?
    private let accessLine: Int?

    /// Reads the keys; nil if they cannot be understood.
    ///
    /// - Parameter others: the tables before it.
    init?(_ reader: inout TableReader, others: [TargetTable]) {
        for key in ["name", "luns"] where !reader.has(key) { reader.add("\(key) is missing") }
        line = reader.line(of: "luns")
        let nameLine = reader.line(of: "name")
        accessLine = reader.line(of: "access")
        let name = reader.parsed("name", TargetName.init(_:))
        let mistakes = reader.errors.count
        let units = reader.list("luns") { $0 }
        if units.isEmpty, line != nil, reader.errors.count == mistakes {
            reader.add("luns", line: line, "it has no export; an empty list is no target")
        }
        access = AccessRule.read(&reader)
        let limit = TargetPlace.logicalUnitLimit
        guard let name, !units.isEmpty else { return nil }
        if others.contains(where: { $0.name == name }) {
            reader.add(
                "name", line: nameLine, "a [[target]] before it has this name, too; one has all units of a target")
            // Errors of its exports would be nothing but a consequence.
            return nil
        }
        guard units.count <= limit else {
            reader.add("luns", line: line, "a target has at most \(limit) logical units, and these are \(units.count)")
            return nil
        }
        if units.allSatisfy(\.isEmpty) { reader.add("luns", line: line, "it has no export") }
        var named = Set(others.flatMap(\.units))
        for unit in units where !unit.isEmpty && !named.insert(unit).inserted {
            reader.add("luns", line: line, "'\(unit.visible)' is a logical unit already; an export is in one target")
        }
        self.name = name
        self.units = units
    }

    /// The number that the table gives to an export.
    func number(of export: String) -> UInt8? {
        export.isEmpty ? nil : units.firstIndex(of: export).map { UInt8($0) }
    }

    /// The error about its access rules where no initiator comes; nil: it has none.
    var unmetAccess: SettingsError? {
        guard !access.isEmpty else { return nil }
        let message =
            "the rules of a target are for iSCSI initiators, and there is no iSCSI endpoint: clients of NBD are let in by "
            + "access of [[export]] alone"
        return SettingsError(line: accessLine, place: "target '\(name.text)'.access", message)
    }

    /// Units whose exports are none of these.
    func warnings(present: Set<String>) -> [SettingsError] {
        units.enumerated().filter { !$0.element.isEmpty && !present.contains($0.element) }.map { number, unit in
            let hint = nearestName(to: unit, among: present.sorted()).map { "; did you mean '\($0.visible)'?" }
            let message = "no export is named '\(unit.visible)' now: LUN \(number) comes when one is"
            return SettingsError(line: line, place: "target '\(name.text)'.luns", message + (hint ?? ""))
        }
    }
}

extension ServeSettings {
    /// An export with what the tables say of its target.
    func placed(_ export: ExportSettings) -> ExportSettings {
        var export = export
        for table in targetTables {
            if let number = table.number(of: export.name) {
                export.target = TargetOptions(name: table.name, logicalUnit: number, access: table.access)
            } else if table.name == export.target.name {
                export.target.access = table.access
            }
        }
        return export
    }

    /// Why an export cannot be where its own keys say; nil: it can.
    func targetMistake(in export: ExportSettings) -> String? {
        guard let name = export.target.name else {
            return export.target.logicalUnit.map { "lun = \($0) needs the name of a target, with target = \"iqn...\"" }
        }
        if let table = targetTables.first(where: { $0.number(of: export.name) != nil }) {
            return "it is a logical unit of '\(table.name.text)' by a [[target]]; leave its own key target out"
        }
        guard let table = targetTables.first(where: { $0.name == name }) else { return nil }
        guard let number = export.target.logicalUnit else {
            return
                "the target '\(name.text)' has a [[target]], and may have several units; lun = NUMBER says which this is"
        }
        guard Int(number) < table.units.count, !table.units[Int(number)].isEmpty else { return nil }
        return "LUN \(number) of '\(name.text)' is for export '\(table.units[Int(number)])' by its [[target]]; "
            + "choose another"
    }

    /// Exports that initiators could not find, because another one has their place. Names that are made of those of
    /// exports matter where initiators come.
    public var targetCollisions: [(export: String, message: String)] {
        let hasInitiators = endpoints.contains { $0.frontEnd == .iscsi }
        var seen: [TargetName: [(export: ExportSettings, place: TargetPlace)]] = [:]
        var collisions: [(export: String, message: String)] = []
        for export in exports {
            if let message = targetMistake(in: export) { collisions.append((export.name, message)) }
            let export = placed(export)
            guard let place = TargetPlace(export: export.name, export.target, prefix: targetPrefix ?? .standardPrefix)
            else { continue }
            let others = seen[place.name, default: []]
            if let other = others.first(where: { $0.place.collides(with: place) }),
                hasInitiators || export.target.name != nil && other.export.target.name != nil
            {
                let message =
                    if place.isShared, other.place.isShared {
                        "LUN \(place.logicalUnit) of '\(place.name.text)' is export '\(other.export.name)' already; "
                            + "give one of them another lun"
                    } else {
                        "the target '\(place.name.text)' is that of export '\(other.export.name)' already; "
                            + "give one of them another name, with target = \"iqn...\""
                    }
                collisions.append((export.name, message))
            }
            seen[place.name, default: []].append((export, place))
        }
        return collisions
    }

    /// The units that [[target]] tables wait for, if these are the exports that there are.
    public func missingUnits(present: Set<String>) -> [SettingsError] {
        targetTables.flatMap { $0.warnings(present: present) }
    }
}
