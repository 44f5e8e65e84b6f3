// A configuration file: read, parsed, and each of its keys understood, or all that is wrong with it said.

import ATA
import Glibc
import Server

/// A configuration file that was read.
public struct SettingsFile: Equatable, Sendable {
    /// Its path.
    public let path: String
    /// What it says.
    public let settings: ServeSettings
    /// Where the image of each export stands, by the export's name.
    private let lines: [String: Int]

    /// Reads a file.
    public init(reading path: String) throws(SettingsErrors) {
        let text: String
        do {
            text = try readText(path)
        } catch {
            throw SettingsErrors(file: path, [error])
        }
        try self.init(path: path, text: text)
    }

    /// Reads a text as if it were in a file of that path: relative paths in it begin at the file's folder.
    public init(path: String, text: String) throws(SettingsErrors) {
        var parser = FileParser(folder: path.lastIndex(of: "/").map { String(path[..<$0]) })
        do {
            parser.parse(try SettingsValue(toml: text))
        } catch {
            parser.errors.append(error)
        }
        guard parser.errors.isEmpty else { throw SettingsErrors(file: path, parser.errors) }
        self.path = path
        settings = parser.settings
        lines = parser.lines
    }

    /// Whether an export of this name stands in the file.
    public func hasExport(_ name: String) -> Bool { lines[name] != nil }

    /// What is wrong with an export's image that turned out when it was to be opened.
    public func error(ofExport name: String, _ message: String) -> SettingsError {
        SettingsError(line: lines[name], place: ExportSettings.place(name) + ".image", message)
    }
}

/// Makes settings of values.
private struct FileParser {
    let folder: String?
    var settings = ServeSettings()
    var lines: [String: Int] = [:]
    var errors: [SettingsError] = []

    init(folder: String?) { self.folder = folder }

    mutating func parse(_ document: SettingsValue) {
        var reader = TableReader(document, .server, place: "", folder: folder)
        let folder = folder
        settings.endpoints = reader.list("listen") { try Self.endpoint($0, folder) }
        settings.threads = reader.number("threads", ServeSettings.threadRange)
        settings.controller = reader.parsed("controller", parseController)
        settings.logFormat = reader.parsed("log-format", parseLogFormat)
        settings.logLevel = reader.parsed("log-level", parseLogLevel)
        if let table = reader.table("tls") {
            settings.tls = read(table, .tls, "tls") { TLSFiles(&$0) }
        }
        if let table = reader.table("limits") {
            settings.limits = read(table, .limits, "limits") { LimitSettings(&$0) }
        }
        for (index, table) in reader.tables("export").enumerated() { add(export: table, number: index + 1) }
        errors += reader.finish(tables: ["tls", "limits", "export"])
    }

    private mutating func read<Result>(
        _ table: SettingsValue, _ section: SettingsKey.Section, _ place: String, _ body: (inout TableReader) -> Result
    ) -> Result {
        var reader = TableReader(table, section, place: place, folder: folder)
        let result = body(&reader)
        errors += reader.finish()
        return result
    }

    private mutating func add(export table: SettingsValue, number: Int) {
        do {
            let export = try ExportSettings(
                reading: table, controller: settings.controller ?? .piix3IDE, folder: folder, number: number)
            if lines[export.name] != nil {
                let message = "an export before it has this name, too; give one another name"
                let place = ExportSettings.place(export.name) + ".name"
                errors.append(SettingsError(line: table.line(of: "name"), place: place, message))
            } else {
                lines[export.name] = table.line(of: "image")
            }
            settings.exports.append(export)
        } catch {
            errors += error.errors
        }
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

/// The text of a file.
private func readText(_ path: String) throws(SettingsError) -> String {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw cannotRead() }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = unsafe read(descriptor, &buffer, buffer.count)
        guard count >= 0 else { throw cannotRead() }
        if count == 0 { break }
        bytes += buffer[..<count]
    }
    guard let text = String(validating: bytes, as: UTF8.self) else { throw SettingsError("this is no UTF-8 text") }
    return text
}

private func cannotRead() -> SettingsError {
    SettingsError(unsafe "cannot be read: \(String(cString: strerror(errno)))")
}
