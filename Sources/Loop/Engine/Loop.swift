// One event loop: one thread, one ring, its own connections.

import Backends
import Counters
import Export
import Glibc
import IOUring
import Logging

/// An event loop. It is made on its thread and never leaves it; nothing of it is shared.
///
/// Each turn submits everything that was prepared, waits for completions, and works them off; replies that became ready
/// meanwhile leave together at the end of the turn.
@safe
public struct Loop: ~Copyable {
    private let inPlace = InPlace()
    let index: Int
    let shared: SharedState
    let logger: Logger
    var ring: Ring
    /// Of this loop.
    let counters: LoopCells
    var clock: RequestClock
    /// A slot is made when it is first needed.
    var connections: SlotTable<ConnectionSlot, Connection>
    /// The sessions of their protocols.
    var sessions: Sessions
    /// So many slots are made, the first ones of the table.
    var connectionSlots = 0
    /// Slots without a connection.
    var freeConnections: SlotStack<ConnectionSlot>
    var activeConnections = 0
    /// `Limits.requestsPerConnection` for each connection.
    var requests: SlotTable<RequestPlace, RequestSlot>
    /// The machines that serve them.
    var served: ServedTables
    /// The state of requests in layers. Only exports with layers use it.
    var layered: SlotTable<RequestPlace, LayeredRequest>
    /// For each request.
    var headers: HeaderArea
    /// Where the rest of a request's header is received.
    let headerRoom = HeapBytes(count: largestHeaderBytes)
    /// The exports that connections of this loop have open.
    var exports: SlotTable<ExportNumber, LoopExport>
    /// Where the kernel puts the number of things that came into the mailbox.
    let mailCount = ArrivalCount()
    var hasMail = false
    /// Discs that have changed, while requests may still use the old ones.
    var mediaToTake: [MediumToTake] = []
    /// Large replies from the page cache go through it.
    var pipe: PagePipe
    /// Large payloads come through these.
    var pipes = PipePool()
    /// Room for a chunk of the page cache that is looked at.
    let scratch: PageArena
    /// For calls that may wait.
    var workers: FileWorkers
    /// Where the kernel puts how often their bell has rung.
    let bellCount = ArrivalCount()
    /// The ring says when they are to be looked after.
    var isWatching = false
    let patience = Duration(milliseconds: patienceMilliseconds)
    /// A reply has been queued that is better sent at once.
    var hasReplyToSend = false
    var polling = BusyPolling()
    /// Of all connections: with an operation on the medium, or parked before the write gate.
    var requestsUnderWay = 0
    var sendsUnderWay = 0
    /// Memory for requests that are too large for their connection's.
    var middle: Stage
    var large: Stage
    /// Pages of memory for requests that are in use, as the other loops know it.
    var touchedPages = 0
    /// A second has passed since memory was given back.
    var isTrimDue = false
    /// The bytes of replies that are to be sent from mapped pages.
    var mappedBytes = 0
    /// Pages of replies that were interrupted.
    var extraPages = 0
    /// The kind that a test wants for payloads, where it is possible.
    let forcedPayload: Payload.Kind?
    /// Pages that requests have in the memory of their connections, beside the share of each, and how many all of them
    /// may have.
    var ownPagesInUse = 0
    /// Pages of connections above their shares that cost memory, used or not: never more than the limit.
    var ownTouchedPages = 0
    /// The connection that has given some back last.
    var reclaimedSlot = 0
    let ownPageLimit: Int
    /// Pages of tasks that wait for memory, and whose data have come all the same (``TargetTask/landedBytes``).
    var landedPages = 0
    var landingPageLimit: Int { ownPageLimit / 2 }
    /// Requests that wait until others have less.
    var lines: PerAwaitedMemory<WaitingLine>
    /// Connections with replies that no send covers.
    var sendQueue: SlotQueue<ConnectionSlot>
    /// Requests of which a part was sent, and that go on.
    var unfinished = RequestList()
    /// Requests that a write gate did not let in.
    var parked = RequestList()
    /// A request was parked that has not been looked at since.
    var hasNewlyParked = false
    /// Seconds since the loop began.
    var now = 0
    let second = Duration(milliseconds: 1000)
    var isStopping = false
    var stoppedAt = 0
    /// It has cut off its clients, and still some of their requests do not come back: it ends without them.
    public internal(set) var hasGivenUp = false
    /// By listener; only the first loop accepts.
    var isAccepting: [Bool]

    /// Sets up the loop on the calling thread.
    public init(index: Int, shared: SharedState) throws(RingError) {
        try self.init(index: index, shared: shared, ring: try Ring(entries: 1024, completions: 4096))
    }

