// One event loop: one thread, one ring, its own connections.

import Export
import Glibc
import IOUring
import Logging
import Media
import NBD

/// A drive as one loop has it.
struct LoopExport {
    var served: ExportedDrive
    let medium: Medium
    /// The same for all loops.
    let gate: WriteGate
    let entry: ExportEntry
    /// What this loop counts of it.
    let cells: ExportCells
    /// When it was last found that the kernel says what is in the page cache, in seconds since the loop began. A process that
    /// becomes another user may no longer be told.
    var toldAt = -1

    init(_ entry: ExportEntry, loop: Int) {
        served = entry.drive
        medium = entry.definition.medium
        gate = entry.gate
        self.entry = entry
        cells = entry.counters.cells(of: loop)
    }
}

/// An event loop. It is made on its thread and never leaves it; nothing of it is shared.
///
/// Each turn submits everything that was prepared, waits for completions, and works them off; replies that became ready
/// meanwhile leave together at the end of the turn.
@safe
struct Loop: ~Copyable {
    let index: Int
    let shared: SharedState
    let logger: Logger
    var ring: Ring
    /// Of this loop.
    let counters: LoopCells
    var clock = RequestClock()
    /// A slot is made when it is first needed.
    let connections: UnsafeMutablePointer<Connection>
    var connectionSlots = 0
    /// Slots without a connection, the last one is taken first.
    let freeConnections: UnsafeMutablePointer<UInt16>
    var freeConnectionCount = 0
    var activeConnections = 0
    /// `Limits.requestsPerConnection` for each connection.
    let requests: UnsafeMutablePointer<RequestSlot>
    /// `RequestSlot.headerAreaBytes` for each request.
    let headerArea: UnsafeMutableRawPointer
    /// By the exports' numbers; made by the first connection of this loop that opens one.
    let exports: UnsafeMutablePointer<LoopExport>
    /// How many connections of this loop have each open.
    let exportUsers: UnsafeMutablePointer<Int32>
    /// Where the kernel puts the number of things that came into the mailbox.
    let mailCount: UnsafeMutablePointer<UInt64>
    var hasMail = false
    /// Large replies from the page cache go through it.
    var pipe: PagePipe
    /// Large payloads come through these.
    var pipes = PipePool()
    /// Room for a chunk of the page cache that is looked at.
    let scratch: UnsafeMutableRawPointer
    var smallWrites = SmallWrites()
    /// Of those that come through a pipe.
    var largeWrites = SmallWrites(slowNanoseconds: SmallWrites.slowPipedNanoseconds)
    /// A reply has been queued that is better sent at once.
    var hasReplyToSend = false
    var polling = BusyPolling()
    /// Of all connections: with an operation on the medium, or parked before the write gate.
    var requestsUnderWay = 0
    var sendsUnderWay = 0
    /// Memory for requests that are too large for their connection's.
    var stage: PageArena
    /// Pages of memory for requests that are in use, as the other loops know it.
    var touchedPages = 0
    /// What replies are to be sent from mapped pages.
    var mappedBytes = 0
    /// Connections whose next request waits for the stage.
    var stageLine: WaitingLine
    /// Pages that requests have in the memory of their connections, and how many all of them may have.
    var ownPagesInUse = 0
    let ownPageLimit: Int
    /// Connections whose next request waits until others have less.
    var ownLine: WaitingLine
    /// Connections with replies that no send covers.
    var sendQueue: SlotQueue
    /// Requests that a write gate did not let in: first and last of a list.
    var firstParked: Int32 = -1
    var lastParked: Int32 = -1
    /// A request was parked that has not been looked at since.
    var hasNewlyParked = false
    /// Seconds since the loop began.
    var now = 0
    let second = Duration(milliseconds: 1000)
    var isStopping = false
    var stoppedAt = 0
    /// By listener; only the first loop accepts.
    var isAccepting: [Bool]
    /// Where the next accepted connection goes.
    var nextLoop = 0

