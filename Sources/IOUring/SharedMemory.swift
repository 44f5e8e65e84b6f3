// Mapped memory that all threads use.

/// The start of a mapping that lives as long as the process and never moves, so that its address may go to any thread.
/// Who may touch what in it, and when, is the affair of its users.
@safe
public struct SharedMemory: Sendable {
    /// Where it begins: at a page.
    public nonisolated(unsafe) let base: UnsafeMutableRawPointer

    /// Maps zeroed memory.
    public init(byteCount: Int) throws(RingError) {
        unsafe base = try mapMemory(byteCount: byteCount)
    }
}
