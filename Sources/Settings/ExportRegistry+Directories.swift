// Directories whose files are exports: how they are watched, and what follows from what happens there.

import Backends
import Logging
import Server

/// A directory whose files are exports.
struct WatchedDirectory {
    let settings: DirectorySettings
    let watch: DirectoryWatch
    /// How it is watched.
    var sight: DirectoryEyes.Sight
    /// Why it could not be listed the last time; nil if it could.
    var failure: String?
    /// The log says that it is gone, or not watched.
    var isMissed = false
    /// New files as they were when they were seen first, in a directory that is only listed: their writer may
    /// not be done.
    var unsettled: [String: FileIdentity] = [:]

    /// Nothing tells when a file is whole.
    var isOnlyListed: Bool { if case .listed = sight { true } else { false } }
}

extension ExportRegistry {
    /// After so long, files that may have become exports without an event are tried again.
    private static let retryMilliseconds: Int32 = 1000

    /// Serves what is in a directory, and watches it from now on.
    func watch(_ directory: DirectorySettings, _ state: inout State) {
        do {
            let watch = try DirectoryWatch(path: directory.path)
            var eyes = DirectoryEyes(path: directory.path)
            _ = eyes.look()
            state.watches.append(WatchedDirectory(settings: directory, watch: watch, sight: .watched))
            see(eyes.sight, directory, &state)
            compare(directory, isFirst: true, &state)
            watch.run(eyes, waiting: waitingTime(directory, state)) { self.follow($0, in: directory) }
        } catch {
            logger.error("directory not watched", metadata: ["directory": "\(directory.path)", "reason": "\(error)"])
        }
    }

    /// Follows what has happened in a directory; nothing: some time has passed.
    ///
    /// - Returns: for how many milliseconds at most to wait for more; -1: for ever.
    private func follow(_ news: DirectoryNews, in directory: DirectorySettings) -> Int32 {
        state.withLock { state in
            // Settings without the directory may have come while this waited.
            guard state.watches.contains(where: { $0.settings == directory }) else { return -1 }
            see(news.sight, directory, &state)
            for event in news.events {
                switch event {
                case .appeared(let file): appear(file, in: directory, &state)
                case .created(let file): create(file, in: directory, &state)
                case .vanished(let file): vanish(file, in: directory, &state)
                case .unnameable(let name): leaveOut(DirectoryListing.unnameable(name), in: directory, &state)
                case .overflow: compare(directory, &state)
                case .gone: break
                }
            }
            if news.needsListing {
                compare(directory, &state)
            } else if news.events.isEmpty {
                retry(directory, &state)
            }
            return waitingTime(directory, state)
        }
    }

    /// Says how a directory is watched when that has become worse.
    private func see(_ sight: DirectoryEyes.Sight, _ directory: DirectorySettings, _ state: inout State) {
        guard let index = state.watches.firstIndex(where: { $0.settings == directory }),
            state.watches[index].sight != sight
        else { return }
        state.watches[index].sight = sight
        state.watches[index].unsettled = [:]
        let path: Logger.MetadataValue = "\(directory.path)"
        switch sight {
        case .watched: return
        case .listed(let reason):
            logger.warning(
                "directory not watched: it is listed every 5 seconds instead",
                metadata: ["directory": path, "reason": "\(reason)"])
        case .lost(let reason):
            logger.error(
                "directory gone: it is looked for each second", metadata: ["directory": path, "reason": "\(reason)"])
        }
        state.watches[index].isMissed = true
    }

    /// Makes the exports those of the files, whatever has happened.
    ///
    /// - Parameter isFirst: all files are new, and whole as far as anybody can tell.
    func compare(_ directory: DirectorySettings, isFirst: Bool = false, _ state: inout State) {
        guard let index = state.watches.firstIndex(where: { $0.settings == directory }) else { return }
        let listing: DirectoryListing?
        do {
            listing = try directory.listing()
            state.watches[index].failure = nil
            if state.watches[index].isMissed, state.watches[index].sight == .watched {
                state.watches[index].isMissed = false
                logger.notice("directory watched again", metadata: ["directory": "\(directory.path)"])
            }
        } catch {
            listing = nil
            let reason = explained(error)
            if state.watches[index].failure != reason {
                logger.error("directory not listed", metadata: ["reason": "\(reason)"])
            }
            state.watches[index].failure = reason
        }
        // Without a listing those stay that are where they were.
        let present = Set(listing?.files ?? [])
        for file in fileNames(of: directory, state) where !present.contains(file) {
            vanish(file, in: directory, &state)
        }
        guard let listing else { return }
        let shown = present.union(listing.leftOut.map(\.name))
        for (path, file) in state.leftOut where file.directory == directory.path && !shown.contains(file.name) {
            state.leftOut[path] = nil
        }
        for file in listing.files where isFirst || isSettled(file, index, &state) {
            appear(file, in: directory, &state)
        }
        for entry in listing.leftOut { leaveOut(entry, in: directory, &state) }
    }

    /// Where nobody says when a file is whole, it has to be the same twice.
    private func isSettled(_ file: String, _ index: Int, _ state: inout State) -> Bool {
        guard state.watches[index].isOnlyListed else { return true }
        let present = FileIdentity(state.watches[index].settings.path + "/" + file)
        let isSame = state.watches[index].unsettled[file] == present
        state.watches[index].unsettled[file] = present
        return isSame
    }

    /// Tries files again that may have become exports without an event.
    private func retry(_ directory: DirectorySettings, _ state: inout State) {
        var hasRoom = control.exportCount < room.exports
        for file in state.leftOut.values where file.directory == directory.path {
            switch file.obstacle {
            case .access: appear(file.name, in: directory, isRetry: true, &state)
            case .room where hasRoom:
                appear(file.name, in: directory, isRetry: true, &state)
                hasRoom = control.exportCount < room.exports
            case .room, .file: break
            }
        }
    }

    private func waitingTime(_ directory: DirectorySettings, _ state: State) -> Int32 {
        let isWaiting = state.leftOut.contains { $0.value.directory == directory.path && $0.value.obstacle != .file }
        return isWaiting ? Self.retryMilliseconds : -1
    }

    /// The files that are exports of a directory.
    func fileNames(of directory: DirectorySettings, _ state: State) -> [String] {
        state.records.values.compactMap { record in
            guard case .directory(directory, _) = record.origin else { return nil }
            return String(record.settings.name.dropFirst(directory.prefix.count))
        }
    }
}
