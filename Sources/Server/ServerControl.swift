// The controls of a running server, for its operator.

import Backends
import Blocks
import IOUring
import Logging
import Loop

/// An export as an operator sees it.
public struct ExportStatus: Equatable, Sendable {
    /// The name that clients ask for.
    public var name: String
    /// Its description for people.
    public var description: String
    /// The drive's size.
    public var sizeBytes: UInt64
    /// The size of its logical blocks.
    public var logicalBlockBytes: UInt64
    /// Clients get others in its place, and nobody ever has it open.
    public var isTemplate: Bool
    /// Nothing can be written.
    public var isReadOnly: Bool
    /// Only clients with TLS may open it.
    public var requiresTLS: Bool
    /// How many connections have it open.
    public var connections: Int
    /// It is removed, and waits for the last of them to end.
    public var isDraining: Bool
    /// A drive with a volatile write cache has power; nil: nobody can cut that of this one.
    public var hasPower: Bool?
    /// The power cut that is to come.
    public var armedCut: PowerOrder?
    /// Why a flush of its image has failed, and all since; nil if none has.
    public var flushFailure: String?
    /// The tray of a DVD-ROM; nil: the drive is a disk.
    public var tray: TrayStatus?
    /// What it was made of, as it was named; nil: a DVD-ROM, whose disc is in its tray.
    public var image: String?
    /// The file with the changes of an overlay; nil: they are in memory, or it is none.
    public var changes: String?
    /// The names of an overlay's snapshots: see ``ExportEntry/snapshotNames``.
    public var snapshots: [String]
    /// The totals of its clients.
    public var totals: ExportTotals
}

/// The fate of the clients of an export that is removed.
public enum RemovalMode: String, CaseIterable, Sendable {
    /// It is removed only if there are none.
    case safe
    /// They may go on; the export ends with the last of them, and nobody new may open it.
    case drain
    /// Requests in flight are finished, then the clients are disconnected.
    case force
}

/// The handle of a running server for its operator. Its calls may wait, for disks and for loops: they are not
/// for the loops themselves.
public final class ServerControl: Sendable {
    let shared: ServerState
    var loops: SharedState { shared.loops }

    init(_ shared: ServerState) {
        self.shared = shared
    }

    /// All exports, in their order; behind them those that wait for their last client.
    public func exports() -> [ExportStatus] { exports { _ in true } }

    /// The export of a name; if there is none that clients can open, one that waits for its last client.
    public func export(named name: String) -> ExportStatus? { exports { $0 == name }.first }

    /// Those whose name is wanted. To add up what the clients of one have done takes longer than all else of an answer.
    private func exports(_ isWanted: (String) -> Bool) -> [ExportStatus] {
        let directory = shared.exports.directory
        let present = zip(directory.entries, directory.information).filter { isWanted($0.0.name) }.map {
            entry, information in
            ExportStatus(entry, information.description, sizeBytes: information.sizeBytes, isDraining: false)
        }
        let withdrawn = shared.exports.withdrawn.filter { isWanted($0.name) }.map { entry in
            ExportStatus(entry, nil, sizeBytes: entry.drive.sizeBytes, isDraining: true)
        }
        return present + withdrawn
    }

    /// Adds an export, which can be opened from then on.
    ///
    /// - Returns: the export as nobody has opened it yet.
    @discardableResult
    public func add(_ export: ServedExport) throws(ServerError) -> ExportStatus {
        let (entry, information) = try shared.exports.add(export)
        loops.noteAdded(entry)
        loops.logger.notice("export added", metadata: ["export": "\(export.name)"])
        return ExportStatus(
            entry, information.description, sizeBytes: information.sizeBytes, isDraining: false)
    }

    /// Throws if an export that is to come asks for a target, or a logical unit of one, that another export has.
    public func checkTarget(of name: String, _ target: TargetOptions) throws(ServerError) {
        guard target.name != nil else { return }
        if let (place, other) = shared.exports.occupied(name, target) {
            throw .targetTaken(place.name.text, logicalUnit: place.isShared ? place.logicalUnit : nil, by: other.name)
        }
    }

    /// How many exports there are, those among them that wait for their last client.
    public var exportCount: Int { shared.exports.directory.entries.count + shared.exports.withdrawn.count }

    /// The names of the exports that clients can open.
    public var exportNames: Set<String> { Set(shared.exports.directory.entries.filter { !$0.isWithdrawn }.map(\.name)) }

    /// The names of the exports that wait for their last client.
    public var drainingNames: Set<String> { Set(shared.exports.withdrawn.map(\.name)) }

    /// Clients can open an export of this name.
    public func hasExport(named name: String) -> Bool {
        shared.exports.directory.entry(named: name).map { !$0.isWithdrawn } ?? false
    }

