// The kernel's side of scripted rings, for tests: operations wait until the script performs one, by an ordinary system
// call that does not block. io_uring_enter(2).

import CLibURing
import Glibc
import IOUring
import Seeded

/// The kernel of any number of rings, all in one thread. What it does follows from its seed and from the order in which
/// it is asked.
public final class SimulatedKernel: ScriptedKernel {
    /// An operation that was submitted and has not ended.
    struct Operation {
        let ring: Int
        let entry: io_uring_sqe
        /// It is not performed before.
        var readyAt: UInt64
        /// How an FSYNC will end: that is known when it begins.
        var flushResult: Int32 = 0
        /// Nothing wakes it but its cancellation.
        var isAsleep = false
    }

    struct RingState {
        let queues: ScriptedQueues
        /// Completions for which the queue had no room.
        var overflow: [Completion] = []
        var groups: [UInt16: SimulatedGroup] = [:]
        var isGone = false
        /// How many completions it waits for.
        var awaited: UInt32 = 0
    }

    /// How it behaves from now on.
    public var behaviour = Behaviour()
    /// Where its choices come from.
    public var numbers: SeededGenerator
    /// What its rings take for the time.
    public let clock: MonotonicClock
    /// Operations are performed as soon as somebody waits for them: for tests without a script.
    public var isEager = false
    /// Files are of no use any more: nothing is read or written, everything fails with EIO.
    public var filesAreDead = false
    /// Is told of everything that happens.
    public var tell: ((String) -> Void)?
    /// Words for a submission's user data.
    public var describe: (UInt64) -> String = { "\($0)" }
    /// The files whose stable content is known, by inode.
    public var disks: [SimulatedDisk] = []
    var rings: [RingState] = []
    var pending: [Operation] = []
    private let time: SharedMemory

    /// The first ring's descriptor: no file of this process has one as high.
    private static let firstDescriptor: Int32 = 1 << 28

    /// A kernel without rings, a second after the beginning of time.
    public init(seed: UInt64) throws {
        numbers = SeededGenerator(seed: seed)
        time = try SharedMemory(byteCount: 4096)
        clock = MonotonicClock(turnedIn: time)
        // A clock that says zero is taken for one that says nothing.
        time.base.storeBytes(of: 1_000_000_000, as: UInt64.self)
    }

    deinit { time.unmap() }

    // MARK: Time

    /// The time.
    public var now: UInt64 { clock.now() }

    /// Turns the clock forward.
    public func advance(to moment: UInt64) {
        precondition(moment >= now, "the clock goes forward only")
        time.base.storeBytes(of: moment, as: UInt64.self)
    }

    /// Turns the clock forward.
    public func advance(by nanoseconds: UInt64) { advance(to: now + nanoseconds) }

    /// When the next operation can be performed that waits for the clock; nil when there is none.
    public func nextMoment(isTimer: Bool? = nil) -> UInt64? {
        let now = now
        var next: UInt64?
        for operation in pending where operation.readyAt > now {
            if let isTimer, isTimer != (operation.entry.opcode == UInt8(IORING_OP_TIMEOUT.rawValue)) { continue }
            next = min(next ?? .max, operation.readyAt)
        }
        return next
    }

    // MARK: Rings

    /// See ``ScriptedKernel``.
    public func attach(_ queues: ScriptedQueues) -> Int32 {
        rings.append(RingState(queues: queues))
        return Self.firstDescriptor + Int32(rings.count - 1)
    }

    /// See ``ScriptedKernel``.
    public func detach(_ ring: Int32) {
        let number = Int(ring - Self.firstDescriptor)
        rings[number].isGone = true
        pending.removeAll { $0.ring == number }
    }

    /// See ``ScriptedKernel``.
    public func register(_ group: io_uring_buf_reg, with ring: Int32) -> Int32 {
        let number = Int(ring - Self.firstDescriptor)
        guard rings[number].groups[group.bgid] == nil else { return -EEXIST }
        rings[number].groups[group.bgid] = SimulatedGroup(group)
        return 0
    }

    /// See ``ScriptedKernel``.
    public func enter(_ ring: Int32, waitingFor count: UInt32) -> Int32 {
        let number = Int(ring - Self.firstDescriptor)
        let entries = rings[number].queues.takeSubmissions()
        for entry in entries { begin(entry, number) }
        rings[number].awaited = count
        flushOverflow(number)
        if isEager { performEagerly(number, count) }
        // A thread that looks for completions finds that time passes.
        if count == 0 { advance(by: 1000) }
        return Int32(entries.count)
    }

    /// Whether the thread of a ring would go on: it has not gone to sleep, or something has completed.
    public func isAwake(_ ring: Int32) -> Bool {
        let state = rings[Int(ring - Self.firstDescriptor)]
        return state.queues.completionsReady >= state.awaited
    }

    /// Nothing of a ring waits to be performed, but for what always does: accepts, receives, reads of counters, timers.
    public func hasWork(_ ring: Int32) -> Bool {
        let number = Int(ring - Self.firstDescriptor)
        return pending.contains { $0.ring == number && isFileOperation($0.entry) }
    }

