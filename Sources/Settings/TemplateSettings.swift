// The keys of [[template]]: exports that are alike, each with a disk of its own.

import ATA
import Backends
import NBD

extension ExportSettings {
    /// How many exports a template may make.
    static let templateRange = 1...4096

    /// Reads a template.
    ///
    /// - Returns: its exports; none if its keys cannot be understood.
    static func readTemplate(_ reader: inout TableReader, controller: Controller) -> [ExportSettings] {
        for key in ["name", "image", "count"] where !reader.has(key) { reader.add("\(key) is missing") }
        let names = reader.parsed("name", templateNames)
        let (folder, imageLine) = (reader.folder, reader.line(of: "image"))
        var export = reader.parsed("image") { try ExportSettings(name: "", image: freshImage($0, folder)) }
        let count = reader.number("count", templateRange)
        // Read in any case: mistakes there are told, too.
        let drive = DriveSettings(&reader, controller: controller)
        export?.drive = drive
        do {
            try export?.checkDisc()
        } catch {
            reader.add("image", line: imageLine, "\(error)")
        }
        guard let names, let export, let count else { return [] }
        return (1...count).map { number in
            var export = export
            export.name = names.name(String(number))
            return export
        }
    }

    private static func templateNames(_ text: String) throws(SettingsError) -> NamePattern {
        guard let names = NamePattern(text) else {
            throw SettingsError("a template's name has one * for what makes its exports differ, as in vm-*")
        }
        guard names.longestNameBytes <= maximumStringBytes else {
            throw SettingsError("the names would be too long; at most \(maximumStringBytes) bytes are allowed")
        }
        return names
    }

    /// The name of an image of which each opening is a disk of its own.
    private static func freshImage(_ image: String, _ folder: String?) throws -> String {
        let image = try resolved(image, folder)
        // Says what is wrong with it.
        guard case .file = try ExportSettings(image: image).reference else { return image }
        throw SettingsError(
            "the exports of a template cannot write to one image: 'overlay:\(image)' gives each a disk of its own above it"
        )
    }
}