    /// The name of the export that has a file open, be it one that waits for its last client.
    public func exportName(of file: FileNumber) -> String? {
        (shared.exports.directory.entries + shared.exports.withdrawn).first { $0.uses(file) }?.name
    }

    /// How many exports were removed since the server began.
    public var removalCount: Int { shared.exports.removalCount }

    /// Puts exports into an order, of which the first answers to the empty name; those that are not named come behind.
    public func arrange(_ names: [String]) {
        shared.exports.arrange(names)
    }

    /// Gives the server other keys, and other wishes for clients: for connections from now on.
    ///
    /// - Returns: whether it has TLS. If it began without, nothing has happened.
    public func replace(tls: TLSSettings) -> Bool {
        guard loops.tls != nil else { return false }
        loops.tls = tls
        return true
    }

    /// The settings of all targets, for initiators that log in now.
    public var targets: TargetSettings { loops.targets }

    /// Gives a server with CHAP the secrets of other settings: for logins from now on.
    public func replace(secretsOf targets: TargetSettings) {
        loops.secrets = targets.secrets
    }

    /// Removes an export. This returns when its image is stable and closed; with `drain`, if clients have it open, at
    /// once. By force, a name that no export has any more is that of those that wait for their last client.
    ///
    /// - Returns: the export that waits for its last client; nil: it is gone.
    @discardableResult
    public func remove(_ name: String, _ mode: RemovalMode) throws(ServerError) -> ExportStatus? {
        let draining = mode == .force ? drainingExports(named: name) : []
        guard draining.isEmpty else {
            for entry in draining {
                loops.logger.notice("draining export hurried", metadata: ["export": "\(name)"])
                loops.endConnections(of: entry)
            }
            for entry in draining { try waitForEnd(of: entry) }
            return nil
        }
        let (entry, connections) = try withdraw(name, mode)
        if mode == .drain, connections > 0 { return status(of: entry, isDraining: true) }
        try waitForEnd(of: entry)
        return nil
    }

    /// Those of a name that wait for their last client; none if clients can open one of that name.
    private func drainingExports(named name: String) -> [ExportEntry] {
        hasExport(named: name) ? [] : shared.exports.withdrawn.filter { $0.name == name }
    }

    /// The loops end the connections of an export in time; the disk takes what it takes.
    private func waitForEnd(of entry: ExportEntry) throws(ServerError) {
        guard entry.ended.wait(seconds: loops.limits.shutdownSeconds + 30) else { throw .stillInUse(entry.name) }
        // Somebody else may wait for it, too.
        entry.ended.signal()
        if let reason = entry.failure { throw .flush([.init(name: entry.name, reason: reason)]) }
    }

    /// Takes an export from those that want to open it. The thread that waits on ``ExportTable/ended`` closes it.
    ///
    /// - Returns: the export, and how many connections have it open.
    func withdraw(_ name: String, _ mode: RemovalMode) throws(ServerError) -> (ExportEntry, connections: Int) {
        let entry = try shared.exports.entry(named: name)
        let connections = try operate(entry) { () throws(ServerError) in
            try shared.exports.withdraw(entry, onlyIfUnused: mode == .safe)
        }
        loops.logger.notice("export removed", metadata: ["export": "\(name)", "mode": "\(mode)"])
        if mode == .force { loops.endConnections(of: entry) }
        shared.exports.noteEnd()
        return (entry, connections)
    }

    /// Makes an export's image and drive larger, for clients that open it from then on.
    ///
    /// - Parameter sizeBytes: the new size; nil: the image's own, which somebody else has made larger.
    public func grow(_ name: String, toBytes sizeBytes: UInt64?) throws(ServerError) -> ExportStatus {
        let entry = try drive(named: name)
        // One after the other: of two sizes, the drive has in the end that of the image.
        return try operate(entry) { () throws(ServerError) in
            let present = entry.drive.sectorCount
            // Before the image is touched: it may have been made shorter than the drive, or be asked to be too large
            // for one.
            if entry.drive.hasTray, present == 0 { throw .cannotGrow(name, reason: "there is no disc in the drive") }
            guard !entry.definition.isOverlay else {
                throw .cannotGrow(
                    name,
                    reason: "an overlay is as large as the image below it; a larger image and a new overlay are it")
            }
            guard !entry.definition.hasOwnSize else {
                throw .cannotGrow(
                    name,
                    reason:
                        "a qcow2 image says itself how large its disk is; 'qemu-img resize' changes that while the image is "
                        + "not served")
            }
            guard entry.definition.recording == nil else {
                throw .cannotGrow(name, reason: "it is recorded, and a recording has one size")
            }
            if let sizeBytes {
                try Self.check(entry.drive.blockSize.blocks(holdingBytes: sizeBytes), present, entry, "asked for")
            }
            let image: UInt64
            do {
                image = try entry.backend.grow(toBytes: sizeBytes)
            } catch {
                throw .cannotGrow(name, reason: "\(error)")
            }
            let sectors = entry.drive.blockSize.blocks(holdingBytes: image)
            try Self.check(sectors, present, entry, "of its image")
            let grown = try ask { () throws(RingError) in try loops.change(entry, .size(sectors: sectors)) }
            try Self.check(sectors, grown, entry, "of its image")
            try shared.exports.refresh(entry)
            loops.logger.notice(
                "export grown", metadata: ["export": "\(name)", "sectors": .stringConvertible(sectors)])
            return status(of: entry)
        }
    }