    private func performEagerly(_ number: Int, _ count: UInt32) {
        while rings[number].queues.completionsReady < max(count, 1) {
            if performAny() { continue }
            guard count > 0, let moment = nextMoment() else { return }
            advance(to: moment)
        }
    }

    /// Performs one of the operations that can be, by chance.
    ///
    /// - Returns: false when there is none.
    @discardableResult
    public func performAny() -> Bool {
        let ready = performable()
        guard !ready.isEmpty else { return false }
        perform(ready[Int.random(in: 0..<ready.count, using: &numbers)])
        return true
    }

    // MARK: Operations

    private func begin(_ entry: io_uring_sqe, _ ring: Int) {
        var operation = Operation(ring: ring, entry: entry, readyAt: now)
        switch io_uring_op(UInt32(entry.opcode)) {
        case IORING_OP_TIMEOUT:
            let duration = UnsafePointer<__kernel_timespec>(bitPattern: UInt(entry.addr))!.pointee
            operation.readyAt = now + UInt64(duration.tv_sec) * 1_000_000_000 + UInt64(duration.tv_nsec)
        case IORING_OP_FSYNC:
            operation.flushResult = beginFlush(entry.fd)
            operation.readyAt = now + fileDelay()
        case _ where isFileOperation(entry):
            operation.readyAt = now + fileDelay()
        default:
            operation.readyAt = now + UInt64.random(in: behaviour.otherDelay, using: &numbers)
        }
        pending.append(operation)
    }

    private func fileDelay() -> UInt64 {
        chance(behaviour.slowFileOperations)
            ? UInt64.random(in: behaviour.slowFileDelay, using: &numbers)
            : UInt64.random(in: behaviour.fileDelay, using: &numbers)
    }

    func isFileOperation(_ entry: io_uring_sqe) -> Bool {
        switch io_uring_op(UInt32(entry.opcode)) {
        case IORING_OP_WRITE, IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_FADVISE: true
        case IORING_OP_READ: isRegularFile(entry.fd)
        default: false
        }
    }

