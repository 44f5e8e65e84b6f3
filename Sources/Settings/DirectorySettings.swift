// A directory as a source of exports: one drive for each of its files.

import ATA
import Backends
import Glibc

/// Settings for all drives of a directory.
public struct DirectorySettings: Equatable, Sendable {
    /// The directory.
    public var path: String
    /// The text before the file's name in the export's.
    public var prefix = ""
    /// The drives.
    public var drive = DriveSettings()

    /// A directory about which nothing more is said.
    public init(path: String, prefix: String = "") {
        self.path = path
        self.prefix = prefix
    }

    init(_ reader: inout TableReader, controller: Controller) {
        let isThere = reader.has("path")
        path = reader.path("path") ?? ""
        if !isThere { reader.add("the path is missing: path = \"PATH\"") }
        prefix = reader.string("prefix") ?? ""
        drive = DriveSettings(&reader, controller: controller)
    }

    /// The export of a file, whose name is kept as it is: two files never have the same.
    func export(of file: String) throws -> ExportSettings {
        let name = try ExportSettings.checked(prefix + file, "name")
        var export = try ExportSettings(name: name, image: path + "/" + file)
        export.drive = drive
        return export
    }

    /// The content of the directory.
    func listing() throws(DirectoryError) -> DirectoryListing { try DirectoryListing(of: path) }

    static func isHidden(_ file: String) -> Bool { file.hasPrefix(".") }
}

/// A directory cannot be listed or watched.
struct DirectoryError: Error, CustomStringConvertible {
    let path: String
    let code: Int32

    var description: String { "directory '\(path)' cannot be listed: \(Self.text(code))" }

    /// The system's words.
    static func text(_ code: Int32) -> String { unsafe String(cString: strerror(code)) }
}

/// Which file a path leads to, and whether it has changed (stat(2)).
struct FileIdentity: Equatable {
    let number: FileNumber
    let size: off_t
    let modified: [Int]

    /// Nil unless it is a regular file.
    init?(_ path: String) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        number = FileNumber(status)
        size = status.st_size
        modified = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
    }

    /// The path led there then, too.
    func isSameFile(as other: FileIdentity?) -> Bool {
        number == other?.number
    }
}
