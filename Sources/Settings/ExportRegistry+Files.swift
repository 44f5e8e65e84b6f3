// Files that come and go in directories, and exports with them.

import Backends
import Glibc
import Logging
import Server

/// A file that cannot be an export, as it was when that was tried.
struct LeftOutFile {
    /// The obstacle that keeps it from being one.
    enum Obstacle {
        /// The file itself: as long as that does not change, nothing does.
        case file
        /// Somebody has it open, it may not be opened, or something else took its place for a moment: that passes
        /// without a trace in the file.
        case access
        /// There are as many exports as there can be.
        case room
    }

    /// The directory's path.
    let directory: String
    /// The file's name as it can be shown.
    let name: String
    /// Nil if it is no regular file.
    var identity: FileIdentity?
    var reason: String
    var obstacle = Obstacle.file
    /// It has been said.
    var isSaid = true
}

/// A file whose export was removed while clients may have had it open.
struct DrainedFile {
    let export: String
    let identity: FileIdentity
}

extension ExportRegistry {
    /// Serves a file, unless it is served.
    func appear(_ file: String, in directory: DirectorySettings, isRetry: Bool = false, _ state: inout State) {
        let path = directory.path + "/" + file
        guard !DirectorySettings.isHidden(file) else { return }
        guard let identity = FileIdentity(path) else {
            if let reason = DirectoryListing.reason(path) {
                leaveOut(.init(name: file, reason: reason), in: directory, &state)
            }
            return
        }
        let name = directory.prefix + file
        let known = state.leftOut[path]
        // Also after an attempt of our own, whose closing the kernel reports.
        if let known, known.identity == identity, !(isRetry && known.obstacle != .file) { return }
        do {
            let export = try directory.export(of: file)
            if let record = state.records[name] {
                guard case .directory(directory, let served) = record.origin else {
                    throw DirectoryFileError.nameTaken(name)
                }
                if identity.isSameFile(as: served) { return }
                drain(name, served, &state)
            }
            try room.check(control.exportCount)
            // Looks before it opens for writing, after which there would be another event.
            _ = try export.preview(ordinal: 1, expected: identity.number)
            try add(export, .directory(directory, identity), &state)
            state.leftOut[path] = nil
        } catch {
            leaveOut(file, identity, error, in: directory, isRetry: isRetry, &state)
        }
    }

    /// Takes note of a file that could not be served, and says so once.
    private func leaveOut(
        _ file: String, _ identity: FileIdentity, _ error: any Error, in directory: DirectorySettings, isRetry: Bool,
        _ state: inout State
    ) {
        let path = directory.path + "/" + file
        var left = LeftOutFile(directory: directory.path, name: file, identity: identity, reason: explained(error))
        switch error {
        case ImageError.locked:
            left.obstacle = .access
            // It is this server's own, under another name: that may be over in a moment.
            if let other = drainedName(of: identity, state) {
                left.reason = "clients still have '\(path)' open as export '\(other)'; it comes when they have left"
                left.isSaid = isRetry
            }
        case ImageError.replaced, ImageError.unsuitable, ImageError.cannotOpen, ImageError.cannotOpenAgain:
            left.obstacle = .access
        case is NoRoom, ServerError.tooManyExports: left.obstacle = .room
        default: break
        }
        let known = state.leftOut[path]
        state.leftOut[path] = left
        if left.isSaid, known?.reason != left.reason || known?.isSaid == false { say(left) }
    }

    /// Says of what cannot be an export why that is so, once.
    func leaveOut(
        _ entry: DirectoryListing.LeftOutEntry, in directory: DirectorySettings, _ state: inout State
    ) {
        let left = LeftOutFile(directory: directory.path, name: entry.name, reason: entry.reason)
        let path = directory.path + "/" + entry.name
        guard state.leftOut[path]?.reason != left.reason else { return }
        state.leftOut[path] = left
        say(left)
    }

    private func say(_ left: LeftOutFile) {
        logger.warning(
            "file left out",
            metadata: ["directory": "\(left.directory)", "name": "\(left.name)", "reason": "\(left.reason)"])
    }

    /// Something has been made in a directory. A file is about to be written, unless it is a whole one's second name.
    func create(_ file: String, in directory: DirectorySettings, _ state: inout State) {
        var status = stat()
        guard unsafe lstat(directory.path + "/" + file, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_nlink < 2 else {
            appear(file, in: directory, &state)
            return
        }
    }

    /// Removes the export of a file that is there no longer.
    func vanish(_ file: String, in directory: DirectorySettings, _ state: inout State) {
        let name = directory.prefix + file
        let path = directory.path + "/" + file
        let present = FileIdentity(path)
        if present == nil { state.leftOut[path] = nil }
        guard let record = state.records[name], case .directory(directory, let served) = record.origin,
            !served.isSameFile(as: present)
        else { return }
        drain(name, served, &state)
    }

    private func drain(_ name: String, _ identity: FileIdentity, _ state: inout State) {
        if state.drained.count >= 64 {
            let draining = control.drainingNames
            state.drained.removeAll { !draining.contains($0.export) }
        }
        state.drained.append(DrainedFile(export: name, identity: identity))
        remove(name, .drain, &state)
    }

    /// The export that a file was before, if clients may still have that open.
    private func drainedName(of identity: FileIdentity, _ state: State) -> String? {
        state.drained.last { $0.identity.isSameFile(as: identity) }?.export
    }

    /// An error, with what may be behind it.
    func explained(_ error: any Error) -> String {
        let isDenied =
            switch error {
            case ImageError.cannotOpen(_, let code, _): code == EACCES
            case let error as DirectoryError: error.code == EACCES
            default: false
            }
        guard isDenied, let deniedHint else { return "\(error)" }
        return "\(error); \(deniedHint)"
    }
}

/// Why a file of a directory is no export.
enum DirectoryFileError: Error, CustomStringConvertible {
    case nameTaken(String)

    var description: String {
        switch self {
        case .nameTaken(let name): "there is another export named '\(name)'; a prefix makes a difference"
        }
    }
}
