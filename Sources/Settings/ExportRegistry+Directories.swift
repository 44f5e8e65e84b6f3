// Files that come and go in directories, and exports with them.

import Logging
import Media
import Server

/// A file that cannot be an export, as it was when that was tried.
struct LeftOutFile {
    let identity: FileIdentity
    let reason: String
    /// Another program has it: that passes without a trace in the file.
    let isLocked: Bool
}

extension ExportRegistry {
    /// After so long, files that others had locked are tried again.
    private static let retryMilliseconds: Int32 = 1000

    /// Serves what is in a directory, and watches it from now on.
    func watch(_ directory: DirectorySettings, _ state: inout State) {
        do {
            let watch = try DirectoryWatch(path: directory.path)
            state.watches.append((directory, watch))
            compare(directory, &state)
            watch.run(waiting: waitingTime(directory, state)) { self.handle($0, in: directory) }
        } catch {
            logger.error("directory not watched", metadata: ["directory": "\(directory.path)", "reason": "\(error)"])
        }
    }

    /// Follows what has happened in a directory; nothing: some time has passed.
    ///
    /// - Returns: for how many milliseconds at most to wait for more; -1: for ever.
    private func handle(_ events: [DirectoryEvent], in directory: DirectorySettings) -> Int32 {
        state.withLock { state in
            // Settings without the directory may have come while this waited.
            guard state.settings.directories.contains(directory) else { return -1 }
            for event in events {
                switch event {
                case .appeared(let file): appear(file, in: directory, &state)
                case .vanished(let file): vanish(file, in: directory, &state)
                case .overflow: compare(directory, &state)
                case .gone:
                    logger.error(
                        "directory gone: its files are no longer watched", metadata: ["directory": "\(directory.path)"])
                }
            }
            if events.isEmpty { retry(directory, &state) }
            return waitingTime(directory, state)
        }
    }

    /// Serves a file, unless it is served.
    func appear(_ file: String, in directory: DirectorySettings, isRetry: Bool = false, _ state: inout State) {
        guard !DirectorySettings.isHidden(file), let identity = FileIdentity(directory.path + "/" + file) else {
            return
        }
        let name = directory.prefix + file
        let known = state.leftOut[name]
        // Also after an attempt of our own, whose closing the kernel reports.
        if let known, known.identity == identity, !(isRetry && known.isLocked) { return }
        do {
            let export = try directory.export(of: file)
            if let record = state.records[name] {
                guard case .directory(directory, let served) = record.origin else {
                    throw DirectoryFileError.nameTaken(name)
                }
                if identity.isSameFile(as: served) { return }
                remove(name, .drain, &state)
            }
            // Looks before it opens for writing, after which there would be another event.
            _ = try export.preview(ordinal: 1)
            try add(export, .directory(directory, identity), &state)
            state.leftOut[name] = nil
        } catch {
            let isLocked = if case MediumError.locked = error { true } else { false }
            state.leftOut[name] = LeftOutFile(identity: identity, reason: "\(error)", isLocked: isLocked)
            guard known?.reason != "\(error)" else { return }
            logger.warning("file left out", metadata: ["directory": "\(directory.path)", "reason": "\(error)"])
        }
    }

    /// Removes the export of a file that is there no longer.
    private func vanish(_ file: String, in directory: DirectorySettings, _ state: inout State) {
        let name = directory.prefix + file
        let present = FileIdentity(directory.path + "/" + file)
        if present == nil { state.leftOut[name] = nil }
        guard let record = state.records[name], case .directory(directory, let served) = record.origin,
            !served.isSameFile(as: present)
        else { return }
        remove(name, .drain, &state)
    }

    /// Makes the exports those of the files, whatever has happened.
    private func compare(_ directory: DirectorySettings, _ state: inout State) {
        do {
            let files = try directory.files()
            for file in fileNames(of: directory, state) where !files.contains(file) {
                vanish(file, in: directory, &state)
            }
            for file in files { appear(file, in: directory, &state) }
        } catch {
            logger.error("directory not listed", metadata: ["reason": "\(error)"])
        }
    }

    private func retry(_ directory: DirectorySettings, _ state: inout State) {
        for (name, file) in state.leftOut where file.isLocked && name.hasPrefix(directory.prefix) {
            appear(String(name.dropFirst(directory.prefix.count)), in: directory, isRetry: true, &state)
        }
    }

    private func waitingTime(_ directory: DirectorySettings, _ state: State) -> Int32 {
        let hasLockedFiles = state.leftOut.contains { $0.value.isLocked && $0.key.hasPrefix(directory.prefix) }
        return hasLockedFiles ? Self.retryMilliseconds : -1
    }

    /// The files that are exports of a directory.
    private func fileNames(of directory: DirectorySettings, _ state: State) -> [String] {
        state.records.values.compactMap { record in
            guard case .directory(directory, _) = record.origin else { return nil }
            return String(record.settings.name.dropFirst(directory.prefix.count))
        }
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
