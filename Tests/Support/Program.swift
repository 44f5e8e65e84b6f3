// Running programs with a time limit: spindle itself as it was built beside the tests, and tools that are installed.

import Foundation

/// How a program ended and what it wrote.
public struct ProgramResult: Sendable {
    /// The exit status; that of a program ended by a signal is the signal's number plus 128.
    public let status: Int32
    /// Standard output.
    public let output: [UInt8]
    /// Standard error, as text.
    public let errors: String

    /// Standard output, as text.
    public var text: String { String(decoding: output, as: UTF8.self) }
}

/// Something that kept a program from being run to its end.
public struct ProgramFailure: Error, CustomStringConvertible {
    /// What happened.
    public let description: String

    /// A failure in words.
    public init(_ description: String) {
        self.description = description
    }
}

/// A program and where it is.
public struct Program: Sendable {
    let url: URL

    /// Where it is, for a tool that runs other programs.
    public var path: String { url.path }

    /// spindle as it was built with these tests: its product lies beside the test bundle.
    public static var spindle: Program { beside("spindle") }

    /// A program that was built with these tests.
    public static func beside(_ name: String) -> Program {
        Program(
            url: URL(fileURLWithPath: ProcessInfo.processInfo.arguments[0]).deletingLastPathComponent()
                .appendingPathComponent(name))
    }

    /// An installed tool. Those for disks are where root's PATH looks.
    public static func tool(_ name: String) throws -> Program {
        for folder in ["/usr/sbin", "/usr/bin", "/sbin", "/bin"] {
            let url = URL(fileURLWithPath: "\(folder)/\(name)")
            if FileManager.default.isExecutableFile(atPath: url.path) { return Program(url: url) }
        }
        throw ProgramFailure("\(name) is not installed; 'make packages' installs what the tests need")
    }

    /// Runs the program to its end; one that takes longer than `limitSeconds` is killed, which is a failure.
    ///
    /// Output goes to files, so that a program never waits for its reader.
    public func run(
        _ arguments: [String], input: [UInt8] = [], in folder: TemporaryFolder, limitSeconds: Double = 60
    ) throws -> ProgramResult {
        let stem = folder.path + "/" + UUID().uuidString
        try Data(input).write(to: URL(fileURLWithPath: stem + ".in"))
        let process = try start(arguments, stem: stem)
        let deadline = Date(timeIntervalSinceNow: limitSeconds)
        while process.isRunning {
            guard Date() < deadline else {
                kill(process.processIdentifier, SIGKILL)
                process.waitUntilExit()
                let errors = try String(contentsOfFile: stem + ".err", encoding: .utf8)
                throw ProgramFailure(
                    "\(url.lastPathComponent) \(arguments) was still running after \(limitSeconds) s: \(errors)")
            }
            usleep(2000)
        }
        process.waitUntilExit()
        let signalled = process.terminationReason == .uncaughtSignal
        return ProgramResult(
            status: process.terminationStatus + (signalled ? 128 : 0),
            output: [UInt8](try Data(contentsOf: URL(fileURLWithPath: stem + ".out"))),
            errors: String(decoding: try Data(contentsOf: URL(fileURLWithPath: stem + ".err")), as: UTF8.self))
    }

    /// Starts the program with its standard streams in files that begin with `stem`.
    func start(_ arguments: [String], stem: String) throws -> Process {
        for suffix in [".out", ".err"] { try Data().write(to: URL(fileURLWithPath: stem + suffix)) }
        let process = Process()
        process.executableURL = url
        process.arguments = arguments
        process.environment = ["LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/"]
        process.standardInput =
            FileManager.default.fileExists(atPath: stem + ".in")
            ? try FileHandle(forReadingFrom: URL(fileURLWithPath: stem + ".in")) : FileHandle.nullDevice
        process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: stem + ".out"))
        process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: stem + ".err"))
        // A program inherits the signals that the thread which starts it blocks: from a shell it would be none.
        var none = sigset_t()
        var blocked = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &blocked)
        defer { pthread_sigmask(SIG_SETMASK, &blocked, nil) }
        try process.run()
        return process
    }
}
