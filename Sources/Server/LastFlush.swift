// The flush of all exports at the end of a server.

import Glibc
import Logging
import Loop
import Synchronization
import Threads

/// Flushes exports and closes them, by a few threads, so that an image whose file system does not answer keeps none of
/// the others from being stable.
final class LastFlush: Sendable {
    private static let threadLimit = 32
    private static let lateness = "its file system has not answered in time"

    private let shared: ServerState
    private let state: Mutex<State>

    private struct State {
        /// Nobody has taken them yet.
        var waiting: [ExportEntry]
        /// Not flushed and closed yet.
        var remaining: [ExportEntry]
        var failures: [ServerError.FailedFlush] = []
    }

    /// For a server whose loops have ended.
    init(_ shared: ServerState) {
        self.shared = shared
        let entries = shared.exports.directory.entries + shared.exports.takeEnded() + shared.exports.withdrawn
        state = Mutex(State(waiting: entries, remaining: entries))
    }

    /// All that can be done is done.
    var isComplete: Bool { remaining.isEmpty }

    /// The exports that are not closed, those among them that were removed before.
    var remaining: [ExportEntry] { state.withLock { $0.remaining } + shared.closings.remaining }

    /// Those that are left have requests that did not come back to their loops.
    var waitsForStuckOnly: Bool {
        remaining.allSatisfy { $0.connectionCount > 0 }
    }

    /// The images that could not be made stable, or were not in time; the log tells of them.
    func failures(_ logger: Logger) -> [ServerError.FailedFlush] {
        let late = remaining
        for entry in late { entry.logUnflushed(logger) }
        return state.withLock { $0.failures } + late.map { .init(name: $0.name, reason: Self.lateness) }
    }

    /// Begins; `wake` is called when there is less to wait for.
    func begin(_ wake: @escaping @Sendable () -> Void) {
        let count = min(Self.threadLimit, state.withLock { $0.waiting.count })
        for _ in 0..<count where !startDetachedThread({ self.flushAll(wake) }) { flushAll(wake) }
    }

    private func flushAll(_ wake: () -> Void) {
        while let entry = state.withLock({ $0.waiting.popLast() }) {
            let reason = flush(entry)
            state.withLock { state in
                state.remaining.removeAll { $0 === entry }
                if let reason { state.failures.append(.init(name: entry.name, reason: reason)) }
            }
            wake()
        }
    }

    /// - Returns: why it could not be made stable.
    private func flush(_ entry: ExportEntry) -> String? {
        guard entry.connectionCount == 0 else {
            // The kernel still uses its descriptors, and a flush of a loop may be one of the requests that did not come
            // back.
            _ = entry.flushes.synchronize()
            return Self.lateness
        }
        entry.end(shared.loops.logger)
        return entry.failure
    }
}
