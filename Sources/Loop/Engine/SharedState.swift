// The common state of a server's loops. Once they run, only parts change that are atomic, or that have a lock which no
// request ever takes.

import Backends
import Counters
import Glibc
import IOUring
import Listening
import Logging
import Synchronization
import TLS

/// Shared by all loops and the threads around them.
public final class SharedState: Sendable {
    let exports: any ExportSource
    /// The counters of the loops.
    public let loopCounters: LoopCounters
    /// The bounds that they keep.
    public let limits: Limits
    /// Where they tell what happens.
    public let logger: Logger
    /// The sockets that clients connect to.
    public let listeners: [Listener]
    /// The only connection of a server that does not listen; it ends with it.
    public let connection: InheritedConnection?
    /// How many loops there are.
    public let loopCount: Int
    /// By loop.
    let mailboxes: [Mailbox]
    /// By loop.
    private let loops: [LoopCell]
    private let processorCount: Int
    /// The peer at the other end of a socket.
    let peer: @Sendable (Int32) -> Peer
    /// Has reservations and states of drives written to their files, and says how that has ended (errno).
    let keep: Keeper
    /// Connections that were accepted and have not ended.
    let connectionCount = Atomic<Int>(0)
    /// The number of the last connection that was accepted.
    let lastConnection = Atomic<UInt64>(0)
    private let currentTLS: Mutex<TLSSettings?>
    private let currentTargets: Mutex<TargetSettings>
    let sessionHandles = SessionHandles()
    /// The failed attempts to prove an identity.
    let loginBrake = LoginBrake()
    /// How many times an export was opened.
    let openings = Atomic<UInt64>(0)
    /// The loops were told to end: soon nobody reads what is asked of them.
    let areStopping = Atomic<Bool>(false)
    /// Pages of memory for requests that the loops have taken into use.
    let touchedPages = Atomic<Int>(0)
    /// The known state of the images' page cache.
    let residentChunks: ResidentChunks
    /// So many bytes of one loop's replies may wait to be sent from mapped pages: 16 MiB of all loops, but enough for a
    /// few connections' requests however many loops there are.
    let mappedReplyBytes: Int

    private final class LoopCell: Sendable {
        /// Its ring's descriptor, for messages to it.
        let ring = Atomic<Int32>(-1)
        /// Connections that were given to it and have not begun to end.
        let connections = Atomic<Int>(0)
    }

    /// Of loops that serve these exports to those who come through these entrances. Tests say how many processors there
    /// are, who is at the other end, and when what outlasts the server is written.
    public init(
        exports: any ExportSource, entrances: Entrances, loopCount: Int, limits: Limits, tls: TLSSettings?,
        targets: TargetSettings = TargetSettings(), logger: Logger,
        processorCount: Int = LinuxProcess.processorCount,
        peer: @escaping @Sendable (Int32) -> Peer = { Peer(of: $0) },
        keep: @escaping Keeper = keepByThread
    ) throws(RingError) {
        self.processorCount = processorCount
        self.peer = peer
        self.keep = keep
        self.exports = exports
        listeners = entrances.listeners
        connection = entrances.connection
        self.limits = limits
        currentTLS = Mutex(tls)
        currentTargets = Mutex(targets)
        self.logger = logger
        self.loopCount = loopCount
        mappedReplyBytes = max((16 << 20) / loopCount, 4 << 20)
        mailboxes = try (0..<loopCount).map { _ throws(RingError) in try Mailbox() }
        loopCounters = try LoopCounters(loopCount: loopCount)
        loops = (0..<loopCount).map { _ in LoopCell() }
        residentChunks = try ResidentChunks()
    }

    /// The loop with the fewest connections. Of equals it is the first one, which accepts and so is awake: a client
    /// that connects, asks and goes wakes no other.
    var loopWithFewestConnections: Int {
        var (fewest, best) = (Int.max, 0)
        for loop in 0..<loopCount {
            let count = loops[loop].connections.load(ordering: .relaxed)
            if count < fewest { (fewest, best) = (count, loop) }
        }
        return best
    }

    /// A loop gets a connection, or one of its connections moves away or begins to end.
    func addConnections(_ change: Int, to loop: Int) {
        let count = loops[loop].connections.add(change, ordering: .relaxed).newValue
        assert(count >= 0, "a connection leaves a loop that it was given to")
    }

    /// A loop has no place for a connection that it was given.
    func giveUpConnection(of loop: Int) {
        connectionCount.subtract(1, ordering: .relaxed)
        addConnections(-1, to: loop)
    }

    /// There are fewer connections than processors.
    var hasIdleProcessor: Bool {
        connectionCount.load(ordering: .relaxed) < processorCount
    }

    /// There is a processor for a loop's worker, beside one for the loop and one for each client.
    var hasProcessorForWorker: Bool {
        connectionCount.load(ordering: .relaxed) + 1 < processorCount
    }

    /// A loop has taken memory into use, which is the page cache's loss: all of it together is bounded.
    func noteTouched(_ pages: Int) {
        touchedPages.add(pages, ordering: .relaxed)
        if residentChunks.lower(to: allowedChunks) { exports.dropMappedPages() }
    }

    /// How many chunks of the page cache may be mapped beside the memory in use. In steps, because fewer means that all
    /// are dropped once.
    var allowedChunks: Int {
        let used = touchedPages.load(ordering: .relaxed) * PageArena.pageBytes / Int(ResidentChunks.chunkBytes)
        return max(64, (ResidentChunks.capacity - used) / 64 * 64)
    }

    /// The settings for connections that begin TLS now; nil: no TLS, for as long as the server runs.
    public var tls: TLSSettings? {
        get { currentTLS.withLock { $0 } }
        set {
            precondition((newValue == nil) == (tls == nil), "a running server keeps to having TLS or not")
            currentTLS.withLock { $0 = newValue }
        }
    }

    /// The settings of all targets, for initiators that log in now.
    public var targets: TargetSettings { currentTargets.withLock { $0 } }

    /// The secrets by which initiators that log in now prove who they are; nil: nobody is asked, for as long as the
    /// server runs.
    public var secrets: CHAPSecrets? {
        get { targets.secrets }
        set {
            precondition((newValue == nil) == (secrets == nil), "a running server keeps to having CHAP or not")
            currentTargets.withLock { $0.secrets = newValue }
        }
    }

    /// Tells the other loops where to send messages.
    func publish(ring descriptor: Int32, of loop: Int) {
        precondition(descriptor >= 0, "a ring has a descriptor")
        loops[loop].ring.store(descriptor, ordering: .releasing)
    }

    /// The ring of a loop, which is ready before anybody has something for it: the first one, which accepts, begins
    /// last.
    func ring(of loop: Int) -> Int32 {
        let descriptor = loops[loop].ring.load(ordering: .acquiring)
        precondition(descriptor >= 0, "a message for a loop that has not begun")
        return descriptor
    }
}
