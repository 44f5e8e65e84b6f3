// An event, as a value: what is written of it, in which order.

import Logging

/// An event on its way to being a line.
struct LogEntry: Sendable {
    struct Field: Sendable {
        let key: String
        let value: String
        /// JSON has it without quotation marks.
        let isNumber: Bool
    }

    var time = WallTime.now()
    let level: Logger.Level
    let message: String
    /// In the order of the line: who, what, and last of all the reason, which is the longest.
    let fields: [Field]

    init(level: Logger.Level, message: String, fields: Logger.Metadata) {
        self.level = level
        self.message = message
        self.fields = fields.map(Field.init).sorted { ($0.rank, $0.key) < ($1.rank, $1.key) }
    }

    /// The value of a field; nil without it.
    subscript(key: String) -> String? {
        fields.first { $0.key == key }?.value
    }

    /// Standard error took no lines for a while; it is told how many.
    static func lost(_ count: Int) -> LogEntry {
        LogEntry(
            level: .warning, message: "lines of the log were lost",
            fields: ["count": .stringConvertible(count), "reason": "standard error did not take them"])
    }
}

extension LogEntry.Field {
    init(key: String, value: Logger.MetadataValue) {
        self.key = key
        if case .stringConvertible(let number) = value, number is any BinaryInteger {
            isNumber = true
        } else {
            isNumber = false
        }
        self.value = value.description
    }

    fileprivate var rank: Int {
        switch key {
        case "connection": 0
        case "client": 1
        case "identity": 2
        case "initiator": 3
        case "export": 4
        case "reason": 6
        default: 5
        }
    }
}
