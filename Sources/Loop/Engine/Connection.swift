// One client: its socket, its received bytes, its requests, its replies.

import Backends
import Counters
import Export
import Glibc
import IOUring
import Listening
import TLS

/// Received bytes that have not been parsed: the rest of a provided buffer, or of bytes that another loop has received.
struct ReceivedChunk {
    /// In place of a buffer's number.
    static let handedOver = UInt16.max

    var buffer: UInt16 = 0
    var start: Int32 = 0
    var end: Int32 = 0
}

/// A session's messages beside replies.
struct Words {
    var bytes: [UInt8]
    /// So many of the replies in the queue leave before it.
    var repliesBefore: Int
}

/// The state of a connection. Its slot on the loop is reused when nothing of it is with the kernel any more; the memory
/// stays with the slot.
struct Connection: ~Copyable {
    enum Phase {
        /// The slot has no connection.
        case free
        /// Client and session agree on options.
        case handshake
        /// Requests are read.
        case transmission
        /// Nothing more is read (DISC, end of file, ABORT); requests in flight are finished and answered.
        case draining
        /// The socket is shut down; operations that the kernel still has come back.
        case closing
    }

    private let inPlace = InPlace()
    var phase = Phase.free
    var descriptor: Int32 = -1
    /// It is the only one of the server with this number.
    var number: UInt64 = 0
    var peer = Peer()
    /// The protocol that it speaks.
    private(set) var frontEnd = FrontEnd.nbd
    /// The identity that its TLS or its CHAP has proved, for people.
    var identityName: String?
    /// The name that an initiator says.
    var initiatorName: String?
    /// The export that it has open.
    var entry: ExportEntry?
    /// Its place in the order of all openings.
    var opening: UInt64 = 0
    /// Its time to finish what is in flight, when it is to end.
    var endsAt: Int?
    /// The loop that it is on its way to.
    var destination: Int?

    /// The way that its bytes take.
    var crossing = Link()

    // Receiving
    var group: BufferGroup
    var isReceiving = false
    var receiving = Receiving.asTheyCome
    /// Of a socket that is asked: it has had something, and was not found empty since.
    var mayHaveInput = false
    /// Nothing of that has been taken.
    var isInputNew = false
    /// So many headers are taken before others have their turn.
    var headersLeft = 0
    /// Requests since the last large WRITE.
    var othersInARow = 0
    /// The client sends no more; its received bytes are still parsed.
    var isAtEndOfFile = false
    /// The client is to close first (ABORT, to read why its TLS has failed, or because its kind of socket wants it).
    var awaitsEndOfFile = false
    /// In the order of their arrival; there are never more than buffers in the group, and one that was handed over.
    var received = InlineArray<8, ReceivedChunk>(repeating: ReceivedChunk())
    var receivedHead = 0
    var receivedCount = 0
    /// The bytes that another loop has received.
    private var handedOver = HeapBox<HeapBytes>()
    /// The request whose payload is arriving.
    var payloadRequest: RequestPlace?

    /// Its requests that have several commands end at the next one: nobody waits for them any more.
    var isAbandoned = false

    // Fences
    /// Fences of its own that have not passed: one for each export that it has opened, and others have open.
    var fencesAhead = 0
    /// No request is begun until older connections have done theirs.
    var isFenced: Bool { fencesAhead > 0 || isHanging }
    /// The drive has no power, and none of its requests begins any more.
    var isHanging = false
    /// Fences that wait for this connection.
    var awaited: [AwaitedFence] = []
    /// Requests that begin get this mark.
    var currentMark = false
    /// Requests under way that have the other one.
    var busyBeforeMark = 0
    /// Those that have several commands are waited for no longer than until the next one.
    var isPassedByFences = false
    /// All that was ever received.
    var receivedBytes: UInt64 = 0

    // Handshake
    /// The exports as they were when it began, in the order in which its session knows them.
    var choices: [ExportEntry] = []

    /// The export that is made for it, until it has that open.
    var making: ExportMaking?

    /// The client has chosen an export that has as many connections as it may have, for a moment.
    var heldOpening: HeldOpening?

    // TLS
    /// STARTTLS was answered, but the answer has not left.
    var isStartingTLS = false
    /// TLS, once it has begun.
    private var secure = HeapBox<SecureLink>()

