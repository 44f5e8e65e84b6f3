// The exports of a running server, with the origin of each. All exports come through here: those of the settings when
// they are read again, of the control socket, and of files that come and go in a directory.

import Backends
import Blocks
import Logging
import Loop
import Server
import Synchronization

/// Which export comes from where. Its functions may be called by any thread, and wait for each other.
public final class ExportRegistry: Sendable {
    /// The server.
    public let control: ServerControl
    let logger: Logger
    /// A likely reason why a file of a directory cannot be reached.
    let deniedHint: String?
    let room: ExportRoom
    let state: Mutex<State>

    struct State {
        var settings: ServeSettings
        /// By the export's name. An export that an operator has removed stays here until its settings or its file do.
        var records: [String: ExportRecord]
        var identities: DriveIdentities
        var ordinals = UsedOrdinals()
        var watches: [WatchedDirectory] = []
        /// Files of directories that are no exports, by their paths.
        var leftOut: [String: LeftOutFile] = [:]
        /// Those of templates that go when nobody has used them for a while.
        var kept: [String: KeptExport] = [:]
        /// A thread looks at them.
        var watchesKept = false
        /// Files whose exports were removed while clients may have had them open.
        var drained: [DrainedFile] = []
    }

    /// The server's settings.
    public var settings: ServeSettings { state.withLock { $0.settings } }

    /// Takes over what a server was begun with, and makes what its clients ask for from then on.
    ///
    /// - Parameter deniedHint: what may be the reason when a file cannot be reached.
    public init(
        _ opened: OpenedExports, settings: ServeSettings, control: ServerControl, logger: Logger,
        deniedHint: String? = nil
    ) {
        self.control = control
        self.logger = logger
        self.deniedHint = deniedHint
        room = opened.room
        state = Mutex(State(settings: settings, records: opened.records, identities: opened.identities))
        control.makeExports { [weak self] in self?.make($0) ?? .refused("\(MakingRefusal.gone)") }
    }

    /// Serves what has come into the directories since they were listed, and watches them, from threads of their own.
    public func watchDirectories() {
        state.withLock { state in
            for directory in state.settings.directories { watch(directory, &state) }
        }
    }

    /// Opens an export's image and serves it.
    public func add(_ export: ExportSettings) throws -> AddedExport {
        try state.withLock { state in
            if let mistake = state.settings.targetMistake(in: export) {
                throw SettingsError(place: "\(ExportSettings.place(export.name)).target", mistake)
            }
            try control.checkTarget(of: export.name, state.settings.placed(export).target)
            return try add(export, .request, &state)
        }
    }

    /// Serves another overlay that begins as one is now, or was at a snapshot. It has the settings of that, but for its
    /// name and its target. The answer tells which blocks are not its image's.
    ///
    /// - Parameter changes: a new file that keeps its changes; nil: they stay in memory.
    public func fork(_ name: String, to new: String, snapshot: String?, changes: String?) throws -> AddedExport {
        try state.withLock { state in
            guard control.hasExport(named: name), let settings = state.records[name]?.settings else {
                throw ServerError.noSuchExport(name)
            }
            guard !control.hasExport(named: new) else { throw ServerError.forkTaken(new) }
            var export = settings.made(named: try ExportSettings.checked(new, "name"), .unlimited)
            export.target = TargetOptions()
            export.record = nil
            export.state = nil
            export.changes = changes
            if let changes { try Self.checkFork(changes, of: settings) }
            try control.checkTarget(of: new, state.settings.placed(export).target)
            switch try control.keepState(of: name, atSnapshot: snapshot, for: new) {
            case .memory(let levels): return try reporting(add(export, .request, &state, above: levels))
            case .file(let path):
                export.level = path
                let added = try add(export, .request, &state)
                // What is in memory above a file has that for its image.
                return changes == nil ? added : reporting(added)
            }
        }
    }

    private func reporting(_ added: AddedExport) -> AddedExport {
        var added = added
        added.changed = try? control.changedBlocks(of: added.status.name, since: nil)
        return added
    }

    /// A fork's file is a new one, above a file in the same folder.
    private static func checkFork(_ changes: String, of settings: ExportSettings) throws(ImageError) {
        guard let origin = settings.changes else {
            throw .changes(
                path: changes,
                "'\(settings.name)' has its changes in memory, and a file can only be above files: leave it out")
        }
        guard !ChangesFile.exists(changes) else {
            throw .changes(path: changes, "it is there already, and a fork begins with a new one")
        }
        guard let folder = FileNumber(folderOf: changes), folder == FileNumber(folderOf: origin) else {
            throw .changes(path: changes, "it has to be in the folder of '\(origin)', whose snapshot it begins with")
        }
    }

