// Overlays, as an operator handles them.

import Backends
import IOUring
import Logging
import Loop

extension ServerControl {
    /// Makes the disk of an overlay like its image again, or as it was at a snapshot. Its clients are cut off, and its
    /// drive comes back as at power-on.
    ///
    /// - Parameter snapshot: nil: like the image.
    /// - Returns: see ``ExportEntry/revert(to:)``.
    public func revert(_ name: String, to snapshot: String? = nil) throws(ServerError) -> UInt64 {
        let entry = try overlay(name, inMemory: snapshot != nil)
        guard entry.definition.recording == nil else { throw .isRecorded(name) }
        return try operate(entry) { () throws(ServerError) in
            let levels = try snapshot.map { snapshot throws(ServerError) in try self.levels(snapshot, of: entry) } ?? []
            do throws(ImageError) {
                try entry.definition.changes?.checkRevert(entry.backend)
            } catch {
                throw .cannotRevert(name, error)
            }
            let bytes = try withoutClients(entry) { () throws(ImageError) in try entry.revert(to: levels) }
            loops.logger.notice(
                "overlay reverted", metadata: ["export": "\(name)", "bytes": .stringConvertible(bytes)])
            return bytes
        }
    }

    /// Keeps what an overlay in memory has now, by a name. Its clients are cut off, and its drive comes back as at
    /// power-on.
    public func takeSnapshot(_ snapshot: String, of name: String) throws(ServerError) -> ExportStatus {
        let entry = try overlay(name, inMemory: true)
        guard entry.definition.recording == nil else { throw .isRecorded(name) }
        return try operate(entry) { () throws(ServerError) in
            guard entry.levels(ofSnapshot: snapshot) == nil else { throw .snapshotTaken(name, snapshot) }
            let levels = try withoutClients(entry) { () throws(ImageError) in try entry.freeze() }
            entry.keep(snapshot: snapshot, levels)
            loops.logger.notice("snapshot taken", metadata: ["export": "\(name)", "snapshot": "\(snapshot)"])
            return status(of: entry)
        }
    }

    /// Forgets a snapshot.
    public func discardSnapshot(_ snapshot: String, of name: String) throws(ServerError) {
        let entry = try overlay(name, inMemory: true)
        try operate(entry) { () throws(ServerError) in
            guard entry.discard(snapshot: snapshot) else { throw .noSnapshot(name, snapshot) }
            loops.logger.notice("snapshot discarded", metadata: ["export": "\(name)", "snapshot": "\(snapshot)"])
        }
    }

    /// What another overlay begins with that is to be as this one is now, or was at a snapshot. Without a snapshot its
    /// clients are cut off.
    public func levels(_ name: String, atSnapshot snapshot: String?) throws(ServerError) -> [FrozenLevel] {
        let entry = try overlay(name, inMemory: true)
        return try operate(entry) { () throws(ServerError) in
            if let snapshot { return try levels(snapshot, of: entry) }
            guard entry.definition.recording == nil else { throw .isRecorded(name) }
            return try withoutClients(entry) { () throws(ImageError) in try entry.freeze() }
        }
    }

    private func overlay(_ name: String, inMemory: Bool) throws(ServerError) -> ExportEntry {
        let entry = try drive(named: name)
        guard entry.definition.isOverlay else { throw .noOverlay(name) }
        guard !inMemory || entry.definition.changes == nil else { throw .noSnapshots(name) }
        return entry
    }

    private func levels(_ snapshot: String, of entry: ExportEntry) throws(ServerError) -> [FrozenLevel] {
        guard let levels = entry.levels(ofSnapshot: snapshot) else { throw .noSnapshot(entry.name, snapshot) }
        return levels
    }

    /// Does something with an overlay that nobody uses meanwhile: its clients are cut off, as if its power went.
    private func withoutClients<Result: Sendable>(
        _ entry: ExportEntry, _ body: () throws(ImageError) -> Result
    ) throws(ServerError) -> Result {
        guard entry.armedCut == nil else { throw .cutArmed(entry.name) }
        guard entry.isOn else { throw .noPower(entry.name) }
        entry.switchOff(.overlayWork)
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
                "overlay operation failed", metadata: ["export": "\(entry.name)", "reason": "\(error)"])
        }
        entry.switchOn()
        try shared.exports.refresh(entry)
        return try outcome.get()
    }
}
