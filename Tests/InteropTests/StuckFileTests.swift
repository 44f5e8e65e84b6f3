// An image whose file system does not answer: only requests to that image wait. All with one loop.

import Foundation
import Support
import Testing

@Suite(
    .enabled(if: StuckDisk.canBeMade, "only root may mount"), .serialized)
struct StuckFileTests {
    enum Kind: CaseIterable, CustomTestStringConvertible {
        /// fsfreeze(8): writes wait in the kernel, uninterruptibly.
        case frozen(FrozenFileSystem.FileSystem)
        /// The same with O_DIRECT.
        case frozenBelow(FrozenFileSystem.FileSystem)
        /// A FUSE whose program does not go on: everything waits, but whoever waits can be killed.
        case hanging
        /// An ext4 whose disk does not answer: what is not in the page cache waits, uninterruptibly.
        case disk

        static var allCases: [Kind] {
            FrozenFileSystem.FileSystem.allCases.flatMap { [.frozen($0), .frozenBelow($0)] } + [.hanging, .disk]
        }

        var testDescription: String {
            switch self {
            case .frozen(let fileSystem): "a frozen \(fileSystem)"
            case .frozenBelow(let fileSystem): "a frozen \(fileSystem) without the page cache"
            case .hanging: "a FUSE that hangs"
            case .disk: "a disk that hangs"
            }
        }

        var cacheMode: String { if case .frozenBelow = self { "none" } else { "writeback" } }

        /// Whoever waits for it can be killed.
        var letsGo: Bool { if case .hanging = self { true } else { false } }
    }

    /// An image whose file system can be stopped.
    private final class StuckImage {
        let path: String
        private let stopping: () throws -> Void
        private let goingOn: () throws -> Void

        init(_ kind: Kind) throws {
            switch kind {
            case .frozen(let type), .frozenBelow(let type):
                let fileSystem = try FrozenFileSystem(type)
                path = fileSystem.path + "/disk.img"
                (stopping, goingOn) = (fileSystem.freeze, fileSystem.thaw)
            case .hanging:
                let file = try FaultyFile(content: [UInt8](repeating: 7, count: StuckFileTests.sizeBytes))
                path = file.path
                (stopping, goingOn) = (file.hang, file.goOn)
            case .disk:
                let disk = try StuckDisk(sizeBytes: 64 << 20)
                path = disk.path + "/disk.img"
                let path = path
                stopping = {
                    try disk.evict(path)
                    disk.hang()
                }
                goingOn = disk.goOn
            }
            guard !kind.letsGo else { return }
            try Data(repeating: 7, count: StuckFileTests.sizeBytes).write(to: URL(fileURLWithPath: path))
        }

        func stop() throws { try stopping() }

        func goOn() throws { try goingOn() }

        deinit { try? goOn() }
    }

    static let sizeBytes = 16 << 20

    private static let opened = """
        import os, signal, sys, time
        def opened(uri):
            handle = nbd.NBD()
            handle.add_meta_context('base:allocation')
            handle.connect_uri(uri)
            return handle

        """

    /// For nbdsh: requests of all kinds to the image that is stuck, by connections of their own, and how long others
    /// wait.
    private static let script = """
        # Large WRITEs over TCP are spliced from the second on.
        tcp = opened(uri[1])
        for number in range(4): tcp.pwrite(bytearray(1 << 18), 1 << 18)
        small, status, flush, read = (opened(uri[0]) for number in range(4))
        other = opened(uri[2])
        small.pwrite(b'5' * 4096, 0)
        def wait(what):
            open(what, 'w')
            while os.path.exists(what): time.sleep(0.005)
        wait('begun')
        def send(handle, cookie):
            handle.poll(50)
            return handle, cookie
        asked = [
            send(small, small.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b'1' * 4096)), 8192)),
            send(small, small.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b'1' * 65536)), 65536)),
            send(tcp, tcp.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b'2' * (1 << 18))), 1 << 19)),
            send(flush, flush.aio_flush()),
            send(status, status.aio_block_status(1 << 20, 0, lambda *entries: 0)),
            send(read, read.aio_pread(nbd.Buffer(1 << 16), 8 << 20))]
        slowest = 0
        def timed(call):
            global slowest
            start = time.monotonic()
            call()
            slowest = max(slowest, time.monotonic() - start)
        for number in range(5):
            timed(lambda: other.pwrite(b'3' * 4096, 4096 * number))
            timed(lambda: other.pwrite(bytearray(1 << 18), 1 << 20))
            timed(lambda: other.pread(4096, 4096 * number))
            timed(lambda: other.flush())
            timed(lambda: other.block_status(1 << 20, 0, lambda *entries: 0))
            timed(lambda: opened(uri[2]).shutdown())
        assert slowest < 20, slowest
        # Whoever asks behind a question that has no answer is told what is always true.
        entries = []
        cookie = status.aio_block_status(1 << 20, 2 << 20, lambda name, offset, found, error: entries.extend(found) or 0)
        deadline = time.monotonic() + 10
        while not entries:
            assert time.monotonic() < deadline
            status.poll(10)
        assert entries == [1 << 20, 0], entries
        """

