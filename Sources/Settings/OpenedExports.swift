// The exports that a server begins with.

import Media
import Server

/// An export that was opened, and where it comes from.
struct ExportRecord {
    /// Who has asked for it.
    enum Origin: Equatable {
        /// The command line or the file.
        case configuration
        /// A file in a directory.
        case directory(DirectorySettings, FileIdentity)
        /// The control socket.
        case request
    }

    var settings: ExportSettings
    let ordinal: Int
    var origin: Origin
}

/// All exports of some settings, opened and locked.
public struct OpenedExports: Sendable {
    /// For the server, in their order.
    public private(set) var served: [ServedExport] = []
    private(set) var records: [String: ExportRecord] = [:]

    /// Opens all images; throws for those that cannot be opened. Of a directory, what cannot be opened is left out, and
    /// said by who watches it.
    public init(_ settings: ServeSettings, file: SettingsFile?) throws {
        var errors: [SettingsError] = []
        for export in settings.exports {
            do {
                try add(export, .configuration)
            } catch {
                guard let file, file.hasExport(export.name) else { throw error }
                errors.append(file.error(ofExport: export.name, "\(error)"))
            }
        }
        for directory in settings.directories {
            do {
                try add(directory)
            } catch {
                guard let file else { throw error }
                errors.append(file.error(ofDirectory: directory.path, "\(error)"))
            }
        }
        guard errors.isEmpty else { throw SettingsErrors(file: file?.path, errors) }
    }

    private mutating func add(_ directory: DirectorySettings) throws {
        for name in try directory.files() {
            guard let identity = FileIdentity(directory.path + "/" + name),
                let export = try? directory.export(of: name),
                records[export.name] == nil
            else { continue }
            try? add(export, .directory(directory, identity))
        }
    }

    private mutating func add(_ export: ExportSettings, _ origin: ExportRecord.Origin) throws {
        let ordinal = records.count + 1
        served.append(try export.open(ordinal: ordinal))
        records[export.name] = ExportRecord(settings: export, ordinal: ordinal, origin: origin)
    }
}
