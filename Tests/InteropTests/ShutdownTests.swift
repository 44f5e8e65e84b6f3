// The end of a server when something goes wrong with it: images that cannot be flushed, flushes that hang, clients that
// do not go.

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

    /// A disk that does not answer keeps nobody from ending the server: Ctrl-C, and a second later again.
    @Test func aFlushThatHangs() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        let program = try start("write(2, \"flushing\", 8); for (;;) pause();", [image], in: folder)
        kill(program.processIdentifier, SIGINT)
        try program.wait("to flush") { program.errors.contains("flushing") }
        // As long as it does not hear the second one it goes on; the first ones came too early.
        try program.interruptUntilItEnds()
        #expect(try program.stop(signal: 0, limitSeconds: 5) == 1)
        #expect(program.errors.contains("stopped at once by a second SIGINT"), "\(program.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/pid"))
    }

    /// Whoever supervises a server may repeat itself, and a terminal that closes says SIGHUP and SIGTERM; a key that is
    /// pressed twice at once is pressed once. None of that cuts the last flush short.
    @Test(arguments: [[SIGTERM, SIGTERM], [SIGHUP, SIGTERM, SIGHUP], [SIGINT, SIGTERM], [SIGTERM, SIGINT]])
    func signalsThatAreRepeated(signals: [Int32]) throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        // The flush lasts until all signals were sent, and is seen to have ended.
        let flush =
            "write(2, \"flushing\", 8); while (access(\"\(folder.path)/go\", F_OK)) usleep(1000); return 0;"
        let program = try start(flush, ["--sandbox", "off", image], in: folder)
        kill(program.processIdentifier, signals[0])
        try program.wait("to flush") { program.errors.contains("flushing") }
        for signal in signals.dropFirst() {
            kill(program.processIdentifier, signal)
            try program.wait("to take signal \(signal)") { !isPending(signal, of: program.processIdentifier) }
        }
        _ = try folder.file("go", sizeBytes: 0)
        #expect(try program.stop(signal: 0) == 0, "\(program.errors)")
    }

    /// timeout(1) signals its child and then its process group: the server gets SIGTERM twice within microseconds.
    @Test func coreutilsTimeout() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        for round in 0..<40 {
            let pid = folder.path + "/pid"
            let program = try RunningProgram(
                Program.tool("timeout"),
                ["60", Program.spindle.path, "serve", "--listen", "unix:\(folder.path)/s", "--pid-file", pid, image],
                in: folder)
            try program.wait("to serve") { FileManager.default.fileExists(atPath: pid) }
            // It passes a signal on as it sends its own.
            #expect(try program.stop() == 0, "round \(round): \(program.errors)")
        }
    }

    @Test func twoSignalsAMillisecondApart() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        for round in 0..<20 {
            let server = try RunningServer([image], in: folder)
            kill(server.processIdentifier, SIGTERM)
            usleep(1000)
            #expect(try server.stop() == 0, "round \(round): \(server.log)")
        }
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

/// A signal was sent to a process, and it has not taken it yet (proc(5), `ShdPnd`); false when the process is gone.
private func isPending(_ signal: Int32, of process: Int32) -> Bool {
    let status = kernelFile("/proc/\(process)/status") ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("ShdPnd:") }
    let pending = UInt64(line?.split(separator: "\t").last ?? "", radix: 16) ?? 0
    return pending >> (signal - 1) & 1 == 1
}
