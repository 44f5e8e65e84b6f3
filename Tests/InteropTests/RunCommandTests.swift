// `--run`: a server for the life of a command, with the variables that nbdkit-captive(1) names.

import Foundation
import Support
import Testing

@Suite struct RunCommandTests {
    private func serve(_ arguments: [String], run command: String, in folder: TemporaryFolder) throws -> ProgramResult {
        try Program.tool("env").run(
            ["TMPDIR=\(folder.path)", "tls=9", "port=9", Program.spindle.path, "serve"] + arguments + [
                "--run", command,
            ], in: folder)
    }

    private static let variables =
        "printf '%s|' \"$uri\" \"$nbd\" \"$unixsocket\" \"$port\" \"${tls-unset}\" \"$exportname\""

    /// All that is printed is the command's. Its socket is its own, and gone afterwards.
    @Test func aPrivateSocket() throws {
        let folder = try TemporaryFolder()
        let result = try serve(
            ["first disk=memory:1M", "memory:2M"],
            run: "nbdinfo --size \"$uri\"; stat -c %a \"${unixsocket%/*}\"; \(Self.variables)", in: folder)
        #expect(result.status == 0, "\(result.errors)")
        let lines = result.text.split(separator: "\n").map(String.init)
        try #require(lines.count == 3, "\(result.text)")
        #expect(lines[0] == "1048576" && lines[1] == "700")
        let variables = lines[2].split(separator: "|", omittingEmptySubsequences: false).map(String.init)
        let socket = variables[2]
        #expect(socket.hasPrefix(folder.path + "/spindle-") && socket.hasSuffix("/socket"))
        let uri = "nbd+unix:///first%20disk?socket=\(socket)"
        #expect(variables == [uri, uri, socket, "", "unset", "first disk", ""])
        #expect(!FileManager.default.fileExists(atPath: URL(fileURLWithPath: socket).deletingLastPathComponent().path))
    }

