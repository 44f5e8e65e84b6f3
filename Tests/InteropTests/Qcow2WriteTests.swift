// Qcow2 images that the server writes, looked at by QEMU: every byte is there, and nothing is wrong with the tables.

import Foundation
import Seeded
import Support
import Testing
import WrittenQcow2

@Suite struct Qcow2WriteTests {
    private static let sizeBytes = 12 << 20
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    /// One kind of image, and where its first sectors come from.
    struct Kind: Sendable, CustomTestStringConvertible {
        enum Origin: String {
            case converted, compressed, backing
        }

        var options: String
        var origin = Origin.converted
        var hasSnapshot = false
        var testDescription: String { "\(options) \(origin)\(hasSnapshot ? " snapshot" : "")" }
    }

    private static let kinds = [
        Kind(options: "cluster_size=65536"),
        Kind(options: "cluster_size=512,refcount_bits=8"),
        Kind(options: "cluster_size=2M"),
        Kind(options: "compat=0.10", hasSnapshot: true),
        Kind(options: "extended_l2=on,cluster_size=16k", hasSnapshot: true),
        Kind(options: "extended_l2=on,cluster_size=2M"),
        Kind(options: "lazy_refcounts=on,refcount_bits=1"),
        Kind(options: "cluster_size=4k,refcount_bits=64"),
        Kind(options: "cluster_size=4k,refcount_bits=4", hasSnapshot: true),
        Kind(options: "preallocation=metadata"),
        Kind(options: "cluster_size=65536", origin: .compressed, hasSnapshot: true),
        Kind(options: "cluster_size=512", origin: .compressed),
        Kind(options: "compat=0.10", origin: .compressed),
        Kind(options: "extended_l2=on,cluster_size=128k", origin: .compressed),
        Kind(options: "cluster_size=65536", origin: .backing),
        // Its refcount table becomes too small.
        Kind(options: "cluster_size=512,refcount_bits=64", origin: .backing),
        Kind(options: "compat=0.10", origin: .backing),
        Kind(options: "extended_l2=on,cluster_size=64k", origin: .backing, hasSnapshot: true),
    ]

