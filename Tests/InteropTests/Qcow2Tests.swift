// Qcow2 images as QEMU makes them, read through the server: every byte and every extent as QEMU sees it.

import Foundation
import Support
import Testing

@Suite struct Qcow2Tests {
    private static let sizeBytes = 12 << 20
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    /// One kind of image, and what is done to it with qemu-io when the disk has been copied into it.
    struct Kind: Sendable, CustomTestStringConvertible {
        var options: String
        var isCompressed = false
        var changes: [String] = []
        var testDescription: String { options + (isCompressed ? " compressed" : "") }
    }

    private static let kinds = [
        Kind(options: "cluster_size=65536", changes: ["write -z 1M 1M", "write -P 7 8M 3k", "discard 3M 512k"]),
        Kind(options: "cluster_size=512", changes: ["write -P 9 5M 7k", "write -z 512 512", "discard 8k 512"]),
        Kind(options: "cluster_size=2M", changes: ["write -P 9 11M 512", "write -z 2M 2M"]),
        Kind(options: "compat=0.10", changes: ["write -P 3 9M 100k", "discard 2M 64k"]),
        Kind(
            options: "extended_l2=on,cluster_size=16k",
            changes: ["write -P 1 10M 512", "write -z 1M 1k", "write -z -u 3M 100k", "discard 2M 33k", "write 11M 1k"]),
        Kind(options: "extended_l2=on,cluster_size=2M", changes: ["write -P 1 10M 64k", "write -z 9M 128k"]),
        Kind(options: "lazy_refcounts=on,refcount_bits=1", changes: ["write -P 5 0 64k"]),
        Kind(options: "preallocation=metadata", changes: ["write -P 6 1M 1k"]),
        Kind(options: "cluster_size=65536", isCompressed: true, changes: ["write -P 4 64k 3k", "write -z 1M 64k"]),
        Kind(options: "cluster_size=512", isCompressed: true),
        Kind(options: "cluster_size=2M", isCompressed: true),
        Kind(options: "compat=0.10", isCompressed: true),
        Kind(options: "extended_l2=on,cluster_size=128k", isCompressed: true, changes: ["write -P 8 6M 4k"]),
    ]

    /// A disk with text, which can be compressed, random data, which cannot, and much of nothing.
    private func source() throws -> String {
        let path = try folder.randomFile("source", sizeBytes: 300_000)
        let text = (0..<60_000).map { "\($0 * $0) the quick brown fox\n" }.joined()
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.seek(toOffset: 1 << 20)
        try handle.write(contentsOf: Data(text.utf8))
        try handle.seek(toOffset: 7 << 20)
        try handle.write(contentsOf: Data(text.utf8.reversed()))
        try handle.truncate(atOffset: UInt64(Self.sizeBytes))
        try handle.close()
        return path
    }

    private func image(_ kind: Kind, _ name: String = "disk.qcow2") throws -> String {
        let path = folder.path + "/" + name
        let compression = kind.isCompressed ? ["-c"] : []
        try run(
            "qemu-img",
            ["convert", "-f", "raw", "-O", "qcow2"] + compression + ["-o", kind.options, source(), path], in: folder)
        guard !kind.changes.isEmpty else { return path }
        try run("qemu-io", ["-d", "unmap", "-f", "qcow2"] + kind.changes.flatMap { ["-c", $0] } + [path], in: folder)
        return path
    }

    /// QEMU's and the server's view of an image are the same: all bytes, and what is stored.
    private func compare(_ path: String, _ arguments: [String] = []) throws {
        let expected = folder.path + "/expected"
        let copy = folder.path + "/copy"
        try run("qemu-img", ["convert", "-U", "-f", "qcow2", "-O", "raw", path, expected], in: folder)
        let map = try run("qemu-img", ["map", "-U", "-f", "qcow2", "--output=json", path], in: folder)
        try serving(["--read-only"] + arguments + ["disk=" + path], in: folder) { server in
            try run("nbdcopy", [server.uri, copy], in: folder)
            try folder.expectSame(expected, copy)
            let seen = try run("nbdinfo", ["--map", "--json", server.uri], in: folder)
            let pieces = try JSONDecoder().decode([MapTests.NbdinfoPiece].self, from: Data(seen.utf8))
            #expect(merged(pieces.map { ($0.length, $0.type == 3) }) == merged(try qemuPieces(map)))
            #expect(!server.log.contains("damaged"), "\(server.log)")
        }
    }

    private func qemuPieces(_ map: String) throws -> [(UInt64, Bool)] {
        try JSONDecoder().decode([MapTests.QemuPiece].self, from: Data(map.utf8)).map { ($0.length, !$0.data) }
    }

