// The exports of a running server and who has asked for them. Whatever adds exports goes through here: the settings when
// they are read again, the control socket, files that come and go in a directory.

import Logging
import Media
import Server
import Synchronization

/// Which export comes from where. Its functions may be called by any thread, and wait for each other.
public final class ExportRegistry: Sendable {
    /// The server.
    public let control: ServerControl
    let logger: Logger
    let state: Mutex<State>

    struct State {
        var settings: ServeSettings
        /// By the export's name. What an operator has removed stays here until its settings or its file do.
        var records: [String: ExportRecord]
        var watches: [(directory: DirectorySettings, watch: DirectoryWatch)] = []
        /// Files of directories that are no exports, by the name that they would have.
        var leftOut: [String: LeftOutFile] = [:]
    }

    /// What the server serves by.
    public var settings: ServeSettings { state.withLock { $0.settings } }

    /// Takes over what a server was begun with.
    public init(_ opened: OpenedExports, settings: ServeSettings, control: ServerControl, logger: Logger) {
        self.control = control
        self.logger = logger
        state = Mutex(State(settings: settings, records: opened.records))
    }

    /// Serves what has come into the directories since they were listed, and watches them, from threads of their own.
    public func watchDirectories() {
        state.withLock { state in
            for directory in state.settings.directories { watch(directory, &state) }
        }
    }

    /// Opens an export's image and serves it.
    public func add(_ export: ExportSettings) throws {
        try state.withLock { try add(export, .request, &$0) }
    }

    /// Opens and serves an export whose name nobody has.
    func add(_ export: ExportSettings, _ origin: ExportRecord.Origin, _ state: inout State) throws {
        let ordinal = SerialNumber.lowestUnused(usedOrdinals(state))
        try serve(try export.open(ordinal: ordinal))
        state.records[export.name] = ExportRecord(settings: export, ordinal: ordinal, origin: origin)
    }

    /// Adds what was opened; what the server does not take is closed.
    func serve(_ export: ServedExport) throws {
        do {
            try control.add(export)
        } catch {
            export.medium.close()
            throw error
        }
    }

    /// Removes an export, unless somebody has done that before.
    func remove(_ name: String, _ mode: RemovalMode, _ state: inout State) {
        state.records[name] = nil
        do {
            try control.remove(name, mode)
        } catch .noSuchExport {
            // Who has removed it has seen to everything.
        } catch {
            logger.error("export not removed in order", metadata: ["export": "\(name)", "reason": "\(error)"])
        }
    }

    /// The names of what clients can open.
    func servedNames() -> Set<String> {
        Set(control.exports().filter { !$0.isDraining }.map(\.name))
    }

    /// The places of the drives that are there, but for some that go.
    func usedOrdinals(_ state: State, without gone: [String] = []) -> [Int] {
        let served = servedNames().subtracting(gone)
        return state.records.values.filter { served.contains($0.settings.name) }.map(\.ordinal)
    }
}
