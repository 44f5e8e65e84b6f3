// How a value of the command line alone becomes one of ours. The error says what would be right.

import ATA
import ArgumentParser
import Backends
import Logging
import Reports
import Settings

/// A whole number within bounds, in digits.
func number<Value: FixedWidthInteger & Sendable>(
    in range: ClosedRange<Value>
) -> @Sendable (String) throws -> Value {
    { text in
        guard let value = Value(text), text.first != "+", range.contains(value) else {
            throw ValidationError("a number from \(range.lowerBound) to \(range.upperBound) is needed")
        }
        return value
    }
}

/// Seconds, or parts of one, within bounds.
func numberOfSeconds(in range: ClosedRange<Double>) -> @Sendable (String) throws -> Double {
    { text in
        guard let value = Double(text), range.contains(value) else {
            throw ValidationError("seconds from \(range.lowerBound) to \(range.upperBound) are needed")
        }
        return value
    }
}

/// A value that is passed on as it was written, once it is known to be right.
func checked<Value>(_ parse: @escaping @Sendable (String) throws -> Value) -> @Sendable (String) throws -> String {
    { text in
        _ = try parse(text)
        return text
    }
}

extension CompletionKind {
    /// The names of controllers.
    static var controllers: CompletionKind { .list(Controller.allCases.map(\.rawValue)) }
    /// The names of cache modes.
    static var cacheModes: CompletionKind { .list(CacheMode.allCases.map(\.rawValue)) }
    /// The devices of `--device`, whose properties stand behind them.
    static var devices: CompletionKind { .list(DriveKind.allCases.map(\.rawValue)) }
    /// The ways of locking.
    static var imageFormats: CompletionKind { .list(DiskFormat.allCases.map(\.rawValue)) }

    static var waysOfLocking: CompletionKind { .list(["on", "off"]) }
    /// How URIs of NBD servers begin.
    static var servers: CompletionKind { .list(["nbd://", "nbds://", "nbd+unix:///", "nbds+unix:///"]) }
    /// The names of levels of the log.
    static var logLevels: CompletionKind { .list(Logger.Level.allCases.map(\.rawValue)) }
    /// Users of this system.
    static var users: CompletionKind { .shellCommand("cut -d: -f1 /etc/passwd") }
    /// Groups of this system.
    static var groups: CompletionKind { .shellCommand("cut -d: -f1 /etc/group") }
}

/// A value of `--format`.
func parseReportFormat(_ text: String) throws -> ReportFormat {
    if let format = ReportFormat(text) { return format }
    if text.hasPrefix("scsi:") {
        throw BadValue(String(text.dropFirst(5)), "page of SCSI data", allowed: [ReportFormat.pageNames])
    }
    throw BadValue(text, "format", allowed: ReportFormat.names)
}
