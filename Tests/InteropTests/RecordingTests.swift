// Recordings of real clients' writes, and what `spindle cut` makes of them.

import Foundation
import Support
import Testing

@Suite struct RecordingTests {
    private let folder: TemporaryFolder
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
    }

    private func path(_ name: String) -> String { folder.path + "/" + name }

    @discardableResult
    private func cut(_ words: String..., status: Int32 = 0) throws -> ProgramResult {
        let result = try Program.spindle.run(["cut"] + words, in: folder)
        try #require(result.status == status, "\(words): \(result.errors)\(result.text)")
        return result
    }

    /// Two connections at once, all kinds of commands; in the end few writes that no flush has made stable.
    private static let workload = """
        import os, random
        h.connect_uri(uri[0])
        dice = random.Random(os.urandom(8))
        g = nbd.NBD()
        g.connect_uri(uri[0])
        assert h.can_trim() and h.can_zero()
        sectors = h.get_size() // 512
        for round in range(150):
            c = dice.choice([h, g])
            first = dice.randrange(sectors)
            count = min(dice.choice([1, 3, 8, 64, 700]), sectors - first)
            kind = dice.randrange(12)
            if kind < 6: c.pwrite(dice.randbytes(512) * count, first * 512)
            elif kind < 7: c.zero(count * 512, first * 512)
            elif kind < 8: c.trim(count * 512, first * 512)
            elif kind < 9: c.flush()
            elif kind < 10: c.pwrite(b'FUA!' * 128, first * 512, nbd.CMD_FLAG_FUA if c.can_fua() else 0)
            else:
                # Many in flight on two connections, with flushes among them; none touches another's sectors.
                cookies = []
                for number in range(16):
                    c = dice.choice([h, g])
                    if dice.randrange(4) == 0: cookies.append((c, c.aio_flush()))
                    else:
                        data = nbd.Buffer.from_bytearray(bytearray(dice.randbytes(512 * 5)))
                        cookies.append((c, c.aio_pwrite(data, (number * (sectors // 16)) * 512)))
                for c, cookie in cookies:
                    while not c.aio_command_completed(cookie): c.poll(-1)
        # Larger than an entry may be.
        h.pwrite(dice.randbytes(4096) * 768, 512)
        h.flush()
        g.pwrite(b'x' * 1024, 4096)
        h.pwrite(b'y' * 1024, 4608)
        h.pwrite(b'z' * 512, 512 * 7)
        final = b''.join(h.pread(1 << 20, offset) for offset in range(0, h.get_size(), 1 << 20))
        open(os.environ['FINAL'], 'wb').write(final)
        """

    /// Everything that `cut` makes is held to a model in Python that knows the format, and what a drive may lose.
    @Test(arguments: [
        ["--write-cache-model", "volatile:64K", "--device", "ide-hd,physical_block_size=4096"], ["--threads", "2"],
    ])
    func outcomesAreThoseThatADriveMayLeave(options: [String]) throws {
        let base = try folder.randomFile("base.img", sizeBytes: 4 << 20)
        let server = try RunningServer(
            options + ["--record", path("run.rec"), "disk=overlay:\(base)"], in: folder)
        try nbdsh(
            [server.uri], "import os; os.environ['FINAL'] = '\(path("final.img"))'\n" + Self.workload, in: folder)
        // What was answered is in the recording, whatever becomes of the server.
        #expect(try server.stop(signal: SIGKILL) == SIGKILL + 128)
        let seed = UInt64.random(in: 0...UInt64.max)
        let script = Self.root.path + "/Tests/Interop/check-recording"
        try FileManager.default.createDirectory(atPath: path("cuts"), withIntermediateDirectories: false)
        let said = try run(
            script, at: [Program.spindle.path, path("run.rec"), base, path("final.img"), path("cuts"), "\(seed)"])
        #expect(said.contains("outcomes at the end"), "\(said)")
    }

    private func run(_ script: String, at arguments: [String]) throws -> String {
        try InteropTests.run("python3", [script] + arguments, in: folder, limitSeconds: 300)
    }

    /// Records what a script does, as `--run` has it, and with a limit for files if there is one.
    @discardableResult
    private func record(
        _ script: String, _ image: String, _ options: [String] = [], fileLimitBytes: Int? = nil, status: Int32 = 0
    ) throws -> ProgramResult {
        try script.write(toFile: path("script.py"), atomically: true, encoding: .utf8)
        let arguments =
            ["serve", "--listen", "unix:\(path("disk.sock"))", "--record", path("run.rec")] + options
            + ["--run", "nbdsh -u \"$uri\" -c - < '\(path("script.py"))'", image]
        let limit = fileLimitBytes.map { "ulimit -f \($0 / 512); " } ?? ""
        let result = try Program.tool("sh").run(
            ["-c", limit + "exec \"$@\"", "sh", Program.spindle.path] + arguments, in: folder)
        try #require(result.status == status, "\(result.errors)\(result.text)")
        return result
    }

    /// The file takes no more: a client hears of it, and what was answered well is there.
    @Test func whatCannotBeRecordedIsNotAnsweredWell() throws {
        let result = try record(
            """
            done = 0
            try:
                while done < 100:
                    h.pwrite(bytes([done]) * 4096, done * 4096)
                    done += 1
            except nbd.Error as error:
                assert error.errno == 'ENOSPC', error.string
            assert 10 <= done < 32, done
            try: h.flush()
            except nbd.Error: pass
            else: raise AssertionError('flushed')
            assert h.pread(4096, 4096) == b'\\1' * 4096
            print('answered', done)
            """, "memory:1M", fileLimitBytes: 1 << 17)
        let list = try cut("list", path("run.rec")).text
        #expect(result.text.contains("answered \(list.split(separator: "\n").count - 1)\n"), "\(result.text)\(list)")
        #expect(result.errors.contains("the recording's file failed"), "\(result.errors)")
        try cut(path("run.rec"), "-o", path("none.qcow2"))
        try InteropTests.run("qemu-img", ["check", path("none.qcow2")], in: folder)
    }

    /// What a crash of the machine leaves of the end is cut off; what is no recording is said to be none.
    @Test func aTornEndIsCutOff() throws {
        try record("for n in range(3): h.pwrite(bytes([n]) * 1024, n * 4096)", "memory:1M")
        let whole = try folder.bytes("run.rec")
        #expect(whole.count == 4096 + 3 * (64 + 1024))
        func list(_ change: (inout [UInt8]) -> Void) throws -> (lines: Int, errors: String) {
            var bytes = whole
            change(&bytes)
            try Data(bytes).write(to: URL(fileURLWithPath: path("changed.rec")))
            let result = try cut("list", path("changed.rec"))
            return (result.text.split(separator: "\n").count - 1, result.errors)
        }
        #expect(try list { _ in } == (3, ""))
        let short = try list { $0.removeLast() }
        #expect(short == (2, "warning: the last 1087 bytes are no whole command: they are left out\n"))
        #expect(try list { $0[4096 + 64 + 1024 + 600] ^= 1 }.lines == 1)
        #expect(try list { $0[4096 + 4] ^= 1 }.lines == 0)
        #expect(try list { $0 += [UInt8](repeating: 0, count: 4096) }.lines == 3)
        for (place, words) in [
            (0, "it is no recording of Spindle"), (8, "its version is"), (30, "its header is damaged"),
        ] {
            var bytes = whole
            bytes[place] ^= 0x40
            try Data(bytes).write(to: URL(fileURLWithPath: path("changed.rec")))
            #expect(try cut("list", path("changed.rec"), status: 1).errors.contains(words))
        }
    }

    /// The image of a recorded drive has changed since, so its overlays need a copy from before.
    @Test func anImageThatWasWrittenToNeedsABase() throws {
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        let before = try folder.file("before.img", sizeBytes: 1 << 20)
        try record("h.pwrite(b'A' * 512, 0)", image)
        let errors = try cut(path("run.rec"), "--keep", "all", "-o", path("o.qcow2"), status: 1).errors
        #expect(errors.contains("--base names a copy from before"), "\(errors)")
        try cut(path("run.rec"), "--keep", "all", "--base", before, "-o", path("o.qcow2"))
        try InteropTests.run("qemu-img", ["compare", "-f", "qcow2", "-F", "raw", path("o.qcow2"), image], in: folder)
        // In one folder it is named alone, and served.
        let info = try InteropTests.run("qemu-img", ["info", path("o.qcow2")], in: folder)
        #expect(info.contains("backing file: before.img"), "\(info)")
        try serving(["overlay:" + path("o.qcow2")], in: folder) { server in
            try nbdsh([server.uri], "h.connect_uri(uri[0]); assert h.pread(512, 0) == b'A' * 512", in: folder)
        }
        for (words, reason) in [
            ([path("run.rec"), "--base", before, "-o", path("o.qcow2")], "is there already"),
            ([path("run.rec"), "--base", before, "--at", "2", "-o", path("p")], "the recording has 1 commands"),
            ([path("run.rec"), "--base", before, "--lose", "2", "-o", path("p")], "no write of that number"),
            (
                ["bisect", path("run.rec"), "--base", before, "--check", "exit 127", "-o", path("p")],
                "could not be run"
            ),
            (["bisect", path("run.rec"), "--base", before, "--check", "kill -9 $$", "-o", path("p")], "by signal 9"),
        ] {
            let result = try Program.spindle.run(["cut"] + words, in: folder)
            #expect(result.status == 1 && result.errors.contains(reason), "\(words): \(result.errors)")
        }
    }

    /// The base of a recording is as large as its drive, in whole sectors; the file of a qcow2 image may have any size.
    @Test func aBaseOfAnotherSizeIsRefused() throws {
        let image = try folder.file("disk.img", sizeBytes: (1 << 20) - 100)
        let before = try folder.file("before.img", sizeBytes: (1 << 20) - 100)
        let one = try folder.file("one.img", sizeBytes: 512)
        try InteropTests.run("qemu-img", ["create", "-q", "-f", "qcow2", path("same.qcow2"), "1M"], in: folder)
        try InteropTests.run("qemu-img", ["create", "-q", "-f", "qcow2", path("more.qcow2"), "2M"], in: folder)
        try record("h.pwrite(b'A' * 512, 0)", image)
        for (number, base) in [before, path("same.qcow2")].enumerated() {
            try cut(path("run.rec"), "--base", base, "-o", path("\(number).qcow2"))
        }
        for (base, reason) in [
            (one, "'\(one)', a raw image, has 512 bytes, and the recorded drive 1048576"),
            (path("more.qcow2"), "a qcow2 image, has 2097152 bytes, and the recorded drive 1048576"),
        ] {
            let made = try cut(path("run.rec"), "--base", base, "-o", path("bad.qcow2"), status: 1)
            let sought = try cut(
                "bisect", path("run.rec"), "--base", base, "--check", "true", "-o", path("bad.qcow2"), status: 1)
            #expect(made.errors.contains(reason) && sought.errors.contains(reason), "\(made.errors)\(sought.errors)")
        }
        // What the recording names is no other.
        try FileManager.default.removeItem(atPath: path("run.rec"))
        try record("h.pwrite(b'A' * 512, 0)", "disk=overlay:\(before)")
        try InteropTests.run("truncate", ["-s", "4K", before], in: folder)
        let shrunk = try cut(path("run.rec"), "-o", path("bad.qcow2"), status: 1).errors
        #expect(shrunk.contains("has 4096 bytes, and the recorded drive 1048576"), "\(shrunk)")
        #expect(!FileManager.default.fileExists(atPath: path("bad.qcow2")))
    }

    /// What would change the disk without a command is refused, and so is a recording that cannot be one.
    @Test func whatARecordingCannotHaveIsRefused() throws {
        let base = try folder.file("base.img", sizeBytes: 1 << 20)
        let server = try RunningServer(
            [
                "--control", "unix:\(path("control"))", "--write-cache-model", "volatile", "--record", path("run.rec"),
                "disk=overlay:\(base)",
            ], in: folder)
        for words in [["power", "disk", "cut"], ["revert", "disk"]] {
            let result = try Program.spindle.run(["ctl", "--control", "unix:\(path("control"))"] + words, in: folder)
            #expect(result.status == 1 && result.errors.contains("is recorded"), "\(result.errors)")
        }
        #expect(try server.stop() == 0, "\(server.log)")
        // Nothing was written, so the file may be had again; then not.
        try record("h.pwrite(bytes(512), 0)", "disk=overlay:\(base)")
        let again = try record("pass", "disk=overlay:\(base)", status: 1)
        #expect(again.errors.contains("no recording goes on with another"), "\(again.errors)")
        for (words, reason) in [
            (["--record", "r", "null:1M", "b=null:1M"], "--record is for one image"),
            (["--record", "r", "dir:\(folder.path)"], "--record is for one image"),
            (["--record", "r", "--read-only", base], "has nothing to record"),
        ] {
            let result = try Program.spindle.run(["serve"] + words, in: folder)
            #expect(result.status == 64 && result.errors.contains(reason), "\(result.errors)")
        }
    }

    /// contrib/power-cuts/try-cuts, with workloads that survive every cut and with others; its reports are read as XML.
    @Test func theScriptForCISystemsFindsWhatCutsBreak() throws {
        let script = Self.root.path + "/Tests/Interop/check-power-cuts"
        #expect(try run(script, at: [Program.spindle.path, folder.path]).contains("the reports are right"))
    }

    /// A picture of the drive, where a list of writes was.
    @Test func aCutIsShownAsAPicture() throws {
        try record("h.flush(); h.pwrite(b'A' * 1024, 0); h.pwrite(b'B' * 512, 1024)", "memory:1M")
        let said = try cut(path("run.rec"), "--picture", "--keep", "all", "--lose", "2:1", "-o", path("a.qcow2")).text
        #expect(said.contains("\n\n0 #-#...."), "\(said)")
        // A drive of three sectors has no fourth one.
        try FileManager.default.removeItem(atPath: path("run.rec"))
        try record("h.pwrite(b'A' * 512, 512)", "memory:1536")
        let small = try cut(path("run.rec"), "--picture", "-o", path("small.qcow2")).text
        #expect(small.contains("\n\n0 .-.\n\n"), "\(small)")
        for words in [["--json"], ["--every", "write"], ["--enumerate"]] {
            let result = try Program.spindle.run(
                ["cut", path("run.rec"), "--picture", "-o", path("b.qcow2")] + words, in: folder)
            #expect(result.status == 64 && result.errors.contains("--picture is"), "\(result.errors)")
        }
    }

    /// The commands of docs/recordings.md, as they are printed.
    @Test func theDocumentsCommandsWork() throws {
        let text = try String(contentsOfFile: Self.root.path + "/docs/recordings.md", encoding: .utf8)
        let blocks = text.components(separatedBy: "\n```sh\n").dropFirst().map {
            $0.components(separatedBy: "\n```")[0]
        }
        #expect(blocks.count == 2)
        let script =
            "set -e\ncd '\(folder.path)'\nPATH='\((Program.spindle.path as NSString).deletingLastPathComponent)':$PATH\n"
        let said = try InteropTests.run("sh", ["-c", script + blocks.joined(separator: "\n")], in: folder)
        #expect(
            said.contains("4 of 4 outcomes") && said.contains("--at 2 --keep all --lose 1:8 -o broken.qcow2"), "\(said)"
        )
    }
}
