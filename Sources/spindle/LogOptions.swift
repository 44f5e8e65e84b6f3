// What of the log the command line says.

import ArgumentParser
import Logging
import Logs
import Settings

/// Options for the log.
struct LogOptions: ParsableArguments {
    @Option(
        help: """
            What lines of the log look like: text, json, journal (priorities as sd-daemon(3) has them), or auto \
            (default): journal where standard error is the journal's, else text.
            """, transform: parseLogFormat)
    var logFormat: LogFormat?

    @Option(
        help: "What is logged: trace, debug, info, notice (default), warning, error or critical.",
        transform: parseLogLevel)
    var logLevel: Logger.Level?
}
