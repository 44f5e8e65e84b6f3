// How values on the command line become values of ours. Each function's error says what would be right.

import ATA
import ArgumentParser
import Media
import Reports

/// A value on the command line that is none of those that are allowed.
struct BadArgument: Error, CustomStringConvertible {
    let description: String

    init(_ value: String, _ what: String, allowed: [String]) {
        description = "'\(value)' is no \(what): it is one of \(allowed.joined(separator: ", "))"
    }
}

/// A value of `--controller`.
func parseController(_ text: String) throws -> Controller {
    guard let controller = Controller(rawValue: text) else {
        throw BadArgument(text, "controller", allowed: Controller.allCases.map(\.rawValue))
    }
    return controller
}

/// A value of `--cache`.
func parseCacheMode(_ text: String) throws -> CacheMode {
    guard let mode = CacheMode(rawValue: text) else {
        throw BadArgument(text, "cache mode", allowed: CacheMode.allCases.map(\.rawValue))
    }
    return mode
}

/// A value of `--format`.
func parseReportFormat(_ text: String) throws -> ReportFormat {
    if let format = ReportFormat(text) { return format }
    if text.hasPrefix("scsi:") {
        throw BadArgument(String(text.dropFirst(5)), "page of SCSI data", allowed: [ReportFormat.pageNames])
    }
    throw BadArgument(text, "format", allowed: ReportFormat.names)
}
