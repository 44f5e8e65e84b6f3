// Programs that end with the tests: a run that is cut off, by whatever, leaves none behind.

import Foundation
import Glibc
import Synchronization

/// A program that is running. The kernel kills it when this process ends (PR_SET_PDEATHSIG, prctl(2)), for which
/// setpriv(1) asks before it becomes the program.
///
/// It is not Foundation's `Process`: that takes a program for running as long as a descendant of it holds a socket that
/// it has inherited, and waits for it without a limit.
public final class BoundProcess: Sendable {
    /// Its number, which is also that of its group: its own, with what it starts.
    public let processIdentifier: Int32
    /// How it has ended, once that was seen (waitpid(2)).
    private let ended = Mutex<Int32?>(nil)

    /// Starts a program, with descriptors of this process as its standard streams.
    ///
    /// - Parameter environment: as in environ(7); nil: this process's own.
    public init(
        _ path: String, _ arguments: [String], environment: [String]? = nil, input: Int32, output: Int32,
        errors: Int32
    ) throws {
        let setpriv = try Program.tool("setpriv").path
        processIdentifier = try Starter.shared.start(
            Starter.Job(
                path: setpriv, arguments: [setpriv, "--pdeathsig", "KILL", path] + arguments,
                environment: environment, streams: [input, output, errors]))
    }

    /// It has not ended.
    public var isRunning: Bool { waitStatus == nil }

    /// Its exit status; that of a program ended by a signal is the signal's number plus 128. Nil: it is running.
    public var status: Int32? {
        waitStatus.map { $0 & 0x7F == 0 ? $0 >> 8 & 0xFF : $0 & 0x7F + 128 }
    }

    private var waitStatus: Int32? {
        ended.withLock { ended in
            if ended == nil {
                var status: Int32 = 0
                if waitpid(processIdentifier, &status, WNOHANG) == processIdentifier { ended = status }
            }
            return ended
        }
    }

    /// Sends it a signal, and nobody else who may have got its number after its end.
    public func signal(_ number: Int32) {
        if isRunning { kill(processIdentifier, number) }
    }

    /// Kills it and what it has started, and waits for its end: not for ever, because a program that waits for a disk
    /// does not end.
    public func end() {
        guard isRunning else { return }
        kill(-processIdentifier, SIGKILL)
        _ = waitForEnd(limitSeconds: 60)
    }

    /// Waits for its end.
    ///
    /// - Returns: its exit status, as ``status``; nil if it is still running after `limitSeconds`.
    public func waitForEnd(limitSeconds: Double) -> Int32? {
        let deadline = Date(timeIntervalSinceNow: limitSeconds)
        while true {
            if let status { return status }
            guard Date() < deadline else { return nil }
            usleep(2000)
        }
    }
}

/// The thread that starts programs. The signal of PR_SET_PDEATHSIG comes with the end of the *thread* that has started
/// the program. So one thread starts them all, and it never ends.
private final class Starter: @unchecked Sendable {
    struct Job {
        let path: String
        let arguments: [String]
        let environment: [String]?
        let streams: [Int32]
    }

    static let shared = Starter()

    private let lock = NSLock()
    private let hasJob = DispatchSemaphore(value: 0)
    private let isDone = DispatchSemaphore(value: 0)
    private var job: Job?
    private var outcome: (process: pid_t, error: Int32) = (0, 0)

    private init() {
        Thread.detachNewThread { self.work() }
    }

    func start(_ job: Job) throws -> Int32 {
        lock.lock()
        defer { lock.unlock() }
        self.job = job
        hasJob.signal()
        isDone.wait()
        guard outcome.error == 0 else {
            throw ProgramFailure("\(job.arguments) cannot be started: errno \(outcome.error)")
        }
        return outcome.process
    }

    private func work() {
        while true {
            hasJob.wait()
            if let job { outcome = spawn(job) }
            isDone.signal()
        }
    }

    private func spawn(_ job: Job) -> (process: pid_t, error: Int32) {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A program inherits the signals that its starter blocks or ignores: from a shell it would be none.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (number, descriptor) in job.streams.enumerated() {
            posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(number))
        }
        _ = Self.addCloseFrom(&actions, 3)
        var arguments: [UnsafeMutablePointer<CChar>?] = job.arguments.map { strdup($0) } + [nil]
        var environment: [UnsafeMutablePointer<CChar>?] =
            (job.environment ?? Self.environment).map { strdup($0) } + [nil]
        defer { for string in arguments + environment { free(string) } }
        var process: pid_t = 0
        let error = posix_spawn(&process, job.path, &actions, &attributes, &arguments, &environment)
        return (process, error)
    }

    /// posix_spawn_file_actions_addclosefrom_np(3), which Swift's module of the C library lacks.
    private static let addCloseFrom = unsafeBitCast(
        dlsym(nil, "posix_spawn_file_actions_addclosefrom_np"),
        to: (@convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32).self)

    private static var environment: [String] { ProcessInfo.processInfo.environment.map { "\($0)=\($1)" } }
}
