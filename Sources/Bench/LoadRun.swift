// A load from its beginning to its end.

import Glibc
import ISCSI
import Threads

/// The result of a load.
public struct LoadResult: Sendable {
    /// The measured requests.
    public let tally: Tally
    /// From the first measured request to the last reply.
    public let seconds: Double
    /// For how long processors have worked for this process, the warm-up included.
    public let processorSeconds: Double
    /// It was ended early by a signal.
    public let wasInterrupted: Bool
}

/// How a load is doing.
public struct LoadProgress: Sendable {
    /// Since the measured part began; negative during the warm-up.
    public let seconds: Double
    /// The counts since the last report, and their time.
    public let recent: OperationTally
    /// The length of that time.
    public let recentSeconds: Double
}

/// Runs a load. The calling thread watches, one thread for each connection works.
///
/// SIGINT and SIGTERM end the load early; the measurements until then are the result.
///
/// - Parameter progress: is told twice a second how things are.
public func runLoad(
    _ load: Load, against address: ServerAddress, progress: (LoadProgress) -> Void
) throws(BenchError) -> LoadResult {
    let run = RunState(load)
    let signals = HeldSignals([SIGINT, SIGTERM])
    let processorSecondsBefore = processorSeconds()
    for number in 0..<load.connections {
        let hasBegun = startDetachedThread {
            do throws(BenchError) {
                try work(load, number, address, run)
                run.end(nil)
            } catch {
                run.end(error)
            }
        }
        if !hasBegun { run.end(.cannotConnect("\(address.place)", reason: "the system allows no more threads")) }
    }
    var watch = Watch(run: run)
    var wasInterrupted = false
    while !run.hasEnded {
        if signals.wait(milliseconds: 20) {
            wasInterrupted = true
            run.stop()
        }
        if let report = watch.report() { progress(report) }
    }
    if let failure = run.failure { throw failure }
    watch.collect()
    return LoadResult(
        tally: watch.tally, seconds: watch.measuredSeconds,
        processorSeconds: processorSeconds() - processorSecondsBefore, wasInterrupted: wasInterrupted)
}

/// The work of one thread.
private func work(
    _ load: Load, _ number: Int, _ address: ServerAddress, _ run: RunState
) throws(BenchError) {
    if load.operation == .connect {
        run.waitForOthers()
        try ConnectWorker(address: address, load: load, connection: number, run: run).work()
        return
    }
    var link = try Link(address.place)
    var inbox = Inbox()
    if let unit = address.logicalUnit {
        var session = try InitiatorSession(
            link.logIn(load.wishes(for: address, connection: number), &inbox),
            logicalUnit: LogicalUnitNumber(unit), depth: load.depth)
        let export = try session.inquire(&link, &inbox)
        try load.check(export)
        var worker = Worker(
            load, number: number, link: link, session: session, inbox: inbox, export: export, run: run)
        run.waitForOthers()
        try worker.work()
    } else {
        let export = try link.negotiate(address, structuredReplies: load.usesStructuredReplies)
        try load.check(export)
        let session = TransmissionSession(blockBytes: load.blockBytes, isStructured: load.usesStructuredReplies)
        var worker = Worker(
            load, number: number, link: link, session: session, inbox: inbox, export: export, run: run)
        run.waitForOthers()
        try worker.work()
    }
}

/// Adds up what the workers count.
private struct Watch {
    private static let reportNanoseconds: UInt64 = 500_000_000

    let run: RunState
    private(set) var tally = Tally()
    private var lastReply: UInt64 = 0
    private var lastReport = now()

    init(run: RunState) {
        self.run = run
    }

    @discardableResult
    mutating func collect() -> OperationTally {
        let published = run.takePublished()
        tally.add(published.tally)
        lastReply = max(lastReply, published.lastReply)
        return published.tally.total
    }

    /// A report, if it is time for one.
    mutating func report() -> LoadProgress? {
        let time = now()
        guard time - lastReport >= Self.reportNanoseconds, let start = run.measuredSince else { return nil }
        let passed = time - lastReport
        lastReport = time
        return LoadProgress(
            seconds: (Double(time) - Double(start)) / 1e9, recent: collect(), recentSeconds: Double(passed) / 1e9)
    }

    var measuredSeconds: Double {
        guard let start = run.measuredSince, lastReply > start else { return 0 }
        return Double(lastReply - start) / 1e9
    }
}

/// Signals that are waited for instead of being delivered, in this thread and those that it begins.
@safe
private struct HeldSignals: ~Copyable {
    private var signals = sigset_t()
    private var maskBefore = sigset_t()

    init(_ numbers: [Int32]) {
        unsafe sigemptyset(&signals)
        for number in numbers { unsafe sigaddset(&signals, number) }
        unsafe pthread_sigmask(SIG_BLOCK, &signals, &maskBefore)
    }

    deinit {
        var mask = maskBefore
        unsafe pthread_sigmask(SIG_SETMASK, &mask, nil)
    }

    /// Waits for a signal, or until the time is over.
    ///
    /// - Returns: whether there was a signal.
    func wait(milliseconds: Int) -> Bool {
        var set = signals
        var limit = timespec(tv_sec: 0, tv_nsec: milliseconds * 1_000_000)
        return unsafe sigtimedwait(&set, nil, &limit) > 0
    }
}

private func processorSeconds() -> Double {
    var usage = rusage()
    _ = unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
    let microseconds = usage.ru_utime.tv_usec + usage.ru_stime.tv_usec
    return Double(seconds) + Double(microseconds) / 1e6
}
