// qemu-io: single commands of QEMU's block layer, with patterns to recognise what was written.

import Support
import Testing

@Suite struct QemuIOTests {
    private static let images: [[String]] =
        [["memory:16M"]]
        + ["writeback", "writethrough", "none", "directsync", "unsafe"].map { ["--cache", $0, "FILE"] }

    /// Runs commands of qemu-io, which ends with the first one that fails.
    private func io(_ server: RunningServer, _ commands: [String], options: [String] = []) throws {
        let arguments = ["-f", "raw"] + options + commands.flatMap { ["-c", $0] } + [server.uri]
        try run("qemu-io", arguments, in: server.folder)
    }

    private func serving16MiB(_ arguments: [String], _ body: (RunningServer) throws -> Void) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let file = try folder.file("disk.img", sizeBytes: 16 << 20)
        try serving(arguments.map { $0 == "FILE" ? file : $0 }, in: folder, body)
    }

    @Test(arguments: images)
    func unalignedReadsAndWrites(arguments: [String]) throws {
        try serving16MiB(arguments) { server in
            try io(
                server,
                [
                    "write -P 1 0 1M", "write -P 2 1 1", "write -P 3 511 2", "write -P 4 4095 8194",
                    "write -P 5 1048575 1",
                    "write -P 6 1048577 3000", "flush",
                    "read -P 1 0 1", "read -P 2 1 1", "read -P 1 2 509", "read -P 3 511 2", "read -P 1 513 3582",
                    "read -P 4 4095 8194", "read -P 1 12289 1036286", "read -P 5 1048575 1", "read -P 0 1048576 1",
                    "read -P 6 1048577 3000", "read -P 0 1051577 1000", "read -P 0 16777215 1",
                ])
        }
    }

    @Test(arguments: images)
    func zeroesAndDiscards(arguments: [String]) throws {
        try serving16MiB(arguments) { server in
            try io(
                server,
                [
                    // Zeroes that may become a hole, that may not, and unaligned ones.
                    "write -P 1 0 4M", "write -z -u 64k 64k", "write -z 256k 64k", "write -z -u 500001 70001",
                    "read -P 1 0 64k", "read -P 0 64k 64k", "read -P 1 128k 128k", "read -P 0 256k 64k",
                    "read -P 1 320k 172321", "read -P 0 500001 70001", "read -P 1 570002 1000000",
                    // Discards; these media read as zeroes afterwards.
                    "discard 2M 1M", "read -P 0 2M 1M", "read -P 1 1M 1M", "read -P 1 3M 1M",
                    "write -P 2 2M 64k", "read -P 2 2M 64k", "discard 0 16M", "read -P 0 0 16M", "flush",
                ])
        }
    }

    @Test(arguments: images)
    func manyAtATime(arguments: [String]) throws {
        try serving16MiB(arguments) { server in
            let places = 0..<48
            try io(
                server,
                places.map { "aio_write -q -P \($0 + 1) \($0 * 300_001) 300001" } + ["aio_flush"]
                    + places.map { "aio_read -q -P \($0 + 1) \($0 * 300_001) 300001" } + ["aio_flush", "flush"]
                    + places.map { "read -P \($0 + 1) \($0 * 300_001) 300001" })
        }
    }

    /// What is not there is not found: so that the tests above mean something.
    @Test func aWrongPatternIsNoticed() throws {
        try serving16MiB(["memory:16M"]) { server in
            try io(server, ["write -P 1 0 64k"])
            let arguments = ["-f", "raw", "-c", "read -P 2 0 64k", server.uri]
            let result = try Program.tool("qemu-io").run(arguments, in: server.folder)
            #expect(result.status == 1)
            #expect(result.text.contains("Pattern verification failed at offset 0, 65536 bytes"))
        }
    }

    /// QEMU's cache modes of the client: with `writethrough` it flushes after each write, with `unsafe` never.
    @Test(arguments: ["writeback", "writethrough", "none", "directsync", "unsafe"], ["on", "off"])
    func clientsOfAnyCacheMode(mode: String, writeCache: String) throws {
        try serving16MiB(["--device", "ide-hd,write-cache=\(writeCache)", "FILE"]) { server in
            try io(
                server,
                ["write -P 1 0 64k", "write -f -P 2 64k 1000", "write -z -f 128k 4k", "read -P 2 64k 1000", "flush"],
                options: ["-t", mode])
        }
    }

    @Test func aReadOnlyExportIsReadAndNotWritten() throws {
        try serving16MiB(["--read-only", "FILE"]) { server in
            try io(server, ["read -P 0 0 16M"], options: ["-r"])
            let errors = try runFailing("qemu-io", ["-f", "raw", "-c", "write 0 512", server.uri], in: server.folder)
            #expect(errors.contains("Permission denied"), "\(errors)")
        }
    }

    /// Vectors of odd lengths at the end of an odd image, whose last sector is made whole by them.
    @Test(arguments: ["writeback", "none"])
    func theEndOfAnOddImage(mode: String) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.file("odd.img", sizeBytes: 1_000_001)
        try serving(["--cache", mode, image], in: folder) { server in
            try io(
                server,
                [
                    "read -P 0 999000 1448", "write -P 1 1000000 1", "read -P 0 999999 1", "read -P 1 1000000 1",
                    "read -P 0 1000001 447", "writev -P 2 1000100 100 200 48", "readv -P 2 1000100 300 48",
                    "write -z 1000200 100", "read -P 0 1000200 100", "read -P 2 1000300 148", "discard 0 1000448",
                    "read -P 0 0 1000448", "flush",
                ])
            let beyond = ["-f", "raw", "-c", "write 1000448 1", server.uri]
            #expect(try Program.tool("qemu-io").run(beyond, in: folder).status == 1)
        }
    }
}
