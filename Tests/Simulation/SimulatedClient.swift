// A client of a simulation: it never blocks, and does one small thing at a time when it is its turn.

import Glibc
import Support

/// The server has done what it must not.
struct Violation: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// One connection. A person who comes back is another client. This one speaks NBD.
class SimulatedClient {
    enum Phase {
        case handshake
        case transmission
        case closed
    }

    /// Requests and replies as they look on the wire.
    enum Style: CaseIterable {
        case simple
        case structured
        case extended
    }

    /// What it has asked for and has no whole reply to.
    struct Outstanding {
        let image: SimulatedImage
        let cookie: UInt64
        let type: UInt16
        let flags: UInt16
        let offset: UInt64
        let length: UInt64
        /// The write of the model, of what changes the image.
        var write: Int?
        let began: Int
        let sentAt: UInt64
        /// One of these errors has to be the answer; nil: it is to be done.
        var refusals: [UInt32]?
        /// What has come of a READ, and where.
        var data: [UInt8] = []
        var pieces: [Range<Int>] = []
        var error: UInt32 = 0
        var failedOffset: UInt64?
        var hasExtents = false
        /// A reservation may let it pass, and may keep it out.
        var mayPass = true
        var mayBeKeptOut = false

        /// In the eyes of a reservation it writes.
        var changes: Bool { ![CommandNumber.read, CommandNumber.cache, CommandNumber.blockStatus].contains(type) }
    }

    let number: Int
    unowned let world: Simulation
    let image: SimulatedImage
    let style: Style
    let descriptor: Int32
    var phase = Phase.handshake
    var outbox: [UInt8] = []
    var inbox: [UInt8] = []
    var inboxHead = 0
    var outstanding: [Outstanding] = []
    /// Options that are still to be answered, the next one first.
    var options: [UInt32] = []
    var hasGreeting = false
    var transmissionFlags: UInt16 = 0
    var sizeBytes: UInt64 = 0
    var contextID: UInt32?
    /// It changes nothing, and flushes what others have written.
    let isReader: Bool
    /// It keeps to the minimum block size.
    var isAligned = false
    /// It neither sends nor receives until then.
    var stalledUntil: UInt64 = 0
    /// It sends no more: it has said so, or closed its side.
    var hasFinished = false
    /// The server takes nothing more.
    var cannotSend = false
    /// So many requests it likes to have under way.
    let depth: Int
    /// The largest piece that it sends or receives at once.
    var pieceBytes: Int
    let openedAt: UInt64
    /// Earlier connections that were closed before this one began.
    let predecessors: [UInt64: Set<Int>]
    var hasReply = false

