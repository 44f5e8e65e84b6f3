// One client: its socket, what has been received of it, its requests, what is to be sent to it.

import Export
import Glibc
import IOUring
import NBD

/// Received bytes that have not been parsed: the rest of a provided buffer.
struct ReceivedChunk {
    var buffer: UInt16 = 0
    var start: Int32 = 0
    var end: Int32 = 0
}

/// The state of a connection. Its slot on the loop is reused when nothing of it is with the kernel any more; the memory
/// stays with the slot.
@safe
struct Connection: ~Copyable {
    enum Phase {
        /// The slot has no connection.
        case free
        /// The options are being haggled over.
        case handshake
        /// Requests are read.
        case transmission
        /// Nothing more is read (DISC, end of file, ABORT); what is in flight is finished and answered.
        case draining
        /// The socket is shut down; operations that the kernel still has come back.
        case closing
    }

    /// The lines of a loop in which a connection can wait for memory that others have.
    enum Line {
        case none
        case stage
        case own
    }

    var phase = Phase.free
    var descriptor: Int32 = -1
    /// It is the only one of the server with this number.
    var number: UInt64 = 0
    var peer = Peer()
    /// Who its TLS has proved it to be, for people.
    var identityName: String?
    /// The export and what was agreed on, from the end of the handshake on.
    var entry: ExportEntry?
    var export = 0
    var parameters: TransmissionParameters?
    /// Its place in the order of all openings.
    var opening: UInt64 = 0
    /// Its time to finish what is in flight, when it is to end.
    var endsAt: Int?

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
    /// The client sends no more; what has been received of it is still parsed.
    var isAtEndOfFile = false
    /// The client is to close first (ABORT, to read why its TLS has failed, or because its kind of socket wants it).
    var awaitsEndOfFile = false
    /// In the order of their arrival; there are never more than buffers in the group.
    var received = InlineArray<4, ReceivedChunk>(repeating: ReceivedChunk())
    var receivedHead = 0
    var receivedCount = 0
    /// A request header, or a payload of BLOCK_STATUS, that did not arrive in one piece.
    var header = InlineArray<32, UInt8>(repeating: 0)
    var headerCount = 0
    /// The BLOCK_STATUS whose payload is arriving.
    var statusRequest: RequestHeader?
    /// The WRITE whose payload is arriving, and how much of it has.
    var payloadRequest: Int?
    var payloadCount = 0
    /// Bytes of its payload that are still to be thrown away, if it is refused.
    var discardCount = 0

    // Fences
    /// No request is begun until older connections have done theirs.
    var isFenced = false
    /// Fences that wait for this connection.
    var awaited: [AwaitedFence] = []
    /// Requests that begin get this mark.
    var currentMark = false
    /// Requests under way that have the other one.
    var busyBeforeMark = 0
    /// All that was ever received.
    var receivedBytes: UInt64 = 0

    // Handshake
    var negotiation = Negotiation()
    /// The exports as they were when it began, and as this client may see them.
    var directory = ExportTable.Directory()
    /// Bytes of options, up to the end of the oldest chunk once that is copied; it is kept until all of it is consumed,
    /// because its rest may turn out to be requests.
    var handshakeInput: [UInt8] = []
    var isFirstChunkCopied = false
    var handshakeOutput: [UInt8] = []
    /// The handshake's bytes that are with the kernel.
    var handshakeSent: UnsafeMutableRawBufferPointer?

    // TLS
    /// STARTTLS was answered, but the answer has not left.
    var isStartingTLS = false
    /// TLS, once it has begun.
    var secure: UnsafeMutablePointer<SecureLink>?

    // Requests
    var arena: PageArena
    var freeRequests: UnsafeMutablePointer<UInt16>
    var freeRequestCount = 0
    /// Requests with an operation on the medium, or parked before the write gate.
    var busyRequests = 0
    /// Where it waits for memory.
    var line = Line.none
    var stagedPages = 0

    // Sending
    /// Requests whose reply is ready, in the order in which they became so.
    var replies: UnsafeMutablePointer<UInt16>
    var replyHead = 0
    var replyCount = 0
    /// How many of them the running send covers.
    var repliesInSend = 0
    var sendBytesLeft = 0
    /// They go through the loop's pipe.
    var isSpliced = false
    var isSending = false
    var isQueuedForSend = false
    /// Memory for what could not be sent from the page cache, for as long as the running send.
    var rescued: UnsafeMutableRawPointer?
    var vectors: UnsafeMutablePointer<iovec>
    var message: UnsafeMutablePointer<msghdr>

    /// Pages of memory that the slot has taken into use: what is received has its own from the first client on.
    var touchedPages: Int { Limits.receivePages + arena.touchedEnd }

    /// Why it ends, once it does.
    var endReason: EndReason?

    // Time, in seconds since the loop began
    var startedAt = 0
    var lastProgress = 0

    /// The most parts of one send.
    static let maximumVectors = 256

