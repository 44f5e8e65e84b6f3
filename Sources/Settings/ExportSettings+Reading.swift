// The keys of [[export]], in a file or in what the control socket receives.

import ATA
import Backends
import ISCSI
import Logs
import Loop

extension ExportSettings {
    /// Reads the keys of one export; throws all that is wrong with them.
    ///
    /// - Parameters:
    ///   - controller: that of a drive whose keys name none.
    ///   - folder: where relative paths begin; nil for the folder of the process.
    ///   - users: who may be named as a client.
    ///   - number: which export of a list this is, for messages about one that cannot be named; from 1.
    public init(
        reading value: SettingsValue, controller: Controller = .piix3IDE, folder: String? = nil, number: Int? = nil,
        users: UserNames = UserNames()
    ) throws(SettingsErrors) {
        let (settings, errors) = Self.read(value, controller: controller, folder: folder, number: number, users: users)
        guard errors.isEmpty, let settings else { throw SettingsErrors(errors) }
        self = settings
    }

    /// An export's settings as far as its keys can be understood, and all mistakes in them.
    static func read(
        _ value: SettingsValue, controller: Controller, folder: String?, number: Int?, users: UserNames
    ) -> (ExportSettings?, [SettingsError]) {
        let name = value.string(of: "name") ?? value.string(of: "image").map(Self.standardName)
        let place = name.map(Self.place) ?? number.map { "export \($0)" } ?? "export"
        var reader = TableReader(value, .export, place: place, folder: folder, users: users)
        guard reader.errors.isEmpty else { return (nil, reader.errors) }
        let settings = read(&reader, controller)
        return (settings, reader.finish())
    }

    private static func read(_ reader: inout TableReader, _ controller: Controller) -> ExportSettings? {
        let name = reader.parsed("name") { try checked($0, "name") }
        if !reader.has("image") {
            reader.add("the image is missing: image = \"PATH\", \"overlay:PATH\", \"memory:SIZE\" or \"null:SIZE\"")
        }
        let (folder, imageLine) = (reader.folder, reader.line(of: "image"))
        var settings = reader.parsed("image") { try ExportSettings(name: name, image: resolved($0, folder)) }
        // Read in any case: mistakes there are told, too.
        let target = TargetOptions(
            name: reader.parsed("target", TargetName.init(_:)),
            logicalUnit: reader.number("lun", 0...TargetPlace.logicalUnitLimit - 1).map { UInt8($0) })
        // So are these.
        let (changesLine, changes) = (reader.line(of: "changes"), reader.path("changes"))
        settings?.changes = changes
        let (recordLine, record) = (reader.line(of: "record"), reader.path("record"))
        settings?.record = record
        let (stateLine, state) = (reader.line(of: "state"), reader.path("state"))
        settings?.state = state
        let perClientLine = reader.line(of: "per-client")
        let isPerClient = reader.boolean("per-client") ?? false
        settings?.isPerClient = isPerClient
        let drive = DriveSettings(&reader, controller: controller)
        settings?.target = target
        settings?.drive = drive
        do {
            try settings?.checkChanges()
        } catch {
            reader.add("changes", line: changesLine, "\(error)")
        }
        do {
            try settings?.checkRecord()
        } catch {
            reader.add("record", line: recordLine, "\(error)")
        }
        do {
            try settings?.checkState()
        } catch {
            reader.add("state", line: stateLine, "\(error)")
        }
        do {
            try settings?.checkPerClient()
        } catch {
            reader.add("per-client", line: perClientLine, "\(error)")
        }
        do {
            try settings?.checkDisc()
        } catch {
            reader.add("image", line: imageLine, "\(error)")
        }
        return settings
    }

    /// The text before the keys of an export in messages: one line, for any name.
    static func place(_ name: String) -> String { "export '\(name.visible)'" }

    /// A name or a description, if the protocol allows it.
    static func checked(_ text: String, _ what: String) throws(SettingsError) -> String {
        let count = text.utf8.count
        guard count <= maximumStringBytes else {
            throw SettingsError("a \(what) of \(count) bytes is too long; at most \(maximumStringBytes) are allowed")
        }
        return text
    }

    /// A path begins at the folder; another image stays as it is.
    static func resolved(_ image: String, _ folder: String?) throws(ImageReferenceError) -> String {
        let reference = try ImageReference(parsing: image)
        return reference.path.map { reference.at(path: resolvedPath($0, folder)).name } ?? image
    }
}
