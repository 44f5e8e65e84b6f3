// How the start of a loop's thread went.

import Glibc
import IOUring
import Synchronization

/// Tells a thread's starter how the start went, once.
final class Startup: Sendable {
    private let outcome = Mutex<RingError??>(nil)

    /// The start has succeeded, or failed.
    ///
    /// - Returns: false when this was known before; only the first call counts.
    @discardableResult
    func signal(_ error: RingError?) -> Bool {
        outcome.withLock {
            guard $0 == nil else { return false }
            $0 = .some(error)
            return true
        }
    }

    /// Waits for ``signal(_:)``.
    func wait() -> RingError? {
        while true {
            if let error = outcome.withLock({ $0 }) { return error }
            usleep(100)
        }
    }
}
