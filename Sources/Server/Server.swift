// A server: its listeners, its loops, its beginning and its end.

import ATA
import Backends
import Export
import Glibc
import IOUring
import Listening
import Logging
import Loop
import NBD
import Synchronization
import Threads

/// A server that listens, with loops that have not begun.
public struct Server {
    let shared: ServerState
    let logger: Logger

    /// How many exports a server can have at a time.
    public static var exportCapacity: Int { Limits.exports }

    /// How many processors there are for loops: those that this process may use.
    public static var processorCount: Int { LinuxProcess.processorCount }

    /// Opens the listeners, which may take connections from then on, and checks that io_uring works here.
    ///
    /// - Parameters:
    ///   - exports: the drives; the first one answers to the empty name too.
    ///   - endpoints: where to listen. Sockets that systemd passed are used as well, unless some are asked for by name,
    ///     and instead when this is empty; with neither, at ``Endpoint/standard``.
    ///   - loops: how many threads serve; at least one.
    ///   - reservations: where persistent reservations are kept (APTPL); nil: nowhere.
    public init(
        exports: [ServedExport], endpoints: [Endpoint], loops: Int, limits: Limits = Limits(),
        tls: TLSSettings? = nil, targets: TargetSettings = TargetSettings(), reservations: ReservationFolder? = nil,
        logger: Logger
    ) throws(ServerError) {
        do {
            _ = try Ring(entries: 8, completions: 16)
        } catch {
            throw .ring(error)
        }
        let entrances: Entrances
        do {
            entrances = try Entrances(endpoints)
        } catch {
            throw .endpoint(error)
        }
        self.logger = logger
        if !entrances.unnamed.isEmpty {
            logger.warning(
                "systemd has passed sockets that no endpoint names",
                metadata: ["names": "\(entrances.unnamed.joined(separator: " "))"])
        }
        do {
            shared = try ServerState(
                entrances: entrances, loopCount: entrances.connection == nil ? loops : 1, limits: limits, tls: tls,
                targets: targets, reservations: reservations, logger: logger)
        } catch {
            throw .ring(error)
        }
        do throws(ServerError) {
            for export in exports { try shared.exports.add(export) }
        } catch {
            for listener in entrances.listeners { listener.close() }
            throw error
        }
    }

    /// Where the server listens, ports that the system chose filled in.
    public var endpoints: [Endpoint] {
        guard shared.loops.connection == nil else { return [.standardInput] }
        // A host's addresses share one.
        var endpoints: [Endpoint] = []
        for listener in shared.loops.listeners where !endpoints.contains(listener.endpoint) {
            endpoints.append(listener.endpoint)
        }
        return endpoints
    }

    /// A client's URI for an export at an endpoint; nil if the export cannot be reached there.
    public func uri(ofExport name: String, at endpoint: Endpoint, isEncrypted: Bool) -> String? {
        guard endpoint.frontEnd == .iscsi else { return endpoint.uri(export: name, isEncrypted: isEncrypted) }
        let entry = shared.exports.directory.entry(named: name)
        return entry?.target.flatMap { endpoint.uri(target: $0.name.text, logicalUnit: $0.logicalUnit) }
    }

    /// Its starter has passed it sockets, and knows where it listens.
    public var hasInheritedSockets: Bool {
        shared.loops.connection != nil || shared.loops.listeners.contains(where: \.isInherited)
    }

    /// The facts of each export that clients are told.
    public var information: [ExportInformation] {
        shared.exports.directory.information
    }

    /// For the server's operator, from any thread.
    public var control: ServerControl {
        ServerControl(shared)
    }

    /// Stops listening before it has served: for a program that cannot go on to ``run(signals:command:ready:)``.
    public func abandon() {
        for listener in shared.loops.listeners { listener.close() }
    }

