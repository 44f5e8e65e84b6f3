// Images whose file system does not answer, and requests that wait for them with all the memory that they can get:
// there is enough left for requests to other images. All with one loop.

import Foundation
import Support
import Testing

@Suite(.enabled(if: FrozenFileSystem.canBeMade, "only root may mount"), .serialized)
struct StuckMemoryTests {
    /// WRITEs to images that are stuck.
    struct Flood: CustomTestStringConvertible {
        var images = 1
        /// Of each image.
        let connections: Int
        /// Of each connection.
        let requests: Int
        let byteCount: Int

        var testDescription: String {
            "\(requests) x \(byteCount >> 10) KiB on each of \(connections) connections to each of \(images) images"
        }
    }

    private static let opened = """
        import select, time
        def opened(uri):
            handle = nbd.NBD()
            handle.set_strict_mode(0)
            handle.connect_uri(uri)
            return handle

        """

    private static let script = """
        # - Returns: whether a connection could send or receive something within a second.
        def move():
            sockets = select.poll()
            for handle in flood:
                direction = handle.aio_get_direction()
                events = select.POLLIN if direction & nbd.AIO_DIRECTION_READ else 0
                if direction & nbd.AIO_DIRECTION_WRITE: events |= select.POLLOUT
                sockets.register(handle.aio_get_fd(), events)
            moved = sockets.poll(1000)
            for handle in flood: handle.poll(0)
            return moved
        asked = []
        for handle in flood:
            for number in range(requests):
                asked.append((handle, handle.aio_pwrite(data, number * byte_count % (32 << 20))))
        # The server takes as much as it will.
        deadline = time.monotonic() + 120
        while move(): assert time.monotonic() < deadline
        def wait(handle, cookie, seconds, what):
            deadline = time.monotonic() + seconds
            while not handle.aio_command_completed(cookie):
                assert time.monotonic() < deadline, what
                handle.poll(100)
        for size in (4 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 32 << 20):
            other = opened(uri[-1])
            buffer = nbd.Buffer(size)
            wait(other, other.aio_pread(buffer, 0), 60, ('READ', size))
            wait(other, other.aio_pwrite(buffer, 0), 60, ('WRITE', size))
            other.shutdown()

        """

    /// Serves images that get stuck, and one that does not, while a script of nbdsh floods the former; `body` comes
    /// when the latter has answered.
    private func withFlood(
        _ flood: Flood, then end: String,
        _ body: (RunningServer, FrozenFileSystem, RunningProgram) throws -> Void
    ) throws {
        let fileSystem = try FrozenFileSystem(.ext4)
        defer { try? fileSystem.thaw() }
        let folder = try TemporaryFolder(onDisk: true)
        let size = 64 << 20
        var images: [String] = []
        for number in 0..<flood.images {
            images.append(fileSystem.path + "/stuck\(number)")
            #expect(FileManager.default.createFile(atPath: images[number], contents: nil))
            #expect(truncate(images[number], size) == 0)
        }
        images.append(try folder.file("other", sizeBytes: UInt64(size)))
        let server = try RunningServer(
            ["--threads", "1", "--shutdown-seconds", "1", "--request-megabytes", "128"] + images + Transport.listen,
            in: folder)
        let names = (0..<flood.images).map { "stuck\($0)" } + ["other"]
        let prelude = """
            import nbd
            uri = \(try names.map { try server.uri(of: $0) })
            requests, byte_count = \(flood.requests), \(flood.byteCount)
            data = nbd.Buffer.from_bytearray(bytearray(b'1' * byte_count))

            """
        let flooding = "flood = [opened(name) for name in uri[:-1] for number in range(\(flood.connections))]\n"
        try (prelude + Self.opened + flooding + Self.script + end).write(
            toFile: folder.path + "/script.py", atomically: true, encoding: .utf8)
        try fileSystem.freeze()
        let client = try RunningProgram(Program.tool("env"), ["-C", folder.path, "python3", "script.py"], in: folder)
        try client.wait("to see others served", limitSeconds: 240) {
            FileManager.default.fileExists(atPath: folder.path + "/served")
        }
        try body(server, fileSystem, client)
    }

    /// Others are served; and when the file system goes on, all is done that waited.
    @Test(arguments: [
        Flood(connections: 1, requests: 1, byteCount: 32 << 20),
        Flood(connections: 3, requests: 1, byteCount: 4 << 20),
        Flood(connections: 150, requests: 2, byteCount: 1 << 20),
        Flood(connections: 300, requests: 8, byteCount: 256 << 10),
        Flood(images: 5, connections: 40, requests: 8, byteCount: 256 << 10),
    ]) func othersHaveMemory(_ flood: Flood) throws {
        let end = """
            open('served', 'w')
            deadline = time.monotonic() + 120
            while asked:
                asked = [(handle, cookie) for handle, cookie in asked if not handle.aio_command_completed(cookie)]
                assert time.monotonic() < deadline, len(asked)
                # All of them: who does not go on with its payload is cut off.
                move()
            """
        try withFlood(flood, then: end) { server, fileSystem, client in
            try fileSystem.thaw()
            #expect(try client.stop(signal: 0, limitSeconds: 120) == 0, "\(client.errors)")
            #expect(try server.stop() == 0, "\(server.log)")
        }
    }

    /// A connection that waits for memory, and for nothing else, ends with its client.
    @Test func whoWaitsMayLeave() throws {
        let flood = Flood(connections: 150, requests: 1, byteCount: 1 << 20)
        try withFlood(flood, then: "open('served', 'w')") { server, fileSystem, client in
            #expect(try client.stop(signal: 0) == 0, "\(client.errors)")
            try waitUntil("most connections have ended", limitSeconds: 60) {
                try server.openFiles().count { $0 == "socket" } < 30
            }
            try fileSystem.thaw()
            #expect(try server.stop() == 0, "\(server.log)")
        }
    }
}
