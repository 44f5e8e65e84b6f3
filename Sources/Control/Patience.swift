// How many requests may wait at a time: for a disk, for clients to end, for the moment of a power cut.

import Synchronization

/// Keeps threads free for requests that are answered at once, however long others wait.
final class Patience: Sendable {
    private let limit: Int
    private let aim: String
    private let waiting = Atomic<Int>(0)

    /// So many may wait at a time, for what `aim` names.
    init(limit: Int, for aim: String) {
        self.limit = limit
        self.aim = aim
    }

    /// Answers a request that may wait.
    ///
    /// - Throws: 503 when there are too many; then nothing was done.
    func wait(_ answer: () throws(HTTPFailure) -> HTTPResponse) throws(HTTPFailure) -> HTTPResponse {
        defer { waiting.subtract(1, ordering: .relaxed) }
        guard waiting.add(1, ordering: .relaxed).oldValue < limit else {
            throw HTTPFailure(.serviceUnavailable, "\(limit) requests wait for \(aim) already; try again later")
        }
        return try answer()
    }
}
