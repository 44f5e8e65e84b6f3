// Threads, without the libraries that would bring their own: pthread_create(3), sem_init(3).

import Glibc
import IOUring
import Synchronization

/// Runs `body` on a new thread.
func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t {
    var thread = pthread_t()
    let result = createThread(&thread, body)
    precondition(result == 0, "a thread could not be started: \(errorText(result))")
    return thread
}

/// Runs `body` on a new thread that nobody waits for.
///
/// - Returns: false when there can be no thread now.
public func startDetachedThread(_ body: @escaping @Sendable () -> Void) -> Bool {
    var thread = pthread_t()
    guard createThread(&thread, body) == 0 else { return false }
    pthread_detach(thread)
    return true
}

private func createThread(_ thread: inout pthread_t, _ body: @escaping @Sendable () -> Void) -> Int32 {
    let box = unsafe Unmanaged.passRetained(ThreadBody(body)).toOpaque()
    let result = unsafe pthread_create(
        &thread, nil,
        { argument in
            guard let argument = unsafe argument else { return nil }
            unsafe Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().body()
            return nil
        }, box)
    if result != 0 { unsafe Unmanaged<ThreadBody>.fromOpaque(box).release() }
    return result
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
