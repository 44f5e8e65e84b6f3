// What the loops of a server have in common; nothing of it changes once they run, but for what is atomic or has a lock that
// no request ever takes.

import Glibc
import IOUring
import Logging
import Media
import NBD
import Synchronization

/// Shared by all loops and the threads around them.
final class SharedState: Sendable {
    let exports: ExportTable
    let loopCounters: LoopCounters
    let limits: Limits
    let logger: Logger
    let listeners: [Listener]
    /// The only connection of a server that does not listen; it ends with it.
    let connection: InheritedConnection?
    let loopCount: Int
    /// By loop.
    let mailboxes: [Mailbox]
    /// A withdrawn export has lost its last connection.
    let exportsEnded: EventCounter
    /// Held by who closes exports, so that the server does not end in the middle of that.
    let closing = Mutex<Void>(())
    /// The rings' descriptors by loop, for messages between them.
    private let rings: [RingCell]
    private let processorCount = LinuxProcess.processorCount
    /// Loops that have not ended.
    let running: Atomic<Int>
    /// Connections that were accepted and have not ended.
    let connectionCount = Atomic<Int>(0)
    /// The number of the last connection that was accepted.
    let lastConnection = Atomic<UInt64>(0)
    private let currentTLS: Mutex<TLSSettings?>
    /// How many times an export was opened.
    let openings = Atomic<UInt64>(0)
    /// Pages of memory for requests that the loops have taken into use.
    let touchedPages = Atomic<Int>(0)
    /// What is known of the images' page cache.
    let residentChunks: ResidentChunks
    /// So many bytes of one loop's replies may wait to be sent from mapped pages: 16 MiB of all loops, but enough for a few
    /// connections' requests however many loops there are.
    let mappedReplyBytes: Int

    private final class RingCell: Sendable {
        let descriptor = Atomic<Int32>(-1)
    }

    init(
        entrances: Entrances, loopCount: Int, limits: Limits, tls: TLSSettings?, logger: Logger
    ) throws(RingError) {
        exports = ExportTable(loopCount: loopCount)
        listeners = entrances.listeners
        connection = entrances.connection
        self.limits = limits
        currentTLS = Mutex(tls)
        self.logger = logger
        self.loopCount = loopCount
        mappedReplyBytes = max((16 << 20) / loopCount, 4 << 20)
        mailboxes = try (0..<loopCount).map { _ throws(RingError) in try Mailbox() }
        exportsEnded = try EventCounter()
        loopCounters = try LoopCounters(loopCount: loopCount)
        rings = (0..<loopCount).map { _ in RingCell() }
        running = Atomic<Int>(loopCount)
        residentChunks = try ResidentChunks()
    }

    /// There are fewer connections than processors.
    var hasIdleProcessor: Bool {
        connectionCount.load(ordering: .relaxed) < processorCount
    }

    /// A loop has taken memory into use, which is the page cache's loss: all of it together is bounded.
    func noteTouched(_ pages: Int) {
        touchedPages.add(pages, ordering: .relaxed)
        if residentChunks.lower(to: allowedChunks) { exports.dropMappedPages() }
    }

    /// How many chunks of the page cache may be mapped beside the memory in use. In steps, because fewer means that all are
    /// dropped once.
    var allowedChunks: Int {
        let used = touchedPages.load(ordering: .relaxed) * PageArena.pageBytes / Int(ResidentChunks.chunkBytes)
        return max(64, (ResidentChunks.capacity - used) / 64 * 64)
    }

    /// What connections that begin TLS now are given; nil: no TLS, for as long as the server runs.
    var tls: TLSSettings? {
        get { currentTLS.withLock { $0 } }
        set {
            precondition((newValue == nil) == (tls == nil), "a running server keeps to having TLS or not")
            currentTLS.withLock { $0 = newValue }
        }
    }

    /// What the handshake of every connection has to know of TLS.
    var tlsPolicy: TLSPolicy {
        guard let tls else { return .unavailable }
        return tls.isRequired ? .required : .optional
    }

    /// Tells the other loops where to send messages.
    func publish(ring descriptor: Int32, of loop: Int) {
        rings[loop].descriptor.store(descriptor, ordering: .releasing)
    }

    /// The ring of a loop; -1 before it has one.
    func ring(of loop: Int) -> Int32 {
        rings[loop].descriptor.load(ordering: .acquiring)
    }

    /// Asks every loop for something.
    func postToAll(_ command: LoopCommand) {
        for mailbox in mailboxes { mailbox.post(command) }
    }
}
