// Small writes to the page cache: by the loop's own thread, or by workers of io_uring.

/// Says who does the next small write, from how long the last ones took.
///
/// A file system that cannot write without waiting, as ext4, has io_uring hand each write to a worker thread: two context
/// switches for what is a copy of a few kilobytes into the page cache. So the loop does it at once. But a write may also wait,
/// for a journal or because too much is dirty, and then all clients of the loop would wait with it: so after one that was
/// slow, the next go to workers, and more of them each time.
struct SmallWrites {
    /// Larger ones are worth a worker in any case.
    static let largestBytes: UInt64 = 32 << 10
    /// A quick write takes a few microseconds.
    static let slowNanoseconds: UInt64 = 250_000
    /// A quick write of the largest that come through a pipe takes a tenth of a millisecond.
    static let slowPipedNanoseconds: UInt64 = 2_000_000
    private let limitNanoseconds: UInt64
    static let firstPenalty = 64
    static let largestPenalty = 8192
    /// While the loop writes on, its client can do something with so many replies.
    private static let writesPerSend = 10

    /// So many go to workers first.
    private var toSkip = 0
    private var penalty = firstPenalty
    private var unsent = 0

    /// Writes that are slow when they take longer.
    init(slowNanoseconds: UInt64 = slowNanoseconds) {
        limitNanoseconds = slowNanoseconds
    }

    /// The loop does the next one.
    var areQuick: Bool { toSkip == 0 }

    /// Replies to so many were held back that they should be sent, before the next is done.
    var areWorthSending: Bool { unsent >= Self.writesPerSend }

    /// A worker got one.
    mutating func skip() {
        toSkip -= 1
    }

    /// The loop has done one.
    mutating func learn(nanoseconds: UInt64) {
        unsent += 1
        if nanoseconds > limitNanoseconds {
            toSkip = penalty
            penalty = min(2 * penalty, Self.largestPenalty)
        } else if penalty > Self.firstPenalty {
            // As many quick ones as it has cost make up for a slow one.
            penalty -= 1
        }
    }

    /// Replies are being sent.
    mutating func noteSend() {
        unsent = 0
    }
}
