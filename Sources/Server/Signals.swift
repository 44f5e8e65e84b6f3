// Signals for the thread that started a server: from outside, and from loops that have ended (sigtimedwait(2)).

import Glibc

/// The signals that a server waits for instead of being interrupted by them.
public struct Signals: Sendable {
    /// Wakes a waiting thread from inside. One from outside wakes it for nothing.
    private static let wakeUp = SIGURG

    private let set: SignalSet
    private let thread: pthread_t
    /// SIGHUP does not end the server.
    private let reloadsOnHangUp: Bool

    /// Keeps SIGTERM, SIGINT, SIGHUP and SIGCHLD for ``next(within:)`` on the calling thread; threads that begin later
    /// get none of them. SIGPIPE and SIGXFSZ reach nobody at all: that a client is gone or a file may not grow is an
    /// error of one operation.
    ///
    /// It belongs at the beginning of a program: a thread that is older would still be ended by them.
    ///
    /// - Parameter reloadsOnHangUp: SIGHUP has the server read its configuration again, and does not end it.
    public init(reloadsOnHangUp: Bool = false) {
        self.reloadsOnHangUp = reloadsOnHangUp
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        var set = SignalSet([SIGTERM, SIGINT, SIGCHLD, Self.wakeUp])
        // nohup(1) has it ignored, and so it stays.
        if reloadsOnHangUp || !Self.isIgnored(SIGHUP) { set.insert(SIGHUP) }
        set.block()
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
        let (number, isFromKernel) = set.wait(milliseconds: milliseconds)
        switch number {
        case SIGINT: return isFromKernel ? .interruptKey : .interrupt
        case SIGHUP where reloadsOnHangUp: return .hangUp
        case SIGTERM, SIGHUP: return .end
        default: return nil
        }
    }

    /// The meaning of a signal.
    enum Event {
        /// The server is to end.
        case end
        /// So is it: somebody has sent SIGINT.
        case interrupt
        /// So is it, but the terminal has told everybody who runs there.
        case interruptKey
        /// The configuration is to be read again.
        case hangUp
    }

    private static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        guard unsafe sigaction(number, nil, &action) == 0 else { return false }
        return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }
}
