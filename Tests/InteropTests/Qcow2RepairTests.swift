// Images that QEMU has left dirty, since it was ended in the middle: repaired when they are opened for writing.

import Foundation
import Support
import Testing

@Suite struct Qcow2RepairTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    /// What QEMU wrote with lazy refcounts and never closed, and what its disk has, as a raw file.
    private func dirtyImage(_ options: String, isCompressed: Bool, hasSnapshot: Bool) throws -> (String, String) {
        let (path, mirror) = (folder.path + "/disk.qcow2", folder.path + "/mirror.img")
        let source = try folder.randomFile("source", sizeBytes: 5 << 20)
        try run(
            "qemu-img",
            ["convert", "-f", "raw", "-O", "qcow2"] + (isCompressed ? ["-c"] : [])
                + ["-o", options + ",lazy_refcounts=on", source, path], in: folder)
        try run("qemu-img", ["resize", "-q", "-f", "qcow2", path, "12M"], in: folder)
        try run("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", path, mirror], in: folder)
        let before = ["write -P 1 64k 300k", "write -z 3M 100k"]
        let after = ["write -P 2 200k 1M", "write -P 3 7M 2M", "write -z 4M 200k", "write -P 4 11M 3k"]
        func write(_ commands: [String], _ file: String, _ format: String) throws {
            try run("qemu-io", ["-f", format] + commands.flatMap { ["-c", $0] } + [file], in: folder)
        }
        try write(before, path, "qcow2")
        if hasSnapshot {
            for name in ["a", "b"] {
                try run("qemu-img", ["snapshot", "-c", name, path], in: folder)
                try run("qemu-io", ["-f", "qcow2", "-c", "write -P 9 6M 70k", path], in: folder)
            }
        }
        try write(before + (hasSnapshot ? ["write -P 9 6M 70k"] : []) + after, mirror, "raw")
        let ended = try Program.tool("qemu-io").run(
            ["-f", "qcow2"] + (after + ["flush", "abort"]).flatMap { ["-c", $0] } + [path], in: folder)
        #expect(ended.status != 0)
        #expect(try folder.bytes("disk.qcow2", from: 79, count: 1)[0] & 1 == 1, "QEMU has left it dirty")
        // QEMU finds that refcounts are wrong.
        #expect(try Program.tool("qemu-img").run(["check", path], in: folder).status == 2)
        return (path, mirror)
    }

    @Test(arguments: [
        ("cluster_size=65536", false, false), ("cluster_size=65536", true, true), ("cluster_size=512", false, true),
        ("cluster_size=2M", false, false), ("cluster_size=4k,refcount_bits=64", true, false),
        ("extended_l2=on,cluster_size=16k", false, true), ("cluster_size=64k,refcount_bits=2", false, true),
    ])
    func whatQEMULeftDirtyIsRepaired(options: String, isCompressed: Bool, hasSnapshot: Bool) throws {
        let (path, mirror) = try dirtyImage(options, isCompressed: isCompressed, hasSnapshot: hasSnapshot)
        let copy = folder.path + "/copy"
        // Nothing is changed by those who only read.
        let before = try folder.bytes("disk.qcow2", count: 512)
        try serving(["--read-only", "disk=" + path], in: folder) { try run("nbdcopy", [$0.uri, copy], in: folder) }
        #expect(try folder.bytes("disk.qcow2", count: 512) == before)
        try folder.expectSame(mirror, copy)
        try serving(["disk=" + path], in: folder) { server in
            #expect(server.log.contains("image repaired"), "\(server.log)")
            try run("nbdcopy", [server.uri, copy], in: folder)
        }
        try folder.expectSame(mirror, copy)
        // Status 0: neither errors nor clusters that nobody uses.
        try run("qemu-img", ["check", path], in: folder)
        try serving(["disk=" + path], in: folder) { server in
            #expect(!server.log.contains("image repaired"), "\(server.log)")
            for file in [server.uri, mirror] {
                try run(
                    "qemu-io",
                    ["-f", "raw", "-c", "write -P 7 1M 3M", "-c", "write -P 8 9M 200k", "-c", "flush", file],
                    in: folder)
            }
            try run("nbdcopy", [server.uri, copy], in: folder)
        }
        try folder.expectSame(mirror, copy)
        try run("qemu-img", ["check", path], in: folder)
        guard hasSnapshot else { return }
        // What snapshots have is what they had.
        let old = folder.path + "/old"
        try run("qemu-img", ["convert", "-l", "snapshot.name=a", "-f", "qcow2", "-O", "raw", path, old], in: folder)
        try run("qemu-io", ["-r", "-f", "raw", "-c", "read -P 1 64k 300k", "-c", "read -P 0 3M 100k", old], in: folder)
    }

    /// A file for the changes of an overlay is repaired, too.
    @Test func aDirtyFileOfAnOverlayIsRepaired() throws {
        let base = try folder.randomFile("base.img", sizeBytes: 4 << 20)
        let changes = folder.path + "/changes.qcow2"
        try run(
            "qemu-img",
            ["create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", "-F", "raw", "-b", base, changes], in: folder)
        _ = try Program.tool("qemu-io").run(
            ["-f", "qcow2", "-c", "write -P 5 1M 1M", "-c", "flush", "-c", "abort", changes], in: folder)
        #expect(try folder.bytes("changes.qcow2", from: 79, count: 1)[0] & 1 == 1)
        try serving(["--changes", changes, "disk=overlay:" + base], in: folder) { server in
            #expect(server.log.contains("image repaired"), "\(server.log)")
            try run("qemu-io", ["-r", "-f", "raw", "-c", "read -P 5 1M 1M", server.uri], in: folder)
        }
        try run("qemu-img", ["check", changes], in: folder)
    }

    /// Where more is wrong than refcounts, the file is as it was, and its user hears why.
    @Test func moreDamageThanRefcountsIsToldOf() throws {
        let (path, _) = try dirtyImage("cluster_size=65536", isCompressed: false, hasSnapshot: false)
        let header = try folder.bytes("disk.qcow2", count: 512)
        let l1 = header[40..<48].reduce(0) { $0 << 8 | UInt64($1) }
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.seek(toOffset: l1)
        try handle.write(contentsOf: Data([0x80, 0, 1, 0, 0, 0, 0, 0]))
        try handle.close()
        let result = try Program.spindle.run(["serve", "--listen", "unix:" + folder.path + "/s", path], in: folder)
        #expect(result.status == 1)
        #expect(
            result.errors.contains(
                "it is marked as dirty, and its refcounts cannot be made anew: what is said to be at byte 1099511627776 of "
                    + "the file, for byte 0 of the disk, is beyond the end of the file; 'qemu-img check -r all' may"),
            "\(result.errors)")
        #expect(try folder.bytes("disk.qcow2", count: 512) == header)
    }
}
