// Looking for completions for a while before sleeping, when they are about to come.

/// Says how long a loop looks for completions before it sleeps, from how long it has waited the last times.
///
/// A client that asks for one thing at a time pays for two wake-ups a request: that may take longer than all the rest,
/// on a virtual processor ten times as long. A loop that looks is not asleep. It only does so when the last waits were
/// short, so that it is busy anyway, and stops at the first long one.
struct BusyPolling {
    /// Nobody looks for longer.
    static let limitNanoseconds: UInt64 = 100_000
    /// A long wait counts as one of this length, after which it takes a few short ones.
    private static let longestNanoseconds: UInt64 = 1_000_000
    /// A wait counts for an eighth part of what is remembered.
    private static let shareBits: UInt64 = 3

    private var averageNanoseconds = longestNanoseconds

    /// Looking is worthwhile.
    var expectsSoon: Bool { averageNanoseconds < Self.limitNanoseconds }

    /// A wait is over.
    mutating func learn(nanoseconds: UInt64) {
        averageNanoseconds -= averageNanoseconds >> Self.shareBits
        averageNanoseconds += min(nanoseconds, Self.longestNanoseconds) >> Self.shareBits
    }
}
