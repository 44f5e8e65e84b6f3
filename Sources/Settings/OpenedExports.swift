// The exports that a server begins with.

import Backends
import Loop
import Server

/// An export that was opened, and where it comes from.
struct ExportRecord {
    /// The origin of an export.
    enum Origin: Equatable {
        /// The command line or the file.
        case configuration
        /// A file in a directory.
        case directory(DirectorySettings, FileIdentity)
        /// The control socket.
        case request
        /// A client that has asked for one of the template of this name, or for a disk of its own of this export.
        case template(String)

        /// The only file that may be opened. A user who may write to a directory could put a link to another in its
        /// place.
        var file: FileNumber? { if case .directory(_, let identity) = self { identity.number } else { nil } }
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
    /// An image was in use for a whole second: the next ones are not waited for.
    private var hasWaited = false
    private(set) var identities = DriveIdentities()
    let room: ExportRoom

    /// Probable mistakes.
    public var warnings: [ExportWarning] { identities.warnings + imageWarnings }
    private var imageWarnings: [ExportWarning] = []

    /// Opens all images; throws for those that cannot be opened. A directory's file that cannot be opened is left out;
    /// the directory's watcher tells of it.
    public init(_ settings: ServeSettings, file: SettingsFile?, room: ExportRoom = .standard) throws {
        self.room = room
        guard settings.exports.count <= room.exports else {
            throw NoRoom(description: "there are \(settings.exports.count) exports: \(room.reason)")
        }
        var errors: [SettingsError] = []
        // The file's exports and directories are the first ones of the settings.
        for (index, export) in settings.exports.enumerated() {
            do {
                try add(export, of: settings, .configuration, waits: !hasWaited)
            } catch {
                if case ImageError.locked = error { hasWaited = true }
                guard let file, index < file.settings.exports.count else { throw error }
                errors.addOnce(file.error(ofExportAt: index, "\(error)"))
            }
        }
        for (index, directory) in settings.directories.enumerated() {
            do {
                try add(directory, of: settings)
            } catch {
                guard let file else { throw error }
                errors.append(file.error(of: directory, at: index, "\(error)"))
            }
        }
        guard errors.isEmpty else { throw SettingsErrors(file: file?.path, errors) }
    }

    private mutating func add(_ directory: DirectorySettings, of settings: ServeSettings) throws {
        for name in try directory.listing().files {
            guard records.count < room.exports else { break }
            guard let identity = FileIdentity(directory.path + "/" + name),
                let export = try? directory.export(of: name),
                records[export.name] == nil
            else { continue }
            // The watch of the directory tries again.
            try? add(export, of: settings, .directory(directory, identity), waits: false)
        }
    }

    private mutating func add(
        _ export: ExportSettings, of settings: ServeSettings, _ origin: ExportRecord.Origin, waits: Bool
    ) throws {
        let ordinal = records.count + 1
        let opened = try settings.placed(export).open(
            ordinal: ordinal, waits: waits, expected: origin.file,
            holder: { file in served.first { $0.uses(file) }?.name })
        served.append(opened)
        records[export.name] = ExportRecord(settings: export, ordinal: ordinal, origin: origin)
        identities.add(export, ordinal: ordinal)
        imageWarnings += export.imageWarnings(expected: origin.file)
    }
}
