// `spindle serve --control` for the time of a test, and the ways to talk to it: curl, `spindle ctl`, bytes.

import Foundation
import Glibc
import Support
import Testing

/// The answer to curl.
struct Reply {
    let status: Int
    let header: String
    let body: String

    /// The members of the object that the body is.
    func object(sourceLocation: SourceLocation = #_sourceLocation) throws -> [String: Any] {
        let value = try JSONSerialization.jsonObject(with: Data(body.utf8))
        return try #require(value as? [String: Any], "\(body)", sourceLocation: sourceLocation)
    }

    /// Why the request was refused.
    func error(sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        try #require(
            try object(sourceLocation: sourceLocation)["error"] as? String, "\(body)", sourceLocation: sourceLocation)
    }
}

/// A server with a control socket.
final class ControlledServer {
    let server: RunningServer
    let folder: TemporaryFolder
    /// The control socket.
    let socketPath: String

    init(_ arguments: [String], in folder: TemporaryFolder) throws {
        self.folder = folder
        socketPath = folder.path + "/control"
        // Images that are added later are in the test's folder.
        let options = ["--control", "unix:" + socketPath, "--sandbox-path", folder.path]
        server = try RunningServer(options + arguments, in: folder)
    }

    /// Sends a request with curl.
    func curl(_ method: String, _ path: String, _ body: String? = nil, options: [String] = []) throws -> Reply {
        let stem = folder.path + "/curl-" + UUID().uuidString
        var arguments = [
            "-sS", "--path-as-is", "--unix-socket", socketPath, "-o", stem + ".body", "-D", stem + ".header",
            "-w", "%{http_code}", "-X", method,
        ]
        if let body { arguments += ["-H", "Content-Type: application/json", "--data-binary", body] }
        let result = try Program.tool("curl").run(arguments + options + ["http://localhost" + path], in: folder)
        guard result.status == 0, let status = Int(result.text) else {
            throw ProgramFailure("curl \(method) \(path) ended with \(result.status): \(result.errors)")
        }
        return Reply(
            status: status, header: try String(contentsOfFile: stem + ".header", encoding: .utf8),
            body: (try? String(contentsOfFile: stem + ".body", encoding: .utf8)) ?? "")
    }

    /// Runs `spindle ctl`.
    func ctl(_ arguments: [String]) throws -> ProgramResult {
        try Program.spindle.run(["ctl", "--control", "unix:" + socketPath] + arguments, in: folder)
    }

    /// Runs `spindle ctl`, which has to succeed.
    @discardableResult
    func control(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        let result = try ctl(arguments)
        try #require(result.status == 0, "\(arguments): \(result.errors)", sourceLocation: sourceLocation)
        return result.text
    }

    /// Runs `spindle ctl`, which has to fail.
    func refusal(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        let result = try ctl(arguments)
        try #require(result.status == 1, "\(arguments): \(result.text)", sourceLocation: sourceLocation)
        return result.errors
    }

    /// The names that a script in Python has: `ctl`, `works` and `refused` run `spindle ctl`; `connect` opens an export
    /// over NBD; `is_unanswered` and `is_cut_off` tell that it is gone; `socket` is the server's; `others` are the
    /// script's arguments.
    private static let helpers = """
        import nbd, subprocess, sys
        spindle, control, socket, *others = sys.argv[1:]
        def ctl(*words):
            return subprocess.run([spindle, 'ctl', '--control', 'unix:' + control, *words], capture_output=True, text=True)
        def works(*words):
            done = ctl(*words)
            assert done.returncode == 0, (words, done)
            return done.stdout
        def refused(text, *words, status=1):
            done = ctl(*words)
            assert done.returncode == status and text in done.stderr, (words, done)
        def connect(name='disk'):
            h = nbd.NBD()
            h.connect_uri(f'nbd+unix:///{name}?socket={socket}')
            return h
        def is_unanswered(body, *arguments):
            try:
                body(*arguments)
            except nbd.Error:
                return True
        def is_cut_off(h):
            return is_unanswered(h.pread, 512, 0)

        """

    /// Runs a script, which has to succeed, and ends the server.
    ///
    /// - Returns: the server's log.
    func run(
        script: String, _ arguments: [String], sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> String {
        let words = ["-c", Self.helpers + script, Program.spindle.path, socketPath, server.socketPath] + arguments
        let result = try Program.tool("python3").run(words, in: folder)
        #expect(result.status == 0, "\(result.errors)", sourceLocation: sourceLocation)
        #expect(try server.stop() == 0, sourceLocation: sourceLocation)
        return server.log
    }

    /// The URI of an export.
    func uri(_ export: String = "") -> String { "nbd+unix:///\(export)?socket=\(server.socketPath)" }

    /// The size of an export by nbdinfo; nil if it cannot be opened.
    func size(of export: String) throws -> Int? {
        let result = try Program.tool("nbdinfo").run(["--size", uri(export)], in: folder)
        return result.status == 0 ? Int(result.text.dropLast()) : nil
    }

    /// The server still serves, and ends well.
    func finish(sourceLocation: SourceLocation = #_sourceLocation) throws {
        #expect(server.isRunning, "\(server.log)", sourceLocation: sourceLocation)
        #expect(try server.stop() == 0, "\(server.log)", sourceLocation: sourceLocation)
    }
}

/// A client of an export that does something when it is told, and says how that went.
final class SteeredClient {
    private let program: RunningProgram
    private let stem: String

    /// Opens an export, and waits until that is done. The rest is Python, with the connection in `h`.
    init(_ uri: String, then script: String, in folder: TemporaryFolder) throws {
        stem = folder.path + "/client-" + UUID().uuidString
        let lines = """
            import nbd, os, time
            h = nbd.NBD()
            h.connect_uri('\(uri)')
            open('\(stem).open', 'w').close()
            end = time.monotonic() + 60
            while not os.path.exists('\(stem).go') and time.monotonic() < end: time.sleep(0.002)
            try:
                \(script)
                said = 'done'
            except nbd.Error as error:
                said = 'failed: ' + str(error)
            with open('\(stem).new', 'w') as file: file.write(said)
            os.rename('\(stem).new', '\(stem).said')
            """
        program = try RunningProgram(.tool("python3"), ["-c", lines], in: folder)
        let stem = stem
        try program.wait("to open \(uri)") { FileManager.default.fileExists(atPath: stem + ".open") }
    }

    /// Lets it go on, and waits for what it says.
    func go() throws -> String {
        _ = FileManager.default.createFile(atPath: stem + ".go", contents: nil)
        let file = stem + ".said"
        try waitUntil("the client has said something") { FileManager.default.fileExists(atPath: file) }
        return try String(contentsOfFile: file, encoding: .utf8)
    }
}