    /// Where something else begins.
    private func merged(_ pieces: [(UInt64, Bool)]) -> [MapTests.Piece] {
        var merged: [MapTests.Piece] = []
        var start: UInt64 = 0
        for (length, isHole) in pieces {
            if let last = merged.last, last.isHole == isHole {
                merged[merged.count - 1].length += length
            } else {
                merged.append(MapTests.Piece(start: start, length: length, isHole: isHole))
            }
            start += length
        }
        return merged
    }

    @Test(arguments: kinds)
    func everyKindIsReadAsQEMUReadsIt(kind: Kind) throws {
        try compare(image(kind))
    }

    @Test(arguments: ["none", "unsafe"])
    func anyCacheModeReadsTheSame(mode: String) throws {
        try compare(image(Self.kinds[0]), ["--cache", mode])
        try compare(image(Self.kinds[9]), ["--cache", mode])
    }

    @Test func theActiveLayerIsServed() throws {
        let path = try image(Kind(options: "cluster_size=65536"))
        try run("qemu-img", ["snapshot", "-c", "before", path], in: folder)
        try run("qemu-io", ["-f", "qcow2", "-c", "write -P 77 1M 200k", path], in: folder)
        try compare(path)
    }

    /// Requests of many sizes at many places at once.
    @Test(arguments: [Kind(options: "cluster_size=512"), Kind(options: "cluster_size=65536", isCompressed: true)])
    func manyRequestsAtOnce(kind: Kind) throws {
        let path = try image(kind)
        let expected = folder.path + "/expected"
        try run("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", path, expected], in: folder)
        try serving(["--read-only", "disk=" + path], in: folder) { server in
            try nbdsh(
                [server.uri],
                """
                import random
                random.seed(4)
                disk = open('\(expected)', 'rb').read()
                h.connect_uri(uri[0])
                under_way = []
                for number in range(3000):
                    count = random.choice([512, 1024, 4096, 65536, 200 * 1024])
                    offset = random.randrange(0, (len(disk) - count) // 512 + 1) * 512
                    buffer = nbd.Buffer(count)
                    under_way.append((h.aio_pread(buffer, offset), buffer, offset, count))
                    while len(under_way) > 30 or (number == 2999 and under_way):
                        cookie, buffer, offset, count = under_way.pop(random.randrange(len(under_way)))
                        while not h.aio_command_completed(cookie): h.poll(-1)
                        assert buffer.to_bytearray() == disk[offset:offset + count], (offset, count)
                """, in: folder)
        }
    }

    /// The option, the ending, the size; and what there is no way to do.
    @Test func theFormatIsWhatTheUserSays() throws {
        let path = try image(Kind(options: "cluster_size=65536"))
        let other = folder.path + "/disk.img"
        try FileManager.default.copyItem(atPath: path, toPath: other)
        let fileBytes = try folder.bytes("disk.img").count
        try serving(["--read-only", "--image-format", "qcow2", other], in: folder) { server in
            try expectSize(Self.sizeBytes, server.uri, in: folder)
            #expect(!server.log.contains("begins like"), "\(server.log)")
        }
        try serving(["--image-format", "raw", path], in: folder) { server in
            try expectSize((fileBytes + 511) / 512 * 512, server.uri, in: folder)
            #expect(server.log.contains("begins like a qcow2 image; it is served as the raw file"))
        }
        let identify = try Program.spindle.run(["identify", path], in: folder)
        #expect(identify.status == 0 && identify.text.contains("\(Self.sizeBytes / 512) sectors"), "\(identify.text)")
        let refusals: [([String], String)] = [
            (["--device", "ide-cd", path], "is a qcow2 image, and the disc of a DVD-ROM is a raw one"),
            (["--read-only", "--image-format", "qcow2", "memory:1M"], "'memory:1M' has no format"),
            (["--read-only", "--image-format", "vmdk", path], "it is one of raw, qcow2"),
            (["--read-only", "--image-format", "qcow2", folder.path + "/source"], "does not begin as a qcow2 image"),
        ]
        for (arguments, words) in refusals {
            let result = try Program.spindle.run(
                ["serve", "--listen", "unix:" + folder.path + "/s"] + arguments, in: folder)
            #expect(result.status != 0 && result.errors.contains(words), "\(result.errors)")
        }
    }

    /// A file that came from elsewhere may have its ending in large letters.
    @Test func theEndingMayBeInLargeLetters() throws {
        let path = folder.path + "/UP.Qcow2"
        try FileManager.default.moveItem(atPath: try image(Kind(options: "cluster_size=65536")), toPath: path)
        try serving(["--read-only", path], in: folder) { try expectSize(Self.sizeBytes, $0.uri, in: folder) }
    }

    @Test func aFileOfSettingsSaysIt() throws {
        let path = try image(Kind(options: "cluster_size=65536"))
        let other = folder.path + "/disk.img"
        try FileManager.default.moveItem(atPath: path, toPath: other)
        let file = folder.path + "/spindle.toml"
        func write(_ keys: String) throws {
            try "[[export]]\nimage = \"\(other)\"\n\(keys)\n".write(toFile: file, atomically: true, encoding: .utf8)
        }
        try write("read-only = true\nimage-format = \"qcow2\"")
        let check = try Program.spindle.run(["check", file], in: folder)
        #expect(check.status == 0 && check.errors.isEmpty, "\(check.errors)")
        #expect(
            check.text.contains("\(Self.sizeBytes / 512) sectors, piix3-ide, writeback, qcow2, read-only"),
            "\(check.text)")
        try serving(["--config", file], in: folder) { try expectSize(Self.sizeBytes, $0.uri, in: folder) }
        try write("image-format = \"vdi\"")
        let unknown = try Program.spindle.run(["check", file], in: folder)
        #expect(
            unknown.errors.contains(":3: export 'disk'.image-format: 'vdi' is no image format"), "\(unknown.errors)")
    }

    /// An operator adds one, and cannot make it larger.
    @Test func anOperatorAddsOne() throws {
        let path = try image(Kind(options: "cluster_size=65536"))
        let control = "unix:" + folder.path + "/control"
        func ctl(_ arguments: [String]) throws -> (status: Int32, said: String) {
            let result = try Program.spindle.run(["ctl", "--control", control] + arguments, in: folder)
            return (result.status, result.text + result.errors)
        }
        let options = ["--control", control, "--sandbox-path", folder.path]
        try serving(options + ["other=memory:1M"], in: folder) { _ in
            let added = try ctl(["add", "--read-only", "--image-format", "qcow2", "disk=" + path])
            #expect(added.status == 0 && added.said.contains("\(Self.sizeBytes) bytes"), "\(added.said)")
            for size in [[], ["1G"]] {
                let grown = try ctl(["grow", "disk"] + size)
                #expect(
                    grown.status == 1 && grown.said.contains("a qcow2 image says itself how large its disk is"),
                    "\(grown.said)")
            }
        }
    }

    /// Makes an image above another one, and changes it.
    private func overlay(
        _ name: String, above base: String, _ format: String, _ options: String, _ changes: [String]
    ) throws -> String {
        let path = folder.path + "/" + name
        try run(
            "qemu-img", ["create", "-q", "-f", "qcow2", "-F", format, "-b", base, "-o", options, path], in: folder)
        try run("qemu-io", ["-f", "qcow2"] + changes.flatMap { ["-c", $0] } + [path], in: folder)
        return path
    }

    /// Other clusters in each image, a raw file with holes below, and a disk that is larger than what is below.
    @Test(arguments: ["", "none"])
    func aChainOfBackingFiles(mode: String) throws {
        _ = try source()
        let lower = try overlay(
            "lower.qcow2", above: "source", "raw", "cluster_size=512", ["write -P 1 1M 3k", "write -z 7M 1k"])
        try run("qemu-img", ["resize", "-q", lower, "16M"], in: folder)
        try run("qemu-io", ["-f", "qcow2", "-c", "write -P 5 15M 1k", lower], in: folder)
        _ = try overlay(
            "middle.qcow2", above: folder.path + "/lower.qcow2", "qcow2", "extended_l2=on,cluster_size=16k",
            ["write -P 2 1030k 512", "write -z 2M 64k", "write -P 3 15M 512"])
        let upper = try overlay(
            "upper.qcow2", above: "./middle.qcow2", "qcow2", "cluster_size=2M", ["write -P 4 8M 1k"])
        try run("qemu-img", ["resize", "-q", upper, "20M"], in: folder)
        try compare(upper, mode.isEmpty ? [] : ["--cache", mode])
        let identify = try Program.spindle.run(["identify", upper], in: folder)
        #expect(identify.status == 0 && identify.text.contains("\((20 << 20) / 512) sectors"), "\(identify.text)")
    }

    /// No image can have a file shown that is somewhere else, or is no file.
    @Test func whatIsNoBackingFileHereIsRefused() throws {
        let base = try image(Kind(options: "cluster_size=65536"), "base.qcow2")
        let other = try TemporaryFolder(onDisk: true)
        try run("cp", [base, other.path + "/other.qcow2"], in: folder)
        try run("ln", ["-s", other.path + "/other.qcow2", folder.path + "/link.qcow2"], in: folder)
        func refusal(_ name: String, _ format: String? = "qcow2") throws -> String {
            let path = folder.path + "/overlay.qcow2"
            try run("qemu-img", ["create", "-q", "-f", "qcow2", path, "1M"], in: folder)
            let words = format.map { ["-F", $0] } ?? []
            try run("qemu-img", ["rebase", "-q", "-u", "-f", "qcow2", "-b", name] + words + [path], in: folder)
            let result = try Program.spindle.run(
                ["serve", "--read-only", "--listen", "unix:" + folder.path + "/s", path], in: folder)
            #expect(result.status == 1)
            return result.errors
        }
        let refusals = [
            (other.path + "/other.qcow2", "other.qcow2' is not in its folder"),
            ("../" + other.path.split(separator: "/").last! + "/other.qcow2", "is not in its folder"),
            ("/etc/shadow", "its backing file '/etc/shadow' is not in its folder"),
            ("link.qcow2", "its backing file 'link.qcow2' is a link, which is not followed"),
            ("overlay.qcow2", "its backing file 'overlay.qcow2' is in front of it already"),
            (
                "nothing.qcow2",
                "overlay.qcow2' cannot be read as qcow2: its backing file 'nothing.qcow2' is missing; bring it back"
            ),
            ("nbd:unix:/x", "its backing file 'nbd:unix:/x' is named like a protocol"),
            ("source", "does not begin as a qcow2 image"),
        ]
        for (name, words) in refusals {
            let said = try refusal(name)
            #expect(said.contains(words), "\(said)")
        }
        var previous = "base.qcow2"
        for number in 1...17 {
            let name = "chain-\(number).qcow2"
            try run(
                "qemu-img", ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", previous, folder.path + "/" + name],
                in: folder)
            previous = name
        }
        for (name, isServed) in [("chain-16", true), ("chain-17", false)] {
            let identify = try Program.spindle.run(["identify", folder.path + "/\(name).qcow2"], in: folder)
            #expect((identify.status == 0) == isServed, "\(identify.errors)")
            let words = "/\(name).qcow2' cannot be read as qcow2: it has more than 16 backing files"
            #expect(isServed || identify.errors.contains(words), "\(identify.errors)")
        }
    }

    /// The files below an image that is served are locked as it is.
    @Test func backingFilesAreLocked() throws {
        _ = try source()
        let upper = try overlay("upper.qcow2", above: "source", "raw", "cluster_size=65536", ["write 0 1k"])
        try serving(["--read-only", upper], in: folder) { _ in
            let errors = try runFailing(
                "qemu-io", ["-f", "raw", "-c", "write 0 1k", folder.path + "/source"], in: folder)
            #expect(errors.contains("Failed to get"), "\(errors)")
        }
        try run("qemu-io", ["-f", "raw", "-c", "write 0 1k", folder.path + "/source"], in: folder)
    }

    /// What other images say that cannot be served.
    @Test func whatCannotBeReadIsRefused() throws {
        let external = folder.path + "/external.qcow2"
        try run(
            "qemu-img", ["create", "-q", "-f", "qcow2", "-o", "data_file=\(folder.path)/data.raw", external, "1M"],
            in: folder)
        let zstd = folder.path + "/zstd.qcow2"
        try run("qemu-img", ["create", "-q", "-f", "qcow2", "-o", "compression_type=zstd", zstd, "1M"], in: folder)
        let refusals = [
            (external, "its data are in another file, which is not opened"),
            (zstd, "its clusters are compressed with zstd"),
        ]
        for (path, words) in refusals {
            let result = try Program.spindle.run(
                ["serve", "--read-only", "--listen", "unix:" + folder.path + "/s", path], in: folder)
            #expect(
                result.status == 1 && result.errors.contains("image '\(path)' cannot be read as qcow2: \(words)"),
                "\(result.errors)")
        }
    }

    /// A download that was cut off: what is there is read, the rest is an error, which the log explains once.
    @Test func aDamagedImageFailsWhereItIsDamaged() throws {
        let path = try image(Kind(options: "cluster_size=65536"))
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        let end = try handle.seekToEnd()
        try handle.truncate(atOffset: end - 5 * 65536)
        try handle.close()
        try serving(["--read-only", "disk=" + path], in: folder) { server in
            try nbdsh(
                [server.uri],
                """
                h.connect_uri(uri[0])
                assert len(h.pread(65536, 0)) == 65536
                failures = 0
                for offset in range(0, h.get_size(), 65536):
                    try: h.pread(65536, offset)
                    except nbd.Error as error:
                        assert error.errno == 'EIO', error
                        failures += 1
                assert 3 <= failures <= 5, failures
                """, in: folder)
            #expect(server.log.components(separatedBy: "image is damaged").count == 2, "\(server.log)")
            #expect(server.log.contains("is beyond the end of the file"), "\(server.log)")
        }
    }
}
