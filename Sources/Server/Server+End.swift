// How a server ends: what it waits for, the loops' last requests, the last flush.

import Glibc
import Logging
import Synchronization

extension Server {
    /// Waits for what ends the server.
    ///
    /// - Returns: the exit status of the command.
    func serve(
        until signals: Signals, _ command: ShellCommand?, _ reload: () -> Void
    ) throws(ServerError) -> Int32? {
        command?.begin()
        while shared.running.load(ordering: .sequentiallyConsistent) > 0 {
            let event = signals.next()
            if event == .hangUp {
                reload()
                continue
            }
            guard let command else {
                if event == nil { continue }
                return nil
            }
            if let status = command.status() { return status }
            // What the interrupt key does is up to the command, as it is in a shell.
            if event == .end { return try end(command, signals) }
        }
        return nil
    }

    /// Tells a command to end, which may need the server for that.
    private func end(_ command: ShellCommand, _ signals: Signals) throws(ServerError) -> Int32 {
        command.signal(SIGTERM)
        let deadline = ContinuousClock.now + .seconds(shared.limits.shutdownSeconds)
        var isKilled = false
        while true {
            if let status = command.status() { return status }
            if !isKilled, ContinuousClock.now >= deadline {
                logger.warning("the command does not end; it is killed")
                command.signal(SIGKILL)
                isKilled = true
            }
            try endAtOnce(if: signals.next(within: 100))
        }
    }

    /// Waits until all loops have ended.
    func waitForLoops(_ signals: Signals) throws(ServerError) {
        while shared.running.load(ordering: .sequentiallyConsistent) > 0 { try endAtOnce(if: signals.next()) }
    }

    /// Closes the listeners and makes all media stable, which may take its time, so that it has a thread of its own.
    func finish(_ signals: Signals) throws(ServerError) {
        for listener in shared.listeners { listener.close() }
        let flush = LastFlush(shared.exports.directory.entries + shared.exports.withdrawn)
        let shared = shared
        let thread = startThread {
            flush.perform(shared)
            signals.wake()
        }
        while !flush.remaining.isEmpty {
            guard signals.next()?.isEnd != true else { throw interrupted(leaving: flush.remaining) }
        }
        pthread_join(thread, nil)
        let failures = flush.failures
        guard failures.isEmpty else { throw .flush(failures) }
    }

    /// Whoever sends another signal does not want to wait.
    private func endAtOnce(if event: Signals.Event?) throws(ServerError) {
        guard let event, event.isEnd else { return }
        for listener in shared.listeners { listener.refuse() }
        throw interrupted(leaving: shared.exports.directory.entries + shared.exports.withdrawn)
    }

    private func interrupted(leaving entries: [ExportEntry]) -> ServerError {
        for entry in entries { entry.logUnflushed(logger) }
        return .interrupted
    }
}

/// The flush of all exports at the end.
private final class LastFlush: Sendable {
    private let state: Mutex<State>

    private struct State {
        var remaining: [ExportEntry]
        var failures: [ServerError.FailedFlush] = []
    }

    init(_ entries: [ExportEntry]) {
        state = Mutex(State(remaining: entries))
    }

    /// The exports that are not closed.
    var remaining: [ExportEntry] { state.withLock { $0.remaining } }

    var failures: [ServerError.FailedFlush] { state.withLock { $0.failures } }

    /// Flushes and closes them, but for those that somebody else is closing: these are waited for.
    func perform(_ shared: SharedState) {
        shared.closing.withLock { _ in
            for entry in shared.exports.directory.entries + shared.exports.takeEnded() {
                entry.end(shared.logger)
                state.withLock { state in
                    state.remaining.removeAll { $0 === entry }
                    if let reason = entry.failure { state.failures.append(.init(name: entry.name, reason: reason)) }
                }
            }
        }
        state.withLock { $0.remaining = [] }
    }
}