    // Requests
    var arena: PageArena
    var freeRequests: SlotStack<RequestPlace>
    /// Requests with an operation on the medium, or parked before the write gate.
    var busyRequests = 0
    /// Look-ups on its behalf that no request waits for.
    var lookUpsUnderWay = 0
    /// The memory that it waits for, with a request that needs so many pages, and who waits before and after it.
    var line: AwaitedMemory?
    var wantedPages = 0
    /// The export that this request is for.
    var wantingExport = ExportNumber(0)
    var before: ConnectionSlot?
    var after: ConnectionSlot?
    /// Pages that requests have which others cannot keep from it.
    var sharePages = 0
    /// Pages of the loop that its requests have.
    var stagePages = PerAwaitedMemory { _ in 0 }

    /// Where payloads land whose requests wait for memory, if its front end has such requests.
    var landing = HeapBox<MappedRegion>()

    // Sending
    /// Requests whose reply is ready, in the order in which they became so.
    private(set) var replies: SlotQueue<RequestPlace>
    /// The messages of its session beside replies, in the same order.
    private(set) var words: [Words] = []
    /// Words that are with the kernel.
    private var wordsSent: HeapBytes?
    /// How many of them the running send covers.
    var repliesInSend = 0
    /// How many bytes of the first reply earlier sends have taken, and how many the replies in the running one are in
    /// all.
    var sentOfFirst = 0
    var gatheredBytes = 0
    /// Memory of the first reply, if that was interrupted.
    private var extra: HeapBytes?
    /// READs whose reply could not be sent: they wait for memory, to be read by their drive.
    var returned = RequestList()
    var message = OutgoingMessage()
    /// The next message is the first reply alone: something behind it cannot be sent.
    var sendsOneReply = false
    /// They go through the loop's pipe.
    var isSpliced = false
    var isSending = false
    /// All that was ever sent.
    var sentBytes: UInt64 = 0
    var isQueuedForSend = false
    /// Memory has been taken into use for what is received.
    var hasReceivePages = false
    /// Pages of memory that the slot has taken into use.
    var touchedPages: Int { (hasReceivePages ? Limits.receivePages : 0) + arena.touchedPages }
    /// Those of its arena above its share.
    var ownTouchedPages: Int { max(arena.touchedPages - Limits.sharePages, 0) }

    /// Why it ends, once it does.
    var endReason: EndReason?

    // Time, in seconds since the loop began
    var startedAt = 0
    var lastProgress = 0
    var pace = Pace(now: 0)

    /// Makes the memory that stays with a slot. `pageCount` is the memory for the data of its requests.
    init(ring: borrowing Ring, slot: ConnectionSlot, pageCount: Int) throws(RingError) {
        // The group last: once registered, its number cannot be registered again.
        let pages = try PageArena(pageCount: pageCount)
        let buffers = try BufferGroup(
            ring: ring, group: UInt16(slot.number), count: Limits.receiveBuffers, byteCount: Limits.receiveBufferBytes)
        self.group = buffers
        arena = pages
        freeRequests = SlotStack(capacity: Limits.requestsPerConnection)
        replies = SlotQueue(capacity: Limits.requestsPerConnection)
        for place in slot.places { freeRequests.push(place) }
    }

    /// A slot without a client, with the memory of its last connection. All other fields have their first values again.
    private init(reusing old: consuming Connection) {
        group = old.group
        arena = old.arena
        freeRequests = old.freeRequests
        replies = old.replies
        hasReceivePages = old.hasReceivePages
    }

    /// Puts a new client into a free slot.
    mutating func begin(descriptor: Int32, number: UInt64, peer: Peer, frontEnd: FrontEnd, now: Int) {
        precondition(phase == .free, "the slot is taken")
        phase = .handshake
        self.descriptor = descriptor
        self.number = number
        self.peer = peer
        self.frontEnd = frontEnd
        crossing = Link(isRemote: peer.isRemote)
        startedAt = now
        lastProgress = now
        pace = Pace(now: now)
    }

    /// Forgets the client. Its operations, requests and buffers have all come back.
    mutating func end() {
        freeSent()
        precondition(!isReceiving && !isSending && busyRequests == 0, "the kernel still has operations of this slot")
        precondition(freeRequests.count == Limits.requestsPerConnection, "requests are still in use")
        precondition(replies.count == 0 && returned.isEmpty && !isQueuedForSend, "replies are still to be sent")
        precondition(arena.pagesInUse == 0 && line == nil, "memory is still in use, or waited for")
        precondition(awaited.isEmpty, "a fence would wait for ever")
        dropReceived()
        arena.trim()
        let old = consume self
        self = Connection(reusing: old)
    }

