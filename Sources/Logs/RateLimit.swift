// How much one client, or one failing drive, may say in the log: a value that is told the time.

import Logging

/// Counts events by their kind: the message, the client's address without its port, the export.
///
/// Of each kind the first few are written. Then there is silence until its window ends, and one line that says how many
/// were left out. For as long as it goes on, such a line follows once a minute.
struct RateLimit {
    /// Of notices, warnings and errors.
    static let burst = 5
    /// Of information: a client with many connections is no flood.
    static let informationBurst = 100
    let windowMilliseconds: Int
    let floodWindowMilliseconds: Int
    /// Kinds that are counted by themselves. With more of them at a time, further ones are counted by message alone.
    static let capacity = 256

    fileprivate struct Kind: Hashable {
        let message: String
        var client: String
        var export: String
    }

    fileprivate struct Window {
        let began: Int
        let ends: Int
        var allowed: Int
        var leftOut = 0
        /// Of what was left out.
        var last: LogEntry?
    }

    private var windows: [Kind: Window] = [:]

    init(windowMilliseconds: Int = 10_000, floodWindowMilliseconds: Int = 60_000) {
        self.windowMilliseconds = windowMilliseconds
        self.floodWindowMilliseconds = floodWindowMilliseconds
    }

    /// Whether an event is to be written now. Events for people who look for a mistake (debug, trace) always are, and
    /// so are the answers to an operator who has a file of settings read again.
    mutating func admits(_ entry: LogEntry, at now: Int) -> Bool {
        guard entry.level > .debug, entry["file"] == nil else { return true }
        var kind = Kind(entry)
        if windows[kind] == nil && windows.count >= Self.capacity {
            windows = windows.filter { $1.ends > now || $1.leftOut > 0 }
            if windows.count >= Self.capacity { kind = Kind(message: entry.message, client: "", export: "") }
        }
        var window = windows[kind] ?? window(entry.level, at: now)
        // With something left out, the window is over only when that has been said.
        if window.ends <= now && window.leftOut == 0 { window = self.window(entry.level, at: now) }
        defer { windows[kind] = window }
        if window.allowed > 0 {
            window.allowed -= 1
            return true
        }
        window.leftOut += 1
        window.last = entry
        return false
    }

    private func window(_ level: Logger.Level, at now: Int) -> Window {
        Window(
            began: now, ends: now + windowMilliseconds, allowed: level > .info ? Self.burst : Self.informationBurst)
    }

    /// When there will be something to say of what was left out; nil while nothing was.
    var nextDue: Int? {
        windows.values.filter { $0.leftOut > 0 }.map(\.ends).min()
    }

    /// The summaries of left-out events that are due now.
    ///
    /// - Parameter everything: even of windows that have not ended.
    mutating func takeDue(at now: Int, everything: Bool = false) -> [LogEntry] {
        var summaries: [LogEntry] = []
        for (kind, window) in windows where window.leftOut > 0 && (window.ends <= now || everything) {
            guard let last = window.last else { continue }
            summaries.append(summary(kind, window, last, now))
            windows[kind] = Window(began: now, ends: now + floodWindowMilliseconds, allowed: 0)
        }
        return summaries
    }

    private func summary(_ kind: Kind, _ window: Window, _ last: LogEntry, _ now: Int) -> LogEntry {
        var fields: Logger.Metadata = [
            "event": "\(kind.message)", "count": .stringConvertible(window.leftOut),
            "seconds": .stringConvertible((now - window.began + 999) / 1000),
        ]
        if !kind.client.isEmpty { fields["client"] = "\(kind.client)" }
        if !kind.export.isEmpty { fields["export"] = "\(kind.export)" }
        if let reason = last["reason"] { fields["reason"] = "\(reason)" }
        return LogEntry(level: last.level, message: "more of the same was left out", fields: fields)
    }
}

extension RateLimit.Kind {
    init(_ entry: LogEntry) {
        let client = entry["client"]
        let export = entry["export"]
        // An error is no client's doing: a medium fails for all of them.
        let isClients = entry.level < .error || export == nil
        self.init(message: entry.message, client: isClients ? address(of: client ?? "") : "", export: export ?? "")
    }
}

/// A client's address without what every connection has another of: the port of the internet, the process of a local
/// user.
private func address(of client: String) -> String {
    if client.hasPrefix("unix:pid=") { return "unix:" + client.drop { $0 != "," }.dropFirst() }
    if client.hasPrefix("vsock:") { return client }
    guard let colon = client.lastIndex(of: ":"), client[colon...].dropFirst().allSatisfy(\.isNumber) else {
        return client
    }
    return String(client[..<colon])
}
