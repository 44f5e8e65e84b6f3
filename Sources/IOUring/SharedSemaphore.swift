// Waking a thread of this process: sem_init(3).

import Glibc

/// A semaphore that threads share, until ``unmap()``.
@safe
public struct SharedSemaphore: Sendable {
    private let memory: SharedMemory

    /// A semaphore that is zero.
    public init() throws(RingError) {
        memory = try SharedMemory(byteCount: MemoryLayout<sem_t>.size)
        unsafe sem_init(place, 0, 0)
    }

    private var place: UnsafeMutablePointer<sem_t> { unsafe memory.base.assumingMemoryBound(to: sem_t.self) }

    /// Adds one.
    public func post() {
        unsafe sem_post(place)
    }

    /// Waits until there is one, and takes it.
    public func wait() {
        while unsafe sem_wait(place) != 0 {}
    }

    /// Gives the memory back; nobody uses it any more.
    public func unmap() {
        memory.unmap()
    }
}