    /// The socket can be asked for what it has: nobody else receives from it, and there may be something.
    var mayBeAsked: Bool { receiving == .exactly && mayHaveInput }

    /// Replies are encrypted before they are sent; otherwise they are sent as they are, encrypted by the kernel or not
    /// at all.
    var encryptsHere: Bool { crossing.encryption == .here }

    /// How many of the received bytes need not be looked at again.
    ///
    /// - Parameter isHeldUp: a request that is complete waits for memory.
    func parsedBytes(isHeldUp: Bool) -> UInt64 {
        let isDecrypted = isSecure && link.hasUnparsed
        var unparsed = isHeldUp || isDecrypted ? 1 : 0
        for number in 0..<receivedCount {
            let chunk = received[(receivedHead + number) % received.count]
            unparsed += Int(chunk.end - chunk.start)
        }
        return receivedBytes - UInt64(unparsed)
    }

    /// Queues received bytes.
    mutating func append(_ chunk: ReceivedChunk) {
        receivedBytes &+= UInt64(chunk.end - chunk.start)
        precondition(receivedCount <= Int(Limits.receiveBuffers), "there are no more chunks than buffers")
        received[(receivedHead + receivedCount) % received.count] = chunk
        receivedCount += 1
    }

    /// The next unparsed bytes, decrypted if need be; nil when there are none now.
    mutating func nextBytes() -> MemoryRange? {
        guard isSecure else { return firstChunk }
        while true {
            if let bytes = link.unparsed { return bytes }
            guard link.isOpen && link.end == nil else { return nil }
            let chunk = firstChunk
            guard chunk != nil || link.hasPending else { return nil }
            let consumed = link.decrypt(chunk ?? .empty)
            if consumed > 0 { consumeChunk(consumed) }
        }
    }

    /// Goes on with the TLS handshake, with what has been received.
    mutating func advanceTLS() -> TLSHandshakeStep {
        let (consumed, step) = (firstChunk ?? .empty).withBytes { link.session.handshake($0) }
        if consumed > 0 { consumeChunk(consumed) }
        return step
    }

    /// Moves the next bytes, decrypted if need be, to where they belong.
    ///
    /// - Returns: how many; 0 when there are none now.
    mutating func takeBytes(into target: MemoryRange) -> Int {
        if isSecure, !link.hasUnparsed { return decrypt(into: target) }
        guard let bytes = nextBytes() else { return 0 }
        let count = target.copy(bytes)
        consume(count)
        return count
    }

    private mutating func decrypt(into target: MemoryRange) -> Int {
        while link.isOpen && link.end == nil {
            let chunk = firstChunk
            guard chunk != nil || link.hasPending else { return 0 }
            let (consumed, count) = link.decrypt(chunk ?? .empty, into: target)
            if consumed > 0 { consumeChunk(consumed) }
            if count > 0 { return count }
        }
        return 0
    }

    /// `count` of the bytes that ``nextBytes()`` gave have been parsed.
    mutating func consume(_ count: Int) {
        if isSecure { link.consume(count) } else { consumeChunk(count) }
    }

    /// Some received bytes are not parsed. Bytes behind the end of TLS do not count.
    var hasUnparsed: Bool {
        guard isSecure else { return receivedCount > 0 }
        if link.hasUnparsed { return true }
        return link.end == nil && (receivedCount > 0 || link.hasPending)
    }

    /// The rest of the oldest chunk, as it was received.
    var firstChunk: MemoryRange? {
        guard receivedCount > 0 else { return nil }
        let chunk = received[receivedHead]
        let memory = chunk.buffer == ReceivedChunk.handedOver ? restHandedOver : unsafe group.bytes(of: chunk.buffer)
        return memory[Int(chunk.start)..<Int(chunk.end)]
    }

    /// `count` bytes of the oldest chunk are done with; an empty chunk's buffer goes back to the kernel.
    mutating func consumeChunk(_ count: Int) {
        received[receivedHead].start += Int32(count)
        if received[receivedHead].start == received[receivedHead].end { dropChunk() }
    }

    private var restHandedOver: MemoryRange { unsafe handedOver.value.range }

