// Overlays, as an operator handles them.

import Backends
import Blocks
import IOUring
import Logging
import Loop

/// What another overlay begins with, above the image of both.
public enum OverlayState: Sendable {
    /// Levels in memory, the newest first.
    case memory([FrozenLevel])
    /// The file of a snapshot.
    case file(String)
}

extension ServerControl {
    /// Makes the disk of an overlay like its image again, or as it was at a snapshot. Its clients are cut off, and its
    /// drive comes back as at power-on.
    ///
    /// - Parameter snapshot: nil: like the image.
    /// - Returns: see ``ExportEntry/revert(to:)``.
    public func revert(
        _ name: String, to snapshot: String? = nil
    ) throws(ServerError) -> (bytes: UInt64, changed: BlockRanges?) {
        let entry = try overlay(name)
        guard entry.definition.recording == nil else { throw .isRecorded(name) }
        return try operate(entry) { () throws(ServerError) in
            if let snapshot { try checkSnapshot(snapshot, of: entry) }
            try check(entry) { () throws(ImageError) in try entry.checkRevert(to: snapshot) }
            let outcome = try withoutClients(entry, .revert) { () throws(ImageError) in try entry.revert(to: snapshot) }
            loops.logger.notice(
                "overlay reverted", metadata: ["export": "\(name)", "bytes": .stringConvertible(outcome.bytes)])
            return outcome
        }
    }

    /// The blocks of an overlay that are not its image's, or a snapshot's: see ``ExportEntry/changedBlocks(since:)``.
    public func changedBlocks(of name: String, since snapshot: String?) throws(ServerError) -> BlockRanges {
        let entry = try overlay(name)
        return try operate(entry) { () throws(ServerError) in
            if let snapshot { try checkSnapshot(snapshot, of: entry) }
            do throws(ImageError) {
                return try entry.changedBlocks(since: snapshot)
            } catch {
                throw .overlay(name, error)
            }
        }
    }

    /// Brings an overlay's changes to its image. Its clients are cut off, and find the same on a drive as at power-on.
    ///
    /// - Returns: how many bytes were written to the image.
    public func commit(_ name: String) throws(ServerError) -> UInt64 {
        let entry = try overlay(name)
        guard entry.definition.recording == nil else { throw .isRecorded(name) }
        return try operate(entry) { () throws(ServerError) in
            let others = shared.exports.directory.entries + shared.exports.withdrawn
            let base = entry.baseNumber
            if let base, let other = others.first(where: { $0 !== entry && $0.uses(base) }) {
                throw .imageUsed(name, by: other.name)
            }
            try check(entry) { () throws(ImageError) in try entry.checkCommit() }
            let bytes = try withoutClients(entry, .commit) { () throws(ImageError) in
                try entry.commit { !loops.isStopping }
            }
            loops.logger.notice(
                "overlay committed", metadata: ["export": "\(name)", "bytes": .stringConvertible(bytes)])
            return bytes
        }
    }

    /// Keeps what an overlay has now, by a name. Its clients are cut off, and its drive comes back as at power-on.
    public func takeSnapshot(_ snapshot: String, of name: String) throws(ServerError) -> ExportStatus {
        let entry = try overlay(name)
        guard entry.definition.recording == nil else { throw .isRecorded(name) }
        return try operate(entry) { () throws(ServerError) in
            try takeSnapshot(snapshot, of: entry, for: .snapshot)
            return status(of: entry)
        }
    }

    /// Forgets a snapshot. One in a file stays if anything begins with it.
    public func discardSnapshot(_ snapshot: String, of name: String) throws(ServerError) {
        let entry = try overlay(name)
        try operate(entry) { () throws(ServerError) in
            try checkSnapshot(snapshot, of: entry)
            if let path = entry.changes?.path(ofSnapshot: snapshot), let file = FileNumber(path: path) {
                let others = shared.exports.directory.entries + shared.exports.withdrawn
                if let other = others.first(where: { $0 !== entry && $0.uses(file) }) {
                    throw .snapshotUsed(name, snapshot, by: "the export '\(other.name)'")
                }
            }
            try check(entry) { () throws(ImageError) in try entry.discard(snapshot: snapshot) }
            loops.logger.notice("snapshot discarded", metadata: ["export": "\(name)", "snapshot": "\(snapshot)"])
        }
    }

