// How a value of the command line alone becomes one of ours. The error says what would be right.

import Reports
import Settings

/// A value of `--format`.
func parseReportFormat(_ text: String) throws -> ReportFormat {
    if let format = ReportFormat(text) { return format }
    if text.hasPrefix("scsi:") {
        throw BadValue(String(text.dropFirst(5)), "page of SCSI data", allowed: [ReportFormat.pageNames])
    }
    throw BadValue(text, "format", allowed: ReportFormat.names)
}
