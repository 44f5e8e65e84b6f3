// One number of a loop: the loop counts, everybody may read.

import Synchronization

/// A count in memory that a loop shares with those who read it.
///
/// Only its loop changes it, so that counting is a load, an addition and a store, and never the locked operation that
/// several writers would need. Who reads sees a value that was true a moment ago.
@safe
struct CounterCell {
    private let cell: UnsafeMutablePointer<Atomic<UInt64>>

    /// The cell at this place; its memory was zeroed, which is an atomic zero, and outlives it.
    init(_ base: UnsafeMutableRawPointer, _ index: Int) {
        unsafe cell = base.assumingMemoryBound(to: Atomic<UInt64>.self) + index
    }

    /// The count.
    var value: UInt64 {
        unsafe cell.pointee.load(ordering: .relaxed)
    }

    /// Counts; only the cell's loop does.
    func add(_ amount: UInt64 = 1) {
        set(value &+ amount)
    }

    /// Counts down; only the cell's loop does.
    func subtract(_ amount: UInt64) {
        set(value &- amount)
    }

    /// Replaces the count; only the cell's loop does.
    func set(_ amount: UInt64) {
        unsafe cell.pointee.store(amount, ordering: .relaxed)
    }
}

/// The distance between what two loops count: no two share the pair of cache lines that a processor fetches together.
func cellStride(cells: Int) -> Int {
    (cells * MemoryLayout<UInt64>.stride + 127) / 128 * 128
}
