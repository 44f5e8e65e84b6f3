// Small writes to the page cache: by the loop's own thread, or by workers of io_uring.

/// Says who does the next small write, from what was asked for before and how long it took.
///
/// A file system that cannot write without waiting, as ext4, has io_uring hand each write to a worker thread: two context
/// switches for what is a copy of a few kilobytes into the page cache. That pays only for a stream of writes, if a
/// processor has nothing else to do: the worker copies while the loop receives. Otherwise the loop does it at once. But a
/// write may also wait, for a journal or because too much is dirty, and then all clients of the loop would wait with it: so
/// after one that was slow, the next go to workers, and more of them each time.
struct SmallWrites {
    /// Larger ones are worth a worker in any case.
    static let largestBytes: UInt64 = 32 << 10
    /// A quick write takes a few microseconds.
    static let slowNanoseconds: UInt64 = 250_000
    static let firstPenalty = 64
    static let largestPenalty = 8192
    /// So many requests of a client under way make a stream.
    private static let streamDepth = 8
    /// Shares are in parts of this; a request counts for a 32nd part of what is remembered.
    private static let wholeShare = 1 << 16

    /// The share that writes have of the last requests, more or less.
    private var share = 0
    /// So many go to workers first.
    private var toSkip = 0
    private var penalty = firstPenalty

    /// A request begins.
    mutating func count(isWrite: Bool) {
        share += ((isWrite ? Self.wholeShare : 0) - share) >> 5
    }

    /// Whether the loop does the next small write. `depth` is how many requests its client has under way.
    mutating func mayBegin(depth: Int, hasIdleProcessor: Bool) -> Bool {
        if hasIdleProcessor, depth >= Self.streamDepth, share > Self.wholeShare * 3 / 4 { return false }
        guard toSkip > 0 else { return true }
        toSkip -= 1
        return false
    }

    /// The loop has done one.
    mutating func learn(nanoseconds: UInt64) {
        if nanoseconds > Self.slowNanoseconds {
            toSkip = penalty
            penalty = min(2 * penalty, Self.largestPenalty)
        } else if penalty > Self.firstPenalty {
            // As many quick ones as it has cost make up for a slow one.
            penalty -= 1
        }
    }
}
