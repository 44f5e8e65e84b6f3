// swift-log calls this for every event.

import Logging

/// The handler of all loggers of one log. They share the log's level.
struct LineHandler: LogHandler {
    let logs: Logs
    var metadata = Logger.Metadata()

    var logLevel: Logger.Level {
        get { logs.level }
        set { logs.level = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var fields = metadata.merging(event.metadata ?? [:]) { $1 }
        if let error = event.error { fields["error"] = "\(error)" }
        logs.record(LogEntry(level: event.level, message: event.message.description, fields: fields))
    }
}
