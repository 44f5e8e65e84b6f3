// Removed exports: their images are made stable and closed, when their last client has gone.

import Loop
import Synchronization
import Threads

/// Exports that are being closed, each by a thread of its own, so that an image whose file system does not answer keeps
/// no other one waiting.
final class Closings: Sendable {
    /// When as many file systems do not answer, the next exports wait.
    private static let threadLimit = 32

    private let state = Mutex(State())

    private struct State {
        var waiting: [ExportEntry] = []
        var underWay: [ExportEntry] = []
        var threadCount = 0
    }

    /// Those that are not closed yet.
    var remaining: [ExportEntry] { state.withLock { $0.underWay + $0.waiting } }

    /// Begins with the exports that have ended.
    func begin(_ shared: ServerState) {
        let threadCount = state.withLock { state in
            // Under the lock, so that each is either among the server's exports or here.
            state.waiting += shared.exports.takeEnded()
            let count = min(state.waiting.count, Self.threadLimit - state.threadCount)
            state.threadCount += count
            return count
        }
        for _ in 0..<threadCount where !startDetachedThread({ self.closeAll(shared) }) { closeAll(shared) }
    }

    private func closeAll(_ shared: ServerState) {
        while let entry = next() {
            entry.end(shared.loops.logger)
            shared.note(endOf: entry)
            shared.exports.forget(entry)
            state.withLock { $0.underWay.removeAll { $0 === entry } }
        }
    }

    /// - Returns: nil when a thread has nothing more to do.
    private func next() -> ExportEntry? {
        state.withLock { state in
            guard let entry = state.waiting.popLast() else {
                state.threadCount -= 1
                return nil
            }
            state.underWay.append(entry)
            return entry
        }
    }
}

/// Closes exports when they have ended, for as long as the process lives.
func closeEndedExports(_ shared: ServerState) {
    while true {
        shared.exports.ended.wait()
        shared.closings.begin(shared)
    }
}
