// The command line's options of the log.

import ArgumentParser
import Logging
import Logs
import Settings

/// Options for the log.
struct LogOptions: ParsableArguments {
    @Option(
        help: """
            The form of the log's lines: text, json, journal (priorities as sd-daemon(3) has them), or auto \
            (default): journal where standard error is the journal's, else text.
            """, completion: .list(LogFormat.allCases.map(\.rawValue)),
        transform: parseLogFormat)
    var logFormat: LogFormat?

    @Option(
        help:
            """
            The least severe level that is logged: trace, debug, info, notice (default; with --run it is warning), \
            warning, error or critical.
            """,
        completion: .logLevels, transform: parseLogLevel)
    var logLevel: Logger.Level?
}
