// The counters of a running server.

import Counters
import Loop

/// The work of an export's clients since it exists.
public struct ExportTotals: Equatable, Sendable {
    /// Requests that were answered.
    public var requests: UInt64
    /// Those of them that were answered with an error.
    public var errors: UInt64
    /// Bytes that READ requests have read.
    public var bytesRead: UInt64
    /// Bytes that WRITE requests have written.
    public var bytesWritten: UInt64
    /// Requests that have arrived and are not answered.
    public var requestsInFlight: UInt64
    /// Written and answered, but not made stable by a FLUSH since.
    public var bytesUnflushed: UInt64
}

extension ServerControl {
    /// Everything that is counted but of what was made for one connection: each would have a series of its own, and
    /// there is no end of them. As Prometheus reads it (text format, version 0.0.4).
    public func metrics() -> String {
        var names = Set<String>()
        // Of two exports with one name, the older is removed and waits for its last client.
        let exports = (shared.exports.directory.entries + shared.exports.withdrawn.reversed()).filter {
            $0.definition.lifetime != .ofOneConnection && names.insert($0.name).inserted
        }
        return Metrics(exports: exports.map(Metrics.Export.init), loops: shared.loops.loopCounters).prometheusText
    }
}

extension ExportTotals {
    /// The totals of an export now.
    init(_ entry: ExportEntry) {
        let figures = entry.counters.figures()
        self.init(
            requests: figures.commands.reduce(0) { $0 &+ $1.requests },
            errors: figures.commands.reduce(0) { $0 &+ $1.errors.reduce(0, &+) },
            bytesRead: figures.commands[CommandKind.read.rawValue].bytes,
            bytesWritten: figures.commands[CommandKind.write.rawValue].bytes,
            requestsInFlight: figures.inFlight, bytesUnflushed: entry.unflushedBytes)
    }
}

extension Metrics.Export {
    fileprivate init(_ entry: ExportEntry) {
        self.init(
            name: entry.name, sizeBytes: entry.drive.sizeBytes, connections: entry.connectionCount,
            unflushedBytes: entry.unflushedBytes, hasFailedFlush: entry.flushes.stability?.failure != nil,
            figures: entry.counters.figures())
    }
}
