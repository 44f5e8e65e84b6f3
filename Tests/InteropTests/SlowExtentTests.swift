// A file system that takes its time to say what is a hole: whoever asks waits, and nobody else.

import Foundation
import Support
import Testing

@Suite struct SlowExtentTests {
    /// Another lseek(2): what a file with very many extents does on some file systems, where tests have none. Each
    /// question takes as long as all that others may wait.
    private static let source = """
        #define _GNU_SOURCE
        #include <sys/syscall.h>
        #include <unistd.h>
        off_t lseek(int descriptor, off_t offset, int whence) {
            if (whence == SEEK_DATA || whence == SEEK_HOLE) usleep(250000);
            return syscall(SYS_lseek, descriptor, offset, whence);
        }
        off_t lseek64(int descriptor, off_t offset, int whence) { return lseek(descriptor, offset, whence); }
        """

    /// Pipelined BLOCK_STATUS of one export, and structured READs of it, beside READs of another: with one loop.
    @Test func othersDoNotWait() throws {
        let folder = try TemporaryFolder(onDisk: true)
        try Self.source.write(toFile: folder.path + "/seek.c", atomically: true, encoding: .utf8)
        let library = folder.path + "/seek.so"
        try run("gcc", ["-shared", "-fPIC", "-o", library, folder.path + "/seek.c"], in: folder)
        let slow = try folder.file("slow.img", sizeBytes: 64 << 20)
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: slow))
        for number in 0..<64 {
            try handle.seek(toOffset: UInt64(number) << 20)
            try handle.write(contentsOf: Data(repeating: 1, count: 65536))
        }
        try handle.close()
        let other = try folder.randomFile("other.img", sizeBytes: 1 << 20)
        let program = try RunningProgram(
            Program.tool("env"),
            [
                "-C", folder.path, "LD_PRELOAD=\(library)", Program.spindle.path, "serve", "--threads", "1",
                "--shutdown-seconds", "1", "--listen", "unix:s", "--pid-file", "pid", slow, other,
            ], in: folder)
        try program.wait("to serve") { FileManager.default.fileExists(atPath: folder.path + "/pid") }
        try nbdsh(
            ["slow", "other"].map { "nbd+unix:///\($0)?socket=\(folder.path)/s" },
            """
            import time
            def opened(uri):
                handle = nbd.NBD()
                handle.add_meta_context('base:allocation')
                handle.connect_uri(uri)
                return handle
            other = opened(uri[1])
            # Whoever came later would first wait for what is under way (the fence).
            reader = opened(uri[0])
            maps = [opened(uri[0]) for number in range(4)]
            extents = []
            first = maps[0].aio_block_status(2 << 20, 0, lambda name, offset, entries, error: extents.extend(entries) or 0)
            for handle in maps:
                for number in range(4): handle.aio_block_status(64 << 20, 0, lambda *entries: 0)
                handle.poll(10)

            start = time.monotonic()
            for number in range(10): reader.pread(65536, number << 20)
            assert time.monotonic() - start < 4, time.monotonic() - start
            for number in range(10):
                start = time.monotonic()
                other.pread(4096, 4096 * number)
                assert time.monotonic() - start < 2, time.monotonic() - start
            while not maps[0].aio_command_completed(first): maps[0].poll(100)
            assert extents[:4] == [65536, 0, (1 << 20) - 65536, 3], extents
            """, in: folder)
        try program.stop()
    }

    /// A Btrfs goes through all extents of a file up to the next hole.
    @Test(.enabled(if: FrozenFileSystem.canBeMade, "only root may mount"))
    func othersDoNotWaitForBtrfs() throws {
        let fileSystem = try FrozenFileSystem(.btrfs)
        let folder = try TemporaryFolder(onDisk: true)
        let slow = fileSystem.path + "/slow.img"
        // Every other page first, so that each becomes an extent; and a hole at the end, as without any it is quick.
        let writing = """
            import os, sys
            descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
            for start in range(2):
                for page in range(start, 1 << 15, 2): os.pwrite(descriptor, bytes([1 + page % 255]) * 4096, page * 4096)
                os.fsync(descriptor)
            os.ftruncate(descriptor, 160 << 20)
            """
        try run("python3", ["-c", writing, slow], in: folder)
        let other = try folder.randomFile("other.img", sizeBytes: 1 << 20)
        try serving(["--threads", "1", slow, other], in: folder) { server in
            // More answers than there are questions come from the other image in the meantime: otherwise they would
            // come between two of them, one for each.
            try nbdsh(
                [server.uri(of: "slow"), server.uri(of: "other")],
                """
                def opened(uri):
                    handle = nbd.NBD()
                    handle.add_meta_context('base:allocation')
                    handle.connect_uri(uri)
                    return handle
                other = opened(uri[1])
                maps = [opened(uri[0]) for number in range(4)]
                def answers():
                    asked = []
                    for handle in maps:
                        for number in range(16):
                            asked.append((handle, handle.aio_block_status(160 << 20, 0, lambda *entries: 0)))
                        handle.poll(0)
                    count = 0
                    while asked:
                        other.pread(4096, 0)
                        count += 1
                        for handle in maps: handle.poll(0)
                        asked = [(handle, cookie) for handle, cookie in asked if not handle.aio_command_completed(cookie)]
                    return count
                # A loop that waits never gives more; one that does not may give fewer where others need the processors.
                counts = []
                while not counts or counts[-1] <= 72:
                    counts.append(answers())
                    assert len(counts) < 20, counts
                extents = []
                maps[0].block_status(160 << 20, 0, lambda name, offset, entries, error: extents.extend(entries) or 0)
                assert extents == [128 << 20, 0, 32 << 20, 3], extents
                """, in: folder)
        }
    }
}
