// Threads, without the libraries that would bring their own: pthread_create(3), sem_init(3).

import Glibc
import IOUring
import Synchronization

/// Runs `body` on a new thread.
public func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t {
    let box = unsafe Unmanaged.passRetained(ThreadBody(body)).toOpaque()
    var thread = pthread_t()
    let result = unsafe pthread_create(
        &thread, nil,
        { argument in
            guard let argument = unsafe argument else { return nil }
            unsafe Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().body()
            return nil
        }, box)
    precondition(result == 0, "a thread could not be started: \(errorText(result))")
    return thread
}

private final class ThreadBody: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) {
        self.body = body
    }
}

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
