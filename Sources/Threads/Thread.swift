// Threads, without the libraries that would bring their own: pthread_create(3).

import Glibc

/// Runs `body` on a new thread. There has to be one: a server cannot begin without it.
///
/// - Returns: the thread, which is to be joined or detached.
public func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t {
    var thread = pthread_t()
    let result = createThread(&thread, body)
    precondition(result == 0, "a thread could not be started: error \(result)")
    return thread
}

/// Runs `body` on a new thread, which is to be joined or detached.
///
/// - Returns: nil when there can be no thread now.
public func startThreadIfPossible(_ body: @escaping @Sendable () -> Void) -> pthread_t? {
    var thread = pthread_t()
    return createThread(&thread, body) == 0 ? thread : nil
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