    /// Serves an image that gets stuck and one that does not, while a script of nbdsh runs; `body` comes once it has
    /// asked the former for something in vain. `opening` comes before that: who opens the image later has to wait.
    private func withStuckImage(
        _ kind: Kind, opening: String = "", script: String,
        _ body: (RunningServer, StuckImage, RunningProgram, TemporaryFolder) throws -> Void
    ) throws {
        let image = try StuckImage(kind)
        defer { try? image.goOn() }
        let folder = try TemporaryFolder(onDisk: true)
        let other = try folder.randomFile("other.img", sizeBytes: Self.sizeBytes)
        let server = try RunningServer(
            [
                "--threads", "1", "--shutdown-seconds", "1", "--cache", kind.cacheMode, "stuck=\(image.path)",
                "other=\(other)",
            ] + Transport.listen,
            in: folder)
        let uris = try [server.uri(of: "stuck"), server.uri(of: "stuck", over: .tcp), server.uri(of: "other")]
        let prelude = "import nbd\nuri = \(uris)\n"
        try (prelude + Self.opened + opening + "\n" + Self.script + "\n" + script).write(
            toFile: folder.path + "/script.py", atomically: true, encoding: .utf8)
        let client = try RunningProgram(
            Program.tool("env"), ["-C", folder.path, "python3", "script.py"], in: folder)
        let begun = folder.path + "/begun"
        try client.wait("to begin") { FileManager.default.fileExists(atPath: begun) }
        try image.stop()
        try FileManager.default.removeItem(atPath: begun)
        try body(server, image, client, folder)
    }

    /// Other exports answer, new clients get in; and when the file system goes on, what has waited is done.
    @Test(arguments: Kind.allCases) func othersAreServed(_ kind: Kind) throws {
        let script = """
            open('served', 'w')
            deadline = time.monotonic() + 20
            while not all(handle.aio_command_completed(cookie) for handle, cookie in asked[-1:]):
                assert time.monotonic() < deadline
                read.poll(50)
            for handle, cookie in asked[:-1]:
                while not handle.aio_command_completed(cookie):
                    assert time.monotonic() < deadline
                    handle.poll(50)
            assert small.pread(4096, 8192) == b'1' * 4096
            assert small.pread(65536, 65536) == b'1' * 65536
            assert small.pread(1 << 18, 1 << 19) == b'2' * (1 << 18)
            """
        try withStuckImage(kind, script: script) { server, image, client, folder in
            try client.wait("to see others served", limitSeconds: 60) {
                FileManager.default.fileExists(atPath: folder.path + "/served")
            }
            try image.goOn()
            #expect(try client.stop(signal: 0, limitSeconds: 30) == 0, "\(client.errors)")
            #expect(try server.stop() == 0, "\(server.log)")
        }
    }

    /// More requests than io_uring has threads for a file system by default, or a disk has places for: there are some
    /// left for others.
    @Test(arguments: [Kind.hanging, .disk]) func manyRequestsThatWait(_ kind: Kind) throws {
        let opening = """
            flood = [opened(uri[0]) for number in range(3)]
            for handle in flood: handle.pread(512, 0)
            """
        let script = """
            for index, handle in enumerate(flood):
                for number in range(100): handle.aio_pread(nbd.Buffer(4096), (100 * index + number + 1) * 49152)
                for number in range(20): handle.poll(10)
            for number in range(5):
                timed(lambda: other.flush())
                timed(lambda: other.pwrite(bytearray(1 << 18), 2 << 20))
                timed(lambda: other.zero(1 << 20, 4 << 20))
            assert slowest < 20, slowest
            """
        try withStuckImage(kind, opening: opening, script: script) { server, image, client, _ in
            #expect(try client.stop(signal: 0, limitSeconds: 40) == 0, "\(client.errors)")
            try image.goOn()
            #expect(try server.stop() == 0, "\(server.log)")
        }
    }

