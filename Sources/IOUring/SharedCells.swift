// Values that threads change without locks, in memory that never moves.

import Synchronization

/// Atomic values that threads share, until ``unmap()``. Each use checks its index.
@safe
public struct SharedCells<Value: AtomicRepresentable & Sendable>: Sendable {
    @usableFromInline let memory: SharedMemory
    @usableFromInline let stride: Int
    /// How many there are.
    public let count: Int

    /// Cells that all begin with a value.
    ///
    /// - Parameter areApart: different threads write them: no two are on the pair of cache lines that a processor
    ///   fetches together.
    public init(repeating value: Value, count: Int, areApart: Bool) throws(RingError) {
        stride = areApart ? 128 : MemoryLayout<Atomic<Value>>.stride
        precondition(MemoryLayout<Atomic<Value>>.stride <= stride && count > 0, "a cell has its value")
        memory = try SharedMemory(byteCount: count * stride)
        self.count = count
        for number in 0..<count { unsafe cell(number).initialize(to: Atomic(value)) }
    }

    /// Gives the memory back; nobody uses it any more.
    public func unmap() {
        memory.unmap()
    }

    /// A cell.
    @inlinable public subscript(number: Int) -> Atomic<Value> {
        @_transparent unsafeAddress {
            precondition(number >= 0 && number < count, "there is no such cell")
            return unsafe UnsafePointer(cell(number))
        }
    }

    @inlinable func cell(_ number: Int) -> UnsafeMutablePointer<Atomic<Value>> {
        unsafe (memory.base + number * stride).assumingMemoryBound(to: Atomic<Value>.self)
    }
}
