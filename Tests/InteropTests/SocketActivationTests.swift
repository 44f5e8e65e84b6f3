// Sockets that others pass: systemd's protocol, spoken by systemd's own tool and by libnbd.

import Foundation
import Support
import Testing

/// Starts systemd-socket-activate.
///
/// It closes every descriptor that it does not know, also the one by which Foundation's Process watches over its
/// children, and which then waits for it with everything else; the program in between keeps that open. It is no shell:
/// dash may say of a child that ends while a signal comes that the signal was its end.
func socketActivate(_ arguments: [String], in folder: TemporaryFolder) throws -> RunningProgram {
    let script = """
        import signal, subprocess, sys
        child = subprocess.Popen(sys.argv[1:])
        signal.signal(signal.SIGTERM, lambda number, frame: child.send_signal(number))
        status = child.wait()
        sys.exit(status if status >= 0 else 128 - status)
        """
    return try RunningProgram(
        Program.tool("python3"), ["-c", script, Program.tool("systemd-socket-activate").path] + arguments, in: folder)
}

@Suite struct SocketActivationTests {
    /// What nbdinfo and nbdcopy print is theirs alone: the server's lines go to standard error.
    @Test func libnbdStartsAServer() throws {
        let folder = try TemporaryFolder()
        let data = try folder.randomFile("data.img", sizeBytes: 3 << 20)
        let command = ["--", "[", Program.spindle.path, "serve", data, "]"]
        #expect(try run("nbdinfo", ["--size"] + command, in: folder) == "3145728\n")
        let information = try run("nbdinfo", ["--json"] + command, in: folder)
        let object = try JSONSerialization.jsonObject(with: Data(information.utf8)) as? [String: Any]
        #expect((object?["exports"] as? [[String: Any]])?.count == 1)
        let copy = folder.path + "/copy"
        try run("nbdcopy", Array(command.dropFirst()) + [copy], in: folder)
        try folder.expectSame(data, copy)
    }

    /// systemd-socket-activate, which has two sockets of one name and one of another.
    private func start(_ arguments: [String], in folder: TemporaryFolder) throws -> RunningProgram {
        let listen = ["a", "b", "c"].flatMap { ["-l", "\(folder.path)/\($0)"] }
        let program = try socketActivate(
            listen + ["--fdname=first:second:first", Program.spindle.path, "serve"] + arguments + ["memory:1M"],
            in: folder)
        try program.wait("to listen") { isListening(folder.path + "/c") }
        return program
    }

    private func uri(_ socket: String, in folder: TemporaryFolder) -> String {
        "nbd+unix:///memory?socket=\(folder.path)/\(socket)"
    }

    /// What a server says when it serves is where: the addresses of the passed sockets, of which the last is waited
    /// for.
    private func announced(
        _ program: RunningProgram, until last: String, in folder: TemporaryFolder
    ) throws -> [String] {
        let isSaid = { program.errors.contains("serving 'memory' at \(self.uri($0, in: folder)): ") }
        // Clients are served meanwhile.
        try program.wait("to say where it serves") { isSaid(last) }
        return ["a", "b", "c"].filter(isSaid)
    }

    @Test func allAreUsed() throws {
        let folder = try TemporaryFolder()
        let program = try start([], in: folder)
        for socket in ["a", "b", "c"] { try expectSize(1 << 20, uri(socket, in: folder), in: folder) }
        #expect(try announced(program, until: "c", in: folder) == ["a", "b", "c"])
        #expect(program.output.isEmpty)
        #expect(try program.stop() == 0)
        // They are systemd's.
        #expect(FileManager.default.fileExists(atPath: folder.path + "/a"))
    }

    @Test func thoseOfAName() throws {
        let folder = try TemporaryFolder()
        let own = folder.path + "/own"
        let program = try start(["--listen", "systemd:first", "--listen", "unix:\(own)"], in: folder)
        for socket in ["a", "c", "own"] { try expectSize(1 << 20, uri(socket, in: folder), in: folder) }
        #expect(try announced(program, until: "c", in: folder) == ["a", "c"])
        #expect(program.errors.contains("no endpoint names") && program.errors.contains("second"))
        #expect(try program.stop() == 0)
        #expect(!FileManager.default.fileExists(atPath: own))
    }

    @Test func aNameThatWasNotPassed() throws {
        let folder = try TemporaryFolder()
        let program = try start(["--listen", "systemd:third"], in: folder)
        // The first client starts the server, which does not serve it.
        _ = try RawConnection(unix: folder.path + "/a")
        #expect(try program.stop(signal: 0) == 1)
        #expect(
            program.errors.contains("systemd has passed no socket named 'third', but: first, second, first"),
            "\(program.errors)")
        let alone = try Program.spindle.run(["serve", "--listen", "systemd:third", "null:1M"], in: folder)
        #expect(alone.status == 1 && alone.errors.contains("no socket named 'third', and no other"), "\(alone.errors)")
    }

    /// Variables that were meant for the process that started this one.
    @Test func socketsOfAnotherProcess() throws {
        let folder = try TemporaryFolder()
        let result = try Program.tool("env").run(
            ["LISTEN_PID=1", "LISTEN_FDS=1", Program.spindle.path, "serve", "--listen", "systemd:unknown", "null:1M"],
            in: folder)
        #expect(result.status == 1 && result.errors.contains("and no other"), "\(result.errors)")
    }
}
