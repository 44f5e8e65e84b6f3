// A thread that waits, and no signal reaches.

import Glibc
import Threads

/// Runs `body` on a new thread that no signal reaches.
///
/// - Returns: false when there can be no thread now.
func startWaitingThread(_ body: @escaping @Sendable () -> Void) -> Bool {
    var all = sigset_t()
    var before = sigset_t()
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
    return startDetachedThread(body)
}

/// Sleeps, not at all if the time has passed.
func sleepMilliseconds(_ milliseconds: Int) {
    guard milliseconds > 0 else { return }
    var time = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
    unsafe nanosleep(&time, nil)
}