    /// Makes the memory that stays with a slot. `group` is the slot's own number, `pageCount` the memory for
    /// the data of its requests.
    init(ring: borrowing Ring, group: UInt16, pageCount: Int) throws(RingError) {
        // The group last: once registered, its number cannot be registered again.
        let pages = try PageArena(pageCount: pageCount)
        let buffers = try BufferGroup(
            ring: ring, group: group, count: Limits.receiveBuffers, byteCount: Limits.receiveBufferBytes)
        self.group = buffers
        arena = pages
        unsafe freeRequests = UnsafeMutablePointer<UInt16>.allocate(capacity: Limits.requestsPerConnection)
        unsafe replies = UnsafeMutablePointer<UInt16>.allocate(capacity: Limits.requestsPerConnection)
        unsafe vectors = UnsafeMutablePointer<iovec>.allocate(capacity: Self.maximumVectors)
        unsafe message = UnsafeMutablePointer<msghdr>.allocate(capacity: 1)
        unsafe message.initialize(to: msghdr())
        for request in 0..<Limits.requestsPerConnection {
            unsafe freeRequests[request] = UInt16(Limits.requestsPerConnection - 1 - request)
        }
        freeRequestCount = Limits.requestsPerConnection
    }

    deinit {
        precondition(phase == .free, "a connection outlives its slot")
        unsafe freeRequests.deallocate()
        unsafe replies.deallocate()
        unsafe vectors.deallocate()
        unsafe message.deallocate()
    }

    /// Puts a new client into a free slot.
    mutating func begin(descriptor: Int32, number: UInt64, peer: Peer, negotiation: Negotiation, now: Int) {
        precondition(phase == .free, "the slot is taken")
        phase = .handshake
        self.descriptor = descriptor
        self.number = number
        self.peer = peer
        startedAt = now
        lastProgress = now
        self.negotiation = negotiation
        parameters = nil
    }

    /// Forgets the client. Its operations, requests and buffers have all come back.
    mutating func end() {
        freeRescued()
        precondition(!isReceiving && !isSending && busyRequests == 0, "the kernel still has operations of this slot")
        precondition(freeRequestCount == Limits.requestsPerConnection, "requests are still in use")
        precondition(awaited.isEmpty, "a fence would wait for ever")
        dropReceived()
        dropTLS()
        isStartingTLS = false
        phase = .free
        descriptor = -1
        identityName = nil
        entry = nil
        endsAt = nil
        isFenced = false
        receivedBytes = 0
        directory = ExportTable.Directory()
        isAtEndOfFile = false
        receiving = .asTheyCome
        mayHaveInput = false
        othersInARow = 0
        awaitsEndOfFile = false
        endReason = nil
        headerCount = 0
        statusRequest = nil
        payloadRequest = nil
        discardCount = 0
        handshakeInput = []
        isFirstChunkCopied = false
        handshakeOutput = []
        replyHead = 0
        arena.trim()
    }

    /// The socket can be asked for what it has: nobody else receives from it, and there may be something.
    var mayBeAsked: Bool { receiving == .exactly && mayHaveInput }

    /// How many bytes have to be there before anything can be done: a header, or the payload of a BLOCK_STATUS.
    var headerLength: Int {
        if let statusRequest { return Int(statusRequest.payloadBytes) }
        return parameters?.messages.requestHeaderBytes ?? 0
    }

    /// Replies are encrypted before they are sent; otherwise they are sent as they are, encrypted by the kernel or not at
    /// all.
    var encryptsHere: Bool {
        guard let link = unsafe secure else { return false }
        return unsafe !link.pointee.kernelEncrypts
    }

    /// A request has arrived in part.
    var isInsideRequest: Bool {
        payloadRequest != nil || statusRequest != nil || headerCount > 0 && headerCount < headerLength
    }

    /// How many of the received bytes need not be looked at again.
    var parsedBytes: UInt64 {
        // A header that is complete, or bytes that are decrypted, wait for memory.
        let isHeldUp = headerCount > 0 && headerCount >= headerLength
        let isDecrypted = unsafe secure?.pointee.unparsed != nil
        var unparsed = isHeldUp || isDecrypted ? 1 : 0
        for number in 0..<receivedCount {
            let chunk = received[(receivedHead + number) % Int(Limits.receiveBuffers)]
            unparsed += Int(chunk.end - chunk.start)
        }
        return receivedBytes - UInt64(unparsed)
    }

    /// Queues received bytes.
    mutating func append(_ chunk: ReceivedChunk) {
        receivedBytes &+= UInt64(chunk.end - chunk.start)
        precondition(receivedCount < Int(Limits.receiveBuffers), "there are no more chunks than buffers")
        received[(receivedHead + receivedCount) % Int(Limits.receiveBuffers)] = chunk
        receivedCount += 1
    }

