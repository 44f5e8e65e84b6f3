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
        var lines = [Self.header(settings)]
        for (index, export) in settings.exports.enumerated() {
            do {
                lines.append(Self.line(export, try export.preview(ordinal: index + 1)))
            } catch {
                errors.append(file.error(ofExport: export.name, "\(error)"))
            }
        }
        guard errors.isEmpty else { throw SettingsErrors(file: file.path, errors) }
        summary = lines
    }

    private static func header(_ settings: ServeSettings) -> String {
        let endpoints = settings.endpoints.isEmpty ? [.standard] : settings.endpoints
        let count = settings.exports.count
        let exports = count == 1 ? "1 export" : "\(count) exports"
        let hasKeys = settings.tls.mode != .off && (settings.tls.certificates ?? settings.tls.preSharedKeys) != nil
        let tls = hasKeys ? settings.tls.mode == .require ? ", TLS required" : ", TLS allowed" : ""
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
