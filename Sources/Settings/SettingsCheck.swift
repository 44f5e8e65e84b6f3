// `spindle check`: would a server with these settings begin? Looked at without locking or changing anything.

import ATA
import Export
import Logs
import Server

/// The findings of a look at everything that settings name.
public struct SettingsCheck: Sendable {
    /// For people: what would be served, and where.
    public let summary: [String]
    /// Probable mistakes, in lines as errors have them.
    public let warnings: [String]

    /// Looks at a file, and at all images, keys, secrets and folders that it names, whatever else is wrong.
    public init(of path: String) throws(SettingsErrors) {
        let file = try SettingsFile(examining: path)
        let settings = file.settings
        var errors = file.mistakes
        var keyWarnings: [String] = []
        do {
            keyWarnings = try settings.tls.open()?.credentials.warnings ?? []
        } catch {
            errors.append(SettingsError(place: "tls", "\(error)"))
        }
        var exposed: [SettingsError] = keyWarnings.map { SettingsError(place: "tls", $0) }
        do throws(SettingsError) {
            exposed += (try settings.targets().secrets?.warnings ?? []).map { SettingsError(place: "chap", $0) }
        } catch {
            errors.append(file.located(error))
        }
        do throws(SettingsError) {
            _ = try settings.reservationFolder()
        } catch {
            errors.append(file.located(error))
        }
        var identities = DriveIdentities()
        var lines = [Self.header(settings)]
        var imageWarnings: [ExportWarning] = []
        for (index, export) in settings.exports.enumerated() {
            do {
                lines.append(Self.line(export, try export.preview(ordinal: index + 1)))
                identities.add(export, ordinal: index + 1)
                imageWarnings += export.imageWarnings()
            } catch {
                errors.addOnce(file.error(ofExportAt: index, "\(error)"))
            }
        }
        var present = Files(names: Set(settings.exports.map(\.name)), count: settings.exports.count)
        for (index, directory) in settings.directories.enumerated() where !directory.path.isEmpty {
            do {
                lines += try present.lines(directory, &identities, &imageWarnings)
            } catch {
                errors.append(file.error(of: directory, at: index, "\(error)"))
            }
        }
        errors += Self.sharedFiles(file) + file.dilemmas(settings) + file.collisions(settings)
        guard errors.isEmpty else { throw SettingsErrors(file: file.path, errors) }
        summary = lines.map(\.visible)
        let keys = (exposed + settings.unmetProtection).map { error in
            let error = file.located(error)
            return SettingsError(line: error.line, place: error.place, "warning: \(error.message)")
        }
        let remarks = (identities.warnings + imageWarnings).map { warning in
            file.hasExport(warning.export)
                ? file.error(ofExport: warning.export, key: warning.key, "warning: \(warning)")
                : SettingsError("warning: \(warning)")
        }
        let isEmpty = settings.exports.isEmpty && settings.directories.isEmpty
        let nothing = SettingsError("warning: nothing is served: there is no [[export]], [[template]] or [[directory]]")
        let units = settings.missingUnits(present: present.names).map { error in
            SettingsError(line: error.line, place: error.place, "warning: \(error.message)")
        }
        warnings = SettingsErrors(file: file.path, keys + remarks + units + (isEmpty ? [nothing] : [])).lines
    }

    /// Files that a server could not make, or would find that another of its exports has them.
    private static func sharedFiles(_ file: SettingsFile) -> [SettingsError] {
        var files = SharedFiles()
        return file.settings.exports.enumerated().flatMap { index, export in
            (export.unmakeableFiles + files.add(export)).map { file.error(ofExportAt: index, key: $0.key, $0.message) }
        }
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
    fileprivate static func line(_ export: ExportSettings, _ drive: Drive) -> String {
        let words = drive.identifyData
        var text = "'\(export.name)': \(words.modelNumber) \(words.firmwareRevision), serial \(words.serialNumber), "
        text +=
            "\(drive.sectors) sector\(drive.sectors == 1 ? "" : "s"), \(export.drive.controller.rawValue), \(export.drive.cache.rawValue)"
        if export.format != .raw { text += ", \(export.format.rawValue)" }
        if let snapshot = export.drive.imageSnapshot { text += ", as it was at '\(snapshot)'" }
        if export.drive.readOnly { text += ", read-only" }
        if let template = export.template { text += ", for each name that is asked for, at most \(template.most)" }
        if export.isPerClient { text += ", one for each client" }
        let changes = export.changes.map { ", changes in \($0)" } ?? ""
        return text + ": \(export.image)" + changes
    }
}

/// The files of directories, as far as they were counted.
private struct Files {
    var names: Set<String>
    var count: Int

    /// The drives of a directory's present files.
    mutating func lines(
        _ directory: DirectorySettings, _ identities: inout DriveIdentities, _ imageWarnings: inout [ExportWarning]
    ) throws -> [String] {
        var lines: [String] = []
        let listing = try directory.listing()
        for file in listing.files {
            guard let identity = FileIdentity(directory.path + "/" + file) else { continue }
            do {
                let export = try directory.export(of: file)
                guard names.insert(export.name).inserted else { throw DirectoryFileError.nameTaken(export.name) }
                try ExportRoom.standard.check(count)
                lines.append(
                    SettingsCheck.line(export, try export.preview(ordinal: count + 1, expected: identity.number)))
                count += 1
                identities.add(export, ordinal: count)
                imageWarnings += export.imageWarnings(expected: identity.number)
            } catch {
                lines.append("left out: \(error)")
            }
        }
        return lines + listing.leftOut.map { "left out: '\(directory.path)/\($0.name)': \($0.reason)" }
    }
}