    /// The next unparsed bytes, decrypted if need be; nil when there are none now.
    mutating func nextBytes() -> UnsafeRawBufferPointer? {
        guard let link = unsafe secure else { return unsafe firstChunk }
        while true {
            if let bytes = unsafe link.pointee.unparsed { return unsafe bytes }
            guard unsafe link.pointee.isOpen && link.pointee.end == nil else { return nil }
            let chunk = unsafe firstChunk
            guard unsafe chunk != nil || link.pointee.hasPending else { return nil }
            let consumed = unsafe link.pointee.decrypt(chunk ?? UnsafeRawBufferPointer(start: nil, count: 0))
            if consumed > 0 { consumeChunk(consumed) }
        }
    }

    /// Moves the next bytes, decrypted if need be, to where they belong.
    ///
    /// - Returns: how many; 0 when there are none now.
    mutating func takeBytes(into target: UnsafeMutableRawBufferPointer) -> Int {
        if let link = unsafe secure, unsafe link.pointee.unparsed == nil { return unsafe decrypt(link, into: target) }
        guard let bytes = unsafe nextBytes() else { return 0 }
        let count = min(bytes.count, target.count)
        unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        consume(count)
        return count
    }

    private mutating func decrypt(
        _ link: UnsafeMutablePointer<SecureLink>, into target: UnsafeMutableRawBufferPointer
    ) -> Int {
        while unsafe link.pointee.isOpen && link.pointee.end == nil {
            let chunk = unsafe firstChunk
            guard unsafe chunk != nil || link.pointee.hasPending else { return 0 }
            let (consumed, count) = unsafe link.pointee.decrypt(
                chunk ?? UnsafeRawBufferPointer(start: nil, count: 0), into: target)
            if consumed > 0 { consumeChunk(consumed) }
            if count > 0 { return count }
        }
        return 0
    }

    /// `count` of the bytes that ``nextBytes()`` gave have been parsed.
    mutating func consume(_ count: Int) {
        if let link = unsafe secure { unsafe link.pointee.consume(count) } else { consumeChunk(count) }
    }

    /// Something was received that has not been parsed. What comes behind the end of TLS is nothing.
    var hasUnparsed: Bool {
        guard let link = unsafe secure else { return receivedCount > 0 }
        if unsafe link.pointee.unparsed != nil { return true }
        return unsafe link.pointee.end == nil && (receivedCount > 0 || link.pointee.hasPending)
    }

    /// What is left of the oldest chunk, as it was received.
    var firstChunk: UnsafeRawBufferPointer? {
        guard receivedCount > 0 else { return nil }
        let chunk = received[receivedHead]
        return unsafe UnsafeRawBufferPointer(
            start: group.bytes(of: chunk.buffer) + Int(chunk.start), count: Int(chunk.end - chunk.start))
    }

    /// `count` bytes of the oldest chunk are done with; an empty chunk's buffer goes back to the kernel.
    mutating func consumeChunk(_ count: Int) {
        received[receivedHead].start += Int32(count)
        if received[receivedHead].start == received[receivedHead].end { dropChunk() }
    }

    /// Forgets what has been received.
    mutating func dropReceived() {
        while receivedCount > 0 { dropChunk() }
    }

    private mutating func dropTLS() {
        guard let link = unsafe secure else { return }
        unsafe link.deinitialize(count: 1)
        unsafe link.deallocate()
        unsafe secure = nil
    }

    private mutating func dropChunk() {
        group.recycle(received[receivedHead].buffer)
        receivedHead = (receivedHead + 1) % Int(Limits.receiveBuffers)
        receivedCount -= 1
    }

    /// Takes a free request slot.
    mutating func takeRequest() -> Int? {
        guard freeRequestCount > 0 else { return nil }
        freeRequestCount -= 1
        return Int(unsafe freeRequests[freeRequestCount])
    }

    /// Puts a request slot back.
    mutating func releaseRequest(_ request: Int) {
        unsafe freeRequests[freeRequestCount] = UInt16(request)
        freeRequestCount += 1
    }

    /// Queues a request whose reply is ready.
    mutating func appendReply(_ request: Int) {
        unsafe replies[(replyHead + replyCount) % Limits.requestsPerConnection] = UInt16(request)
        replyCount += 1
    }

    /// The request of a queued reply, counted from the oldest.
    func reply(at index: Int) -> Int {
        Int(unsafe replies[(replyHead + index) % Limits.requestsPerConnection])
    }

    /// Takes the oldest replies off the queue.
    mutating func removeReplies(_ count: Int) {
        replyHead = (replyHead + count) % Limits.requestsPerConnection
        replyCount -= count
    }

    /// The send that needed it is over.
    mutating func freeRescued() {
        guard let memory = unsafe rescued else { return }
        unsafe memory.deallocate()
        unsafe rescued = nil
    }

    /// Requests that are not finished, whatever they are doing.
    var requestsInUse: Int {
        Limits.requestsPerConnection - freeRequestCount
    }
}
