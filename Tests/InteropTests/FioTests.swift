// fio's nbd engine: random work of several jobs at once, each byte verified by its checksum.

import Support
import Testing

@Suite struct FioTests {
    /// What all jobs have in common; each job is a connection of its own. The order of the blocks is the same each
    /// time.
    private func options(_ uri: String) -> [String] {
        [
            "--ioengine=nbd", "--uri=\(uri)", "--randrepeat=1", "--verify_fatal=1", "--verify_state_save=0",
            "--group_reporting", "--iodepth=16",
        ]
    }

    /// Random writes of all sizes by four jobs, verified while a fifth trims and a sixth reads beside them.
    @Test(arguments: [
        ["memory:96M"], ["FILE"], ["--cache", "none", "FILE"], ["--cache", "directsync", "FILE"],
        ["--device", "ide-hd,write-cache=off,rotation_rate=1", "--cache", "writethrough", "FILE"],
    ])
    func randomWritesAreVerified(arguments: [String]) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let file = try folder.file("disk.img", sizeBytes: 96 << 20)
        let images = arguments.map { $0 == "FILE" ? file : $0 }
        try serving(["--threads", "2"] + images, in: folder) { server in
            try run(
                "fio",
                options(server.uri) + [
                    "--name=write", "--numjobs=4", "--size=8M", "--offset_increment=8M", "--rw=randwrite",
                    "--bsrange=512-48k", "--verify=crc32c",
                    "--name=trim", "--offset=32M", "--size=32M", "--rw=randtrim", "--bs=64k",
                    "--name=read", "--offset=64M", "--size=32M", "--rw=randread", "--bs=32k",
                ], in: folder)
        }
    }

    /// Each block is trimmed and then written; flushes among them. One at a time, because fio does not wait for a trim
    /// before it writes the same block, and NBD promises no order of requests that are in flight together.
    @Test func trimmedBlocksAreWrittenAgain() throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.file("disk.img", sizeBytes: 32 << 20)
        try serving(["--threads", "2", image], in: folder) { server in
            try run(
                "fio",
                options(server.uri) + [
                    "--name=both", "--numjobs=4", "--size=4M", "--offset_increment=4M", "--rw=trimwrite", "--bs=4k",
                    "--iodepth=1",
                    "--fsync=256", "--verify=crc32c",
                ], in: folder)
        }
    }

    /// What one server has written, the next one finds.
    @Test(arguments: ["writeback", "none"])
    func theNextServerHasTheData(mode: String) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = try folder.file("disk.img", sizeBytes: 32 << 20)
        let job = ["--name=job", "--rw=randwrite", "--bs=4k", "--size=32M", "--verify=crc32c"]
        try serving(["--cache", mode, image], in: folder) { server in
            try run("fio", options(server.uri) + job + ["--do_verify=0"], in: folder)
        }
        try serving(["--cache", mode, image], in: folder) { server in
            try run("fio", options(server.uri) + job + ["--verify_only"], in: folder)
        }
    }
}