    /// More requests than a ring may have threads: an export has its share of them. All have their turn when the file
    /// system goes on.
    @Test(arguments: [Kind.frozen(.ext4), .frozenBelow(.ext4)])
    func moreRequestsThanThreads(_ kind: Kind) throws {
        let opening = """
            flood = [opened(uri[0]) for number in range(40)]
            for handle in flood: handle.pread(512, 0)
            """
        let script = """
            late = []
            for handle in flood:
                for number in range(128): late.append((handle, handle.aio_zero(4096, number * 65536)))
                for number in range(20): handle.poll(5)
            for number in range(3):
                timed(lambda: other.flush())
                timed(lambda: other.pwrite(bytearray(1 << 18), 2 << 20))
                timed(lambda: other.pread(1 << 16, 8 << 20))
                timed(lambda: other.zero(1 << 20, 4 << 20))
                timed(lambda: other.trim(1 << 20, 4 << 20))
            assert slowest < 20, slowest
            open('served', 'w')
            deadline = time.monotonic() + 60
            for handle, cookie in late:
                while not handle.aio_command_completed(cookie):
                    assert time.monotonic() < deadline
                    handle.poll(50)
            """
        try withStuckImage(kind, opening: opening, script: script) { server, image, client, folder in
            try client.wait("to see others served", limitSeconds: 60) {
                FileManager.default.fileExists(atPath: folder.path + "/served")
            }
            try image.goOn()
            #expect(try client.stop(signal: 0, limitSeconds: 60) == 0, "\(client.errors)")
            #expect(try server.stop() == 0, "\(server.log)")
        }
    }

    /// io_uring's threads do the writes to one file one after the other, and to all files whose inodes fall into one of
    /// its 64 classes: of so many others some fall into that of the image that is stuck. So it is with a small cache in
    /// front of each, whose sectors go to the image.
    @Test(arguments: [[], ["--write-cache-model", "volatile:64K"]]) func noneOfManyOthersWaits(options: [String]) throws
    {
        let image = try StuckImage(.frozen(.ext4))
        defer { try? image.goOn() }
        let folder = try TemporaryFolder(onDisk: true)
        let others = try (0..<300).map { try folder.file("other\($0)", sizeBytes: 1 << 20) }
        let server = try RunningServer(
            ["--threads", "1", "--shutdown-seconds", "1"] + options + ["stuck=\(image.path)"] + others
                + Transport.listen,
            in: folder)
        let uris = try (["stuck"] + others.indices.map { "other\($0)" }).map { try server.uri(of: $0) }
        try image.stop()
        try nbdsh(
            uris,
            """
            import time
            def opened(name):
                handle = nbd.NBD()
                handle.connect_uri(name)
                return handle
            stuck = opened(uri[0])
            # More than a worker has room for: the rest is with the ring.
            for number in range(300):
                stuck.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(1 << 15)), number << 15)
                stuck.poll(0)
            for number in range(50): stuck.poll(1)
            for name in uri[1:]:
                other = opened(name)
                for send in (
                    lambda: other.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(1 << 16)), 0),
                    lambda: other.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(1 << 12)), 1 << 17),
                    lambda: other.aio_zero(1 << 16, 1 << 18)):
                    cookie = send()
                    deadline = time.monotonic() + 20
                    while not other.aio_command_completed(cookie):
                        assert time.monotonic() < deadline, name
                        other.poll(1000)
                other.shutdown()
            """, in: folder)
        try image.goOn()
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// SIGTERM ends the server in time: clients are let go, and others may listen where it has. A process with a thread
    /// that waits uninterruptibly stays in the kernel's list until the thaw; whoever waits for a FUSE is gone.
    @Test(arguments: Kind.allCases) func itEnds(_ kind: Kind) throws {
        let script = """
            open('served', 'w')
            while True:
                try: small.poll(-1)
                except nbd.Error: break
            """
        try withStuckImage(kind, script: script) { server, image, client, folder in
            try client.wait("to see others served", limitSeconds: 60) {
                FileManager.default.fileExists(atPath: folder.path + "/served")
            }
            let port = try #require(server.port)
            kill(server.processIdentifier, SIGTERM)
            try waitUntil("clients are let go", limitSeconds: 30) { !client.isRunning }
            try waitUntil("others may listen at port \(port)", limitSeconds: 30) { canListen(port) }
            #expect(!FileManager.default.fileExists(atPath: server.socketPath))
            try waitUntil("the log says it", limitSeconds: 30) {
                server.log.contains("could not be flushed: its file system has not answered in time")
            }
            if !kind.letsGo { try image.goOn() }
            #expect(try server.stop(signal: 0, limitSeconds: 30) == 1, "\(server.log)")
        }
    }
}

/// A page that goes out of the page cache between the kernel's word for it and its use, on a disk that does not answer.
/// The loop waits for it: that is the gap that is left (docs/loop-system-calls.md). Its bounds are here.
@Suite(.enabled(if: StuckDisk.canBeMade, "only root may mount"), .serialized)
struct LostPageTests {
    /// Another mincore(2), which says that all is there; but not of a single page, as the one behind a file's end.
    private static let source = """
        #define _GNU_SOURCE
        #include <string.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        int mincore(void *address, size_t length, unsigned char *vector) {
            int result = syscall(SYS_mincore, address, length, vector);
            if (result == 0 && length > 4096) memset(vector, 1, (length + 4095) / 4096);
            return result;
        }
        """