    /// Serves until a signal, the end of a command or the end of standard input's client; then finishes what is in
    /// flight and makes everything stable. A second SIGINT, a second after the first, ends that at once, with an error.
    ///
    /// - Parameters:
    ///   - signals: made when the program began.
    ///   - command: begun when clients are served. A signal is passed on to it, and the server ends after it.
    ///   - manager: who is told that the server ends.
    ///   - reload: called for each SIGHUP, if the signals are made for that.
    ///   - ready: called when clients are served.
    /// - Returns: the exit status of the command.
    @discardableResult
    public func run(
        signals: Signals = Signals(), command: ShellCommand? = nil, manager: ServiceManager? = nil,
        reload: () -> Void = {}, ready: () throws -> Void
    ) throws -> Int32? {
        // The first loop accepts, and hands connections to all: it begins when the others can take them.
        let threads: [pthread_t]
        do {
            threads = try (0..<shared.loops.loopCount).reversed().map { try startLoop($0, signals) }
        } catch {
            abandon()
            throw error
        }
        let shared = shared
        pthread_detach(startThread { closeEndedExports(shared) })
        var impatience = Impatience()
        let outcome = Result {
            try ready()
            return try serve(until: signals, command, &impatience, reload)
        }
        logger.info("stopping")
        manager?.tellStopping()
        shared.loops.stopLoops()
        try waitForLoops(signals, &impatience)
        if shared.abandonedLoops.load(ordering: .sequentiallyConsistent) == 0 {
            for thread in threads { pthread_join(thread, nil) }
        }
        try finish(signals, &impatience)
        return try outcome.get()
    }

    private func startLoop(_ number: Int, _ signals: Signals) throws(ServerError) -> pthread_t {
        let started = Startup()
        let shared = shared
        let thread = startThread {
            do throws(RingError) {
                var loop = try Loop(index: number, shared: shared.loops)
                loop.publish()
                started.signal(nil)
                try loop.run()
                if loop.hasGivenUp {
                    shared.abandonedLoops.add(1, ordering: .sequentiallyConsistent)
                    if shared.endLoop() { signals.wake() }
                    // The kernel still writes to this loop's memory, or reads it; it would not let the thread end
                    // either.
                    while loop.hasGivenUp { pause() }
                }
            } catch {
                if started.signal(error) { return }
                // Its clients would hang for ever; a supervisor starts the server again.
                shared.loops.logger.critical("a loop has ended", metadata: ["reason": "\(error)"])
                exit(1)
            }
            if shared.endLoop() { signals.wake() }
        }
        if let error = started.wait() { throw .ring(error) }
        return thread
    }
}

