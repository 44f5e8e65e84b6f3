// The output of `spindle bench`: a table for people, JSON for programs.

import FoundationEssentials
import NBD

/// The result of a load, in words and numbers.
public struct LoadReport: Sendable {
    let uri: String
    let isISCSI: Bool
    let load: Load
    let result: LoadResult

    /// A report on a load that was run against the server at this URI.
    public init(uri: String, address: ServerAddress, load: Load, result: LoadResult) {
        self.uri = uri
        isISCSI = address.logicalUnit != nil
        self.load = load
        self.result = result
    }

    /// The commands that were answered, with their names.
    private var rows: [(name: String, tally: OperationTally)] {
        var rows: [(String, OperationTally)] = []
        for command in Command.allCases {
            let tally = result.tally[command]
            guard tally.latencies.count + tally.errorCount > 0 else { continue }
            rows.append((load.operation == .connect ? "connect" : Self.name(command), tally))
        }
        return rows
    }

    private static func name(_ command: Command) -> String {
        command == .writeZeroes ? "write-zeroes" : "\(command)"
    }

    private func rate(_ tally: OperationTally) -> Double {
        result.seconds > 0 ? Double(tally.latencies.count) / result.seconds : 0
    }

    private func megabytes(_ tally: OperationTally) -> Double {
        result.seconds > 0 ? Double(tally.byteCount) / result.seconds / 1e6 : 0
    }

    /// The processor time of this program for each request; nil without requests.
    private var processorMicroseconds: Double? {
        let total = result.tally.total
        let count = total.latencies.count + total.errorCount + result.tally.warmUpCount
        return count == 0 ? nil : result.processorSeconds * 1e6 / Double(count)
    }

    /// How many requests were answered with an error, in words; nil if none was.
    public var failures: String? {
        guard !result.tally.errors.isEmpty else { return nil }
        let kinds = result.tally.errors.sorted { $0.key < $1.key }.map { "\($0.value) with \(errorName($0.key))" }
        return "\(result.tally.total.errorCount) requests failed: " + kinds.joined(separator: ", ")
    }

    private func errorName(_ number: UInt32) -> String {
        isISCSI ? SCSIFailure(rawValue: number).words : NBDError(rawValue: number)?.name ?? "error \(number)"
    }
}

/// Text.
extension LoadReport {
    /// A table of what was measured.
    public var text: String {
        var lines = [Self.line("", ["requests/s", "MB/s", "p50", "p90", "p99", "p99.9", "max", "errors"])]
        let rows = rows
        lines += rows.map { line($0.name, $0.tally) }
        if rows.count != 1 { lines.append(line("all", result.tally.total)) }
        lines.append("Times are in microseconds, from a request's sending to the end of its reply.")
        if let processorMicroseconds {
            let count = result.tally.total.latencies.count
            lines.append(
                "\(count) requests in \(fixed(result.seconds, 2)) s"
                    + "; this client took \(fixed(processorMicroseconds, 2)) µs of processor time for each.")
        }
        if result.wasInterrupted { lines.append("Ended early by a signal.") }
        return lines.joined(separator: "\n") + "\n"
    }

    private func line(_ name: String, _ tally: OperationTally) -> String {
        let latencies = tally.latencies
        let times = [50, 90, 99, 99.9].map { latencies.percentile($0) } + [latencies.maximum]
        return Self.line(
            name,
            [fixed(rate(tally), 0), fixed(megabytes(tally), 1)] + times.map { fixed(Double($0) / 1000, 1) }
                + [String(tally.errorCount)])
    }

    private static func line(_ name: String, _ cells: [String]) -> String {
        var line = name + String(repeating: " ", count: max(0, 12 - name.count))
        for cell in cells { line += String(repeating: " ", count: max(1, 11 - cell.count)) + cell }
        return line
    }
}

/// A number that is not negative, with so many digits after the point.
///
/// Foundation's `String(format:)` would add 45 MB of tables for languages to the program.
func fixed(_ value: Double, _ digits: Int) -> String {
    let scale = UInt64(repeatElement(10.0, count: digits).reduce(1, *))
    let scaled = (max(0, value) * Double(scale)).rounded(.toNearestOrEven)
    guard scaled < 1e18 else { return "\(value)" }
    let units = UInt64(scaled)
    guard digits > 0 else { return String(units) }
    let fraction = String(units % scale)
    return "\(units / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
}

extension LoadProgress {
    /// One line of it, for a terminal.
    public var text: String {
        if seconds < 0 { return "warming up, \(fixed(-seconds, 1)) s left" }
        let rate = Double(recent.latencies.count) / recentSeconds
        let megabytes = Double(recent.byteCount) / recentSeconds / 1e6
        let p99 = Double(recent.latencies.percentile(99)) / 1000
        let errors = recent.errorCount == 0 ? "" : ", \(recent.errorCount) errors"
        return "\(fixed(seconds, 1)) s: \(fixed(rate, 0)) requests/s, \(fixed(megabytes, 1)) MB/s, "
            + "p99 \(fixed(p99, 1)) µs\(errors)"
    }
}

/// JSON.
extension LoadReport {
    private struct Document: Encodable {
        let uri: String
        let operation: String
        let readPercent: Int?
        let pattern: String
        let blockBytes: UInt32
        let depth: Int
        let connections: Int
        let flushEvery: UInt64?
        let structuredReplies: Bool
        let digests: Bool
        let warmUpSeconds: Double
        let warmUpRequests: UInt64
        let seconds: Double
        let interrupted: Bool
        let clientProcessorMicrosecondsPerRequest: Double?
        let total: Row
        let commands: [String: Row]
    }

    private struct Row: Encodable {
        let requests: UInt64
        let errors: UInt64
        let requestsPerSecond: Double
        let megabytesPerSecond: Double
        let latencyMicroseconds: [String: Double]
    }

    /// The same and the load itself as a JSON object, with a line feed behind it.
    public var json: String {
        let document = Document(
            uri: uri, operation: load.operation.rawValue,
            readPercent: load.operation == .readWrite ? load.readPercent : nil, pattern: load.pattern.rawValue,
            blockBytes: load.blockBytes, depth: load.operation == .connect ? 1 : load.depth,
            connections: load.connections, flushEvery: load.flushEvery, structuredReplies: load.usesStructuredReplies,
            digests: load.usesDigests,
            warmUpSeconds: load.warmUpSeconds, warmUpRequests: result.tally.warmUpCount,
            seconds: rounded(result.seconds), interrupted: result.wasInterrupted,
            clientProcessorMicrosecondsPerRequest: processorMicroseconds.map(rounded), total: row(result.tally.total),
            commands: Dictionary(uniqueKeysWithValues: rows.map { ($0.name, row($0.tally)) }))
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(document) else { preconditionFailure("every number here is finite") }
        return String(decoding: data, as: UTF8.self) + "\n"
    }

    private func row(_ tally: OperationTally) -> Row {
        let latencies = tally.latencies
        return Row(
            requests: latencies.count, errors: tally.errorCount, requestsPerSecond: rounded(rate(tally)),
            megabytesPerSecond: rounded(megabytes(tally)),
            latencyMicroseconds: [
                "mean": latencies.mean, "p50": latencies.percentile(50), "p90": latencies.percentile(90),
                "p99": latencies.percentile(99), "p99.9": latencies.percentile(99.9), "max": latencies.maximum,
            ].mapValues { rounded(Double($0) / 1000) })
    }

    private func rounded(_ value: Double) -> Double {
        (value * 1e6).rounded() / 1e6
    }
}
