// Seeds: a fixed set, those that have found something, and fresh ones.

import Foundation
import Glibc
import Support
import Synchronization
import Testing
import Threads

@Suite struct SimulationTests {
    /// How long fresh seeds are tried, in seconds: `SIMULATION_SECONDS`.
    private static let seconds = environment("SIMULATION_SECONDS") ?? 0
    /// The seeds to run instead, if `SIMULATION_SEEDS` says how many: from `SIMULATION_SEED` on, or fresh ones.
    private static let wanted = environment("SIMULATION_SEEDS")

    private static func environment(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }

    /// Two lanes: a processor each.
    @Test(arguments: [0, 1]) func freshSeeds(lane: Int) throws {
        let first = ProcessInfo.processInfo.environment["SIMULATION_SEED"].flatMap { UInt64($0) }
        if let wanted = Self.wanted {
            for number in stride(from: lane, to: wanted, by: 2) {
                try run(first.map { $0 &+ UInt64(number) } ?? .random(in: 1...1_000_000_000))
            }
            return
        }
        let end = Date().addingTimeInterval(Double(Self.seconds))
        var count = 0
        while Date() < end {
            try run(.random(in: 1...1_000_000_000))
            count += 1
        }
        if Self.seconds > 0 { print("lane \(lane): \(count) fresh seeds") }
    }

    /// 5013 and 5022 notice a FLUSH that is answered with one that was under way before it came; 28 notices iSCSI's
    /// data at a wrong place, and 55 an iSCSI session that is begun anew without a fence. 1 and 6 notice mistakes about
    /// units of a target that come and go, 6 and 17 about news of them. 21 notices reservations that are not kept yet,
    /// and 99 those that are shown before. 216 notices an R2T for a task that two resets have ended, and 441777991 a
    /// task that ends while it waits for memory, and its R2T for the socket. 437956949 notices a session that opens
    /// units although it has lost its last one.
    @Test(
        .enabled(if: wanted == nil),
        arguments: [
            UInt64(1), 2, 3, 4, 5, 6, 27, 459_657_124, 5013, 5022, 28, 55, 17, 21, 99, 216, 441_777_991, 437_956_949,
        ])
    func knownSeeds(seed: UInt64) throws {
        try run(seed)
    }

    /// A seed that fails can be looked at: it does the same again.
    @Test(.enabled(if: wanted == nil), arguments: [UInt64(1001), 1002])
    func aSeedDoesTheSameAgain(seed: UInt64) throws {
        let first = try run(seed)
        let second = try run(seed)
        #expect(first == second)
    }

    /// What a run has come to.
    private struct Outcome {
        var hash: UInt64 = 0
        var failure: String?
    }

    /// Runs a seed on a thread of its own, so that a trap is a failure like any other.
    ///
    /// - Returns: the hash of all that has happened.
    @discardableResult
    private func run(_ seed: UInt64) throws -> UInt64 {
        let folder = try TemporaryFolder()
        let trace = Trace()
        let guarded = TestWatch.Guarded()
        let ended = DispatchSemaphore(value: 0)
        let path = folder.path
        let shared = Shared(outcome: Outcome())
        withExtendedLifetime(folder) {
            pthread_detach(
                startThread {
                    TestWatch.guardThread(guarded)
                    signal(SIGPIPE, SIG_IGN)
                    var result = Outcome()
                    do {
                        try Simulation(seed: seed, folder: path, trace: trace).run()
                    } catch {
                        result.failure = "\(error)"
                    }
                    result.hash = trace.hash
                    shared.outcome.withLock { $0 = result }
                    ended.signal()
                })
            while ended.wait(timeout: .now() + .milliseconds(100)) != .success {
                let number = guarded.signal.load(ordering: .sequentiallyConsistent)
                guard number == 0 else {
                    shared.outcome.withLock { $0.failure = "the server has trapped (signal \(number))" }
                    break
                }
            }
        }
        let result = shared.outcome.withLock { $0 }
        if let failure = result.failure { report(seed, failure, trace) }
        try #require(result.failure == nil, "seed \(seed): \(result.failure ?? "")")
        return result.hash
    }

    private final class Shared: Sendable {
        let outcome: Mutex<Outcome>
        init(outcome: Outcome) { self.outcome = Mutex(outcome) }
    }

    private func report(_ seed: UInt64, _ failure: String, _ trace: Trace) {
        let lines = trace.last(ProcessInfo.processInfo.environment["SIMULATION_TRACE"].flatMap { Int($0) } ?? 60)
        let text =
            "\nSeed \(seed): \(failure)\n  make sim SEEDS=1 SEED=\(seed)\nThe last of \(trace.count) events:\n  "
            + lines.joined(separator: "\n  ") + "\n"
        FileHandle.standardError.write(Data(text.utf8))
    }
}
