// Telling a thread that something has happened: eventfd(2).

import CLibURing
import Glibc

/// A counter in the kernel: threads add to it, one that reads it waits until there is something to take.
///
/// It is a descriptor, which ``close()`` closes when nobody uses it any more.
public struct EventCounter: Sendable {
    /// For ``Ring/read(_:into:count:offset:userData:)`` of 8 bytes.
    public let descriptor: Int32

    /// Makes a counter that is zero.
    public init() throws(RingError) {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC))
        guard descriptor >= 0 else { throw .descriptor(errno: errno) }
    }

    /// Adds one.
    public func signal() {
        var one: UInt64 = 1
        // It fails only at 2^64 - 1.
        _ = unsafe write(descriptor, &one, MemoryLayout<UInt64>.size)
    }

    /// Waits until the counter is above zero, and takes all of it.
    ///
    /// - Returns: whether that was so within `seconds`; nil waits for ever.
    @discardableResult
    public func wait(seconds: Int? = nil) -> Bool {
        var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let timeout = seconds.map { Int32(clamping: $0 &* 1000) } ?? -1
        var result = unsafe poll(&poller, 1, timeout)
        while result < 0 && errno == EINTR { result = unsafe poll(&poller, 1, timeout) }
        guard result == 1 else { return false }
        var count: UInt64 = 0
        return unsafe read(descriptor, &count, MemoryLayout<UInt64>.size) == MemoryLayout<UInt64>.size
    }

    /// Closes the descriptor.
    public func close() {
        Glibc.close(descriptor)
    }
}
