// One number of a loop: the loop counts, everybody may read.

import IOUring
import Synchronization

/// A count in memory that a loop shares with those who read it.
///
/// Only its loop changes it, so that counting is a load, an addition and a store, and never the locked operation that
/// several writers would need. A reader sees a value that was true a moment ago.
@safe
public struct CounterCell {
    @usableFromInline let cell: UnsafeMutablePointer<Atomic<UInt64>>

    @inlinable init(_ cell: UnsafeMutablePointer<Atomic<UInt64>>) {
        unsafe self.cell = unsafe cell
    }

    /// The count.
    @inlinable public var value: UInt64 {
        unsafe cell.pointee.load(ordering: .relaxed)
    }

    /// Counts; only the cell's loop does.
    @inlinable public func add(_ amount: UInt64 = 1) {
        set(value &+ amount)
    }

    /// Counts down; only the cell's loop does.
    @inlinable public func subtract(_ amount: UInt64) {
        set(value &- amount)
    }

    /// Replaces the count; only the cell's loop does.
    @inlinable public func set(_ amount: UInt64) {
        unsafe cell.pointee.store(amount, ordering: .relaxed)
    }
}

/// The cells of one loop, to be used for no longer than the table that they are from.
@safe
@usableFromInline struct CellRow {
    @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt64>>
    @usableFromInline let count: Int

    fileprivate init(_ base: UnsafeMutablePointer<Atomic<UInt64>>, _ count: Int) {
        unsafe self.base = unsafe base
        self.count = count
    }

    @inlinable subscript(number: Int) -> CounterCell {
        precondition(number >= 0 && number < count, "the row has no such cell")
        return unsafe CounterCell(base + number)
    }
}

/// A row of cells for each loop. No two rows share the pair of cache lines that a processor fetches together.
struct CellTable: Sendable {
    private let memory: SharedMemory
    private let rowCount: Int
    private let cellCount: Int
    private let rowBytes: Int

    /// All cells are zero: zeroed memory is an atomic zero.
    init(rows: Int, cells: Int) throws(RingError) {
        rowCount = rows
        cellCount = cells
        rowBytes = (cells * MemoryLayout<Atomic<UInt64>>.stride + 127) / 128 * 128
        memory = try SharedMemory(byteCount: rows * rowBytes)
    }

    /// Gives the memory back; nobody counts or reads any more.
    func unmap() {
        memory.unmap()
    }

    subscript(row: Int) -> CellRow {
        precondition(row >= 0 && row < rowCount, "there is no such loop")
        return unsafe CellRow(
            (memory.base + row * rowBytes).assumingMemoryBound(to: Atomic<UInt64>.self), cellCount)
    }
}
