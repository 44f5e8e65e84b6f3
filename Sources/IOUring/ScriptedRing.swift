// A ring without io_uring behind it, for tests: the queues are ordinary memory, and a script does what is submitted.

import CLibURing
import Glibc

/// The kernel's stand-in behind scripted rings. It performs operations, and posts their completions, when
/// its script says so; all in one thread.
public protocol ScriptedKernel: AnyObject {
    /// The clock that all of its rings have.
    var clock: MonotonicClock { get }

    /// Takes in a new ring.
    ///
    /// - Returns: what stands for the ring's descriptor.
    func attach(_ queues: ScriptedQueues) -> Int32

    /// The ring is gone, and its queues with it.
    func detach(_ ring: Int32)

    /// io_uring_enter(2): takes what was prepared. It does not wait: `count` says how many completions the caller would
    /// sleep for.
    ///
    /// - Returns: how many operations were taken, or a negative errno.
    func enter(_ ring: Int32, waitingFor count: UInt32) -> Int32

    /// `IORING_REGISTER_PBUF_RING`.
    ///
    /// - Returns: 0 or a negative errno.
    func register(_ group: io_uring_buf_reg, with ring: Int32) -> Int32
}

/// The queues of a scripted ring, as the kernel's side sees them.
@safe public struct ScriptedQueues {
    private let ring: UnsafeMutablePointer<io_uring>

    fileprivate init(_ ring: UnsafeMutablePointer<io_uring>) {
        unsafe self.ring = unsafe ring
    }

    /// Takes all operations that were prepared, the oldest first.
    public func takeSubmissions() -> [io_uring_sqe] {
        var taken: [io_uring_sqe] = []
        while unsafe ring.pointee.sq.sqe_head != ring.pointee.sq.sqe_tail {
            taken.append(unsafe ring.pointee.sq.sqes[Int(ring.pointee.sq.sqe_head & ring.pointee.sq.ring_mask)])
            unsafe ring.pointee.sq.sqe_head &+= 1
        }
        unsafe ring.pointee.sq.khead.pointee = unsafe ring.pointee.sq.sqe_head
        return taken
    }

    /// Posts a completion.
    ///
    /// - Returns: false when the queue is full.
    public func post(_ completion: Completion) -> Bool {
        let queue = unsafe ring.pointee.cq
        let tail = unsafe queue.ktail.pointee
        guard unsafe tail &- queue.khead.pointee < queue.ring_entries else { return false }
        let entry = unsafe queue.cqes + Int(tail & queue.ring_mask)
        unsafe entry.pointee.user_data = completion.userData
        unsafe entry.pointee.res = completion.result
        unsafe entry.pointee.flags = completion.flags
        unsafe queue.ktail.pointee = tail &+ 1
        return true
    }

    /// How many completions nobody has taken.
    public var completionsReady: UInt32 { unsafe io_uring_cq_ready(ring) }

    /// Says whether completions are kept aside for which the queue had no room.
    public func note(hasOverflow: Bool) {
        unsafe ring.pointee.sq.kflags.pointee = hasOverflow ? UInt32(IORING_SQ_CQ_OVERFLOW) : 0
    }
}

extension Ring {
    /// Makes a ring whose operations a script performs.
    public init(entries: UInt32, completions: UInt32, kernel: any ScriptedKernel) {
        precondition(
            entries.nonzeroBitCount == 1 && completions.nonzeroBitCount == 1, "a queue's size is a power of two")
        let queues = unsafe allocateQueues(entries: entries, completions: completions)
        unsafe self.init(queues, kernel)
        unsafe pointer.pointee.ring_fd = kernel.attach(ScriptedQueues(pointer))
    }
}

/// The numbers that both sides of a ring's queues share, in the order of their addresses.
private enum SharedNumber: Int, CaseIterable {
    case submissionHead, submissionTail, submissionFlags, completionHead, completionTail
}

/// Queues in memory, for those of liburing's functions that only look at queues.
private func allocateQueues(entries: UInt32, completions: UInt32) -> UnsafeMutablePointer<io_uring> {
    let numbers = UnsafeMutablePointer<UInt32>.allocate(capacity: SharedNumber.allCases.count)
    unsafe numbers.initialize(repeating: 0, count: SharedNumber.allCases.count)
    let submissions = UnsafeMutablePointer<io_uring_sqe>.allocate(capacity: Int(entries))
    unsafe submissions.initialize(repeating: io_uring_sqe(), count: Int(entries))
    let ends = UnsafeMutablePointer<io_uring_cqe>.allocate(capacity: Int(completions))
    unsafe ends.initialize(repeating: io_uring_cqe(), count: Int(completions))
    let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
    unsafe ring.initialize(to: io_uring())
    unsafe ring.pointee.sq.khead = numbers + SharedNumber.submissionHead.rawValue
    unsafe ring.pointee.sq.ktail = numbers + SharedNumber.submissionTail.rawValue
    unsafe ring.pointee.sq.kflags = numbers + SharedNumber.submissionFlags.rawValue
    unsafe ring.pointee.sq.sqes = unsafe submissions
    unsafe ring.pointee.sq.ring_entries = entries
    unsafe ring.pointee.sq.ring_mask = entries - 1
    unsafe ring.pointee.cq.khead = numbers + SharedNumber.completionHead.rawValue
    unsafe ring.pointee.cq.ktail = numbers + SharedNumber.completionTail.rawValue
    unsafe ring.pointee.cq.cqes = unsafe ends
    unsafe ring.pointee.cq.ring_entries = completions
    unsafe ring.pointee.cq.ring_mask = completions - 1
    return unsafe ring
}

/// Gives back what ``allocateQueues(entries:completions:)`` has made, but for the structure itself.
func deallocateQueues(_ ring: UnsafeMutablePointer<io_uring>) {
    unsafe ring.pointee.sq.khead.deallocate()
    unsafe ring.pointee.sq.sqes.deallocate()
    unsafe ring.pointee.cq.cqes.deallocate()
}
