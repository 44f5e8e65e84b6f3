// One connection under load: requests out, replies in, on a thread of its own.

import Glibc
import NBD

/// A request that was sent, or is about to be.
private struct InFlight {
    var cookie = Cookie(rawValue: 0)
    var isUsed = false
    var begunAt: UInt64 = 0
    var error: UInt32 = 0
}

/// Keeps so many requests in flight as the load says. Every turn sends all that became free in one system call and
/// takes in one what has come, so that the server is what is measured.
@safe
struct Worker<Session: ClientSession & ~Copyable>: ~Copyable {
    /// How often others see what was counted.
    private static var publishNanoseconds: UInt64 { 250_000_000 }
    /// A server that is silent for longer has failed.
    private static var silenceSeconds: Int { 30 }

    private let load: Load
    private let run: RunState
    private var link: Link
    private var plan: RequestPlan
    private var session: Session
    private var outbox: Outbox
    private var tally = Tally()
    private var requests: [InFlight]
    private var freeSlots: [Int]
    private var sequence: UInt64 = 0
    private var requestsLeft: UInt64
    private let payload: UnsafeMutableRawBufferPointer
    private var inbox: Inbox

    /// A worker on a link that is ready for transmission; `inbox` has what has come too early.
    init(
        _ load: Load, number: Int, link: consuming Link, session: consuming Session, inbox: consuming Inbox,
        export: ChosenExport, run: RunState
    ) {
        self.load = load
        self.run = run
        self.link = link
        self.session = session
        self.inbox = inbox
        plan = RequestPlan(load, sizeBytes: export.sizeBytes, connection: number, seed: UInt64(getpid()))
        // While a large batch is being sent, replies to its beginning make room for the next one.
        outbox = Outbox(requestCapacity: 2 * load.depth)
        requests = Array(repeating: InFlight(), count: load.depth)
        freeSlots = Array((0..<load.depth).reversed())
        requestsLeft = load.requests(ofConnection: number)
        unsafe payload = .allocate(byteCount: Int(load.blockBytes), alignment: 4096)
        // No zeroes and no repetition, which a server might store in a cheaper way.
        var random = Xorshift(seed: UInt64(getpid()) &+ UInt64(number))
        for index in 0..<Int(load.blockBytes) { unsafe payload[index] = UInt8(1 + random.below(255)) }
    }

    deinit {
        unsafe payload.deallocate()
    }

    /// Loads the server until the end of the run.
    mutating func work() throws(BenchError) {
        var lastReply = now()
        var lastPublished = lastReply
        while true {
            unsafe session.goOn(payload: UnsafeRawBufferPointer(payload), into: &outbox)
            let wantsMore = fill(at: now())
            if freeSlots.count == load.depth, !wantsMore, !link.hasUnsent(outbox) { break }
            if link.hasUnsent(outbox) { try link.send(&outbox) }
            let waits = !link.hasUnsent(outbox)
            if !waits, !waitForSocket() { continue }
            let count = try inbox.receive(from: &link, waits: waits && !session.hasMoreToSay)
            let time = now()
            if count > 0 {
                lastReply = time
                try takeReplies(at: time)
            } else if time - lastReply > UInt64(Self.silenceSeconds) * 1_000_000_000 {
                throw .silent(seconds: Self.silenceSeconds)
            }
            if time - lastPublished > Self.publishNanoseconds {
                lastPublished = time
                run.publish(&tally, at: time)
            }
        }
        run.publish(&tally, at: lastReply)
        try session.takeLeave(&link, &inbox, &outbox)
    }

    /// Begins requests until the depth is reached, the server takes no more, or the run is over.
    ///
    /// - Returns: whether there will be more requests.
    private mutating func fill(at time: UInt64) -> Bool {
        guard requestsLeft > 0, !run.isOver(at: time) else { return false }
        while requestsLeft > 0, outbox.hasRoom, session.takesRequest, let slot = freeSlots.popLast() {
            let request = plan.next()
            let cookie = Cookie(request.command, slot: slot, sequence: sequence)
            sequence &+= 1
            requests[slot] = InFlight(cookie: cookie, isUsed: true, begunAt: time)
            unsafe session.begin(request, cookie, payload: UnsafeRawBufferPointer(payload), into: &outbox)
            if requestsLeft != .max, run.isMeasured(time) { requestsLeft -= 1 }
        }
        return requestsLeft > 0
    }

    /// Waits until the socket takes or has bytes.
    ///
    /// - Returns: whether it has some.
    private func waitForSocket() -> Bool {
        var wanted = pollfd(fd: link.descriptor, events: Int16(POLLIN | POLLOUT), revents: 0)
        _ = unsafe poll(&wanted, 1, Int32(Link.patienceSeconds * 1000))
        // After an error, receiving says which.
        return wanted.revents & Int16(POLLOUT) == 0 || wanted.revents & Int16(POLLIN) != 0
    }

    /// Takes the replies that have come, and moves what is left of them to the beginning.
    private mutating func takeReplies(at time: UInt64) throws(BenchError) {
        let bytes = unsafe RawSpan(_unsafeStart: inbox.start, byteCount: inbox.byteCount)
        var position = 0
        loop: while true {
            switch session.next(bytes, at: &position) {
            case .needMoreBytes: break loop
            case .violation(let what): throw .violation(what)
            case .ended(let why): throw .ended(why)
            case .reply(let cookie, let error, let isLast): try take(cookie, error, isLast, at: time)
            }
        }
        inbox.drop(position)
    }

    private mutating func take(_ cookie: Cookie, _ error: UInt32, _ isLast: Bool, at time: UInt64) throws(BenchError) {
        let slot = cookie.slot
        guard slot < requests.count, requests[slot].isUsed, requests[slot].cookie == cookie else {
            throw .violation("a reply has the cookie 0x\(String(cookie.rawValue, radix: 16)), which no request has")
        }
        if error != 0 { requests[slot].error = error }
        guard isLast else { return }
        requests[slot].isUsed = false
        freeSlots.append(slot)
        let request = requests[slot]
        if run.isMeasured(request.begunAt) {
            let moved = cookie.command == UInt8(Command.flush.rawValue) ? 0 : load.blockBytes
            tally.record(cookie.command, byteCount: moved, nanoseconds: time - request.begunAt, error: request.error)
        } else {
            tally.recordWarmUp()
        }
    }
}

extension Load {
    /// How many of the requests are a connection's; `.max` if their number is not limited.
    func requests(ofConnection number: Int) -> UInt64 {
        guard case .requests(let count) = limit else { return .max }
        let share = count / UInt64(connections)
        return share + (UInt64(number) < count % UInt64(connections) ? 1 : 0)
    }
}
