// What a running server has counted.

import ATA
import Logging
import NBD

/// What an export's clients have done since it exists.
public struct ExportTotals: Equatable, Sendable {
    /// Requests that were answered.
    public var requests: UInt64
    /// Those of them that were answered with an error.
    public var errors: UInt64
    /// What READ requests have read.
    public var bytesRead: UInt64
    /// What WRITE requests have written.
    public var bytesWritten: UInt64
    /// Requests that have arrived and are not answered.
    public var requestsInFlight: UInt64
    /// Written and answered, but not made stable by a FLUSH since.
    public var bytesUnflushed: UInt64
}

extension ServerControl {
    /// Everything that is counted, as Prometheus reads it (text format, version 0.0.4).
    public func metrics() -> String {
        var names = Set<String>()
        // Of two exports with one name, the older is removed and waits for its last client.
        let exports = (shared.exports.directory.entries + shared.exports.withdrawn.reversed()).filter {
            names.insert($0.name).inserted
        }
        return Metrics(exports: exports.map(Metrics.Export.init), loops: shared.loopCounters).prometheusText
    }
}

extension ExportEntry {
    /// Written and answered, but not made stable by a FLUSH since. Without a write cache every write is stable.
    var unflushedBytes: UInt64 {
        drive.drive.identifyData.writeCacheEnabled ? counters.unflushedBytes : 0
    }

    /// Tells how an export has ended, and what has become of what no client had flushed.
    func logEnd(_ logger: Logger, unflushed: UInt64) {
        if let failure {
            logger.error(
                "export closed, but its image could not be flushed: what clients have not flushed may be lost",
                metadata: ["export": "\(name)", "unflushed": .stringConvertible(unflushed), "reason": "\(failure)"])
        } else if unflushed > 0 {
            logger.notice(
                "export closed; what clients have not flushed is stable now",
                metadata: ["export": "\(name)", "unflushed": .stringConvertible(unflushed)])
        } else {
            logger.info("export closed; clients have flushed everything", metadata: ["export": "\(name)"])
        }
    }

    /// Tells, if so, that there are writes which no client has flushed, at an end that leaves no time for it.
    func logUnflushed(_ logger: Logger) {
        guard unflushedBytes > 0 else { return }
        logger.warning(
            "export left as it is: what clients have not flushed may be lost",
            metadata: ["export": "\(name)", "unflushed": .stringConvertible(unflushedBytes)])
    }
}

extension ExportTotals {
    /// The totals of an export now.
    init(_ entry: ExportEntry) {
        let figures = entry.counters.figures()
        self.init(
            requests: figures.commands.reduce(0) { $0 &+ $1.requests },
            errors: figures.commands.reduce(0) { $0 &+ $1.errors.reduce(0, &+) },
            bytesRead: figures.commands[CommandKind(.read).index].bytes,
            bytesWritten: figures.commands[CommandKind(.write).index].bytes,
            requestsInFlight: figures.inFlight, bytesUnflushed: entry.unflushedBytes)
    }
}

extension Metrics.Export {
    fileprivate init(_ entry: ExportEntry) {
        self.init(
            name: entry.name, sizeBytes: entry.drive.sectorCount * 512, connections: entry.connectionCount,
            unflushedBytes: entry.unflushedBytes, figures: entry.counters.figures())
    }
}
