// The end of a server when something goes wrong with it: images that cannot be flushed, flushes that hang, clients that do
// not go.

import Foundation
import Support
import Testing

@Suite struct ShutdownTests {
    /// A server with another fdatasync(2): what a broken disk does at the end, where tests have none.
    private func start(_ flush: String, _ arguments: [String], in folder: TemporaryFolder) throws -> RunningProgram {
        let source = """
            #include <errno.h>
            #include <unistd.h>
            int fdatasync(int descriptor) { \(flush) }
            """
        try source.write(toFile: folder.path + "/flush.c", atomically: true, encoding: .utf8)
        let library = folder.path + "/flush.so"
        try run("gcc", ["-shared", "-fPIC", "-o", library, folder.path + "/flush.c"], in: folder)
        let program = try RunningProgram(
            Program.tool("env"),
            [
                "-C", folder.path, "LD_PRELOAD=\(library)", Program.spindle.path, "serve", "--listen", "unix:s",
                "--pid-file",
                "pid",
            ] + arguments, in: folder)
        try program.wait("to serve") { FileManager.default.fileExists(atPath: folder.path + "/pid") }
        return program
    }

    /// Each export is tried, and each that failed is named.
    @Test func imagesThatCannotBeFlushed() throws {
        let folder = try TemporaryFolder()
        let images = try ["one", "two"].map { try folder.file("\($0).img", sizeBytes: 1 << 20) }
        let program = try start("errno = EIO; return -1;", images + ["memory:1M"], in: folder)
        try run("nbdcopy", [images[0], "nbd+unix:///two?socket=\(folder.path)/s"], in: folder)
        #expect(try program.stop() == 1)
        for name in ["one", "two"] {
            #expect(
                program.errors.contains("the image of export '\(name)' could not be flushed: Input/output error"),
                "\(program.errors)")
        }
        #expect(!program.errors.contains("'memory'"))
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/s"))
    }

    /// A disk that does not answer keeps nobody from ending the server.
    @Test func aFlushThatHangs() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        let program = try start("write(2, \"flushing\", 8); for (;;) pause();", [image], in: folder)
        kill(program.processIdentifier, SIGTERM)
        try program.wait("to flush") { program.errors.contains("flushing") }
        #expect(try program.stop(limitSeconds: 5) == 1)
        #expect(program.errors.contains("stopped at once by a second signal"), "\(program.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/pid"))
    }

    /// Clients have so long to take their last replies, and no longer.
    @Test func clientsThatDoNotRead() throws {
        let folder = try TemporaryFolder()
        // Zeroes would not be sent.
        let image = try folder.randomFile("disk.img", sizeBytes: 1 << 20)
        let server = try RunningServer(["--shutdown-seconds", "1", image], in: folder)
        let reader = """
            import nbd, signal, sys
            h = nbd.NBD(); h.connect_uri(sys.argv[1])
            for number in range(60): h.aio_pread(nbd.Buffer(1 << 20), 0)
            print('asked', flush=True)
            signal.pause()
            """
        let client = try RunningProgram(Program.tool("python3"), ["-c", reader, server.uri], in: folder)
        try client.wait("to ask") { client.output.contains("asked") }
        #expect(try server.stop(limitSeconds: 4.5) == 0, "\(server.log)")
        try client.stop()
    }

    /// Whoever comes now is turned away at once, and another server may take the place.
    @Test func nobodyIsLetIn() throws {
        let folder = try TemporaryFolder()
        let image = try folder.randomFile("disk.img", sizeBytes: 1 << 20)
        let server = try RunningServer(["--shutdown-seconds", "60", image], in: folder)
        let script = """
            h.connect_uri(uri[0])
            for number in range(60): h.aio_pread(nbd.Buffer(1 << 20), 0)
            import os, signal, socket, time
            os.kill(\(server.processIdentifier), signal.SIGTERM)
            deadline = time.monotonic() + 20
            while os.path.exists('\(server.socketPath)'): assert time.monotonic() < deadline
            # It still waits for this client.
            os.kill(\(server.processIdentifier), 0)
            with socket.socket(socket.AF_UNIX) as s:
                s.bind('\(server.socketPath)')
            """
        try nbdsh([server.uri], script, in: folder)
        #expect(try server.stop(signal: 0) == 0, "\(server.log)")
    }
}