    /// The owner of the clients knows of the loss when flushes of an export's image failed: they may succeed again.
    /// Does nothing where none has failed.
    public func acceptLoss(of name: String) throws(ServerError) -> ExportStatus {
        let entry = try drive(named: name)
        return try operate(entry) { () throws(ServerError) in
            guard let stability = entry.flushes.stability, let failure = stability.failure else {
                return status(of: entry)
            }
            if let code = stability.acceptLoss() { throw .stillUnstable(name, reason: errorText(code)) }
            loops.logger.notice(
                "loss accepted: flushes may succeed again",
                metadata: ["export": "\(name)", "reason": "\(errorText(failure))"])
            return status(of: entry)
        }
    }

    /// The export of a name, for what an operator does to a drive that clients can have. One that stands for others
    /// has none.
    func drive(named name: String) throws(ServerError) -> ExportEntry {
        let entry = try shared.exports.entry(named: name)
        if let copies = entry.definition.copies { throw .standsForOthers(name, copies) }
        return entry
    }

    func operate<Result: Sendable>(
        _ entry: ExportEntry, _ body: () throws(ServerError) -> Result
    ) throws(ServerError) -> Result {
        guard let result = try entry.operate(body) else { throw .noSuchExport(entry.name) }
        return result
    }

    /// An export that is known, whatever has become of its name.
    func status(of entry: ExportEntry, isDraining: Bool = false) -> ExportStatus {
        let drive = entry.drive
        let information = try? entry.definition.information(drive)
        return ExportStatus(
            entry, information?.description, sizeBytes: drive.sizeBytes, isDraining: isDraining)
    }

    private static func check(
        _ sectors: UInt64, _ present: UInt64, _ entry: ExportEntry, _ whose: String
    ) throws(ServerError) {
        let most = entry.drive.drive.kind.maximumSectors
        guard sectors >= present, sectors <= most else {
            throw .cannotGrow(
                entry.name,
                reason:
                    "it has \(present) sectors\(Self.size(of: entry.drive.blockSize)), and the \(sectors) \(whose) cannot be "
                    + "its size: a drive never shrinks, and has at most \(most)")
        }
    }

    /// Of what size sectors are, where that is not what people write as `s`.
    private static func size(of blockSize: BlockSize) -> String {
        blockSize.bytes == 512 ? "" : " of \(blockSize.bytes) bytes"
    }

    /// All connections.
    public func connections() throws(ServerError) -> [ConnectionStatus] {
        try ask { () throws(RingError) in try loops.connections() }
    }

    /// Ends a connection at once.
    public func drop(connection number: UInt64) throws(ServerError) {
        let wasThere = try ask { () throws(RingError) in try loops.drop(connection: number) }
        guard wasThere else { throw .noSuchConnection(number) }
    }

    /// Asks the loops for something.
    func ask<Answer>(_ question: () throws(RingError) -> Answer?) throws(ServerError) -> Answer {
        let answer: Answer?
        do {
            answer = try question()
        } catch {
            throw .ring(error)
        }
        guard let answer else { throw .stopping }
        return answer
    }
}

extension ExportStatus {
    init(_ entry: ExportEntry, _ description: [UInt8]?, sizeBytes: UInt64, isDraining: Bool) {
        self.init(
            name: entry.name, description: description.map { String(decoding: $0, as: UTF8.self) } ?? "",
            sizeBytes: sizeBytes, logicalBlockBytes: entry.drive.blockSize.bytes,
            isTemplate: entry.definition.copies != nil, isReadOnly: entry.definition.backend.isReadOnly,
            requiresTLS: entry.definition.requiresTLS,
            connections: entry.connectionCount, isDraining: isDraining,
            hasPower: entry.hasWriteCache ? entry.isOn : nil, armedCut: entry.armedCut?.order,
            flushFailure: entry.flushes.stability?.failure.map(errorText), tray: TrayStatus(entry),
            image: entry.drive.hasTray ? nil : entry.image, changes: entry.changes?.path,
            snapshots: entry.snapshotNames,
            totals: ExportTotals(entry))
    }
}
