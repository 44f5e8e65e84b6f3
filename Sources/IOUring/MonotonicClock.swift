// A clock that only goes forward: clock_gettime(2), CLOCK_MONOTONIC. A test can turn one itself.

import Glibc

/// Nanoseconds since a moment that nobody knows.
public struct MonotonicClock: Sendable {
    /// Where a clock that is turned has its time.
    private let turned: SharedMemory?

    /// The system's, which costs no system call.
    public init() {
        turned = nil
    }

    /// A clock that says what the first eight bytes of some memory say.
    public init(turnedIn memory: SharedMemory) {
        turned = memory
    }

    /// The time.
    public func now() -> UInt64 {
        if let turned { return unsafe turned.base.load(as: UInt64.self) }
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(bitPattern: Int64(time.tv_sec &* 1_000_000_000 &+ time.tv_nsec))
    }
}
