// The state that the threads of a run share: the time of the measurement, the counts, the failure.

import Glibc
import Synchronization

/// The state of a run. Workers look at it in every turn; everything but two numbers is behind a lock that they take
/// four times a second.
final class RunState: Sendable {
    private let connections: Int
    private let warmUpNanoseconds: UInt64
    private let runNanoseconds: UInt64
    /// When the measured part begins; 0 until all connections are ready.
    private let measuredFrom = Atomic<UInt64>(0)
    private let isStopped = Atomic<Bool>(false)
    private let readyCount = Atomic<Int>(0)
    private let unpublished = Mutex<(tally: Tally, lastReply: UInt64)>((Tally(), 0))
    private let ended = Mutex<(count: Int, failure: BenchError?)>((0, nil))

    init(_ load: Load) {
        connections = load.connections
        warmUpNanoseconds = UInt64(load.warmUpSeconds * 1e9)
        runNanoseconds =
            switch load.limit {
            case .seconds(let seconds): UInt64(seconds * 1e9)
            case .requests: UInt64.max >> 1
            }
    }

    /// A worker is connected: waits until all are, or the run is over because one cannot.
    func waitForOthers() {
        if readyCount.add(1, ordering: .acquiringAndReleasing).newValue == connections {
            measuredFrom.store(now() + warmUpNanoseconds, ordering: .releasing)
        }
        while measuredFrom.load(ordering: .acquiring) == 0, !isStopped.load(ordering: .relaxed) { usleep(100) }
    }

    /// When the measured part began or will begin; nil while connections are still being made.
    var measuredSince: UInt64? {
        let time = measuredFrom.load(ordering: .acquiring)
        return time == 0 ? nil : time
    }

    /// A request that begins at this time counts.
    func isMeasured(_ time: UInt64) -> Bool {
        time >= measuredFrom.load(ordering: .relaxed)
    }

    /// No request begins any more.
    func isOver(at time: UInt64) -> Bool {
        isStopped.load(ordering: .relaxed)
            || time &- runNanoseconds >= measuredFrom.load(ordering: .relaxed) && time > runNanoseconds
    }

    /// Lets what is in flight end, and begins nothing more.
    func stop() {
        isStopped.store(true, ordering: .relaxed)
    }

    /// Hands over what a worker has counted.
    func publish(_ tally: inout Tally, at time: UInt64) {
        unpublished.withLock {
            $0.tally.add(tally)
            $0.lastReply = max($0.lastReply, time)
        }
        tally.removeAll()
    }

    /// The counts handed over since the last time, and the time of the last reply of all.
    func takePublished() -> (tally: Tally, lastReply: UInt64) {
        unpublished.withLock {
            let taken = $0
            $0.tally.removeAll()
            return taken
        }
    }

    /// A worker has ended. One that fails ends the others.
    func end(_ failure: BenchError?) {
        if failure != nil { stop() }
        ended.withLock {
            $0.count += 1
            if $0.failure == nil { $0.failure = failure }
        }
    }

    /// All workers have ended.
    var hasEnded: Bool { ended.withLock { $0.count == connections } }
    /// The failure of the first worker that failed.
    var failure: BenchError? { ended.withLock { $0.failure } }
}

/// The monotonic clock, in nanoseconds.
func now() -> UInt64 {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