    private func isRegularFile(_ descriptor: Int32) -> Bool {
        var status = stat()
        return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// Something happens, so many times in a million.
    func chance(_ millionths: Int) -> Bool {
        millionths > 0 && Int.random(in: 0..<1_000_000, using: &numbers) < millionths
    }

    /// The operations that can be performed now, by their places.
    public func performable() -> [Int] {
        let now = now
        var places: [Int] = []
        var polls: [pollfd] = []
        var polled: [Int] = []
        for (place, operation) in pending.enumerated() where operation.readyAt <= now && !operation.isAsleep {
            guard let events = awaitedEvents(operation) else {
                places.append(place)
                continue
            }
            polls.append(pollfd(fd: operation.entry.fd, events: events, revents: 0))
            polled.append(place)
        }
        guard !polls.isEmpty else { return places }
        Glibc.poll(&polls, UInt(polls.count), 0)
        for (number, place) in polled.enumerated() where polls[number].revents != 0 { places.append(place) }
        return places.sorted()
    }

    /// What an operation waits for on its descriptor; nil: nothing.
    private func awaitedEvents(_ operation: Operation) -> Int16? {
        let entry = operation.entry
        guard entry.fd >= 0 else { return nil }
        switch io_uring_op(UInt32(entry.opcode)) {
        case IORING_OP_ACCEPT: return Int16(POLLIN)
        case IORING_OP_RECV:
            // Without a buffer it ends at once.
            return rings[operation.ring].groups[entry.buf_group]?.isEmpty == true ? nil : Int16(POLLIN)
        case IORING_OP_WRITEV: return Int16(POLLOUT)
        case IORING_OP_POLL_ADD: return Int16(truncatingIfNeeded: entry.poll32_events)
        case IORING_OP_READ: return isRegularFile(entry.fd) ? nil : Int16(POLLIN)
        default: return nil
        }
    }

    /// Performs an operation that can be.
    public func perform(_ place: Int) {
        let operation = pending[place]
        let entry = operation.entry
        var goesOn = false
        switch io_uring_op(UInt32(entry.opcode)) {
        case IORING_OP_ACCEPT: goesOn = accept(operation)
        case IORING_OP_RECV:
            goesOn = receive(operation)
            if goesOn, missesEnd(entry.fd) { pending[place].isAsleep = true }
        case IORING_OP_WRITEV: goesOn = send(operation)
        case IORING_OP_POLL_ADD: goesOn = poll(operation)
        case IORING_OP_READ, IORING_OP_WRITE: transfer(operation)
        case IORING_OP_FSYNC: end(operation, endFlush(operation))
        case IORING_OP_FALLOCATE: end(operation, allocate(entry))
        case IORING_OP_FADVISE: end(operation, fcntl(entry.fd, F_GETFD) < 0 ? -EBADF : 0)
        case IORING_OP_ASYNC_CANCEL:
            pending.remove(at: place)
            return cancel(operation)
        case IORING_OP_MSG_RING: message(operation)
        case IORING_OP_TIMEOUT: end(operation, -ETIME)
        default: end(operation, entry.opcode == UInt8(IORING_OP_NOP.rawValue) ? 0 : -EACCES)
        }
        if !goesOn { pending.remove(at: place) }
    }

    /// Posts the completion of an operation.
    func end(_ operation: Operation, _ result: Int32, flags: UInt32 = 0) {
        post(Completion(userData: operation.entry.user_data, result: result, flags: flags), operation.ring)
        tell?("ring \(operation.ring): \(name(operation.entry)) \(describe(operation.entry.user_data)): \(result)")
    }

    /// Posts a completion with a descriptor as its result, which differs from run to run.
    private func end(_ operation: Operation, descriptor: Int32, flags: UInt32) {
        post(Completion(userData: operation.entry.user_data, result: descriptor, flags: flags), operation.ring)
        tell?("ring \(operation.ring): accepted")
    }

    private func post(_ completion: Completion, _ ring: Int) {
        if !rings[ring].overflow.isEmpty || !rings[ring].queues.post(completion) {
            rings[ring].overflow.append(completion)
            rings[ring].queues.note(hasOverflow: true)
        }
    }

    private func flushOverflow(_ ring: Int) {
        var posted = 0
        while posted < rings[ring].overflow.count, rings[ring].queues.post(rings[ring].overflow[posted]) { posted += 1 }
        guard posted > 0 else { return }
        rings[ring].overflow.removeFirst(posted)
        rings[ring].queues.note(hasOverflow: !rings[ring].overflow.isEmpty)
    }

    private func name(_ entry: io_uring_sqe) -> String {
        let names = [
            IORING_OP_NOP: "NOP", IORING_OP_ACCEPT: "ACCEPT", IORING_OP_RECV: "RECV", IORING_OP_WRITEV: "WRITEV",
            IORING_OP_POLL_ADD: "POLL_ADD", IORING_OP_READ: "READ", IORING_OP_WRITE: "WRITE",
            IORING_OP_FSYNC: "FSYNC", IORING_OP_FALLOCATE: "FALLOCATE", IORING_OP_FADVISE: "FADVISE",
            IORING_OP_ASYNC_CANCEL: "ASYNC_CANCEL", IORING_OP_MSG_RING: "MSG_RING", IORING_OP_TIMEOUT: "TIMEOUT",
        ]
        return names.first { $0.key.rawValue == UInt32(entry.opcode) }?.value ?? "?"
    }

    // MARK: Between operations

    private func accept(_ operation: Operation) -> Bool {
        guard !chance(behaviour.failedAccepts) else {
            end(operation, -EMFILE)
            return false
        }
        let descriptor = Glibc.accept(operation.entry.fd, nil, nil)
        guard descriptor >= 0 else {
            let code = errno
            if code == EAGAIN || code == EINTR { return true }
            end(operation, -code)
            return false
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        end(operation, descriptor: descriptor, flags: UInt32(IORING_CQE_F_MORE))
        return true
    }

    private func message(_ operation: Operation) {
        let entry = operation.entry
        let target = Int(entry.fd - Self.firstDescriptor)
        guard rings.indices.contains(target), !rings[target].isGone else { return end(operation, -EBADF) }
        post(Completion(userData: entry.off, result: Int32(bitPattern: entry.len), flags: 0), target)
        tell?("ring \(target): message \(describe(entry.off))")
        end(operation, 0)
    }

    private func cancel(_ operation: Operation) {
        let entry = operation.entry
        let byDescriptor = entry.cancel_flags & UInt32(IORING_ASYNC_CANCEL_FD) != 0
        var count: Int32 = 0
        for other in pending.indices.reversed() where pending[other].ring == operation.ring {
            let target = pending[other].entry
            let isMeant = byDescriptor ? target.fd == entry.fd : target.user_data == entry.addr
            // A file's operations are with a disk, which does not stop.
            guard isMeant, !isFileOperation(target), byDescriptor || count == 0 else { continue }
            end(pending[other], -ECANCELED)
            pending.remove(at: other)
            count += 1
        }
        end(operation, byDescriptor ? (count > 0 ? count : -ENOENT) : (count > 0 ? 0 : -ENOENT))
    }
}

/// A provided-buffer ring as the kernel sees it.
struct SimulatedGroup {
    private let memory: UnsafeMutableRawPointer
    private let count: UInt16
    private var head: UInt16 = 0

    init(_ registration: io_uring_buf_reg) {
        memory = UnsafeMutableRawPointer(bitPattern: UInt(registration.ring_addr))!
        count = UInt16(registration.ring_entries)
    }

    /// The tail is in the reserved field of the first entry (`struct io_uring_buf_ring`).
    private var tail: UInt16 { memory.load(fromByteOffset: 14, as: UInt16.self) }

    var isEmpty: Bool { head == tail }

    /// The buffer that comes next.
    var first: io_uring_buf {
        memory.load(fromByteOffset: Int(head % count) * MemoryLayout<io_uring_buf>.stride, as: io_uring_buf.self)
    }

    /// It is used.
    mutating func removeFirst() { head &+= 1 }
}
