// Which drives have which serial numbers and world wide names: clients tell drives apart by them.

import ATA

/// The numbers of the drives that are there.
struct DriveIdentities: Sendable {
    private var byExport: [String: Identity] = [:]
    private var bySerialNumber: [String: [String]] = [:]
    private var byWorldWideName: [UInt64: [String]] = [:]
    /// In the order in which they came.
    private var exports: [String] = []

    /// A drive's visible identity.
    private struct Identity {
        let serialNumber: String
        let worldWideName: UInt64?
        /// How long the serial number is that was asked for.
        let givenCharacters: Int
    }

    /// Takes note of a drive, in place of one that had its export's name.
    mutating func add(_ export: ExportSettings, ordinal: Int) {
        remove(export.name)
        let properties = export.properties(ordinal: ordinal)
        // Its size makes no difference to these.
        let data = Drive(properties, sectors: 1, bootSector: nil, controller: export.drive.controller).identifyData
        let identity = Identity(
            serialNumber: data.serialNumber, worldWideName: data.worldWideName,
            givenCharacters: properties.serialNumber?.utf8.count ?? 0)
        byExport[export.name] = identity
        exports.append(export.name)
        bySerialNumber[identity.serialNumber, default: []].append(export.name)
        if let name = identity.worldWideName { byWorldWideName[name, default: []].append(export.name) }
    }

    /// The drive is gone.
    mutating func remove(_ export: String) {
        guard let identity = byExport.removeValue(forKey: export) else { return }
        exports.removeAll { $0 == export }
        bySerialNumber[identity.serialNumber]?.removeAll { $0 == export }
        if let name = identity.worldWideName { byWorldWideName[name]?.removeAll { $0 == export } }
    }

    /// Warnings about one drive, beside one of those that `isServed` knows.
    func warnings(about export: String, isServed: (String) -> Bool = { _ in true }) -> [ExportWarning] {
        guard let identity = byExport[export] else { return [] }
        var warnings = cut(export, identity)
        func other(_ names: [String]?) -> String? { names?.first { $0 != export && isServed($0) } }
        if let name = other(bySerialNumber[identity.serialNumber]) {
            warnings.append(.sameSerialNumber(exports: [name, export], identity.serialNumber))
        }
        if let worldWideName = identity.worldWideName, let name = other(byWorldWideName[worldWideName]) {
            warnings.append(.sameWorldWideName(exports: [name, export], worldWideName))
        }
        return warnings
    }

    /// Warnings about all of them, each thing once.
    var warnings: [ExportWarning] {
        exports.flatMap { export in
            guard let identity = byExport[export] else { return [ExportWarning]() }
            var warnings = cut(export, identity)
            if let names = bySerialNumber[identity.serialNumber], names.count > 1, names.first == export {
                warnings.append(.sameSerialNumber(exports: names, identity.serialNumber))
            }
            if let name = identity.worldWideName, let names = byWorldWideName[name], names.count > 1,
                names.first == export
            {
                warnings.append(.sameWorldWideName(exports: names, name))
            }
            return warnings
        }
    }

    private func cut(_ export: String, _ identity: Identity) -> [ExportWarning] {
        guard identity.givenCharacters > 20 else { return [] }
        return [
            .serialNumberCut(
                export: export, characters: identity.givenCharacters, kept: identity.serialNumber)
        ]
    }
}
