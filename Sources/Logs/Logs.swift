// The log: one line an event, on standard error.

import Glibc
import Logging
import Synchronization

/// Where events become lines. One for a process; its loggers can be used by any thread.
public final class Logs: Sendable {
    /// The form of the lines; never ``LogFormat/auto``.
    public let format: LogFormat
    /// The number of the lowest level that is logged.
    private let lowestLevel: Atomic<UInt8>
    private let output: Mutex<LineOutput>
    private let limit: Mutex<LimitState>

    private struct LimitState {
        var limit: RateLimit
        /// A thread waits for the time to say what was left out.
        var isReporting = false
    }

    /// A log that writes to a descriptor.
    ///
    /// - Parameters:
    ///   - format: with ``LogFormat/auto``, what fits what is behind the descriptor.
    ///   - level: the lowest level that is logged; ``level`` changes it later.
    public convenience init(format: LogFormat, level: Logger.Level, descriptor: Int32 = STDERR_FILENO) {
        self.init(format: format, level: level, descriptor: descriptor, limit: RateLimit())
    }

    init(format: LogFormat, level: Logger.Level, descriptor: Int32, limit: RateLimit) {
        self.format = format.chosen(for: descriptor)
        self.limit = Mutex(LimitState(limit: limit))
        lowestLevel = Atomic(level.number)
        output = Mutex(LineOutput(descriptor: descriptor))
    }

    /// The lowest level that is logged. A change counts for all loggers, from the next event on.
    public var level: Logger.Level {
        get { Logger.Level(number: lowestLevel.load(ordering: .relaxed)) }
        set { lowestLevel.store(newValue.number, ordering: .relaxed) }
    }

    /// A logger that writes here.
    public func logger(label: String) -> Logger {
        Logger(label: label) { _ in LineHandler(logs: self) }
    }

    /// Says at once how many events were left out and not spoken of yet: for the end of the program.
    public func finish() {
        report(everything: true)
    }

    /// Writes an event, unless there are too many of its kind.
    func record(_ entry: LogEntry) {
        let isAdmitted = limit.withLock { state in
            if state.limit.admits(entry, at: monotonicMilliseconds()) { return true }
            if !state.isReporting { state.isReporting = startReporting() }
            return false
        }
        if isAdmitted { write(entry) }
    }

    private func write(_ entry: LogEntry) {
        let line = entry.line(format)
        output.withLock { output in
            if output.lostLines > 0 {
                let notice = LogEntry.lost(output.lostLines).line(format)
                guard output.write(notice, waiting: 0) else {
                    output.lostLines += 1
                    return
                }
                output.lostLines = 0
            }
            if !output.write(line, waiting: LineOutput.patienceMilliseconds) { output.lostLines += 1 }
        }
    }

    private func report(everything: Bool = false) {
        let summaries = limit.withLock { $0.limit.takeDue(at: monotonicMilliseconds(), everything: everything) }
        for summary in summaries { write(summary) }
    }

    /// Begins to wait for the ends of the times in which events were left out: as nothing may follow the last of them,
    /// somebody has to. The thread ends when there is nothing left to say.
    ///
    /// - Returns: false when there can be no thread now; the next event that is left out tries again.
    private func startReporting() -> Bool {
        startWaitingThread {
            while let due = self.nextReport() {
                sleepMilliseconds(due - monotonicMilliseconds())
                self.report()
            }
        }
    }

    private func nextReport() -> Int? {
        limit.withLock { state in
            let due = state.limit.nextDue
            if due == nil { state.isReporting = false }
            return due
        }
    }
}

extension Logger.Level {
    /// The levels by number, the least severe is 0. (`allCases` would make an array for every event that is not
    /// logged.)
    fileprivate var number: UInt8 {
        switch self {
        case .trace: 0
        case .debug: 1
        case .info: 2
        case .notice: 3
        case .warning: 4
        case .error: 5
        case .critical: 6
        }
    }

    fileprivate init(number: UInt8) {
        switch number {
        case 0: self = .trace
        case 1: self = .debug
        case 2: self = .info
        case 3: self = .notice
        case 4: self = .warning
        case 5: self = .error
        default: self = .critical
        }
    }
}
