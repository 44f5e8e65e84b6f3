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
struct Worker: ~Copyable {
    /// Data of a READ that have come are only passed over, so they need no more room than a processor's cache has.
    private static let inputBytes = 256 << 10
    /// How often others see what was counted.
    private static let publishNanoseconds: UInt64 = 250_000_000
    /// A server that is silent for longer has failed.
    private static let silenceSeconds = 30

    private let load: Load
    private let run: RunState
    private var link: Link
    private var plan: RequestPlan
    private var reader: ReplyReader
    private var outbox: Outbox
    private var tally = Tally()
    private var requests: [InFlight]
    private var freeSlots: [Int]
    private var sequence: UInt64 = 0
    private var requestsLeft: UInt64
    private let payload: UnsafeMutableRawBufferPointer
    private let input: UnsafeMutableRawBufferPointer
    private var inputCount = 0

    /// A worker on a link that is ready for transmission.
    init(_ load: Load, number: Int, link: consuming Link, export: ChosenExport, run: RunState) {
        self.load = load
        self.run = run
        self.link = link
        plan = RequestPlan(load, sizeBytes: export.sizeBytes, connection: number, seed: UInt64(getpid()))
        reader = ReplyReader(blockBytes: load.blockBytes, isStructured: load.usesStructuredReplies)
        // While a large batch is being sent, replies to its beginning make room for the next one.
        outbox = Outbox(requestCapacity: 2 * load.depth)
        requests = Array(repeating: InFlight(), count: load.depth)
        freeSlots = Array((0..<load.depth).reversed())
        requestsLeft = load.requests(ofConnection: number)
        unsafe payload = .allocate(byteCount: Int(load.blockBytes), alignment: 4096)
        unsafe input = .allocate(byteCount: Self.inputBytes, alignment: 4096)
        // No zeroes and no repetition, which a server might store in a cheaper way.
        var random = Xorshift(seed: UInt64(getpid()) &+ UInt64(number))
        for index in 0..<Int(load.blockBytes) { unsafe payload[index] = UInt8(1 + random.below(255)) }
    }

    deinit {
        unsafe payload.deallocate()
        unsafe input.deallocate()
    }

    /// Loads the server until the end of the run.
    mutating func work() throws(BenchError) {
        var lastReply = now()
        var lastPublished = lastReply
        while true {
            fill(at: now())
            if freeSlots.count == load.depth, !link.hasUnsent(outbox) { break }
            if link.hasUnsent(outbox) { try link.send(&outbox) }
            let waits = !link.hasUnsent(outbox)
            if !waits, !waitForSocket() { continue }
            let count = unsafe try link.receive(into: .init(rebasing: input[inputCount...]), waits: waits)
            let time = now()
            if count > 0 {
                inputCount += count
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
        outbox.append(PlannedRequest(command: .disconnect, offsetBytes: 0, lengthBytes: 0), Cookie(rawValue: 0))
        try link.send(&outbox)
    }

    /// Begins requests until the depth is reached or the run is over.
    private mutating func fill(at time: UInt64) {
        guard !freeSlots.isEmpty, !run.isOver(at: time) else { return }
        while requestsLeft > 0, outbox.hasRoom, let slot = freeSlots.popLast() {
            let request = plan.next()
            let cookie = Cookie(request.command, slot: slot, sequence: sequence)
            sequence &+= 1
            requests[slot] = InFlight(cookie: cookie, isUsed: true, begunAt: time)
            outbox.append(request, cookie)
            if request.command == .write { unsafe outbox.appendPayload(UnsafeRawBufferPointer(payload)) }
            if requestsLeft != .max, run.isMeasured(time) { requestsLeft -= 1 }
        }
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
        let bytes = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(input.baseAddress!), byteCount: inputCount)
        var position = 0
        loop: while true {
            switch reader.next(bytes, at: &position) {
            case .needMoreBytes: break loop
            case .violation(let what): throw .violation(what)
            case .reply(let cookie, let error, let isLast): try take(cookie, error, isLast, at: time)
            }
        }
        let left = inputCount - position
        if left > 0 { unsafe input.baseAddress!.copyMemory(from: input.baseAddress! + position, byteCount: left) }
        inputCount = left
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
