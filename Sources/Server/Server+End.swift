// How a server ends: what it waits for, the loops' last requests, the last flush.

import Glibc
import Logging
import Loop
import Synchronization
import Threads

extension Server {
    /// Waits for what ends the server.
    ///
    /// - Returns: the exit status of the command.
    func serve(
        until signals: Signals, _ command: ShellCommand?, _ impatience: inout Impatience, _ reload: () -> Void
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
                try endAtOnce(if: impatience.isShown(by: event))
                return nil
            }
            if let status = command.status() { return status }
            // The command decides what the interrupt key does, as in a shell.
            if event == .end || event == .interrupt {
                try endAtOnce(if: impatience.isShown(by: event))
                return try end(command, signals, &impatience)
            }
        }
        return nil
    }

    /// Tells a command to end, which may need the server for that.
    private func end(
        _ command: ShellCommand, _ signals: Signals, _ impatience: inout Impatience
    ) throws(ServerError) -> Int32 {
        command.signal(SIGTERM)
        let deadline = ContinuousClock.now + .seconds(shared.loops.limits.shutdownSeconds)
        var isKilled = false
        while true {
            if let status = command.status() { return status }
            if !isKilled, ContinuousClock.now >= deadline {
                logger.warning("the command does not end; it is killed")
                command.signal(SIGKILL)
                isKilled = true
            }
            try endAtOnce(if: impatience.isShown(by: signals.next(within: 100)))
        }
    }

    /// A loop ends a second after it has cut off its clients. One that has not after so many more seconds never will.
    private static let stuckLoopSeconds = 4

    /// Waits until all loops have ended, but not for one that is in a call which does not come back: for a page of an
    /// image that went away while it was sent.
    func waitForLoops(_ signals: Signals, _ impatience: inout Impatience) throws(ServerError) {
        let deadline = ContinuousClock.now + .seconds(shared.loops.limits.shutdownSeconds + 1 + Self.stuckLoopSeconds)
        while shared.running.load(ordering: .sequentiallyConsistent) > 0 {
            try endAtOnce(if: impatience.isShown(by: signals.next(within: 100)))
            guard ContinuousClock.now > deadline else { continue }
            logger.error("a loop does not end: an image's file system does not answer")
            // It may still use what it has: nothing of it is given back.
            shared.abandonedLoops.add(1, ordering: .sequentiallyConsistent)
            return
        }
    }

    /// Closes the listeners and makes all media stable (``LastFlush``), which may take its time.
    func finish(_ signals: Signals, _ impatience: inout Impatience) throws(ServerError) {
        for listener in shared.loops.listeners { listener.close() }
        let flush = LastFlush(shared)
        flush.begin { signals.wake() }
        let start = ContinuousClock.now
        while !flush.isComplete {
            if impatience.isShown(by: signals.next(within: 100)) { throw interrupted(leaving: flush.remaining) }
            // A request that has not come back to a loop in time does not come back now either, as a rule.
            let limits = shared.loops.limits
            let limit = flush.waitsForStuckOnly ? limits.shutdownSeconds : limits.lastFlushSeconds
            if ContinuousClock.now - start > .seconds(max(1, limit)) { break }
        }
        let failures = shared.flushFailures + flush.failures(logger)
        guard failures.isEmpty else { throw .flush(failures) }
    }

    private func endAtOnce(if isImpatient: Bool) throws(ServerError) {
        guard isImpatient else { return }
        for listener in shared.loops.listeners { listener.refuse() }
        throw interrupted(leaving: shared.exports.directory.entries + shared.exports.withdrawn)
    }

    private func interrupted(leaving entries: [ExportEntry]) -> ServerError {
        for entry in entries { entry.logUnflushed(logger) }
        return .interrupted
    }
}
