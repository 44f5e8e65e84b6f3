// Waking a loop that sleeps: only where it does.

import IOUring
import Synchronization

/// Wakes a loop that sleeps while its workers work.
struct LoopBell: Sendable {
    private let flags: SharedCells<Bool>
    /// The loop keeps a read of it in its ring.
    let arrivals: EventCounter

    init() throws(RingError) {
        flags = try SharedCells(repeating: false, count: 1, areApart: true)
        arrivals = try EventCounter()
    }

    /// The loop is about to sleep; after this it looks once more for what is done.
    func expect() {
        flags[0].store(true, ordering: .relaxed)
        // Pairs with the fence in ring(): the loop sees what is done, or the worker sees that the loop is about to
        // sleep.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    /// The loop is awake.
    func ignore() {
        flags[0].store(false, ordering: .relaxed)
    }

    /// Something is done: wakes the loop if it sleeps.
    func ring() {
        // Finished jobs are stored before this asks whether the loop sleeps.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        guard flags[0].load(ordering: .relaxed), flags[0].exchange(false, ordering: .relaxed) else { return }
        arrivals.signal()
    }
}