    /// Puts a disc into a DVD-ROM: an image, or nil for what is in the open tray, or else the export's own. The image
    /// is opened and locked as that of an export is.
    public func insert(_ image: String?, into name: String, isForced: Bool) throws -> AddedExport {
        try state.withLock { state in
            if image == nil, let status = try control.closeTray(name) {
                return AddedExport(status: status, warnings: [])
            }
            guard control.hasExport(named: name), let settings = state.records[name]?.settings else {
                throw ServerError.noSuchExport(name)
            }
            guard settings.drive.device.kind.isDisc else { throw ServerError.noTray(name) }
            var disc = try ExportSettings(name: name, image: image ?? settings.image)
            disc.drive = settings.drive
            if disc.reference == .null(sizeBytes: 0) { throw ServerError.noDisc(name) }
            // A disc is raw: it has no other files.
            let opened = try disc.openImage(waits: true, holder: control.exportName(of:))
            let status = try control.insert(opened.backend, image: disc.image, into: name, isForced: isForced)
            let warnings = disc.imageWarnings()
            logger.warn(warnings)
            return AddedExport(status: status, warnings: warnings)
        }
    }

    /// Opens and serves an export whose name nobody has.
    @discardableResult
    func add(
        _ export: ExportSettings, _ origin: ExportRecord.Origin, _ state: inout State, above levels: [FrozenLevel] = []
    ) throws -> AddedExport {
        try room.check(control.exportCount)
        let ordinal = lowestUnusedOrdinal(&state)
        // Files of directories are tried again later.
        let status = try serve(
            try state.settings.placed(export).open(
                ordinal: ordinal, waits: origin == .request, expected: origin.file, above: levels,
                holder: control.exportName(of:)))
        let record = ExportRecord(settings: export, ordinal: ordinal, origin: origin)
        return AddedExport(status: status, warnings: enter(record, &state))
    }

    /// Takes note of an export that is served now.
    ///
    /// - Returns: what is probably not meant, which the log says, too.
    @discardableResult
    func enter(_ record: ExportRecord, _ state: inout State) -> [ExportWarning] {
        let name = record.settings.name
        state.records[name] = record
        state.ordinals.take(record.ordinal)
        state.identities.add(record.settings, ordinal: record.ordinal)
        let identities = state.identities.warnings(about: name) { control.hasExport(named: $0) }
        let warnings = identities + record.settings.imageWarnings(expected: record.origin.file)
        logger.warn(warnings)
        return warnings
    }

    /// Adds opened exports; those that the server does not take are closed.
    @discardableResult
    func serve(_ export: ServedExport) throws -> ExportStatus {
        do {
            return try control.add(export)
        } catch {
            export.close()
            throw error
        }
    }

    /// Removes an export, unless somebody has done that before.
    func remove(_ name: String, _ mode: RemovalMode, _ state: inout State) {
        state.records[name] = nil
        state.identities.remove(name)
        do {
            try control.remove(name, mode)
        } catch .noSuchExport {
            // Its remover has seen to everything.
        } catch {
            logger.error("export not removed in order", metadata: ["export": "\(name)", "reason": "\(error)"])
        }
    }

    /// The place of a drive that comes now.
    func lowestUnusedOrdinal(_ state: inout State) -> Int {
        let removals = control.removalCount
        if removals != state.ordinals.removals {
            state.ordinals = UsedOrdinals(usedOrdinals(state), removals: removals)
        }
        return state.ordinals.lowestUnused()
    }

    /// The places of the drives that are there, but for some that go.
    func usedOrdinals(_ state: State, without gone: [String] = []) -> [Int] {
        let served = control.exportNames.subtracting(gone)
        return state.records.values.filter { served.contains($0.settings.name) }.map(\.ordinal)
    }
}

/// An export as it was when it was added.
public struct AddedExport: Sendable {
    /// Its state.
    public let status: ExportStatus
    /// Probable mistakes.
    public let warnings: [ExportWarning]
    /// Of a fork, the blocks that are not its image's; nil: it is none, or nobody knows.
    public internal(set) var changed: BlockRanges?
}

/// The places of drives. A caller that adds thousands need not look at all of them each time.
struct UsedOrdinals {
    private var used: Set<Int> = []
    private var lowest = 1
    /// How many exports had been removed when these were collected; -1: nothing was collected.
    private(set) var removals = -1

    /// Nothing is known.
    init() {}

    init(_ used: [Int], removals: Int) {
        self.used = Set(used)
        self.removals = removals
    }

    mutating func lowestUnused() -> Int {
        while used.contains(lowest) { lowest += 1 }
        return lowest
    }

    mutating func take(_ ordinal: Int) { used.insert(ordinal) }
}