/// Why a server could not begin, or ended badly.
public enum ServerError: Error, CustomStringConvertible {
    /// io_uring cannot be used.
    case ring(RingError)
    /// An endpoint cannot be listened on.
    case endpoint(EndpointError)
    /// The protocol does not allow such an export.
    case export(name: String, ExportInformationError)
    /// An open image does not become an export.
    case image(name: String, ImageError)
    /// Two exports cannot have one name.
    case nameTaken(String)
    /// A fork cannot have it either.
    case forkTaken(String)
    /// Initiators find another export where one wants to be.
    case targetTaken(String, logicalUnit: UInt8?, by: String)
    /// There are as many exports as there can be.
    case tooManyExports
    /// No export has this name.
    case noSuchExport(String)
    /// An export that is to be removed has clients.
    case inUse(String, connections: Int)
    /// A removed export could not be ended in time.
    case stillInUse(String)
    /// No connection has this number.
    case noSuchConnection(UInt64)
    /// Nobody has a disk of an export that stands for others.
    case standsForOthers(String, Copies)
    /// An image or its drive cannot be made larger.
    case cannotGrow(String, reason: String)
    /// Only a DVD-ROM has a tray.
    case noTray(String)
    /// No image was named, and the export has none of its own.
    case noDisc(String)
    /// A host has locked the tray.
    case trayIsLocked(String)
    /// There is a disc in the drive already.
    case trayIsClosed(String)
    /// A disc was taken out, and requests that had begun before still use it.
    case discInUse(String)
    /// Only a drive with a volatile write cache has a power that can be cut.
    case noWriteCache(String)
    /// The disk would change in a way that the recording of the export does not know.
    case isRecorded(String)
    /// A drive that is somebody else's is not broken.
    case noFaults(String, DriveKind)
    /// It cannot be broken in this way.
    case fault(String, FaultRuleError)
    /// It has no such fault.
    case noSuchFault(String, Int)
    /// The power of a drive is cut already.
    case noPower(String)
    /// The drive has its power.
    case hasPower(String)
    /// A cut of the power of a drive is to come.
    case cutArmed(String)
    /// A cut names sectors that the drive does not have.
    case beyondDrive(String, ClosedRange<UInt64>, sectors: UInt64)
    /// Its moment has come.
    case cutUnderWay(String)
    /// Its moment has not come in time.
    case momentNotCome(String, seconds: Int)
    /// It was taken back while somebody waited for it.
    case cutTakenBack(String)
    /// There is nothing to go back to.
    case noOverlay(String)
    /// It cannot be made like something else, or kept.
    case overlay(String, ImageError)
    /// That is known before clients are cut off.
    case cannotOperate(String, ImageError)
    /// Another export has the image that an overlay's changes are to be brought to.
    case imageUsed(String, by: String)
    /// Something begins with a snapshot that is a file.
    case snapshotUsed(String, String, by: String)
    /// An overlay has no snapshot of this name.
    case noSnapshot(String, String)
    /// It has one already.
    case snapshotTaken(String, String)
    /// Requests that were under way when an overlay was to be reverted have not ended.
    case stillReverting(String)
    /// Requests that were under way when the power was to be cut have not ended.
    case stillCutting(String)
    /// The data that a power cut has kept could not be stored.
    case cutNotStored(String, reason: String)
    /// After a loss was accepted, the image still could not be made stable.
    case stillUnstable(String, reason: String)
    /// The server ends.
    case stopping
    /// The command that the server was to serve cannot begin.
    case command(reason: String)
    /// Somebody has sent a second SIGINT while the server was ending.
    case interrupted
    /// At the end, images could not be made stable.
    case flush([FailedFlush])

    /// An image that could not be made stable.
    public struct FailedFlush: Sendable {
        /// The export's.
        public let name: String
        /// In the system's words.
        public let reason: String
    }

