// What wakes the thread that started a server: signals from outside, and loops that have ended (sigtimedwait(2)).

import Glibc

/// The signals that a server waits for instead of being interrupted by them.
public struct Signals: Sendable {
    /// What a waiting thread is woken with from inside. Whoever sends it from outside wakes it for nothing.
    private static let wakeUp = SIGURG

    private let set: sigset_t
    private let thread: pthread_t
    /// SIGHUP does not end the server.
    private let reloadsOnHangUp: Bool

    /// Keeps SIGTERM, SIGINT, SIGHUP and SIGCHLD for ``next(within:)`` on the calling thread; threads that begin later get
    /// none of them. SIGPIPE and SIGXFSZ reach nobody at all: that a client is gone or a file may not grow is an error of
    /// one operation.
    ///
    /// It belongs at the beginning of a program: a thread that is older would still be ended by them.
    ///
    /// - Parameter reloadsOnHangUp: SIGHUP has the server read its configuration again, and does not end it.
    public init(reloadsOnHangUp: Bool = false) {
        self.reloadsOnHangUp = reloadsOnHangUp
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for number in [SIGTERM, SIGINT, SIGCHLD, Self.wakeUp] { unsafe sigaddset(&set, number) }
        // nohup(1) has it ignored, and so it stays.
        if reloadsOnHangUp || !Self.isIgnored(SIGHUP) { unsafe sigaddset(&set, SIGHUP) }
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
        self.set = set
        thread = pthread_self()
    }

    /// Wakes the thread that waits, from any other.
    func wake() {
        pthread_kill(thread, Self.wakeUp)
    }

    /// Waits for a signal.
    ///
    /// - Returns: nil if there was none within the time, or it says no more than that something has changed.
    func next(within milliseconds: Int? = nil) -> Event? {
        var set = set
        var information = unsafe siginfo_t()
        let number: Int32
        if let milliseconds {
            var interval = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
            number = unsafe sigtimedwait(&set, &information, &interval)
        } else {
            number = unsafe sigwaitinfo(&set, &information)
        }
        switch number {
        case SIGINT where unsafe information.si_code == Self.fromKernel: return .interruptKey
        case SIGHUP where reloadsOnHangUp: return .hangUp
        case SIGTERM, SIGINT, SIGHUP: return .end
        default: return nil
        }
    }

    /// What a signal says.
    enum Event {
        /// The server is to end.
        case end
        /// So is it, but the terminal has told everybody who runs there.
        case interruptKey
        /// The configuration is to be read again.
        case hangUp

        var isEnd: Bool { self != .hangUp }
    }

    /// `SI_KERNEL` (sigaction(2)).
    private static let fromKernel: Int32 = 0x80

    private static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        guard unsafe sigaction(number, nil, &action) == 0 else { return false }
        return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }
}
