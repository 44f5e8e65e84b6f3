// The places in which jobs go from a loop to its worker and back. Each place has one owner at a time.

import IOUring
import Synchronization

/// Jobs in places that go round. Only the loop gives, takes back and takes away; only the worker takes, and says that a
/// job is done. Each checks the place's state, and touches only its own places.
@safe
struct JobRing: Sendable {
    /// The owner of a place.
    enum State: UInt8, AtomicRepresentable {
        /// The loop's: there is no job.
        case empty
        /// Nobody's yet: the worker may take the job, and the loop may take it back.
        case queued
        /// The worker's.
        case taken
        /// The loop's again.
        case done
        /// The loop's: it has taken the job back, and the worker has to pass the place by.
        case withdrawn
    }

    static let capacity = 256

    private let states: SharedCells<State>
    private let memory: SharedMemory

    init() throws(RingError) {
        // The worker ends a job while the loop gives the next ones: one cache line for several would go to and fro.
        states = try SharedCells(repeating: .empty, count: Self.capacity, areApart: true)
        memory = try SharedMemory(byteCount: Self.capacity * MemoryLayout<FileJob>.stride)
    }

    /// Loop and worker have ended. Jobs that nobody has taken away are forgotten.
    func unmap() {
        states.unmap()
        memory.unmap()
    }

    private func place(_ position: Int) -> UnsafeMutablePointer<FileJob> {
        precondition(position >= 0, "jobs are counted from zero")
        return unsafe memory.base.assumingMemoryBound(to: FileJob.self) + position % Self.capacity
    }

    func state(_ position: Int) -> State {
        states[position % Self.capacity].load(ordering: .acquiring)
    }

    private func set(_ position: Int, to state: State, from former: State) -> Bool {
        states[position % Self.capacity].compareExchange(
            expected: former, desired: state, ordering: .acquiringAndReleasing
        ).exchanged
    }

    /// For the loop: puts a job into a place that is free.
    func give(_ job: consuming FileJob, at position: Int) {
        let state = state(position)
        precondition(state == .empty || state == .withdrawn, "the place still has a job")
        unsafe place(position).initialize(to: job)
        states[position % Self.capacity].store(.queued, ordering: .releasing)
    }

    /// For the loop: takes a job back that the worker has not taken; nil when it has.
    func withdraw(_ position: Int) -> FileJob? {
        guard set(position, to: .withdrawn, from: .queued) else { return nil }
        return unsafe place(position).move()
    }

    /// For the loop: takes a job away that is done.
    func takeAway(_ position: Int) -> FileJob {
        precondition(state(position) == .done, "the job is not done")
        let job = unsafe place(position).move()
        states[position % Self.capacity].store(.empty, ordering: .relaxed)
        return job
    }

    /// For the worker: takes a job, unless the loop has taken it back.
    func take(_ position: Int) -> Bool {
        set(position, to: .taken, from: .queued)
    }

    /// For the worker: works at a job that it has taken.
    func work(at position: Int, _ body: (inout FileJob) -> Void) {
        precondition(state(position) == .taken, "the worker has not taken the job")
        unsafe body(&place(position).pointee)
    }

    /// For the worker: the job is the loop's from here on.
    func finish(_ position: Int) {
        precondition(state(position) == .taken, "the worker has not taken the job")
        states[position % Self.capacity].store(.done, ordering: .releasing)
    }
}
