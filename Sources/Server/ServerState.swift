// The state that the threads of a server share.

import Backends
import IOUring
import Listening
import Logging
import Loop
import Synchronization

/// A server's loops and exports, and what is to be told of them at its end.
final class ServerState: Sendable {
    let loops: SharedState
    let exports: ExportTable
    /// Removed exports that are being closed.
    let closings = Closings()
    /// Loops that have not ended.
    let running: Atomic<Int>
    /// Loops that have ended with requests which have not come back.
    let abandonedLoops = Atomic<Int>(0)
    /// Images of removed exports that could not be made stable in the end.
    private let failedFlushes = Mutex<[ServerError.FailedFlush]>([])

    convenience init(
        entrances: Entrances, loopCount: Int, limits: Limits, tls: TLSSettings?,
        targets: TargetSettings = TargetSettings(), reservations: ReservationFolder? = nil, logger: Logger
    ) throws(RingError) {
        let hasInitiators = entrances.listeners.contains { $0.frontEnd == .iscsi }
        let exports = try ExportTable(
            loopCount: loopCount, targetPrefix: hasInitiators ? targets.prefix : nil, reservations: reservations,
            logger: logger)
        self.init(
            try SharedState(
                exports: exports, entrances: entrances, loopCount: loopCount, limits: limits, tls: tls,
                targets: targets, logger: logger),
            exports)
    }

    /// Of loops that serve the exports of a table.
    init(_ loops: SharedState, _ exports: ExportTable) {
        self.loops = loops
        self.exports = exports
        running = Atomic(loops.loopCount)
    }

    /// So many failed images are told of when the server ends: more is of no help.
    private static let failedFlushLimit = 100

    /// A removed export has ended.
    func note(endOf entry: ExportEntry) {
        guard let reason = entry.failure else { return }
        failedFlushes.withLock {
            if $0.count < Self.failedFlushLimit { $0.append(.init(name: entry.name, reason: reason)) }
        }
    }

    /// The flushes that ``note(endOf:)`` has gathered.
    var flushFailures: [ServerError.FailedFlush] { failedFlushes.withLock { $0 } }

    /// A loop has ended.
    ///
    /// - Returns: whether it was the last one.
    func endLoop() -> Bool { running.subtract(1, ordering: .sequentiallyConsistent).newValue == 0 }
}
