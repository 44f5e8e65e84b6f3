// Running programs: spindle itself as it was built beside the tests, and tools that are installed.

import Foundation

/// How a program ended and what it wrote.
struct CommandResult {
    let status: Int32
    let output: [UInt8]
    let errors: String

    var text: String { String(decoding: output, as: UTF8.self) }
}

enum Command {
    /// The folder of the products, in which the test bundle lies too.
    private static let products = URL(fileURLWithPath: ProcessInfo.processInfo.arguments[0]).deletingLastPathComponent()

    /// Runs spindle.
    static func spindle(_ arguments: [String]) throws -> CommandResult {
        try run(products.appendingPathComponent("spindle"), arguments, input: [])
    }

    /// Where an installed tool is, or nil. Those for disks are where root's PATH looks.
    static func find(_ tool: String) -> URL? {
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map { URL(fileURLWithPath: "\($0)/\(tool)") }
            .first { FileManager.default.isExecutableFile(atPath: $0.path) }
    }

    /// Runs an installed tool. What it gets and says fits into the buffer of a pipe.
    static func tool(_ name: String, _ arguments: [String], input: [UInt8]) throws -> CommandResult {
        guard let program = find(name) else { throw CocoaError(.fileNoSuchFile) }
        return try run(program, arguments, input: input)
    }

    private static func run(_ program: URL, _ arguments: [String], input: [UInt8]) throws -> CommandResult {
        let process = Process()
        let (stdin, stdout, stderr) = (Pipe(), Pipe(), Pipe())
        process.executableURL = program
        process.arguments = arguments
        process.environment = ["LC_ALL": "C", "PATH": "/usr/bin:/bin"]
        process.standardInput = stdin
        process.standardOutput = stdout
        process.standardError = stderr
        try process.run()
        try stdin.fileHandleForWriting.write(contentsOf: Data(input))
        try stdin.fileHandleForWriting.close()
        let output = try stdout.fileHandleForReading.readToEnd() ?? Data()
        let errors = try stderr.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return CommandResult(
            status: process.terminationStatus, output: [UInt8](output), errors: String(decoding: errors, as: UTF8.self))
    }
}

/// A file that lives as long as this object.
final class TemporaryFile {
    let path: String

    /// A sparse file that begins with some bytes.
    init(sizeBytes: UInt64, beginning: [UInt8] = []) throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("spindle-\(UUID().uuidString)").path
        guard FileManager.default.createFile(atPath: path, contents: Data(beginning)) else {
            throw CocoaError(.fileWriteUnknown)
        }
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.truncate(atOffset: sizeBytes)
        try handle.close()
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
