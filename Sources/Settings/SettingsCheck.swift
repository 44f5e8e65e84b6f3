// `spindle check`: would a server with these settings begin? Looked at without locking or changing anything.

import ATA
import Export
import Server

/// What a look at everything that settings name has found.
public struct SettingsCheck: Sendable {
    /// For people: what would be served, and where.
    public let summary: [String]

    /// Looks at images and keys.
    public init(_ file: SettingsFile) throws(SettingsErrors) {
        let settings = file.settings
        var errors: [SettingsError] = []
        do {
            _ = try settings.tls.open()
        } catch {
            errors.append(SettingsError(place: "tls", "\(error)"))
        }
        var names = Set(settings.exports.map(\.name))
        var lines = [Self.header(settings)]
        for (index, export) in settings.exports.enumerated() {
            do {
                lines.append(Self.line(export, try export.preview(ordinal: index + 1)))
            } catch {
                errors.append(file.error(ofExport: export.name, "\(error)"))
            }
        }
        var served = settings.exports.count
        for directory in settings.directories {
            do {
                lines += try Self.lines(directory, &names, &served)
            } catch {
                errors.append(file.error(ofDirectory: directory.path, "\(error)"))
            }
        }
        errors += file.dilemmas(settings.tls)
        guard errors.isEmpty else { throw SettingsErrors(file: file.path, errors) }
        summary = lines
    }

    /// What the files of a directory are now.
    private static func lines(_ directory: DirectorySettings, _ names: inout Set<String>, _ served: inout Int) throws
        -> [String]
    {
        var lines: [String] = []
        for file in try directory.files() {
            do {
                let export = try directory.export(of: file)
                guard names.insert(export.name).inserted else { throw DirectoryFileError.nameTaken(export.name) }
                lines.append(line(export, try export.preview(ordinal: served + 1)))
                served += 1
            } catch {
                lines.append("left out: \(error)")
            }
        }
        return lines
    }

    private static func header(_ settings: ServeSettings) -> String {
        let endpoints = settings.endpoints.isEmpty ? [.standard] : settings.endpoints
        let count = settings.exports.count
        var exports = count == 1 ? "1 export" : "\(count) exports"
        if !settings.directories.isEmpty {
            exports += " and the files of " + settings.directories.map { "'\($0.path)'" }.joined(separator: ", ")
        }
        let tls = settings.tls.isUsed ? settings.tls.mode == .require ? ", TLS required" : ", TLS allowed" : ""
        return "\(exports) at \(endpoints.map(\.description).joined(separator: ", "))\(tls)"
    }

    /// The line that `serve` would print, without an address.
    private static func line(_ export: ExportSettings, _ drive: Drive) -> String {
        let words = drive.identifyData
        var text = "'\(export.name)': \(words.modelNumber) \(words.firmwareRevision), serial \(words.serialNumber), "
        text += "\(words.sectors) sectors, \(export.drive.controller.rawValue), \(export.drive.cache.rawValue)"
        if export.drive.readOnly { text += ", read-only" }
        return text + ": \(export.image)"
    }
}
