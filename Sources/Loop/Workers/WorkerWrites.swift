// Writes to the page cache: by the loop's own worker (FileWorker), or by workers of io_uring.

/// Says who does an export's next write, from how long the last ones took.
///
/// A file system that cannot write without waiting, as ext4, has io_uring hand each write to a thread of its own: two
/// context switches for what is a copy of a few kilobytes into the page cache. The loop's worker is woken once for many
/// writes. But it does one after the other, and a write may have to wait, for a journal or because too much is dirty:
/// so after one that was slow, the export's next ones go to the ring, and more of them each time, so that other
/// exports' writes do not wait.
struct WorkerWrites {
    /// Larger ones are worth a thread of io_uring in any case.
    static let largestBytes: UInt64 = 32 << 10
    /// A quick write takes a few microseconds, the largest that comes through a pipe a tenth of a millisecond.
    static let slowNanoseconds: UInt64 = 5_000_000
    static let firstPenalty = 64
    static let largestPenalty = 8192

    /// So many go to the ring first.
    private var toSkip = 0
    private var penalty = firstPenalty

    /// Whether the worker is given the next one.
    mutating func mayGoToWorker() -> Bool {
        guard toSkip > 0 else { return true }
        toSkip -= 1
        return false
    }

    /// The worker has done one.
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
