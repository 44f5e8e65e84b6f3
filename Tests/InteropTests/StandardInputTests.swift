// `--listen stdin`: one client on standard input, as libnbd, inetd and systemd connect it.

import Foundation
import Support
import Testing

@Suite struct StandardInputTests {
    /// libnbd connects standard input and standard output to one socket: what went there besides would end the session.
    @Test func libnbdStartsAServer() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 4 << 20)
        let data = try folder.randomFile("data", sizeBytes: 1 << 20)
        try nbdsh(
            [],
            """
            h.connect_command(['\(Program.spindle.path)', 'serve', '--listen', 'stdin', '\(image)'])
            assert h.get_size() == 4 << 20
            data = open('\(data)', 'rb').read()
            h.pwrite(data, 1 << 20)
            assert h.pread(1 << 20, 1 << 20) == data
            h.flush()
            h.shutdown()
            # Waits for the server.
            del h
            """, in: folder)
        #expect(try folder.bytes("disk.img", from: 1 << 20, count: 1 << 20) == folder.bytes("data"))
    }

    /// A server of one connection, on a socket whose other end is the test's.
    private func start(
        _ arguments: [String], outputToo: Bool = false, in folder: TemporaryFolder
    ) throws -> (process: BoundProcess, client: FileHandle, errors: String) {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
        let errors = folder.path + "/errors"
        try Data().write(to: URL(fileURLWithPath: errors))
        let server = FileHandle(fileDescriptor: ends[1], closeOnDealloc: true)
        // As inetd does.
        let output = outputToo ? server : FileHandle.nullDevice
        let log = outputToo ? server : try FileHandle(forWritingTo: URL(fileURLWithPath: errors))
        let process = try withExtendedLifetime((output, log)) {
            try BoundProcess(
                Program.spindle.path, ["serve", "--listen", "stdin"] + arguments, input: server.fileDescriptor,
                output: output.fileDescriptor, errors: log.fileDescriptor)
        }
        return (process, FileHandle(fileDescriptor: ends[0], closeOnDealloc: true), errors)
    }

    private func end(of process: BoundProcess) throws -> Int32 {
        guard let status = process.waitForEnd(limitSeconds: 15) else {
            process.end()
            throw ProgramFailure("the server did not end")
        }
        return status
    }

    private static let greeting = Array("NBDMAGICIHAVEOPT".utf8) + [0, 3]

    @Test(arguments: [false, true])
    func theServerEndsWithItsClient(outputToo: Bool) throws {
        let folder = try TemporaryFolder()
        let (process, client, _) = try start(
            ["--log-level", "trace", "null:1M"], outputToo: outputToo, in: folder)
        #expect([UInt8](try client.read(upToCount: 18) ?? Data()) == Self.greeting)
        try client.close()
        #expect(try end(of: process) == 0)
    }

    /// Nothing but the protocol comes, from the greeting to the end: no announcement, no log.
    @Test func onlyTheProtocolIsSaid() throws {
        let (process, client, _) = try start(
            ["--log-level", "trace", "null:1M"], outputToo: true, in: try TemporaryFolder())
        // NBD_OPT_ABORT, which is acknowledged.
        let abort = Array("IHAVEOPT".utf8) + [0, 0, 0, 2, 0, 0, 0, 0]
        try client.write(contentsOf: Data([0, 0, 0, 3] + abort))
        shutdown(client.fileDescriptor, Int32(SHUT_WR))
        let reply: [UInt8] = [0, 3, 0xE8, 0x89, 0x04, 0x55, 0x65, 0xA9] + [0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0]
        #expect([UInt8](try client.readToEnd() ?? Data()) == Self.greeting + reply)
        #expect(try end(of: process) == 0)
    }

    @Test func aSignalEndsIt() throws {
        let (process, client, errors) = try start(["null:1M"], in: try TemporaryFolder())
        #expect([UInt8](try client.read(upToCount: 18) ?? Data()) == Self.greeting)
        kill(process.processIdentifier, SIGTERM)
        #expect(try client.readToEnd() ?? Data() == Data())
        #expect(try end(of: process) == 0, "\((try? String(contentsOfFile: errors, encoding: .utf8)) ?? "")")
    }

    /// A parent that ends closes its socket, and then the kernel or a supervisor sends SIGTERM.
    @Test func aSignalAfterTheClientHasLeft() throws {
        for round in 0..<20 {
            let (process, client, errors) = try start(["null:1M"], in: try TemporaryFolder())
            #expect([UInt8](try client.read(upToCount: 18) ?? Data()) == Self.greeting)
            try client.close()
            usleep(UInt32(round * 50))
            kill(process.processIdentifier, SIGTERM)
            let status = try end(of: process)
            #expect(status == 0, "round \(round): \((try? String(contentsOfFile: errors, encoding: .utf8)) ?? "")")
        }
    }

    @Test func whatIsNoConnection() throws {
        let folder = try TemporaryFolder()
        let file = try Program.spindle.run(["serve", "--listen", "stdin", "null:1M"], in: folder)
        #expect(file.status == 1 && file.errors.contains("standard input is no socket"), "\(file.errors)")
        let script =
            "import socket, os, sys; s = socket.socket(socket.AF_UNIX); s.bind('s'); s.listen(); "
            + "os.dup2(s.fileno(), 0); os.execv(sys.argv[1], sys.argv[1:])"
        let listening = try Program.tool("env").run(
            [
                "-C", folder.path, "python3", "-c", script, Program.spindle.path, "serve", "--listen", "stdin",
                "null:1M",
            ],
            in: folder)
        #expect(
            listening.status == 1 && listening.errors.contains("A socket that listens is fd:0"), "\(listening.errors)")
    }

    /// Each connection has a server of its own: what systemd does for Accept=yes with StandardInput=socket.
    @Test func systemdAcceptsConnections() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        let path = folder.path + "/s"
        let systemd = try socketActivate(
            ["--accept", "--inetd", "-l", path, Program.spindle.path, "serve", "--listen", "stdin", image], in: folder)
        try systemd.wait("to listen") { isListening(path) }
        let uri = "nbd+unix:///?socket=\(path)"
        let data = try folder.randomFile("data", sizeBytes: 1 << 20)
        try run("nbdcopy", ["--connections=1", "--flush", data, uri], in: folder)
        try folder.expectSame(data, image)
        try systemd.stop()
    }
}