    /// Makes the image, and beside it a raw file `mirror` with the same.
    private func image(_ kind: Kind) throws -> String {
        let path = folder.path + "/disk.qcow2"
        let source = try folder.randomFile("source", sizeBytes: 3_000_000)
        let text = (0..<90_000).map { "\($0 * $0) the quick brown fox\n" }.joined()
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: source))
        try handle.seek(toOffset: 6 << 20)
        try handle.write(contentsOf: Data(text.utf8))
        // A backing file that is smaller than the disk.
        try handle.truncate(atOffset: UInt64(kind.origin == .backing ? 9 << 20 : Self.sizeBytes))
        try handle.close()
        try FileManager.default.copyItem(atPath: source, toPath: folder.path + "/mirror")
        if kind.origin == .backing {
            try run(
                "qemu-img",
                ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "source", "-o", kind.options, path, "12M"],
                in: folder)
            try run("truncate", ["-s", "12M", folder.path + "/mirror"], in: folder)
        } else {
            let compression = kind.origin == .compressed ? ["-c"] : []
            try run(
                "qemu-img",
                ["convert", "-f", "raw", "-O", "qcow2"] + compression + ["-o", kind.options, source, path], in: folder)
        }
        if kind.hasSnapshot { try run("qemu-img", ["snapshot", "-c", "before", path], in: folder) }
        return path
    }

    /// Requests of all kinds, many at once, each of which is done to the file `mirror`, too.
    private func exercise(_ server: RunningServer, seed: UInt64, isFlushed: Bool = false) throws {
        try nbdsh(
            [server.uri],
            """
            import random
            random.seed(\(seed))
            h.connect_uri(uri[0])
            mirror = open('\(folder.path)/mirror', 'r+b')
            disk = bytearray(mirror.read())
            under_way = []
            def wait(most):
                while len(under_way) > most:
                    cookie = under_way.pop(random.randrange(len(under_way)))[0]
                    while not h.aio_command_completed(cookie): h.poll(-1)
            for number in range(900):
                count = random.choice([512, 1024, 4096, 65536, 200 * 1024, 512 * random.randrange(1, 300)])
                offset = random.randrange(0, (len(disk) - count) // 512 + 1) * 512
                if any(offset < end and start < offset + count for _, start, end in under_way): continue
                what = random.choice('wwwwzztrf')
                if what == 'w':
                    data = bytearray(random.randbytes(count))
                    cookie = h.aio_pwrite(nbd.Buffer.from_bytearray(data), offset)
                    disk[offset:offset + count] = data
                elif what == 'z':
                    cookie = h.aio_zero(count, offset, flags=random.choice([0, nbd.CMD_FLAG_NO_HOLE]))
                    disk[offset:offset + count] = bytes(count)
                elif what == 't':
                    h.trim(count, offset)
                    now = h.pread(count, offset)
                    for place in range(0, count, 512):
                        old = disk[offset + place:offset + place + 512]
                        assert now[place:place + 512] in (old, bytes(512)), (offset, place)
                    disk[offset:offset + count] = now
                    continue
                elif what == 'f':
                    h.flush()
                    continue
                else:
                    assert h.pread(count, offset) == disk[offset:offset + count], (offset, count)
                    continue
                under_way.append((cookie, offset, offset + count))
                wait(20)
            wait(0)
            assert h.pread(len(disk), 0) == disk
            if \(isFlushed ? "True" : "False"): h.flush()
            mirror.seek(0)
            mirror.write(disk)
            mirror.close()
            """, in: folder)
    }

    private func compare(_ path: String) throws {
        try run("qemu-img", ["compare", "-f", "qcow2", "-F", "raw", path, folder.path + "/mirror"], in: folder)
    }

    @Test(arguments: kinds)
    func everyKindIsWrittenAsQEMUReadsIt(kind: Kind) throws {
        let path = try image(kind)
        let before = folder.path + "/before"
        try FileManager.default.copyItem(atPath: folder.path + "/mirror", toPath: before)
        let seed = UInt64.random(in: 0...UInt64(UInt32.max))
        try serving(["disk=" + path], in: folder) { server in
            try exercise(server, seed: seed)
            #expect(!server.log.contains("damaged"), "\(server.log)")
        }
        try run("qemu-img", ["check", "-q", path], in: folder)
        try compare(path)
        guard kind.hasSnapshot else { return }
        let after = folder.path + "/after"
        try run(
            "qemu-img", ["convert", "-f", "qcow2", "-O", "raw", "-l", "snapshot.name=before", path, after], in: folder)
        try folder.expectSame(before, after)
    }

    @Test(arguments: ["none", "writethrough", "directsync", "unsafe"])
    func anyCacheModeWritesTheSame(mode: String) throws {
        let path = try image(Self.kinds[0])
        try serving(["--cache", mode, "disk=" + path], in: folder) { try exercise($0, seed: 5) }
        try run("qemu-img", ["check", "-q", path], in: folder)
        try compare(path)
    }

    /// What a drive's own cache has in the end goes through the tables, too.
    @Test func aWriteCacheIsAboveTheTables() throws {
        let path = try image(Self.kinds[4])
        try serving(["--write-cache-model", "volatile", "disk=" + path], in: folder) { try exercise($0, seed: 6) }
        try run("qemu-img", ["check", "-q", path], in: folder)
        try compare(path)
    }

    /// The server is killed: what was flushed is there, and at most some clusters are lost.
    @Test(arguments: [kinds[0], kinds[4], kinds[14]])
    func aKilledServerLeavesAWholeImage(kind: Kind) throws {
        let path = try image(kind)
        let server = try RunningServer(["disk=" + path], in: folder)
        try exercise(server, seed: 7, isFlushed: true)
        try server.stop(signal: SIGKILL)
        let check = try Program.tool("qemu-img").run(["check", "-U", path], in: folder)
        #expect(check.status == 0 || check.status == 3, "\(check.text)\(check.errors)")
        try compare(path)
    }

    /// Nobody flushes, and the server ends: all is there.
    @Test func theEndIsAFlush() throws {
        let path = folder.path + "/disk.qcow2"
        try run("qemu-img", ["create", "-q", "-f", "qcow2", path, "1G"], in: folder)
        try serving([path], in: folder) { server in
            try nbdsh([server.uri], "h.connect_uri(uri[0])\nh.pwrite(b'x' * 4096, 700 << 20)", in: folder)
        }
        try run("qemu-img", ["check", "-q", path], in: folder)
        try run("qemu-io", ["-f", "qcow2", "-c", "read -P 120 700M 4k", "-c", "read -P 0 0 64k", path], in: folder)
    }

    /// Power cuts at any moment of long histories, judged by QEMU.
    @Test(arguments: [
        "cluster_size=65536", "cluster_size=512", "compat=0.10,cluster_size=4k", "extended_l2=on,cluster_size=16k",
        "cluster_size=512,refcount_bits=64",
    ])
    func whatAPowerCutLeavesIsAWholeImage(options: String) throws {
        let path = folder.path + "/disk.qcow2"
        let (sectorCount, backingSectors) = (1200, 800)
        let backing = (0..<UInt32(backingSectors)).flatMap { WrittenMedium.sector(0x8000_0000 + $0) }
        try Data(backing).write(to: URL(fileURLWithPath: folder.path + "/base"))
        try run(
            "qemu-img",
            ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base", "-o", options, path, "\(sectorCount * 512)"],
            in: folder)
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        let disk = (0..<UInt32(sectorCount)).map { $0 < backingSectors ? 0x8000_0000 + $0 : 0 }
        var medium = try WrittenMedium(folder.bytes("disk.qcow2"), disk: disk, backing: backing)
        for step in 0..<300 {
            medium.beginAny(&numbers)
            if Int.random(in: 0..<8, using: &numbers) == 0 { medium.begin(.flush, 0..<0) }
            while medium.underWayCount > 8, let next = medium.pending.randomElement(using: &numbers) {
                medium.end(next)
                guard Int.random(in: 0..<40, using: &numbers) == 0 else { continue }
                try Data(medium.cut(&numbers)).write(to: URL(fileURLWithPath: path))
                try check(path, "seed \(seed), step \(step)", mayLeak: true, sectorCount) { medium.allowedAfterCut($0) }
            }
        }
        medium.endAll(&numbers)
        medium.perform(.flush, 0..<0)
        #expect(medium.mistakes.isEmpty, "seed \(seed)")
        try Data(medium.file).write(to: URL(fileURLWithPath: path))
        try check(path, "seed \(seed), in the end", mayLeak: false, sectorCount) { medium.allowed($0) }
    }

    private func check(
        _ path: String, _ words: String, mayLeak: Bool, _ sectorCount: Int, _ allowed: (Int) -> ArraySlice<UInt32>
    ) throws {
        let result = try Program.tool("qemu-img").run(["check", path], in: folder)
        #expect(result.status == 0 || mayLeak && result.status == 3, "\(words): \(result.text)\(result.errors)")
        try run("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", path, folder.path + "/out"], in: folder)
        let bytes = try folder.bytes("out")
        for sector in 0..<sectorCount {
            let stamp = WrittenMedium.stamp(bytes[sector * 512..<(sector + 1) * 512])
            if let stamp, allowed(sector).contains(stamp) { continue }
            Issue.record("\(words): sector \(sector) is \(stamp as Any), and may be \(Array(allowed(sector)))")
            return
        }
    }

    /// An image that needs repair is not written. One whose tables are found to be wrong is marked, and not written any
    /// more.
    @Test func aDamagedImageIsNotWritten() throws {
        let path = try image(Self.kinds[0])
        func change(_ place: UInt64, _ bytes: [UInt8]) throws {
            let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
            try handle.seek(toOffset: place)
            try handle.write(contentsOf: Data(bytes))
            try handle.close()
        }
        // Dirty or not, what is marked as corrupt is for others to repair.
        for bits in [2, 3] as [UInt8] {
            try change(79, [bits])
            let result = try Program.spindle.run(
                ["serve", "--listen", "unix:" + folder.path + "/s", path], in: folder)
            #expect(result.status == 1 && result.errors.contains("is marked as corrupt"), "\(result.errors)")
            #expect(result.errors.contains("qemu-img check -r all"), "\(result.errors)")
        }
        // Unknown autoclear features are gone after the first write. The first cluster is said to be the L1 table.
        try change(79, [0])
        try change(95, [2])
        let header = try folder.bytes("disk.qcow2", count: 112)
        let l1 = header[40..<48].reduce(0) { $0 << 8 | UInt64($1) }
        let l2 =
            try folder.bytes("disk.qcow2", from: l1, count: 8).reduce(0) { $0 << 8 | UInt64($1) } & 0xFF_FFFF_FFFF_FE00
        try change(l2, (0..<8).map { UInt8(truncatingIfNeeded: (l1 | 1 << 63) >> (56 - 8 * $0)) })
        let server = try RunningServer(["disk=" + path], in: folder)
        try nbdsh(
            [server.uri],
            """
            h.connect_uri(uri[0])
            h.pwrite(b'x' * 512, 1 << 20)
            refused('EIO', lambda: h.pwrite(b'y' * 512, 512))
            refused('EIO', lambda: h.pwrite(b'y' * 512, 1 << 20))
            h.pread(512, 1 << 20)
            """, in: folder)
        // What was written last was not flushed, and cannot be any more.
        #expect(try server.stop() == 1)
        #expect(server.log.contains("is where a table of the image is"), "\(server.log)")
        let after = try folder.bytes("disk.qcow2", count: 112)
        #expect(after[79] == 2 && after[95] == 0)
    }
}