    /// The clients of the other loop are served, and SIGTERM ends the server in time, which says what it has left.
    @Test(arguments: [4096, 1 << 16]) func aLoopThatWaitsForAPage(readBytes: Int) throws {
        let disk = try StuckDisk(sizeBytes: 64 << 20)
        defer { disk.goOn() }
        let image = disk.path + "/disk.img"
        try Data(repeating: 7, count: StuckFileTests.sizeBytes).write(to: URL(fileURLWithPath: image))
        let folder = try TemporaryFolder(onDisk: true)
        try Self.source.write(toFile: folder.path + "/pages.c", atomically: true, encoding: .utf8)
        let library = folder.path + "/pages.so"
        try run("gcc", ["-shared", "-fPIC", "-o", library, folder.path + "/pages.c"], in: folder)
        let other = try folder.randomFile("other.img", sizeBytes: 1 << 20)
        let program = try RunningProgram(
            Program.tool("env"),
            [
                "-C", folder.path, "LD_PRELOAD=\(library)", Program.spindle.path, "serve", "--threads", "2",
                "--shutdown-seconds", "1", "--listen", "unix:s", "--pid-file", "pid", "stuck=\(image)", other,
            ], in: folder)
        try program.wait("to serve") { FileManager.default.fileExists(atPath: folder.path + "/pid") }
        try disk.evict(image)
        disk.hang()
        // Connections go to one loop after the other.
        try nbdsh(
            ["other", "stuck"].map { "nbd+unix:///\($0)?socket=\(folder.path)/s" },
            """
            import time
            handles = []
            for name in uri:
                handles.append(nbd.NBD())
                handles[-1].set_request_structured_replies(False)
                handles[-1].connect_uri(name)
            other, stuck = handles
            # All over the image: the table of what is known to be there (ResidentChunks) has no room for some of its parts,
            # which ones depends on where it is mapped.
            for number in range(64): stuck.aio_pread(nbd.Buffer(\(readBytes)), number // 4 << 20)
            for number in range(100): stuck.poll(1)
            for number in range(100):
                start = time.monotonic()
                other.pread(4096, 4096 * number)
                assert time.monotonic() - start < 5, time.monotonic() - start
            """, in: folder)
        program.signal(SIGTERM)
        let late = "the image of export 'stuck' could not be flushed: its file system has not answered in time"
        try waitUntil("it has ended but for what the kernel does not let go: \(program.errors)", limitSeconds: 60) {
            program.errors.contains("a loop does not end") && program.errors.contains(late)
        }
        disk.goOn()
        #expect(try program.stop(signal: 0) == 1, "\(program.errors)")
    }
}

/// Whether somebody else could listen on a port of this machine.
private func canListen(_ port: UInt16) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var isReused: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &isReused, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 && listen(descriptor, 1) == 0
        }
    }
}
