// A configuration file: read, parsed, and each of its keys understood, or all that is wrong with it said.

import ATA
import Glibc
import ISCSI
import Listening
import Server

/// A configuration file that was read.
public struct SettingsFile: Equatable, Sendable {
    /// Its path.
    public let path: String
    /// Its settings.
    public let settings: ServeSettings
    /// The mistakes in its keys.
    let mistakes: [SettingsError]
    /// All of it; and the values of each export and directory of the settings: for their lines. Two may have one name.
    private let document: SettingsValue?
    private let exportTables: [SettingsValue]
    private let directoryTables: [SettingsValue]
    /// The first export of each name.
    private let exportIndices: [String: Int]

    /// Reads a file.
    ///
    /// - Parameters:
    ///   - controller: what somebody else has said about the drives that name none; it goes before what the file says.
    ///   - users: who may be named as a client.
    public init(
        reading path: String, controller: Controller? = nil, users: UserNames = UserNames()
    ) throws(SettingsErrors) {
        let text: String
        do {
            text = try readText(path)
        } catch {
            throw SettingsErrors(file: path, [error])
        }
        try self.init(path: path, text: text, controller: controller, users: users)
    }

    /// Reads a text as if it were in a file of that path: relative paths in it begin at the file's folder.
    public init(
        path: String, text: String, controller: Controller? = nil, users: UserNames = UserNames()
    ) throws(SettingsErrors) {
        self.init(understanding: text, path: path, controller: controller, users: users)
        guard mistakes.isEmpty else { throw SettingsErrors(file: path, mistakes) }
    }

    /// Reads a file for callers that want to know all that is wrong: mistakes in its keys are among ``mistakes``.
    init(examining path: String) throws(SettingsErrors) {
        let text: String
        do {
            text = try readText(path)
        } catch {
            throw SettingsErrors(file: path, [error])
        }
        self.init(understanding: text, path: path, controller: nil, users: UserNames())
    }

    private init(understanding text: String, path: String, controller: Controller?, users: UserNames) {
        var parser = FileParser(
            folder: path.lastIndex(of: "/").map { String(path[..<$0]) }, users: users, controller: controller)
        do {
            let document = try SettingsValue(toml: text)
            parser.parse(document)
            self.document = document
        } catch {
            document = nil
            parser.errors.append(error)
        }
        self.path = path
        mistakes = parser.errors
        settings = parser.settings
        exportTables = parser.exportTables
        exportIndices = parser.exportIndices
        directoryTables = parser.directoryTables
    }

    /// Whether an export of this name stands in the file.
    public func hasExport(_ name: String) -> Bool { exportIndices[name] != nil }

    /// A mistake in a key of the server, with the line of the key if that stands in the file.
    public func located(_ error: SettingsError) -> SettingsError {
        var error = error
        error.line = error.line ?? document?.line(at: error.place)
        return error
    }

    /// A mistake in an export, in its image for instance, that only opening it showed.
    public func error(ofExport name: String, key: String = "image", _ message: String) -> SettingsError {
        SettingsError(
            line: exportIndices[name].flatMap { exportTables[$0].line(of: key) },
            place: "\(ExportSettings.place(name)).\(key)", message)
    }

    /// A mistake in one of the file's exports, by its place among them.
    func error(ofExportAt index: Int, key: String = "image", _ message: String) -> SettingsError {
        let place = ExportSettings.place(settings.exports[index].name)
        return SettingsError(line: exportTables[index].line(of: key), place: "\(place).\(key)", message)
    }

    /// A mistake in a directory that only listing it showed.
    ///
    /// - Parameter index: its place in settings that begin with the file's.
    func error(of directory: DirectorySettings, at index: Int, key: String = "path", _ message: String)
        -> SettingsError
    {
        let line = index < directoryTables.count ? directoryTables[index].line(of: key) : nil
        return SettingsError(line: line, place: "directory '\(directory.path)'.\(key)", message)
    }

    /// Exports that initiators could not find (``ServeSettings/targetCollisions``).
    ///
    /// - Parameter settings: what the file and the command line say together.
    public func collisions(_ settings: ServeSettings) -> [SettingsError] {
        settings.targetCollisions.map { error(ofExport: $0.export, key: "target", $0.message) }
    }

    /// Settings that no client could ever get past.
    ///
    /// - Parameter settings: what the file and the command line say together.
    public func dilemmas(_ settings: ServeSettings) -> [SettingsError] {
        var errors: [SettingsError] = []
        for (index, export) in self.settings.exports.enumerated() {
            for dilemma in export.drive.dilemmas(settings) {
                errors.addOnce(error(ofExportAt: index, key: dilemma.key, dilemma.message))
            }
        }
        return errors
            + self.settings.targetTables.flatMap { table in
                table.access.flatMap { $0.dilemmas(settings) }.map {
                    SettingsError(place: "target '\(table.name.text)'.access", $0)
                }
            }
            + self.settings.directories.enumerated().flatMap { index, directory in
                directory.drive.dilemmas(settings).map { error(of: directory, at: index, key: $0.key, $0.message) }
            }
    }
}

/// Makes settings of values.
private struct FileParser {
    let folder: String?
    let users: UserNames
    /// The controller of drives that name none.
    private var standardController = Controller.piix3IDE
    private let givenController: Controller?
    var settings = ServeSettings()
    var exportTables: [SettingsValue] = []
    var exportIndices: [String: Int] = [:]
    var directoryTables: [SettingsValue] = []
    var errors: [SettingsError] = []

    init(folder: String?, users: UserNames, controller: Controller?) {
        self.folder = folder
        self.users = users
        givenController = controller
    }

