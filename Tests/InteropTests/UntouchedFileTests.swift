// Serving writes nothing that no client wrote: to the file, to its length, to its times.

import Foundation
import Support
import Testing

@Suite struct UntouchedFileTests {
    /// What stat(2) tells, but for the time of the last access.
    private func facts(_ path: String) throws -> [Int] {
        var status = stat()
        try #require(stat(path, &status) == 0)
        return [
            status.st_size, status.st_blocks, status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec,
            status.st_ctim.tv_nsec,
        ].map { Int($0) }
    }

    @Test(arguments: ["writeback", "writethrough", "none", "unsafe"])
    func servingLeavesAFileAsItIs(cache: String) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.randomFile("disk.img", sizeBytes: 100_000)
        try run("touch", ["-d", "2020-01-01", image], in: folder)
        let before = try facts(image)
        try serving(["--cache", cache, image], in: folder) { server in
            #expect(try facts(image) == before)
            let script = "h.connect_uri(uri[0])\nh.pread(100352, 0)\nif h.can_flush(): h.flush()\n"
            try nbdsh([server.uri], script, in: folder)
            #expect(try facts(image) == before)
        }
        #expect(try facts(image) == before)
    }

    /// Somebody is still copying the file when it is opened.
    @Test func anAppenderLosesNothing() throws {
        let folder = try TemporaryFolder(onDisk: true)
        for turn in 1...8 {
            let image = folder.path + "/\(turn).img"
            let script = """
                import os, time
                file = os.open('\(image)', os.O_CREAT | os.O_WRONLY)
                # What is cut off is a hole when it goes on. (No more than 256 MiB.)
                for _ in range(4096):
                    if os.path.exists('\(image).end'): break
                    os.write(file, b'x' * 65536)
                """
            let appender = try RunningProgram(.tool("python3"), ["-c", script], in: folder)
            try appender.wait("to begin") { FileManager.default.fileExists(atPath: image) }
            try serving(["--sandbox", "off", image], in: folder) { _ in
                let size = try facts(image)[0]
                try waitUntil("more has been appended") {
                    try facts(image)[0] > size + (1 << 20) || facts(image)[0] == 256 << 20
                }
            }
            try Data().write(to: URL(fileURLWithPath: image + ".end"))
            #expect(try appender.stop(signal: 0) == 0, "\(appender.errors)")
            let zeroes = try run(
                "python3", ["-c", "print(open('\(image)', 'rb').read().count(0))"], in: folder)
            #expect(zeroes == "0\n", "turn \(turn)")
            try FileManager.default.removeItem(atPath: image)
        }
    }

    /// The driver of ext4 does not know FALLOC_FL_ZERO_RANGE on what was made as ext2. A request that has to be fast
    /// fails at once and does nothing; one that has not is done by writing.
    @Test(.enabled(if: FullDisk.canBeMade, "mounting needs root"))
    func zeroesThatCannotBeFastAreRefused() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let (file, mountPoint) = (try folder.file("ext2", sizeBytes: 16 << 20), folder.path + "/mnt")
        try FileManager.default.createDirectory(atPath: mountPoint, withIntermediateDirectories: false)
        try run("mkfs.ext2", ["-q", file], in: folder)
        try run("mount", ["-o", "loop", file, mountPoint], in: folder)
        defer { umount2(mountPoint, Int32(MNT_DETACH)) }
        let image = mountPoint + "/disk.img"
        try run("dd", ["if=/dev/urandom", "of=" + image, "bs=1M", "count=1"], in: folder)
        try serving(["disk=" + image], in: folder) { server in
            try nbdsh(
                [server.uri],
                """
                h.connect_uri(uri[0])
                data = h.pread(65536, 0)
                flags = nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE
                for _ in range(3):
                    refused('ENOTSUP', lambda: h.zero(65536, 0, flags))
                    assert h.pread(65536, 0) == data
                h.zero(65536, 0, nbd.CMD_FLAG_NO_HOLE)
                assert h.pread(65536, 0) == bytes(65536)
                """, in: folder)
            #expect(!server.log.contains("the medium failed"), "\(server.log)")
        }
    }

    /// Zeroing what was never written takes no memory, whatever the pieces are.
    @Test func zeroesOverNothingTakeNoMemory() throws {
        let folder = try TemporaryFolder()
        try serving(["memory:1T"], in: folder) { server in
            let before = server.residentBytes
            try nbdsh(
                [server.uri],
                """
                h.connect_uri(uri[0])
                h.pwrite(b'x' * 4096, 12288)
                piece, size = 0xfffffe00, 1 << 40
                for offset in range(0, size, piece): h.zero(min(piece, size - offset), offset)
                assert h.pread(4096, 12288) == bytes(4096)
                """, in: folder)
            #expect(server.residentBytes < before + (48 << 20))
        }
    }
}