    /// Sets up the loop on the calling thread.
    init(index: Int, shared: SharedState) throws(RingError) {
        let capacity = shared.limits.connectionsPerLoop
        let requestCapacity = capacity * Limits.requestsPerConnection
        let ring = try Ring(entries: 1024, completions: 4096)
        let stage = try PageArena(pageCount: Limits.stagePages)
        let pipe = try PagePipe()
        // Mapped, not allocated: what no connection uses costs nothing.
        let requestMemory = try unsafe mapMemory(byteCount: requestCapacity * MemoryLayout<RequestSlot>.stride)
        let headerMemory = try unsafe mapMemory(byteCount: requestCapacity * RequestSlot.headerAreaBytes)
        let exportMemory = try unsafe mapMemory(byteCount: ExportTable.capacity * MemoryLayout<LoopExport>.stride)
        let userMemory = try unsafe mapMemory(byteCount: ExportTable.capacity * MemoryLayout<Int32>.stride)
        let chunkMemory = try unsafe mapMemory(byteCount: Int(ResidentChunks.chunkBytes))
        unsafe headerArea = unsafe headerMemory
        self.index = index
        self.shared = shared
        logger = shared.logger
        counters = shared.loopCounters.cells(of: index)
        self.ring = ring
        unsafe scratch = chunkMemory
        self.stage = stage
        self.pipe = pipe
        unsafe requests = requestMemory.bindMemory(to: RequestSlot.self, capacity: requestCapacity)
        unsafe connections = UnsafeMutablePointer<Connection>.allocate(capacity: capacity)
        unsafe freeConnections = UnsafeMutablePointer<UInt16>.allocate(capacity: capacity)
        unsafe exports = exportMemory.bindMemory(to: LoopExport.self, capacity: ExportTable.capacity)
        unsafe exportUsers = userMemory.bindMemory(to: Int32.self, capacity: ExportTable.capacity)
        unsafe mailCount = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
        isAccepting = Array(repeating: false, count: shared.listeners.count)
        stageLine = WaitingLine(capacity: capacity)
        ownLine = WaitingLine(capacity: capacity)
        ownPageLimit = shared.limits.ownPages(loops: shared.loopCount)
        sendQueue = SlotQueue(capacity: capacity)
    }

    deinit {
        unsafe connections.deinitialize(count: connectionSlots)
        unsafe connections.deallocate()
        unsafe freeConnections.deallocate()
        unsafe mailCount.deallocate()
    }

    /// Runs until the server stops and all connections have ended.
    mutating func run() throws(RingError) {
        if index == 0 { listen() }
        awaitMail()
        if let connection = shared.connection { begin(connection) }
        unsafe ring.timeout(second.pointer, userData: Token(.tick).userData)
        while !(isStopping && activeConnections == 0) {
            try wait()
            let count = ring.completionsReady
            for number in 0..<count { handle(ring.completion(at: number)) }
            ring.releaseCompletions(count)
            repeat {
                serveWaitingLines()
                retryParked()
                clock.settle()
                for _ in 0..<sendQueue.count { if let connection = sendQueue.popFirst() { send(connection) } }
                // Sending may end a connection, whose memory lets others begin, whose writes may have to be parked.
                readMail()
            } while hasNewlyParked || stageLine.hasRoom || ownLine.hasRoom
            countTurn(completions: count)
        }
    }

    /// Accepts on every listener where that has not begun, or has ended.
    mutating func listen() {
        for number in shared.listeners.indices where !isAccepting[number] {
            isAccepting[number] = true
            ring.acceptMultishot(
                shared.listeners[number].descriptor, userData: Token(.accept, connection: number).userData)
        }
    }

    private mutating func handle(_ completion: Completion) {
        let token = Token(userData: completion.userData)
        let connection = Int(token.connection)
        switch token.operation {
        case .receive: received(completion, on: connection)
        case .medium: mediumCompleted(completion.result, of: Int(token.request), on: connection)
        case .goOn: goOn(Int(token.request), on: connection)
        case .input: inputCame(on: connection)
        case .send: sent(completion.result, on: connection)
        case .room: sendMore(on: connection)
        case .accept: accepted(completion, listener: connection)
        case .adopt: adopt(completion.result)
        // What waits for the gate is looked at in every turn.
        case .wake, .messageSent, .cancelled: break
        case .tick: tick()
        case .mail: hasMail = true
        }
    }

    /// The slot of a request in the loop's tables.
    func slot(_ request: Int, of connection: Int) -> Int {
        connection * Limits.requestsPerConnection + request
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

/// A queue of connection slots, each at most once in it, in memory of a fixed size.
@safe
struct SlotQueue: ~Copyable {
    private let slots: UnsafeMutablePointer<UInt16>
    private let capacity: Int
    private var head = 0
    private(set) var count = 0

    init(capacity: Int) {
        unsafe slots = UnsafeMutablePointer<UInt16>.allocate(capacity: capacity)
        self.capacity = capacity
    }

    deinit {
        unsafe slots.deallocate()
    }

    mutating func append(_ slot: Int) {
        precondition(count < capacity, "a slot is in the queue twice")
        unsafe slots[(head + count) % capacity] = UInt16(slot)
        count += 1
    }

    /// Puts a slot before all others.
    mutating func prepend(_ slot: Int) {
        precondition(count < capacity, "a slot is in the queue twice")
        head = (head + capacity - 1) % capacity
        unsafe slots[head] = UInt16(slot)
        count += 1
    }

    mutating func popFirst() -> Int? {
        guard count > 0 else { return nil }
        let slot = unsafe slots[head]
        head = (head + 1) % capacity
        count -= 1
        return Int(slot)
    }
}