    mutating func parse(_ document: SettingsValue) {
        var reader = TableReader(document, .server, place: "", folder: folder, users: users)
        let folder = folder
        let listenLine = reader.line(of: "listen")
        settings.endpoints = reader.list("listen") { try Self.endpoint($0, folder) }
        do {
            try Endpoint.check(settings.endpoints)
        } catch {
            reader.add("listen", line: listenLine, "\(error)")
        }
        settings.targetPrefix = reader.parsed("target-prefix", TargetName.init(_:))
        settings.chap = reader.path("chap")
        settings.chapTarget = reader.path("chap-target")
        settings.reservations = reader.path("reservations")
        settings.threads = reader.number("threads", ServeSettings.threadRange)
        settings.controller = reader.parsed("controller", parseController)
        standardController = givenController ?? settings.controller ?? .piix3IDE
        settings.logFormat = reader.parsed("log-format", parseLogFormat)
        settings.logLevel = reader.parsed("log-level", parseLogLevel)
        if let table = reader.table("tls") {
            settings.tls = read(table, .tls, "tls") { TLSFiles(&$0) }
        }
        if let table = reader.table("limits") {
            settings.limits = read(table, .limits, "limits") { LimitSettings(&$0) }
        }
        for (index, table) in reader.tables("export").enumerated() { add(export: table, number: index + 1) }
        for (index, table) in reader.tables("template").enumerated() { add(template: table, number: index + 1) }
        for (index, table) in reader.tables("directory").enumerated() { add(directory: table, number: index + 1) }
        for (index, table) in reader.tables("target").enumerated() { add(target: table, number: index + 1) }
        errors += reader.finish(tables: ["tls", "limits", "export", "template", "target", "directory"])
    }

    private mutating func read<Result>(
        _ table: SettingsValue, _ section: SettingsKey.Section, _ place: String, _ body: (inout TableReader) -> Result
    ) -> Result {
        var reader = TableReader(table, section, place: place, folder: folder, users: users)
        let result = body(&reader)
        errors += reader.finish()
        return result
    }

    private mutating func add(export table: SettingsValue, number: Int) {
        let (export, mistakes) = ExportSettings.read(
            table, controller: standardController, folder: folder, number: number, users: users)
        errors += mistakes
        if let export { add(export, of: table) }
    }

    private mutating func add(template table: SettingsValue, number: Int) {
        let place = table.string(of: "name").map { "template '\($0.visible)'" } ?? "template \(number)"
        let controller = standardController
        let exports = read(table, .template, place) { ExportSettings.readTemplate(&$0, controller: controller) }
        for export in exports { add(export, of: table) }
    }

    private mutating func add(_ export: ExportSettings, of table: SettingsValue) {
        if exportIndices[export.name] != nil {
            let message = "an export before it has this name, too; give one another name"
            let place = ExportSettings.place(export.name) + ".name"
            errors.append(SettingsError(line: table.line(of: "name"), place: place, message))
        } else {
            exportIndices[export.name] = exportTables.count
        }
        exportTables.append(table)
        settings.exports.append(export)
    }

    private mutating func add(target table: SettingsValue, number: Int) {
        let place = table.string(of: "name").map { "target '\($0.visible)'" } ?? "target \(number)"
        var reader = TableReader(table, .target, place: place, folder: folder, users: users)
        if let table = TargetTable(&reader, others: settings.targetTables) { settings.targetTables.append(table) }
        errors += reader.finish()
    }

    private mutating func add(directory table: SettingsValue, number: Int) {
        let place = table.string(of: "path").map { "directory '\($0)'" } ?? "directory \(number)"
        let controller = standardController
        let directory = read(table, .directory, place) { DirectorySettings(&$0, controller: controller) }
        let isKnown = settings.directories.contains { $0.path == directory.path && $0.prefix == directory.prefix }
        if isKnown, !directory.path.isEmpty {
            let message = "it is there already; with another prefix it could be there twice"
            errors.append(SettingsError(line: table.line(of: "path"), place: place, message))
        }
        directoryTables.append(table)
        settings.directories.append(directory)
    }

    private static func endpoint(_ text: String, _ folder: String?) throws -> Endpoint {
        let endpoint = try Endpoint(parsing: text)
        guard case .unix(let path, let permissions) = endpoint, let folder, !path.hasPrefix("/") else {
            return endpoint
        }
        let resolved = Endpoint.unix(path: resolvedPath(path, folder), permissions: permissions)
        // Its path may have become too long.
        return try Endpoint(parsing: resolved.description)
    }
}

/// The largest file, in bytes: room for as many exports as a server can have.
private let maximumBytes = 4 << 20

/// The text of a file. It has to be a regular one: others may have no end, or no beginning, and a server that waits for
/// either hears no signal.
private func readText(_ path: String) throws(SettingsError) -> String {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { throw cannotRead() }
    defer { close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { throw cannotRead() }
    if let kind = specialKind(of: status) { throw SettingsError("is \(kind); a regular file is needed") }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = unsafe read(descriptor, &buffer, buffer.count)
        guard count >= 0 else { throw cannotRead() }
        if count == 0 { break }
        guard bytes.count + count <= maximumBytes else {
            throw SettingsError("is too large; a configuration has at most \(maximumBytes) bytes")
        }
        bytes += buffer[..<count]
    }
    guard let text = String(validating: bytes, as: UTF8.self) else { throw SettingsError("this is no UTF-8 text") }
    return text
}

/// The kind of a file that is no regular one (inode(7)), in words.
private func specialKind(of status: stat) -> String? {
    switch status.st_mode & S_IFMT {
    case S_IFREG: nil
    case S_IFDIR: "a directory"
    case S_IFIFO: "a FIFO"
    case S_IFSOCK: "a socket"
    default: "a device"
    }
}

private func cannotRead() -> SettingsError {
    SettingsError(unsafe "cannot be read: \(String(cString: strerror(errno)))")
}
