// One io_uring: set up, submit, drain. io_uring_setup(2), io_uring_enter(2).

import CLibURing
import Glibc

/// An io_uring that belongs to the thread which made it.
///
/// Operations are prepared with the methods of the extensions and reach the kernel with ``submitAndWait(_:)``: one
/// system call for everything that was prepared since the last one. Completions are read by index and released as one
/// batch.
@safe public struct Ring: ~Copyable {
    /// liburing keeps pointers into this structure, so that its address has to be stable.
    let pointer: UnsafeMutablePointer<io_uring>
    /// Performs the operations of a scripted ring; nil: the kernel does.
    private let script: (any ScriptedKernel)?
    /// The time as operations with a duration measure it.
    public let clock: MonotonicClock
    /// The traffic through it.
    public private(set) var figures = RingFigures()

    /// Makes a ring for the calling thread.
    ///
    /// - Parameters:
    ///   - entries: how many operations can be prepared between two system calls; a power of two.
    ///   - completions: how many completions the kernel can hold before it keeps them aside; a power of two.
    public init(entries: UInt32, completions: UInt32) throws(RingError) {
        // The property gets its value last: once it has one, `deinit` runs for an error too.
        script = nil
        clock = MonotonicClock()
        unsafe pointer = try setUpRing(entries: entries, completions: completions)
    }

    /// A ring over queues that a script works off.
    init(_ queues: UnsafeMutablePointer<io_uring>, _ script: any ScriptedKernel) {
        unsafe pointer = unsafe queues
        self.script = script
        clock = script.clock
    }

    deinit {
        if let script {
            script.detach(fileDescriptor)
            unsafe deallocateQueues(pointer)
        } else {
            unsafe io_uring_queue_exit(pointer)
        }
        unsafe pointer.deallocate()
    }

    /// A test's script performs its operations.
    public var isScripted: Bool { script != nil }

    /// The ring's file descriptor, for messages from other rings.
    public var fileDescriptor: Int32 {
        unsafe pointer.pointee.ring_fd
    }

    /// Hands everything prepared to the kernel and waits until at least `count` completions are there.
    ///
    /// An interrupted wait is no error; the caller looks at what has completed and comes back.
    public mutating func submitAndWait(_ count: UInt32) throws(RingError) {
        let result: Int32
        if let script {
            result = script.enter(fileDescriptor, waitingFor: count)
        } else if count == 0 {
            // With DEFER_TASKRUN, completions without waiting have to be asked for, too.
            result = unsafe io_uring_submit_and_get_events(pointer)
        } else {
            result = unsafe io_uring_submit_and_wait(pointer, count)
        }
        figures.count(result)
        guard result < 0 else { return }
        switch -result {
        case EINTR, EAGAIN, EBUSY:
            // EBUSY and EAGAIN: the kernel wants completions taken first; the caller does that next.
            return
        default:
            throw .enter(errno: -result)
        }
    }

    /// Lets the kernel have a group of buffers.
    ///
    /// - Returns: 0 or a negative errno.
    func register(_ group: io_uring_buf_reg) -> Int32 {
        if let script { return script.register(group, with: fileDescriptor) }
        var group = group
        return unsafe io_uring_register_buf_ring(pointer, &group, 0)
    }

    /// How many completions can be read now.
    public var completionsReady: UInt32 {
        unsafe io_uring_cq_ready(pointer)
    }

    /// Something has completed that nobody has looked at, also if it had no room in the queue.
    public var hasCompletions: Bool {
        unsafe io_uring_cq_ready(pointer) > 0 || io_uring_cq_has_overflow(pointer)
    }

    /// The completion at `index` of those ready; they stay until ``releaseCompletions(_:)``.
    public func completion(at index: UInt32) -> Completion {
        unsafe precondition(index < io_uring_cq_ready(pointer), "no such completion")
        let queue = unsafe pointer.pointee.cq
        let position = unsafe (queue.khead.pointee &+ index) & queue.ring_mask
        let entry = unsafe queue.cqes + Int(position)
        return unsafe Completion(
            userData: entry.pointee.user_data, result: entry.pointee.res, flags: entry.pointee.flags)
    }

    /// Gives the `count` oldest completions back to the kernel.
    public mutating func releaseCompletions(_ count: UInt32) {
        unsafe io_uring_cq_advance(pointer, count)
    }

