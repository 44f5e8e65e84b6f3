// Sets of signals: sigsetops(3).

import Glibc

/// Some signals, as the system calls take them.
struct SignalSet: Sendable {
    private(set) var set = sigset_t()

    init(_ signals: [Int32] = []) {
        unsafe sigemptyset(&set)
        for signal in signals { insert(signal) }
    }

    mutating func insert(_ signal: Int32) {
        unsafe sigaddset(&set, signal)
    }

    /// Keeps them from the calling thread, and from threads that it begins.
    func block() {
        var set = set
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// Waits for one of them, for so long or for ever.
    ///
    /// - Returns: its number and whether it is from the kernel; -1 when none came.
    func wait(milliseconds: Int?) -> (number: Int32, isFromKernel: Bool) {
        var set = set
        var information = unsafe siginfo_t()
        let number: Int32
        if let milliseconds {
            var interval = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
            number = unsafe sigtimedwait(&set, &information, &interval)
        } else {
            number = unsafe sigwaitinfo(&set, &information)
        }
        let isFromKernel = unsafe information.si_code == Self.fromKernel
        return (number, number > 0 && isFromKernel)
    }

    /// `SI_KERNEL` (sigaction(2)).
    private static let fromKernel: Int32 = 0x80
}
