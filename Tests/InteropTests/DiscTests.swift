// A disc that mkisofs has made, on a DVD-ROM: what clients see of it, and that its files come out whole.

import Foundation
import Support
import Testing

@Suite struct DiscTests {
    /// A folder with a disc of one large file, and the file.
    private func disc(in folder: TemporaryFolder) throws -> (disc: String, file: String) {
        let source = folder.path + "/source"
        try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: false)
        let file = try folder.randomFile("source/payload.bin", sizeBytes: 3_000_001)
        let disc = folder.path + "/disc.iso"
        try run("genisoimage", ["-quiet", "-R", "-J", "-V", "SPINDLE", "-o", disc, source], in: folder)
        return (disc, file)
    }

    @Test(arguments: Transport.allCases)
    func aDiscIsReadOverNBD(transport: Transport) throws {
        let folder = try TemporaryFolder()
        let (disc, file) = try disc(in: folder)
        try serving(Transport.listen + ["--device", "ide-cd", disc], in: folder) { server in
            let uri = try server.uri(of: "disc", over: transport)
            let text = try run("qemu-img", ["compare", "-f", "raw", "-F", "raw", uri, disc], in: folder)
            #expect(text == "Images are identical.\n")
            try run("nbdcopy", [uri, folder.path + "/copy.iso"], in: folder)
        }
        try folder.expectSame(disc, folder.path + "/copy.iso")
        let list = try run("isoinfo", ["-R", "-f", "-i", folder.path + "/copy.iso"], in: folder)
        #expect(list == "/payload.bin\n")
        let extracted = try Program.tool("isoinfo").run(
            ["-R", "-x", "/payload.bin", "-i", folder.path + "/copy.iso"], in: folder)
        #expect(try extracted.output == [UInt8](Data(contentsOf: URL(fileURLWithPath: file))))
    }

    @Test func aDiscIsReadOverISCSI() throws {
        let folder = try TemporaryFolder()
        let (disc, _) = try disc(in: folder)
        let server = try RunningServer(
            ["--listen", "iscsi:127.0.0.1:0", "--threads", "2", "--device", "ide-cd", disc], in: folder)
        let words = server.announcement.split(separator: " ")
        let url = String(try #require(words.first { $0.hasPrefix("iscsi://") }).dropLast())
        let portal = url.split(separator: "/").prefix(2).joined(separator: "//")
        let list = try run("iscsi-ls", ["-s", portal], in: folder)
        #expect(list.contains("Lun:0    Type:MMC"), "\(list)")
        let inquiry = try run("iscsi-inq", [url], in: folder)
        #expect(inquiry.contains("Peripheral Device Type:MMC\nRemovable:1"), "\(inquiry)")
        #expect(inquiry.contains("Vendor:QEMU    \nProduct:QEMU DVD-ROM    \nRevision:2.5+"), "\(inquiry)")
        let text = try run("qemu-img", ["compare", "-f", "raw", "-F", "raw", url, disc], in: folder)
        #expect(text.hasSuffix("Images are identical.\n"))
    }

    /// A reader that takes nothing does not keep a disc for longer than it may keep memory.
    @Test func whoTakesNothingKeepsNoDisc() throws {
        let folder = try TemporaryFolder()
        let disc = try folder.randomFile("disc.iso", sizeBytes: 8 << 20)
        let control = "unix:" + folder.path + "/control"
        let server = try RunningServer(
            [
                "--listen", "iscsi:127.0.0.1:0", "--control", control, "--sandbox-path", folder.path,
                "--stall-seconds", "1", "--device", "ide-cd", disc,
            ],
            in: folder)
        let reader = try HandMadeSession(server.announcement, target: "iqn.2026-11.org.spindle:disc")
        // READ (10) of 1 MiB, more than the socket takes.
        for number: UInt8 in 0..<32 {
            try reader.begin([0x28, 0, 0, 0, number % 8 * 2, 0, 0, 2, 0, 0], expecting: 1 << 20)
        }
        try waitUntil("the server has received all") { reader.connection.isTaken }
        let start = ContinuousClock.now
        let result = try Program.spindle.run(["ctl", "--control", control, "eject", "disc"], in: folder)
        #expect(result.status == 0, "\(result.errors)")
        #expect(start.duration(to: .now) < .seconds(20))
        #expect(server.log.contains("the disc is out, and it has not taken what it has read of it in 1 s"))
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// One drive, two initiators that poll it, and an operator: no event is told to one of them only.
    @Test(arguments: ["ide-cd", "spindle-cd"])
    func eachInitiatorHearsOfAnotherDisc(device: String) throws {
        let folder = try TemporaryFolder()
        let disc = try folder.randomFile("disc.iso", sizeBytes: 1 << 20)
        let control = "unix:" + folder.path + "/control"
        let server = try RunningServer(
            [
                "--listen", "iscsi:127.0.0.1:0", "--control", control, "--sandbox-path", folder.path, "--device",
                device, disc,
            ],
            in: folder)
        let sessions = try ["one", "two"].map {
            try HandMadeSession(
                server.announcement, initiator: "iqn.2026-11.org.example:\($0)", target: "iqn.2026-11.org.spindle:disc")
        }
        func ctl(_ words: String..., status: Int32 = 0) throws {
            let result = try Program.spindle.run(["ctl", "--control", control] + words, in: folder)
            #expect(result.status == status, "\(result.errors)")
        }
        // The event and the tray, twice.
        func expectEvents(_ first: [UInt8], _ second: [UInt8]) throws {
            for session in sessions {
                for expected in [first, second] {
                    let data = try session.perform([0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8, 0], expecting: 8).data
                    #expect(data.count == 8 && Array(data[4..<6]) == expected, "\(data)")
                }
            }
        }
        func ready(_ session: HandMadeSession) throws -> HandMadeSession.Ending {
            try session.perform([0, 0, 0, 0, 0, 0])
        }
        let there: [UInt8] = [0, 2], open: [UInt8] = [0, 1]
        try expectEvents(there, there)
        #expect(try sessions[0].perform([0x1E, 0, 0, 0, 1, 0]).status == 0)
        try ctl("eject", "disc", status: 1)
        try expectEvents([1, 2], there)
        // The disc has not changed.
        for session in sessions { #expect(try ready(session).status == 0) }
        #expect(try sessions[0].perform([0x1E, 0, 0, 0, 0, 0]).status == 0)
        try ctl("eject", "disc")
        try expectEvents(open, open)
        try ctl("insert", "disc")
        try expectEvents([2, 2], there)
        for session in sessions {
            #expect(try ready(session).sense == [2, 0x3A, 0])
            #expect(try ready(session).sense == [6, 0x28, 0])
            #expect(try ready(session).status == 0)
        }
        #expect(try server.stop() == 0, "\(server.log)")
    }

    @Test func clientsSeeADiscThatOnlyReads() throws {
        struct Answer: Decodable {
            var exports: [Export]
            struct Export: Decodable {
                let description: String
                let isReadOnly: Bool
                let isRotational: Bool
                let canFlush: Bool
                let canTrim: Bool
                let canZero: Bool
                let canCache: Bool
                let minimumBytes: Int
                let sizeBytes: Int
                enum CodingKeys: String, CodingKey {
                    case description
                    case isReadOnly = "is_read_only"
                    case isRotational = "is_rotational"
                    case canFlush = "can_flush"
                    case canTrim = "can_trim"
                    case canZero = "can_zero"
                    case canCache = "can_cache"
                    case minimumBytes = "block_size_minimum"
                    case sizeBytes = "export-size"
                }
            }
        }
        let folder = try TemporaryFolder()
        // A disc on a read-only file: the server asks for no more than it needs.
        let disc = try folder.randomFile("disc.iso", sizeBytes: 1 << 20)
        try FileManager.default.setAttributes([.posixPermissions: 0o444], ofItemAtPath: disc)
        try serving(["--device", "ide-cd,serial=42", disc], in: folder) { server in
            let json = try run("nbdinfo", ["--json", server.uri], in: folder)
            let export = try #require(JSONDecoder().decode(Answer.self, from: Data(json.utf8)).exports.first)
            #expect(export.description == "QEMU DVD-ROM 2.5+, serial 42, 512 sectors")
            #expect(export.isReadOnly && export.isRotational)
            #expect(!export.canFlush && !export.canTrim && !export.canZero && !export.canCache)
            #expect(export.minimumBytes == 2048 && export.sizeBytes == 1 << 20)
            let script = """
                h.set_strict_mode(0)
                h.connect_uri(uri[0])
                refused('EPERM', lambda: h.pwrite(bytearray(2048), 0))
                refused('EINVAL', lambda: h.pread(512, 0))
                refused('EINVAL', lambda: h.pread(2048, 1 << 20))
                assert len(h.pread(2048, (1 << 20) - 2048)) == 2048
                """
            try nbdsh([server.uri], script, in: folder)
        }
    }

    @Test func aConfigurationFileHasDiscs() throws {
        let folder = try TemporaryFolder()
        _ = try folder.randomFile("disc.iso", sizeBytes: 1 << 20)
        let text = "[[export]]\nimage = 'disc.iso'\ndevice = 'ide-cd'\n"
        let file = folder.path + "/spindle.toml"
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        let check = try Program.spindle.run(["check", file], in: folder)
        #expect(check.status == 0, "\(check.errors)")
        let expected = "'disc': QEMU DVD-ROM 2.5+, serial QM00001, 512 sectors, piix3-ide, writeback, read-only: "
        #expect(check.text.contains(expected), "\(check.text)")
        try serving(["--config", file], in: folder) { server in
            try expectSize(1 << 20, server.uri, in: folder)
        }
        try (text + "read-only = false\n").write(toFile: file, atomically: true, encoding: .utf8)
        let wrong = try Program.spindle.run(["check", file], in: folder)
        #expect(wrong.status == 1)
        #expect(wrong.errors.contains("ide-cd only reads: leave read-only out, or say true"), "\(wrong.errors)")
        #expect(wrong.errors.contains(":4"), "\(wrong.errors)")
    }

    @Test func aDiscHasAtMost8TiB() throws {
        let folder = try TemporaryFolder()
        for command in ["identify", "serve"] {
            let result = try Program.spindle.run([command, "--device", "ide-cd", "null:9T"], in: folder)
            #expect(result.status == 1)
            #expect(result.errors.contains("is too large: a DVD-ROM has at most 2^32 blocks of 2048 bytes, 8T"))
        }
        #expect(try Program.spindle.run(["identify", "--device", "ide-cd", "null:8T"], in: folder).status == 0)
    }
}
