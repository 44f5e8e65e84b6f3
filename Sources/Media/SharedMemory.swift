// Mapped memory that all loops use.

import IOUring

/// The start of a mapping that lives as long as the process and never moves, so that its address may go to any thread.
/// What is in it is the users' affair: see ``MemoryImage`` and ``RawFile``.
@safe
struct SharedMemory: Sendable {
    nonisolated(unsafe) let base: UnsafeMutableRawPointer

    /// Maps zeroed memory.
    init(byteCount: Int) throws(RingError) {
        unsafe base = try mapMemory(byteCount: byteCount)
    }
}