    /// What another overlay begins with that is to be as this one is now, or was at a snapshot. Without a snapshot its
    /// clients are cut off; of one in a file a snapshot is taken then, with the name of the other overlay.
    public func keepState(
        of name: String, atSnapshot snapshot: String?, for other: String
    ) throws(ServerError) -> OverlayState {
        let entry = try overlay(name)
        return try operate(entry) { () throws(ServerError) in
            if let snapshot {
                try checkSnapshot(snapshot, of: entry)
                return entry.changes.map { .file($0.path(ofSnapshot: snapshot)) }
                    ?? .memory(entry.levels(ofSnapshot: snapshot) ?? [])
            }
            guard entry.definition.recording == nil else { throw .isRecorded(name) }
            guard let changes = entry.changes else {
                return .memory(try withoutClients(entry, .fork) { () throws(ImageError) in try entry.freeze() })
            }
            try takeSnapshot(other, of: entry, for: .fork)
            return .file(changes.path(ofSnapshot: other))
        }
    }

    private func takeSnapshot(
        _ snapshot: String, of entry: ExportEntry, for work: OverlayWork
    ) throws(ServerError) {
        guard !entry.snapshotNames.contains(snapshot) else { throw .snapshotTaken(entry.name, snapshot) }
        try check(entry) { () throws(ImageError) in try entry.changes?.checkSnapshot(snapshot) }
        try withoutClients(entry, work) { () throws(ImageError) in try entry.takeSnapshot(snapshot) }
        loops.logger.notice("snapshot taken", metadata: ["export": "\(entry.name)", "snapshot": "\(snapshot)"])
    }

    private func overlay(_ name: String) throws(ServerError) -> ExportEntry {
        let entry = try drive(named: name)
        guard entry.definition.isOverlay else { throw .noOverlay(name) }
        return entry
    }

    private func checkSnapshot(_ snapshot: String, of entry: ExportEntry) throws(ServerError) {
        guard entry.snapshotNames.contains(snapshot) else { throw .noSnapshot(entry.name, snapshot) }
    }

    /// Finds out what is in the way before clients are cut off.
    private func check(_ entry: ExportEntry, _ body: () throws(ImageError) -> Void) throws(ServerError) {
        do throws(ImageError) { try body() } catch { throw .cannotOperate(entry.name, error) }
    }

    /// Does something with an overlay that nobody uses meanwhile: its clients are cut off, as if its power went.
    private func withoutClients<Result: Sendable>(
        _ entry: ExportEntry, _ work: OverlayWork, _ body: () throws(ImageError) -> Result
    ) throws(ServerError) -> Result {
        guard entry.armedCut == nil else { throw .cutArmed(entry.name) }
        guard entry.isOn else { throw .noPower(entry.name) }
        entry.switchOff(.overlayWork(work))
        loops.cutOff(entry)
        let outcome: Swift.Result<Result, ServerError>
        if hasEnded(entry, { entry.connectionCount == 0 }) {
            do throws(ImageError) {
                outcome = .success(try body())
            } catch {
                outcome = .failure(.overlay(entry.name, error))
            }
        } else {
            outcome = .failure(.stillReverting(entry.name))
        }
        if case .failure(let error) = outcome {
            loops.logger.error(
                "overlay operation failed",
                metadata: ["export": "\(entry.name)", "work": "\(work)", "reason": "\(error)"])
        }
        entry.switchOn()
        try shared.exports.refresh(entry)
        return try outcome.get()
    }
}