    /// Sets up a loop on a ring of the calling thread.
    init(index: Int, shared: SharedState, ring: consuming Ring) throws(RingError) {
        let capacity = shared.limits.connectionsPerLoop
        let requestCapacity = capacity * Limits.requestsPerConnection
        let middle = try Stage(pagesPerRegion: Limits.middleRegionPages)
        let large = try Stage(pagesPerRegion: Limits.largestPages)
        let pipe = try PagePipe()
        let workers = try FileWorkers(ring.clock, hasThreads: !ring.isScripted)
        let connections = try SlotTable<ConnectionSlot, Connection>(capacity: capacity)
        let sessions = try Sessions(capacity: capacity)
        let requests = try SlotTable<RequestPlace, RequestSlot>(capacity: requestCapacity)
        let served = try ServedTables(capacity: requestCapacity)
        let layered = try SlotTable<RequestPlace, LayeredRequest>(capacity: requestCapacity)
        let headers = try HeaderArea(capacity: requestCapacity)
        let exports = try SlotTable<ExportNumber, LoopExport>(capacity: Limits.exports)
        let scratch = try PageArena(pageCount: Int(ResidentChunks.chunkBytes) / PageArena.pageBytes)
        self.index = index
        self.shared = shared
        logger = shared.logger
        counters = shared.loopCounters.cells(of: index)
        clock = RequestClock(ring.clock)
        self.ring = ring
        self.scratch = scratch
        self.middle = middle
        self.large = large
        self.pipe = pipe
        self.workers = workers
        self.connections = connections
        self.sessions = sessions
        freeConnections = SlotStack(capacity: capacity)
        self.requests = requests
        self.served = served
        self.layered = layered
        self.headers = headers
        self.exports = exports
        isAccepting = Array(repeating: false, count: shared.listeners.count)
        lines = PerAwaitedMemory { _ in WaitingLine(capacity: Limits.exports) }
        forcedPayload = shared.limits.forcedPayload
        ownPageLimit = shared.limits.ownPages(loops: shared.loopCount)
        sendQueue = SlotQueue(capacity: capacity)
    }

    /// Lets the other loops and threads know that it is ready.
    public func publish() {
        shared.publish(ring: ring.fileDescriptor, of: index)
    }

    deinit {
        for slot in usedSlots { precondition(connections[slot].phase == .free, "a connection outlives its loop") }
    }

    /// Runs until the server stops and all connections have ended, or can only be given up (``hasGivenUp``): then the
    /// kernel may still have requests of this loop, and nothing of it may be given back.
    public mutating func run() throws(RingError) {
        begin()
        while !isOver {
            try wait()
            workOff()
        }
    }

    /// Everything has ended, or is given up.
    var isOver: Bool { isStopping && activeConnections == 0 || hasGivenUp }

    /// Prepares what the loop always waits for.
    mutating func begin() {
        if index == 0 { listen() }
        awaitMail()
        awaitBell()
        if let connection = shared.connection { begin(connection) }
        ring.timeout(second, userData: Token(.tick).userData)
    }

    /// Works off what has completed, and sends what became ready.
    mutating func workOff() {
        let count = ring.completionsReady
        for number in 0..<count { handle(ring.completion(at: number)) }
        ring.releaseCompletions(count)
        if isTrimDue { trim() }
        takeDoneJobs()
        repeat {
            serveWaitingLines()
            retryParked()
            clock.settle()
            for _ in 0..<sendQueue.count { if let connection = sendQueue.popFirst() { send(connection) } }
            // Sending may end a connection, whose memory lets others begin, whose writes may have to be parked.
            readMail()
            if !mediaToTake.isEmpty { takeMedia() }
        } while hasNewlyParked || hasRoomForOthers
        countTurn(completions: count)
        check()
    }

    /// A turn is over.
    private mutating func countTurn(completions: UInt32) {
        clock.settle()
        let cells = counters
        cells[.turns].add()
        cells[.completions].add(UInt64(completions))
        let figures = ring.figures
        cells[.submissions].set(figures.submissions)
        cells[.enters].set(figures.enters)
        cells[.fullQueues].set(figures.fullQueues)
    }

    /// Accepts on every listener where that has not begun, or has ended.
    mutating func listen() {
        for number in shared.listeners.indices where !isAccepting[number] {
            isAccepting[number] = true
            ring.acceptMultishot(
                shared.listeners[number].descriptor, userData: Token(.accept, listener: number).userData)
        }
    }

    private mutating func handle(_ completion: Completion) {
        let token = Token(userData: completion.userData)
        switch token.operation {
        case .receive: received(completion, on: token.slot)
        case .backend: backendCompleted(completion.result, of: token.place)
        case .delay: delayEnded(token.place)
        case .flush: flushed(completion.result, export: token.export)
        case .goOn: goOn(token.place)
        case .input: inputCame(on: token.slot)
        case .send: sent(completion.result, on: token.slot)
        case .room: sendMore(on: token.slot)
        case .accept: accepted(completion, listener: token.listener)
        case .adopt: adopt(completion.result, from: shared.listeners[token.listener].endpoint)
        // Every turn looks at the requests that wait for the gate.
        case .wake, .messageSent, .cancelled: break
        case .tick: tick()
        case .mail: hasMail = true
        case .bell: awaitBell()
        case .watch: watched()
        case .lookUp: break
        }
    }

    /// All slots that are made, with a connection or without.
    var usedSlots: some Sequence<ConnectionSlot> {
        (0..<connectionSlots).lazy.map(ConnectionSlot.init)
    }

    /// Wakes what a writer that left the gate lets go on.
    mutating func wake(_ wake: WriteGate.Wake) {
        switch wake {
        case .nobody: break
        case .loop(let other): wakeLoop(other)
        case .all: for other in 0..<shared.loopCount { wakeLoop(other) }
        }
    }

    private mutating func wakeLoop(_ other: Int) {
        // This loop looks at its parked requests before it sleeps.
        guard other != index else { return }
        ring.message(
            to: shared.ring(of: other), value: 0, remoteUserData: Token(.wake).userData,
            userData: Token(.messageSent).userData)
    }
}