    /// A submission entry; submits what is prepared when the queue is full.
    mutating func nextEntry() -> UnsafeMutablePointer<io_uring_sqe> {
        while true {
            if let entry = unsafe io_uring_get_sqe(pointer) { return unsafe entry }
            let result = script?.enter(fileDescriptor, waitingFor: 0) ?? (unsafe io_uring_submit(pointer))
            figures.count(result)
            figures.fullQueues += 1
            precondition(result >= 0 || -result == EINTR || -result == EAGAIN || -result == EBUSY, "submission refused")
        }
    }
}

/// The traffic through a ring since it was made.
public struct RingFigures: Sendable {
    /// Calls of io_uring_enter(2).
    public fileprivate(set) var enters: UInt64 = 0
    /// Operations that the kernel has taken.
    public fileprivate(set) var submissions: UInt64 = 0
    /// How often the submission queue was full before somebody waited.
    public fileprivate(set) var fullQueues: UInt64 = 0

    /// - Parameter result: what the call came to: how many operations were taken, or a negative errno.
    fileprivate mutating func count(_ result: Int32) {
        enters += 1
        submissions += UInt64(max(0, result))
    }
}

/// The kernel's answer about one finished (or, for a multishot operation, continuing) operation.
public struct Completion: Equatable, Sendable {
    /// The value the operation was prepared with.
    public var userData: UInt64
    /// The system call's return value, or a negative errno.
    public var result: Int32
    /// `IORING_CQE_F_*`.
    public var flags: UInt32

    /// A completion as the kernel would post it.
    public init(userData: UInt64, result: Int32, flags: UInt32) {
        self.userData = userData
        self.result = result
        self.flags = flags
    }

    /// The multishot operation goes on; without it the operation has to be prepared anew.
    public var hasMore: Bool {
        flags & UInt32(IORING_CQE_F_MORE) != 0
    }

    /// The provided buffer that holds the data, if there is one.
    public var buffer: UInt16? {
        flags & UInt32(IORING_CQE_F_BUFFER) == 0
            ? nil : UInt16(truncatingIfNeeded: flags >> UInt32(IORING_CQE_BUFFER_SHIFT))
    }
}

/// Makes a ring; if something fails, it gives back all that has been made.
private func setUpRing(entries: UInt32, completions: UInt32) throws(RingError) -> UnsafeMutablePointer<io_uring> {
    let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
    unsafe ring.initialize(to: io_uring())
    var parameters = io_uring_params()
    // SINGLE_ISSUER and DEFER_TASKRUN: completions are worked off when this thread asks for them, never by an interrupt
    // of what it is doing. COOP and the like are implied.
    parameters.flags = UInt32(IORING_SETUP_SINGLE_ISSUER) | UInt32(IORING_SETUP_DEFER_TASKRUN)
    // R_DISABLED: until it is said what may be done with the ring.
    parameters.flags |= UInt32(IORING_SETUP_CQSIZE) | UInt32(IORING_SETUP_CLAMP) | UInt32(IORING_SETUP_R_DISABLED)
    parameters.cq_entries = completions
    let result = unsafe io_uring_queue_init_params(entries, ring, &parameters)
    guard result == 0 else {
        unsafe ring.deallocate()
        throw .setup(errno: -result, disabled: disabledSetting())
    }
    do throws(RingError) {
        // The registered descriptor saves the kernel a look-up on every io_uring_enter.
        let registered = unsafe io_uring_register_ring_fd(ring)
        guard registered == 1 else { throw .registration(errno: -registered) }
        let missing = unsafe missingOperations(ring)
        guard missing.isEmpty else { throw .operationsMissing(missing) }
        try unsafe Restrictions.enable(ring)
    } catch {
        unsafe io_uring_queue_exit(ring)
        unsafe ring.deallocate()
        throw error
    }
    return unsafe ring
}

/// The operations Spindle submits, by the names io_uring_enter(2) gives them, that this kernel does not know.
private func missingOperations(_ ring: UnsafeMutablePointer<io_uring>) -> [String] {
    guard let probe = unsafe io_uring_get_probe_ring(ring) else { return ["IORING_REGISTER_PROBE"] }
    defer { unsafe io_uring_free_probe(probe) }
    return Restrictions.operations.filter { unsafe io_uring_opcode_supported(probe, Int32($0.operation.rawValue)) == 0 }
        .map(\.name)
}

/// The value of the sysctl `kernel.io_uring_disabled`; 0 where it does not exist or cannot be read.
private func disabledSetting() -> Int {
    let descriptor = unsafe open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return 0 }
    defer { close(descriptor) }
    var digit: UInt8 = 0
    guard unsafe read(descriptor, &digit, 1) == 1, digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") else {
        return 0
    }
    return Int(digit - UInt8(ascii: "0"))
}