    init?(_ number: Int, _ world: Simulation, _ image: SimulatedImage, path: String) {
        self.number = number
        self.world = world
        self.image = image
        style = Style.allCases[Int.random(in: 0..<3, using: &world.numbers)]
        depth = world.chance(100_000) ? 200 : Int.random(in: 1...world.profile.depth, using: &world.numbers)
        pieceBytes = world.chance(300_000) ? Int.random(in: 1...300, using: &world.numbers) : 1 << 18
        isReader = world.chance(250_000)
        openedAt = world.now
        predecessors = image.closedConnections
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_NONBLOCK, 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            Glibc.close(descriptor)
            return nil
        }
    }

    // MARK: What an initiator does otherwise

    /// Whose connection it is: those of one party wait for each other.
    var party: UInt64 { 0 }

    /// Makes a request.
    func ask() { askSomething() }

    /// Takes the next message that is complete.
    ///
    /// - Returns: false when there is none.
    func takeMessage() throws -> Bool {
        phase == .handshake ? try takeHandshake() : try takeReply()
    }

    /// Whether an answer may be what it is.
    func judge(_ request: Outstanding) throws { try judgeReply(request) }

    /// It has its first answer.
    func noteFirstReply() {}

    /// Its first answer shows that earlier connections of the same party do nothing more.
    func endPredecessors(at time: Int) {
        if let closed = predecessors[party] { image.model.endAll(of: closed, at: time) }
    }

    /// Since when it waits for answers, of which sort.
    var waits: [(since: UInt64, what: String)] {
        outstanding.map { ($0.sentAt, "command \($0.type)") }
    }

    // MARK: What it can do

    var isStalled: Bool { stalledUntil > world.now }

    /// It would like another request.
    var canAsk: Bool {
        phase == .transmission && !hasFinished && !cannotSend && !isStalled && outbox.isEmpty
            && outstanding.count < depth
    }

    /// The events that it waits for.
    var events: Int32 {
        guard phase != .closed, !isStalled else { return 0 }
        return POLLIN | (outbox.isEmpty ? 0 : POLLOUT)
    }

    /// Sends a piece.
    func send() {
        let count = min(outbox.count, Int.random(in: 1...pieceBytes, using: &world.numbers))
        let sent = outbox.withUnsafeBytes {
            Glibc.send(descriptor, $0.baseAddress!, count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        }
        if sent > 0 {
            outbox.removeFirst(sent)
            world.note("client \(number) sends \(sent)")
        } else if sent < 0 && errno != EAGAIN {
            // What is still to be received may be received all the same.
            outbox = []
            cannotSend = true
        }
    }

    /// Receives a piece, and looks at what is complete.
    func receive() throws {
        let limit = Int.random(in: 1...pieceBytes, using: &world.numbers)
        let received = withUnsafeTemporaryAllocation(byteCount: limit, alignment: 16) { buffer in
            let count = recv(descriptor, buffer.baseAddress, limit, Int32(MSG_DONTWAIT))
            if count > 0 { inbox.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
            return count
        }
        guard received > 0 else {
            if received < 0 && errno == EAGAIN { return }
            world.note("client \(number) sees the end")
            try endOfStream()
            return
        }
        world.note("client \(number) receives \(received)")
        while phase != .closed, try takeMessage() {}
        if inboxHead > 1 << 16 || inboxHead == inbox.count {
            inbox.removeFirst(inboxHead)
            inboxHead = 0
        }
    }

    /// The server has closed.
    private func endOfStream() throws {
        let isLate = phase == .handshake && (image.isLimited || world.now - openedAt > 9_000_000_000)
        let isExpected =
            hasFinished || world.mayEndConnections || isTurnedAway || wasStalled || isLate || mayBeSucceeded
        close()
        guard isExpected else { throw Violation("the server has closed the connection of client \(number)") }
    }

    /// Its export is being removed, or was removed since it came.
    var isTurnedAway: Bool { image.isEnding || openedAt < image.servedSince }

    /// It has the image open, or has asked for something of it.
    func knows(_ other: SimulatedImage) -> Bool { image === other }

    /// The server may take an older connection of the same party for a newer one.
    var mayBeSucceeded: Bool { false }

    /// It has kept the server waiting at some time.
    var wasStalled: Bool { stalledUntil > 0 }

    /// Closes the socket, whatever is under way.
    func close() {
        guard phase != .closed else { return }
        phase = .closed
        Glibc.close(descriptor)
        image.closedConnections[party, default: []].insert(number)
        world.note("client \(number) closes")
    }

    /// Sends no more, and waits for what is left.
    func finish() {
        guard phase == .transmission, !hasFinished else { return }
        if world.chance(500_000) {
            outbox += header(CommandNumber.disconnect, 0, cookie: 0, offset: 0, length: 0)
        } else if outbox.isEmpty {
            shutdown(descriptor, Int32(SHUT_WR))
        } else {
            return
        }
        hasFinished = true
        world.note("client \(number) finishes")
    }

    // MARK: Bytes

    var inboxCount: Int { inbox.count - inboxHead }

    /// A number of what has come, in network byte order.
    func number<Number: FixedWidthInteger>(at offset: Int, as type: Number.Type) -> Number {
        inbox.withUnsafeBytes {
            Number(bigEndian: $0.loadUnaligned(fromByteOffset: inboxHead + offset, as: Number.self))
        }
    }

    func consume(_ count: Int) { inboxHead += count }

    func header(_ type: UInt16, _ flags: UInt16, cookie: UInt64, offset: UInt64, length: UInt64) -> [UInt8] {
        let isExtended = style == .extended
        var bytes: [UInt8] = []
        bytes.append(number: isExtended ? MagicNumber.extendedRequest : MagicNumber.request)
        bytes.append(number: flags)
        bytes.append(number: type)
        bytes.append(number: cookie)
        bytes.append(number: offset)
        if isExtended { bytes.append(number: length) } else { bytes.append(number: UInt32(truncatingIfNeeded: length)) }
        return bytes
    }
}

extension Array<UInt8> {
    /// Appends a number in network byte order.
    mutating func append(number: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
    }
}
