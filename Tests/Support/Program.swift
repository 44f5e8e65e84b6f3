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

    /// A copy of the program in a folder that everybody may enter, for a test that runs it as another user: where it
    /// was built may be somebody's home, which is closed to others.
    public func copied(into folder: TemporaryFolder) throws -> Program {
        let copy = URL(fileURLWithPath: folder.path + "/" + url.lastPathComponent)
        try FileManager.default.copyItem(at: url, to: copy)
        chmod(copy.path, 0o755)
        chmod(folder.path, 0o777)
        return Program(url: copy)
    }

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
        guard let status = process.waitForEnd(limitSeconds: limitSeconds) else {
            process.end()
            let errors = String(decoding: try Data(contentsOf: URL(fileURLWithPath: stem + ".err")), as: UTF8.self)
            throw ProgramFailure(
                "\(url.lastPathComponent) \(arguments) was still running after \(limitSeconds) s: \(errors)")
        }
        return ProgramResult(
            status: status,
            output: [UInt8](try Data(contentsOf: URL(fileURLWithPath: stem + ".out"))),
            errors: String(decoding: try Data(contentsOf: URL(fileURLWithPath: stem + ".err")), as: UTF8.self))
    }

    /// Starts the program with its standard streams in files that begin with `stem`.
    func start(_ arguments: [String], stem: String) throws -> BoundProcess {
        for suffix in [".out", ".err"] { try Data().write(to: URL(fileURLWithPath: stem + suffix)) }
        let input =
            FileManager.default.fileExists(atPath: stem + ".in")
            ? try FileHandle(forReadingFrom: URL(fileURLWithPath: stem + ".in")) : FileHandle.nullDevice
        let output = try FileHandle(forWritingTo: URL(fileURLWithPath: stem + ".out"))
        let errors = try FileHandle(forWritingTo: URL(fileURLWithPath: stem + ".err"))
        return try withExtendedLifetime((input, output, errors)) {
            try BoundProcess(
                url.path, arguments, environment: ["LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"],
                input: input.fileDescriptor, output: output.fileDescriptor, errors: errors.fileDescriptor)
        }
    }
}
