// The keys of [[template]]: exports that are alike, each with a disk of its own; and disks of each client's own.

import ATA
import Backends
import Loop
import NBD

/// A template whose exports come when clients ask for them.
public struct TemplateSettings: Equatable, Sendable {
    /// Their names.
    public let names: NamePattern
    /// So many at a time.
    public var most = 64
    /// How long one stays that nobody uses, in seconds; nil: as long as the server runs.
    public var keepSeconds: Int?
}

extension ExportSettings {
    /// How many exports a template may have.
    static let templateRange = 1...4096
    /// How long they may be kept.
    static let keepRange = 0...1_000_000

    /// What clients get in place of the export; nil: itself.
    var copies: Copies? {
        isPerClient ? .ownForConnection(template?.names) : template.map { .named($0.names) }
    }

    /// Reads a template.
    ///
    /// - Returns: its exports, or one that stands for all of them; none if its keys cannot be understood.
    static func readTemplate(_ reader: inout TableReader, controller: Controller) -> [ExportSettings] {
        for key in ["name", "image"] where !reader.has(key) { reader.add("\(key) is missing") }
        let names = reader.parsed("name", templateNames)
        let (folder, imageLine) = (reader.folder, reader.line(of: "image"))
        var export = reader.parsed("image") { try ExportSettings(name: "", image: freshImage($0, folder)) }
        let count = reader.number("count", templateRange)
        if count != nil {
            for key in ["most", "keep-seconds"] where reader.has(key) {
                reader.add(
                    key, line: reader.line(of: key), "it is for exports that clients ask for: leave count out, or this")
            }
        }
        let most = reader.number("most", templateRange)
        let keepSeconds = reader.number("keep-seconds", keepRange)
        let perClientLine = reader.line(of: "per-client")
        let isPerClient = reader.boolean("per-client") ?? false
        export?.isPerClient = isPerClient
        // Read in any case: mistakes there are told, too.
        let drive = DriveSettings(&reader, controller: controller)
        export?.drive = drive
        do {
            try export?.checkPerClient()
        } catch {
            reader.add("per-client", line: perClientLine, "\(error)")
        }
        do {
            try export?.checkDisc()
        } catch {
            reader.add("image", line: imageLine, "\(error)")
        }
        guard let names, var export else { return [] }
        guard let count else {
            export.name = names.text
            export.template = TemplateSettings(names: names, most: most ?? 64, keepSeconds: keepSeconds)
            return [export]
        }
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

    /// Disks of each client's own begin alike, and are gone with it.
    public func checkPerClient() throws(SettingsError) {
        guard isPerClient else { return }
        if case .file(let path) = reference {
            throw SettingsError(
                "clients cannot have disks of their own in one image: 'overlay:\(path)' gives each one above it")
        }
        guard target == TargetOptions() else {
            throw SettingsError("only clients of NBD can have disks of their own: leave target and lun out")
        }
        guard record == nil else {
            throw SettingsError("a recording is of one disk, and each client has its own: leave record out")
        }
        guard state == nil else {
            throw SettingsError("a state is of one disk, and each client has its own: leave state out")
        }
        guard changes == nil else {
            throw SettingsError(
                "a disk of a client's own is gone with it, and nothing keeps changes: leave changes out")
        }
        guard !drive.isTakenOver else {
            throw SettingsError(
                "there is nothing to take over where each client has a disk of its own: leave takeover out")
        }
    }

    /// An export of a template, or of one client.
    func made(named name: String, _ lifetime: Lifetime) -> ExportSettings {
        var export = self
        export.name = name
        export.template = nil
        export.isPerClient = false
        export.lifetime = lifetime
        return export
    }
}