    @Test func endpointsThatWereAskedFor() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s"
        let result = try serve(
            ["--listen", "tcp:127.0.0.1:0", "--listen", "unix:\(path)", "disk=null:1M"],
            run: "nbdinfo --size \"$uri\"; nbdinfo --size \"nbd+unix:///?socket=$unixsocket\"; \(Self.variables)",
            in: folder)
        let lines = result.text.split(separator: "\n").map(String.init)
        try #require(
            lines.count == 3 && lines[0] == "1048576" && lines[1] == "1048576", "\(result.errors)\(result.text)")
        let variables = lines[2].split(separator: "|", omittingEmptySubsequences: false).map(String.init)
        #expect(variables[0] == "nbd://127.0.0.1:\(variables[3])/disk" && variables[2] == path, "\(variables)")
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test(arguments: [("on", "1", "nbd"), ("require", "2", "nbds")])
    func encrypted(mode: String, variable: String, scheme: String) throws {
        let folder = try TemporaryFolder()
        let key = try TestKey()
        let result = try serve(
            ["--tls", mode, "--tls-psk", key.path, "disk=null:1M"],
            run: "nbdinfo --size \"nbds+unix://\(key.user)@/disk?socket=$unixsocket&tls-psk-file=\(key.path)\""
                + "; echo $tls ${uri%%+*}", in: folder)
        #expect(result.text == "1048576\n\(variable) \(scheme)\n", "\(result.errors)")
    }

    @Test(arguments: [("true", 0), ("exit 7", 7), ("no-such-command-anywhere", 127), ("kill -KILL $$", 128 + 9)])
    func theExitStatusIsTheCommands(command: String, status: Int32) throws {
        let folder = try TemporaryFolder()
        let result = try serve(["null:1M"], run: command, in: folder)
        #expect(result.status == status, "\(result.errors)")
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path).allSatisfy { !$0.hasPrefix("spindle-") })
    }

    /// What the command has written is stable when the server has ended.
    @Test func realClients() throws {
        let folder = try TemporaryFolder()
        let data = try folder.randomFile("data", sizeBytes: 8 << 20)
        let image = try folder.file("disk.img", sizeBytes: 8 << 20)
        let written = try serve([image], run: "nbdcopy '\(data)' \"$uri\"", in: folder)
        #expect(written.status == 0, "\(written.errors)")
        try folder.expectSame(data, image)
        let copy = folder.path + "/copy"
        let read = try serve(
            ["--read-only", image],
            run: "qemu-img convert -f raw -O raw \"$uri\" '\(copy)' && qemu-img compare \"$uri\" '\(copy)'",
            in: folder)
        #expect(read.status == 0, "\(read.errors)")
        try folder.expectSame(data, copy)
    }

    /// The command has the standard streams of the server and no other descriptors, and no signal is blocked or ignored
    /// because the server does so: all is as if the server were not in between.
    @Test func theCommandsSurroundings() throws {
        let folder = try TemporaryFolder()
        let command = "cat; grep -E '^Sig(Blk|Ign):' /proc/self/status; ls /proc/self/fd"
        let input = Array("input\n".utf8)
        // The library that starts programs for these tests leaves them descriptors of its own, and other tests of this
        // process have it ignore signals.
        let clean = [
            "-c",
            """
            for file in /proc/self/fd/*; do number=${file##*/}; [ $number -le 2 ] || eval "exec $number>&-"; done
            exec env --default-signal=PIPE,XFSZ "$@"
            """, "clean",
        ]
        let bash = try Program.tool("bash")
        let alone = try bash.run(clean + ["sh", "-c", command], input: input, in: folder)
        let result = try bash.run(
            clean + [Program.spindle.path, "serve", "null:1M", "--run", command], input: input, in: folder)
        #expect(result.text.hasPrefix("input\nSigBlk:"), "\(result.errors)")
        #expect(result.text == alone.text, "\(result.errors)")
    }

    /// Starts a server whose command writes files in the folder, and waits for the one named ready.
    private func start(_ arguments: [String], run command: String, in folder: TemporaryFolder) throws -> RunningProgram
    {
        let program = try RunningProgram(
            Program.tool("env"),
            ["-C", folder.path, "TMPDIR=\(folder.path)", Program.spindle.path, "serve", "null:1M"] + arguments
                + ["--run", command], in: folder)
        try wait(for: "ready", of: program, in: folder)
        return program
    }

    private func wait(for name: String, of program: RunningProgram, in folder: TemporaryFolder) throws {
        try program.wait("to make '\(name)'") { FileManager.default.fileExists(atPath: "\(folder.path)/\(name)") }
    }

    /// The commands of these tests end with their server, and in any case within a minute.
    private static let waitForTheServer =
        "touch ready; n=0; while [ -S \"$unixsocket\" ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done"

    /// Who is told to end may still need its disk.
    @Test func aSignalIsPassedOn() throws {
        let folder = try TemporaryFolder()
        let program = try start(
            [], run: "trap 'nbdinfo --size \"$uri\"; exit 3' TERM; \(Self.waitForTheServer)", in: folder)
        #expect(try program.stop() == 3)
        #expect(program.output == "1048576\n", "\(program.errors)")
    }

    @Test func aCommandThatDoesNotEnd() throws {
        let folder = try TemporaryFolder()
        let program = try start(
            ["--shutdown-seconds", "1"], run: "trap '' TERM; \(Self.waitForTheServer)", in: folder)
        #expect(try program.stop(limitSeconds: 8) == 128 + 9)
        #expect(program.errors.contains("it is killed"))
    }

    /// The command was told to end; the second Ctrl-C is for the server.
    @Test func aSecondInterrupt() throws {
        let folder = try TemporaryFolder()
        let program = try start(
            ["--shutdown-seconds", "60"], run: "trap 'touch told' TERM; \(Self.waitForTheServer)", in: folder)
        kill(program.processIdentifier, SIGINT)
        try wait(for: "told", of: program, in: folder)
        try program.interruptUntilItEnds()
        #expect(try program.stop(signal: 0) == 1)
        #expect(program.errors.contains("stopped at once by a second SIGINT"), "\(program.errors)")
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path).allSatisfy { !$0.hasPrefix("spindle-") })
    }

    /// Whoever ends the command may tell the server, too: the end has begun by then.
    @Test func signalsAfterTheCommand() throws {
        for round in 0..<20 {
            let folder = try TemporaryFolder()
            let program = try start([], run: "touch ready; exec sleep 60", in: folder)
            let children = "/proc/\(program.processIdentifier)/task/\(program.processIdentifier)/children"
            // Below env(1), which has become the server.
            let command = try #require(
                kernelFile(children).flatMap { Int32($0.filter { $0 != " " }) }, "\(round)")
            kill(command, SIGTERM)
            usleep(1000)
            kill(program.processIdentifier, SIGTERM)
            #expect(try program.stop() == 128 + SIGTERM, "round \(round): \(program.errors)")
        }
    }

    /// Where the private socket's folder cannot be made, or its path is too long for a socket.
    @Test func noPlaceForTheSocket() throws {
        let folder = try TemporaryFolder()
        let long = folder.path + "/" + String(repeating: "x", count: 100)
        try FileManager.default.createDirectory(atPath: long, withIntermediateDirectories: true)
        for (parent, message) in [
            ("/nonexistent", "private socket in '/nonexistent'"), (long, "the system's limit is 107"),
        ] {
            let result = try Program.tool("env").run(
                ["TMPDIR=\(parent)", Program.spindle.path, "serve", "null:1M", "--run", "touch \(folder.path)/ran"],
                in: folder)
            #expect(result.status == 1 && result.errors.contains(message), "\(result.errors)")
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/ran"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: long) == [])
    }
}
