// Mapped memory that all threads use.

import Glibc

/// The start of a mapping that never moves and is there until its owner says otherwise, so that its address may go to
/// any thread. Its users decide which thread may touch which part, and when.
@safe
public struct SharedMemory: Sendable {
    /// Where it begins: at a page.
    public nonisolated(unsafe) let base: UnsafeMutableRawPointer
    private let byteCount: Int

    /// Maps zeroed memory.
    public init(byteCount: Int) throws(RingError) {
        unsafe base = try mapMemory(byteCount: byteCount)
        self.byteCount = byteCount
    }

    /// A mapping that has been made.
    init(mapped memory: UnsafeMutableRawPointer, byteCount: Int) {
        unsafe base = memory
        self.byteCount = byteCount
    }

    /// Gives the memory back; nobody uses it any more.
    public func unmap() {
        unsafe munmap(base, byteCount)
    }
}
