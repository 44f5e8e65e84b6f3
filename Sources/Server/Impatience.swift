// When a stopping server stops at once: a person presses Ctrl-C again. Programs that stop servers repeat SIGTERM within
// microseconds (timeout(1) signals its child and then the group), and in the end send SIGKILL.

/// Tells a person who has waited long enough from a program that repeats itself.
struct Impatience {
    /// A person who presses a key again because nothing seems to happen has waited for so long.
    static let wait = Duration.seconds(1)
    private var first: ContinuousClock.Instant?

    /// Takes note of a signal that ends the server, or comes while it ends.
    ///
    /// - Returns: it is a second SIGINT, and the first came long enough before: somebody does not want to wait.
    mutating func isShown(by event: Signals.Event?, at now: ContinuousClock.Instant = .now) -> Bool {
        guard event == .interrupt || event == .interruptKey else { return false }
        guard let first else {
            self.first = now
            return false
        }
        return now - first >= Self.wait
    }
}
