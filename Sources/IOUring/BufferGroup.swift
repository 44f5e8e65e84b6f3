// A provided-buffer ring: memory that the kernel fills with received bytes as it pleases. io_uring_register(2),
// IORING_REGISTER_PBUF_RING.

import CLibURing
import Glibc

/// Buffers of one size that a multishot receive takes from; each comes back with ``recycle(_:)``.
///
/// A group that is not refilled ends the receive with `-ENOBUFS`: back-pressure needs nothing else.
/// The memory lives as long as the process: the kernel may write into it until the ring is gone.
@safe public struct BufferGroup: ~Copyable {
    /// The group's number on its ring.
    public let group: UInt16
    /// How many buffers there are; a power of two.
    public let count: UInt16
    /// The size of each in bytes.
    public let byteCount: Int
    private let entries: UnsafeMutablePointer<io_uring_buf_ring>
    private let base: UnsafeMutableRawPointer

    /// Registers `count` buffers of `byteCount` bytes as `group` and hands them all to the kernel.
    public init(ring: borrowing Ring, group: UInt16, count: UInt16, byteCount: Int) throws(RingError) {
        precondition(count > 0 && count & (count - 1) == 0, "a buffer ring's size is a power of two")
        // Buffer rings have to start on a page.
        let entryMemory = try unsafe mapMemory(byteCount: Int(count) * MemoryLayout<io_uring_buf>.stride)
        let bufferMemory = try unsafe mapMemory(byteCount: Int(count) * byteCount)
        var registration = io_uring_buf_reg()
        registration.ring_addr = UInt64(UInt(bitPattern: entryMemory))
        registration.ring_entries = UInt32(count)
        registration.bgid = group
        let result = ring.register(registration)
        guard result == 0 else { throw .registration(errno: -result) }
        self.group = group
        self.count = count
        self.byteCount = byteCount
        unsafe base = bufferMemory
        unsafe entries = entryMemory.bindMemory(to: io_uring_buf_ring.self, capacity: 1)
        unsafe io_uring_buf_ring_init(entries)
        for index in 0..<count { recycle(index) }
    }

    /// The bytes of buffer `index`. The caller promises that nobody uses them for longer than the group is there.
    @unsafe public func bytes(of index: UInt16) -> MemoryRange {
        precondition(index < count, "the group has no such buffer")
        return unsafe MemoryRange(base + Int(index) * byteCount, count: byteCount)
    }

    /// Gives the memory back to the system until the kernel receives again; nothing that matters is in it.
    public func trim() {
        unsafe madvise(base, Int(count) * byteCount, MADV_DONTNEED)
    }

    /// Hands buffer `index` back to the kernel.
    public mutating func recycle(_ index: UInt16) {
        let mask = io_uring_buf_ring_mask(UInt32(count))
        unsafe io_uring_buf_ring_add(entries, bytes(of: index).start, UInt32(byteCount), index, mask, 0)
        unsafe io_uring_buf_ring_advance(entries, 1)
    }
}