    /// The mistake, and the right way.
    public var description: String {
        switch self {
        case .ring(let error): error.description
        case .endpoint(let error): error.description
        case .export(let name, let error): "export '\(name)' cannot be served: \(error)"
        case .image(let name, let error): "export '\(name)' cannot be served: \(error)"
        case .nameTaken(let name):
            "there is an export named '\(name)' already; give one of the two another name: NAME=IMAGE"
        case .forkTaken(let name):
            "there is an export named '\(name)' already, which stays as it is; give the fork another name, or remove that first"
        case .targetTaken(let target, let number, let other):
            "export '\(other)' is \(number.map { "LUN \($0) of the target" } ?? "at the target") '\(target)' already"
        case .tooManyExports: "there are \(Limits.exports) exports; a server has no more"
        case .noSuchExport(let name): "there is no export named '\(name)'"
        case .inUse(let name, let connections):
            "the export '\(name)' is in use by \(connections) connection\(connections == 1 ? "" : "s"); drain or force"
                + " removes it all the same"
        case .stillInUse(let name): "the export '\(name)' is removed, but operations on its image still have not ended"
        case .noSuchConnection(let number): "there is no connection number \(number)"
        case .standsForOthers(let name, .named):
            "'\(name)' stands for exports that clients ask for; name one of them"
        case .standsForOthers(let name, .ownForConnection):
            "'\(name)' stands for disks of its clients' own; name one of them, as 'spindle ctl list' has it"
        case .cannotGrow(let name, let reason): "the export '\(name)' cannot be made larger: \(reason)"
        case .noTray(let name): "the export '\(name)' is a disk; only a DVD-ROM has a tray (--device ide-cd)"
        case .noDisc(let name): "the export '\(name)' has no disc of its own; name the image of one"
        case .trayIsLocked(let name):
            "a host has locked the tray of '\(name)', and is told that its disc is wanted; try again when it has opened it,"
                + " or force"
        case .trayIsClosed(let name):
            "there is a disc in '\(name)', and its tray is closed; name the image of another one"
        case .discInUse(let name):
            "the disc of '\(name)' is out, but requests that began before have not ended; try again"
        case .noWriteCache(let name):
            "the export '\(name)' has no volatile write cache; --write-cache-model volatile gives it one"
        case .isRecorded(let name):
            "the export '\(name)' is recorded, and its recording has commands only; 'spindle cut' makes cuts of it"
        case .noFaults(let name, let kind):
            "the export '\(name)' is of \(kind.rawValue), which is what it is elsewhere; faults are for spindle-hd and"
                + " spindle-ssd (--device)"
        case .fault(let name, let error): "export '\(name)': \(error)"
        case .noSuchFault(let name, let number):
            "the export '\(name)' has no fault \(number); 'spindle ctl fault list \(name)' lists them"
        case .noPower(let name):
            "the power of '\(name)' is cut already; 'spindle ctl power \(name) on' gives it back"
        case .hasPower(let name): "the drive '\(name)' has power"
        case .cutArmed(let name):
            "a cut of the power of '\(name)' is to come; 'spindle ctl power \(name) on' takes it back"
        case .beyondDrive(let name, let range, let sectors):
            "the drive '\(name)' has \(sectors) sectors, from 0 to \(sectors - 1), and \(range.lowerBound)-\(range.upperBound)"
                + " is beyond that"
        case .cutUnderWay(let name):
            "the power of '\(name)' is being cut; 'spindle ctl power \(name) report --wait 60' has the report"
        case .momentNotCome(let name, let seconds):
            "the moment of the cut of '\(name)' has not come within \(seconds) s; it is to come still"
        case .cutTakenBack(let name):
            "the cut of '\(name)' that was to come was taken back, or '\(name)' was removed: there is no report of it"
        case .noOverlay(let name):
            "the export '\(name)' is no overlay, which alone has changes of its own; serve overlay:PATH for that"
        case .overlay(let name, let error), .cannotOperate(let name, let error): "export '\(name)': \(error)"
        case .imageUsed(let name, let other):
            "the changes of '\(name)' stay where they are: the export '\(other)' has the same image, and would change with it"
        case .snapshotUsed(let name, let snapshot, let user):
            "the snapshot '\(snapshot)' of '\(name)' stays: \(user) begins with it"
        case .noSnapshot(let name, let snapshot): "the export '\(name)' has no snapshot '\(snapshot)'"
        case .snapshotTaken(let name, let snapshot):
            "the export '\(name)' has a snapshot '\(snapshot)' already; give this one another name, or discard that"
        case .stillReverting(let name):
            "requests of '\(name)' that were under way have not ended, so it is as it was: look at its image, then try again"
        case .stillCutting(let name):
            "requests of '\(name)' that were under way have not ended, so nothing was lost; the power is off: look at its"
                + " image, then 'spindle ctl power \(name) on' gives it back"
        case .cutNotStored(let name, let reason):
            "the power of '\(name)' is off, and what was kept is in its cache still, since it could not be stored: \(reason);"
                + " 'spindle ctl power \(name) on' gives the power back"
        case .stillUnstable(let name, let reason):
            "the image of export '\(name)' still cannot be flushed: \(reason); remove the cause first"
        case .stopping: "the server is stopping"
        case .command(let reason): reason
        case .interrupted:
            "stopped at once by a second SIGINT: answered writes that no flush followed may be lost"
        case .flush(let failures):
            failures.map { "the image of export '\($0.name)' could not be flushed: \($0.reason)" }
                .joined(separator: "; ")
        }
    }
}