    /// All that was received and not parsed, before it is forgotten here.
    mutating func takeUnparsed() -> [UInt8] {
        var bytes: [UInt8] = []
        while let chunk = firstChunk {
            bytes += chunk.bytes
            dropChunk()
        }
        return bytes
    }

    /// The bytes that another loop has received of the client come before all else.
    mutating func begin(with bytes: [UInt8]) {
        precondition(receivedCount == 0 && !isReceiving, "bytes would be out of order")
        guard !bytes.isEmpty else { return }
        handedOver.put(HeapBytes(bytes))
        received[receivedHead] = ReceivedChunk(
            buffer: ReceivedChunk.handedOver, start: 0, end: Int32(bytes.count))
        receivedCount = 1
    }

    /// Forgets what has been received.
    mutating func dropReceived() {
        while receivedCount > 0 { dropChunk() }
    }

    /// Its client speaks TLS, or is about to.
    var isSecure: Bool { !secure.isEmpty }

    /// Its TLS, which has begun.
    var link: SecureLink {
        _read { yield secure.value }
        _modify { yield &secure.value }
    }

    /// TLS begins.
    mutating func beginTLS(_ credentials: TLSCredentials) {
        begin(with: SecureLink(credentials))
        isStartingTLS = false
        crossing.encryption = .here
    }

    /// Takes the connection's TLS out of it, if it has any.
    mutating func takeTLS() -> SecureLink? { secure.take() }

    /// TLS has begun, here or on another loop.
    mutating func begin(with link: consuming SecureLink) {
        secure.put(link)
    }

    /// A reply is interrupted.
    var hasExtra: Bool { extra != nil }

    /// Keeps memory of an interrupted reply.
    mutating func keepExtra(_ memory: consuming HeapBytes) {
        precondition(extra == nil, "one reply is interrupted at a time")
        extra = consume memory
    }

    /// The interrupted reply is over.
    mutating func dropExtra() {
        precondition(extra != nil, "no reply is interrupted")
        extra = nil
    }

    private mutating func dropChunk() {
        if received[receivedHead].buffer == ReceivedChunk.handedOver {
            handedOver.clear()
        } else {
            group.recycle(received[receivedHead].buffer)
        }
        receivedHead = (receivedHead + 1) % received.count
        receivedCount -= 1
    }

    /// The send is over: gives back the memory that only it needed.
    mutating func freeSent() {
        wordsSent = nil
    }

    /// Requests that are not finished, whatever they are doing.
    var requestsInUse: Int {
        Limits.requestsPerConnection - freeRequests.count
    }
}

/// The send queue, in its order.
extension Connection {
    /// Appends a reply.
    mutating func append(reply place: RequestPlace) {
        replies.append(place)
    }

    /// The first replies have left, or never will.
    mutating func removeReplies(first count: Int) {
        replies.removeFirst(count)
        for number in words.indices { words[number].repliesBefore -= min(count, words[number].repliesBefore) }
    }

    /// Takes a reply out of the queue.
    mutating func removeReply(at position: Int) -> RequestPlace {
        for number in words.indices where words[number].repliesBefore > position { words[number].repliesBefore -= 1 }
        return replies.remove(at: position)
    }

    /// So many replies may leave now: words come behind them.
    var repliesBeforeWords: Int { words.first?.repliesBefore ?? replies.count }

    /// Replies or words wait to be sent.
    var hasMoreToSend: Bool { replies.count > 0 || !words.isEmpty }

    /// Words are what leaves next.
    var wordsAreNext: Bool { words.first?.repliesBefore == 0 }

    /// How many bytes of words are still to be sent.
    var wordBytes: Int { words.reduce(0) { $0 + $1.bytes.count } }

    /// Says something behind all replies that are ready now.
    mutating func say(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        if words.last?.repliesBefore == replies.count {
            words[words.count - 1].bytes += bytes
        } else {
            words.append(Words(bytes: bytes, repliesBefore: replies.count))
        }
    }

    /// So much of the first words is encrypted.
    mutating func removeWords(first count: Int) {
        words[0].bytes.removeFirst(count)
        if words[0].bytes.isEmpty { words.removeFirst() }
    }

    /// Nobody will read them.
    mutating func dropWords() { words = [] }

    /// The words that are next become the message. They stay where they are until it is sent.
    mutating func gatherWords() {
        let bytes = HeapBytes(words.removeFirst().bytes)
        message.clear()
        unsafe message.append(bytes.range)
        wordsSent = consume bytes
    }
}
