// Tables whose elements stay where they are, in memory of a fixed size.

import Glibc
import IOUring

/// Elements by typed indices: a place is made use of, used, and free again.
///
/// The memory is mapped: a place that was never used costs nothing. Each use checks the index against the table's
/// bounds; only debug builds check that the place is in use, too.
@safe
struct SlotTable<Index: SlotIndex, Element: ~Copyable>: ~Copyable {
    let capacity: Int
    private let base: UnsafeMutablePointer<Element>
    /// A bit for each place that is in use.
    private var used: FixedList<UInt64>

    init(capacity: Int) throws(RingError) {
        self.capacity = capacity
        used = FixedList(repeating: 0, count: (capacity + 63) / 64)
        let memory = try unsafe mapMemory(byteCount: Self.byteCount(capacity))
        unsafe base = memory.bindMemory(to: Element.self, capacity: capacity)
    }

    deinit {
        for number in 0..<capacity where contains(Index(number)) { unsafe (base + number).deinitialize(count: 1) }
        unsafe munmap(base, Self.byteCount(capacity))
    }

    private static func byteCount(_ capacity: Int) -> Int { max(1, capacity * MemoryLayout<Element>.stride) }

    /// The element of a place that is in use.
    subscript(index: Index) -> Element {
        @_transparent unsafeAddress {
            check(index)
            return unsafe UnsafePointer(base + index.number)
        }
        @_transparent unsafeMutableAddress {
            check(index)
            return unsafe base + index.number
        }
    }

    @_transparent private func check(_ index: Index) {
        precondition(index.number < capacity, "the table has no such place")
        assert(contains(index), "nothing is in this place")
    }

    /// Whether a place is in use.
    func contains(_ index: Index) -> Bool {
        precondition(index.number < capacity, "the table has no such place")
        return used[index.number / 64] & (1 << UInt64(index.number % 64)) != 0
    }

    /// Reads and writes the word apart: `|=` through a constant pointer of a noncopyable type ends the compiler when it
    /// builds for Thread Sanitizer (swiftlang/swift, issue 86265).
    private mutating func mark(_ index: Index, used isUsed: Bool) {
        let bit: UInt64 = 1 << UInt64(index.number % 64)
        let word = used[index.number / 64]
        used[index.number / 64] = isUsed ? word | bit : word & ~bit
    }

    /// Puts an element into a free place.
    @inline(__always)  // so that it is made there, and not copied
    mutating func insert(_ element: consuming Element, at index: Index) {
        precondition(!contains(index), "the place is taken")
        mark(index, used: true)
        unsafe (base + index.number).initialize(to: element)
    }

    /// Takes the element out of a place, which is free then.
    @discardableResult
    mutating func remove(at index: Index) -> Element {
        precondition(contains(index), "nothing is in this place")
        mark(index, used: false)
        return unsafe (base + index.number).move()
    }

    /// Gives the memory of free places back to the system, as far as it is whole pages.
    mutating func trim(_ first: Index, count: Int) {
        precondition(first.number + count <= capacity, "the table has no such places")
        for number in first.number..<first.number + count {
            precondition(!contains(Index(number)), "memory in use is not given back")
        }
        unsafe trimMemory(base + first.number, byteCount: count * MemoryLayout<Element>.stride)
    }
}
