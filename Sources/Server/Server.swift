// A server: its listeners, its loops, its beginning and its end.

import Export
import Glibc
import IOUring
import Logging
import Media
import NBD
import Synchronization

/// A server that listens, with loops that have not begun.
public struct Server {
    private let shared: SharedState
    private let logger: Logger

    /// Opens the listeners, which may take connections from then on, and checks that io_uring works here.
    ///
    /// - Parameters:
    ///   - exports: the drives; the first one answers to the empty name too.
    ///   - endpoints: where to listen. Sockets that systemd passed are used as well, and instead when this is empty; with
    ///     neither, at ``Endpoint/standard``.
    ///   - loops: how many threads serve; at least one.
    public init(
        exports: [ServedExport], endpoints: [Endpoint], loops: Int, limits: Limits = Limits(),
        tls: TLSSettings? = nil, logger: Logger
    ) throws(ServerError) {
        do {
            _ = try Ring(entries: 8, completions: 16)
        } catch {
            throw .ring(error)
        }
        let listeners: [Listener]
        do {
            listeners = try Self.openListeners(endpoints)
        } catch {
            throw .endpoint(error)
        }
        self.logger = logger
        do {
            shared = try SharedState(
                listeners: listeners, loopCount: loops, limits: limits, tls: tls, logger: logger)
        } catch {
            throw .ring(error)
        }
        do throws(ServerError) {
            for export in exports { try shared.exports.add(export) }
        } catch {
            for listener in listeners { listener.close() }
            throw error
        }
    }

    private static func openListeners(_ endpoints: [Endpoint]) throws(EndpointError) -> [Listener] {
        var listeners = try Listener.fromSystemd()
        do throws(EndpointError) {
            for endpoint in endpoints { listeners += try Listener.open(endpoint) }
            if listeners.isEmpty { listeners = try Listener.open(.standard) }
        } catch {
            // Else the paths of Unix sockets would stay behind.
            for listener in listeners { listener.close() }
            throw error
        }
        return listeners
    }

    /// Where the server listens, ports that the system chose filled in.
    public var endpoints: [Endpoint] {
        shared.listeners.map(\.endpoint)
    }

    /// What clients are told of each export.
    public var information: [ExportInformation] {
        shared.exports.directory.information
    }

    /// For whoever operates the server, from any thread.
    public var control: ServerControl {
        ServerControl(shared)
    }

    /// Serves until SIGTERM or SIGINT, then finishes what is in flight and makes everything stable. A second signal ends
    /// the process at once.
    ///
    /// - Parameter ready: called when clients are served.
    public func run(ready: () throws -> Void) throws {
        raiseDescriptorLimit()
        let signals = blockSignals()
        // The first loop accepts, and hands connections to all: it begins when the others can take them.
        let threads = try (0..<shared.loopCount).reversed().map { number throws(ServerError) in try startLoop(number) }
        let shared = shared
        pthread_detach(startThread { closeEndedExports(shared) })
        try ready()
        wait(for: signals)
        logger.info("stopping")
        shared.postToAll(.stop)
        waitForLoops(orFor: signals)
        for thread in threads { pthread_join(thread, nil) }
        try finish()
    }

    private func startLoop(_ number: Int) throws(ServerError) -> pthread_t {
        let started = Startup()
        let shared = shared
        let thread = startThread {
            do throws(RingError) {
                var loop = try Loop(index: number, shared: shared)
                shared.publish(ring: loop.ring.fileDescriptor, of: number)
                started.signal(nil)
                try loop.run()
            } catch {
                if started.signal(error) { return }
                // Its clients would hang for ever; whoever watches over the server starts it again.
                shared.logger.critical("a loop has ended", metadata: ["reason": "\(error)"])
                exit(1)
            }
            shared.running.subtract(1, ordering: .sequentiallyConsistent)
        }
        if let error = started.wait() { throw .ring(error) }
        return thread
    }

    /// Waits until all loops have ended; a signal meanwhile ends the process.
    private func waitForLoops(orFor signals: sigset_t) {
        var signals = signals
        var interval = timespec(tv_sec: 0, tv_nsec: 20_000_000)
        while shared.running.load(ordering: .sequentiallyConsistent) > 0 {
            if unsafe sigtimedwait(&signals, nil, &interval) > 0 {
                for entry in shared.exports.directory.entries { entry.logUnflushed(logger) }
                logger.warning("stopped at once by a second signal: answered writes that no flush followed may be lost")
                exit(1)
            }
        }
    }

    /// Closes the listeners and makes all media stable.
    private func finish() throws(ServerError) {
        for listener in shared.listeners { listener.close() }
        var failure: ServerError?
        for entry in shared.exports.directory.entries + shared.exports.takeEnded() {
            entry.end(logger)
            if let reason = entry.failure { failure = .flush(name: entry.name, reason: reason) }
        }
        if let failure { throw failure }
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
    /// Two exports cannot have one name.
    case nameTaken(String)
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
    /// An image or its drive cannot be made larger.
    case cannotGrow(String, reason: String)
    /// The server ends.
    case stopping
    /// At the end, an image could not be made stable.
    case flush(name: String, reason: String)

    /// What went wrong and what would be right.
    public var description: String {
        switch self {
        case .ring(let error): error.description
        case .endpoint(let error): error.description
        case .export(let name, let error): "export '\(name)' cannot be served: \(error)"
        case .nameTaken(let name):
            "there is an export named '\(name)' already; give one of the two another name: NAME=IMAGE"
        case .tooManyExports: "there are \(ExportTable.capacity) exports; a server has no more"
        case .noSuchExport(let name): "there is no export named '\(name)'"
        case .inUse(let name, let connections):
            "the export '\(name)' is in use by \(connections) connection\(connections == 1 ? "" : "s"); drain or force"
                + " removes it all the same"
        case .stillInUse(let name): "the export '\(name)' is removed, but operations on its image still have not ended"
        case .noSuchConnection(let number): "there is no connection number \(number)"
        case .cannotGrow(let name, let reason): "the export '\(name)' cannot be made larger: \(reason)"
        case .stopping: "the server is stopping"
        case .flush(let name, let reason): "the image of export '\(name)' could not be flushed: \(reason)"
        }
    }
}

/// A connection needs a descriptor: as many as the system lets this process have.
private func raiseDescriptorLimit() {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}

/// SIGTERM and SIGINT reach nobody but who waits for them; SIGPIPE and SIGXFSZ nobody at all: that a client is gone or a
/// file may not grow is an error of one operation.
private func blockSignals() -> sigset_t {
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    unsafe sigaddset(&signals, SIGTERM)
    unsafe sigaddset(&signals, SIGINT)
    unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
    return signals
}

private func wait(for signals: sigset_t) {
    var signals = signals
    var number: Int32 = 0
    unsafe sigwait(&signals, &number)
}
