// How the tests here run what others wrote: tools that have to succeed, nbdsh with a script, a server for one test.

import Foundation
import Support
import Testing

/// Runs an installed tool that has to succeed.
///
/// - Returns: its standard output.
@discardableResult
func run(
    _ tool: String, _ arguments: [String], input: [UInt8] = [], in folder: TemporaryFolder, limitSeconds: Double = 60,
    sourceLocation: SourceLocation = #_sourceLocation
) throws -> String {
    let result = try Program.tool(tool).run(arguments, input: input, in: folder, limitSeconds: limitSeconds)
    try #require(
        result.status == 0, "\(tool) \(arguments) ended with \(result.status): \(result.errors)\(result.text)",
        sourceLocation: sourceLocation)
    return result.text
}

/// Runs an installed tool that may fail: for what is tried again until it succeeds, as in a wait.
///
/// - Returns: its standard output; nil if it failed.
func attempt(_ tool: String, _ arguments: [String], in folder: TemporaryFolder) throws -> String? {
    let result = try Program.tool(tool).run(arguments, in: folder)
    return result.status == 0 ? result.text : nil
}

/// Runs an installed tool that has to fail.
///
/// - Returns: its standard error.
@discardableResult
func runFailing(
    _ tool: String, _ arguments: [String], in folder: TemporaryFolder, sourceLocation: SourceLocation = #_sourceLocation
) throws -> String {
    let result = try Program.tool(tool).run(arguments, in: folder)
    try #require(
        result.status == 1, "\(tool) \(arguments): \(result.errors)\(result.text)", sourceLocation: sourceLocation)
    return result.errors
}

/// Runs a script in nbdsh, libnbd's Python shell, which fails with its first failed assertion.
///
/// The script finds the URIs of the exports in `uri`, a handle in `h`, and `refused(name, call)`, which asserts that
/// the server answers a call with the error of that name.
@discardableResult
func nbdsh(
    _ uris: [String], _ script: String, in folder: TemporaryFolder, limitSeconds: Double = 60,
    sourceLocation: SourceLocation = #_sourceLocation
) throws -> String {
    let prelude = """
        uri = [\(uris.map { "'\($0)'" }.joined(separator: ", "))]
        def refused(name, call):
            try: call()
            except nbd.Error as error: assert error.errno == name, (name, error.errno, error.string)
            else: raise AssertionError('not refused with ' + name)

        """
    return try run(
        "nbdsh", ["-c", "-"], input: Array((prelude + script).utf8), in: folder, limitSeconds: limitSeconds,
        sourceLocation: sourceLocation)
}

/// Expects that nbdinfo sees an export of this size.
func expectSize(
    _ bytes: Int, _ uri: String, in folder: TemporaryFolder, sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let size = try run("nbdinfo", ["--size", uri], in: folder, sourceLocation: sourceLocation)
    #expect(size == "\(bytes)\n", "\(uri)", sourceLocation: sourceLocation)
}

/// Serves images for the time of `body`; the server has to outlive it and to end well.
func serving(
    _ arguments: [String], in folder: TemporaryFolder, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (RunningServer) throws -> Void
) throws {
    let server = try RunningServer(arguments, in: folder)
    try body(server)
    #expect(server.isRunning, "\(server.log)", sourceLocation: sourceLocation)
    #expect(try server.stop() == 0, "\(server.log)", sourceLocation: sourceLocation)
}

/// The ways from a client to a server that the tests go.
enum Transport: CaseIterable {
    case unix
    case tcp

    /// Arguments for a server that is to be reached by TCP as well.
    static let listen = ["--listen", "tcp:127.0.0.1:0"]

    fileprivate var scheme: String { self == .unix ? "nbd+unix" : "nbd" }
}

extension RunningServer {
    /// The URI that the server announced for an export.
    func uri(of export: String, over transport: Transport = .unix) throws -> String {
        let beginning = "serving '\(export)' at \(transport.scheme)://"
        let line = try #require(
            announcement.split(separator: "\n").first { $0.hasPrefix(beginning) }, "not in \(announcement)")
        let rest = line.dropFirst("serving '\(export)' at ".count)
        return String(rest[..<(try #require(rest.range(of: ": "))).lowerBound])
    }
}

extension TemporaryFolder {
    /// Makes a file of random bytes.
    func randomFile(_ name: String, sizeBytes: Int) throws -> String {
        let file = path + "/" + name
        try run(
            "dd", ["if=/dev/urandom", "of=\(file)", "bs=1M", "count=\(sizeBytes)", "iflag=fullblock,count_bytes"],
            in: self)
        return file
    }

    /// Expects that two files are the same, byte for byte.
    func expectSame(_ first: String, _ second: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try run("cmp", [first, second], in: self, sourceLocation: sourceLocation)
    }
}

/// The bytes that a file takes on its file system, which for a sparse one are fewer than its size.
func allocatedBytes(_ path: String) throws -> Int {
    var status = stat()
    try #require(stat(path, &status) == 0)
    return Int(status.st_blocks) * 512
}
