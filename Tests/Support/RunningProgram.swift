// A tool that runs beside a test, a server of others for instance.

import Foundation

/// A program that was started and is stopped with this object.
public final class RunningProgram {
    private let process: BoundProcess
    private let name: String
    private let stem: String

    /// Starts a program, which keeps running.
    public init(_ program: Program, _ arguments: [String], in folder: TemporaryFolder) throws {
        name = program.url.lastPathComponent
        stem = folder.path + "/" + UUID().uuidString
        process = try program.start(arguments, stem: stem)
    }

    /// What it has written to standard error so far.
    public var errors: String { (try? String(contentsOfFile: stem + ".err", encoding: .utf8)) ?? "" }

    /// Waits until something is so; that it ends before, or takes longer than `limitSeconds`, is a failure.
    public func wait(_ purpose: String, limitSeconds: Double = 60, until condition: () throws -> Bool) throws {
        let deadline = Date(timeIntervalSinceNow: limitSeconds)
        while try !condition() {
            guard process.isRunning, Date() < deadline else {
                throw ProgramFailure("waited in vain for \(name) \(purpose): \(errors)")
            }
            usleep(2000)
        }
    }

    /// What it has written to standard output so far.
    public var output: String { (try? String(contentsOfFile: stem + ".out", encoding: .utf8)) ?? "" }

    /// It has not ended.
    public var isRunning: Bool { process.isRunning }

    /// Its process.
    public var processIdentifier: Int32 { process.processIdentifier }

    /// Sends it a signal.
    public func signal(_ number: Int32) {
        process.signal(number)
    }

    /// Presses Ctrl-C as somebody does who does not want to wait; that it takes longer than a minute is a failure.
    public func interruptUntilItEnds() throws {
        let deadline = Date(timeIntervalSinceNow: 60)
        while process.isRunning {
            guard Date() < deadline else { throw ProgramFailure("\(name) ignores SIGINT: \(errors)") }
            process.signal(SIGINT)
            usleep(100_000)
        }
    }

    /// Ends it and waits for its end.
    ///
    /// - Parameter signal: what it is sent; 0 if it ends without that.
    /// - Returns: its exit status; that of a program ended by a signal is the signal's number plus 128.
    @discardableResult
    public func stop(signal: Int32 = SIGTERM, limitSeconds: Double = 60) throws -> Int32 {
        process.signal(signal)
        guard let status = process.waitForEnd(limitSeconds: limitSeconds) else {
            throw ProgramFailure("\(name) did not stop within \(limitSeconds) s of signal \(signal): \(errors)")
        }
        return status
    }

    deinit { process.end() }
}
