// Files of several exports of one server that could not all have them: found by names, before anything is locked.

import Backends
import Glibc

/// The users of each file, as exports come one by one.
struct SharedFiles {
    /// A file, or where one would be made.
    private enum Place: Hashable {
        case file(FileNumber)
        case missing(folder: FileNumber, name: Substring)

        init?(_ path: String) {
            if let number = FileNumber(path: path) {
                self = .file(number)
                return
            }
            let parts = path.split(separator: "/")
            guard let name = parts.last, let folder = FileNumber(folderOf: path) else { return nil }
            self = .missing(folder: folder, name: name)
        }
    }

    private var users: [Place: [(export: String, writes: Bool)]] = [:]

    /// The next export.
    ///
    /// - Returns: its mistakes, each with the key that names the file.
    mutating func add(_ export: ExportSettings) -> [(key: String, message: String)] {
        guard export.drive.isLocked else { return [] }
        var files: [(key: String, path: String, writes: Bool)] = []
        if let path = export.reference.path {
            files.append(("image", path, !export.drive.readOnly && !export.reference.isOverlay))
        }
        if let changes = export.changes { files.append(("changes", changes, true)) }
        if let state = export.state { files.append(("state", state, true)) }
        var mistakes: [(key: String, message: String)] = []
        for file in files {
            guard let place = Place(file.path) else { continue }
            let others = users[place, default: []]
            if let other = others.first(where: { $0.writes || file.writes }), other.export != export.name {
                let error: any Error =
                    file.key == "state"
                    ? StateFileError.inUse(file.path)
                    : ImageError.locked(path: file.path, by: .export(other.export), file: nil)
                mistakes.append((file.key, "\(error)"))
            }
            users[place] = others + [(export.name, file.writes)]
        }
        return mistakes
    }
}

extension ExportSettings {
    /// Files that could not be made, for want of a folder, each with the key that names it.
    var unmakeableFiles: [(key: String, message: String)] {
        var mistakes: [(key: String, message: String)] = []
        if let changes, let code = Self.obstacle(changes) {
            mistakes.append(("changes", "\(ImageError.cannotMakeChanges(path: changes, errno: code))"))
        }
        if let record, let code = Self.obstacle(record) {
            mistakes.append(("record", "\(RecordingFileError.cannotMake(record, errno: code))"))
        }
        if let state, let code = Self.obstacle(state) {
            mistakes.append(("state", "\(StateFileError.system(state, "its folder cannot be opened", errno: code))"))
        }
        return mistakes
    }

    /// The errno of a path whose folder is not there; nil: it is.
    private static func obstacle(_ path: String) -> Int32? {
        FileNumber(path: path) == nil && FileNumber(folderOf: path) == nil ? errno : nil
    }
}
