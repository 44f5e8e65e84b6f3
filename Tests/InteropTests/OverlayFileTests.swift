// Overlays whose changes are in a file: what is kept, what QEMU sees of it, and what is refused.

import Foundation
import Support
import Testing

@Suite struct OverlayFileTests {
    private static let sizeBytes: UInt64 = 8 << 20
    private let folder: TemporaryFolder
    private let base: String

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
        for name in ["bases", "changes"] {
            try FileManager.default.createDirectory(
                atPath: folder.path + "/" + name, withIntermediateDirectories: false)
        }
        // It ends inside of its last sector.
        base = try folder.file("bases/base.img", sizeBytes: Self.sizeBytes - 100, beginning: Self.beginning)
    }

    private static var beginning: [UInt8] { [UInt8](repeating: 0xBA, count: 3 << 20) }

    private func path(_ name: String) -> String { folder.path + "/" + name }

    private func qemuImage(_ words: String..., sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        try run("qemu-img", words, in: folder)
    }

    /// Why a server with these arguments does not begin.
    private func refusal(_ arguments: String..., status: Int32 = 1) throws -> String {
        let result = try Program.spindle.run(["serve", "--listen", "unix:" + path("s")] + arguments, in: folder)
        #expect(result.status == status, "\(result.text)")
        return result.errors
    }

    private func serve(_ changes: String, _ options: [String] = [], above base: String? = nil) throws -> RunningServer {
        try RunningServer(["--changes", path(changes)] + options + ["disk=overlay:" + (base ?? self.base)], in: folder)
    }

    /// Requests of all kinds, each of which is done to the file `mirror`, too.
    private func exercise(_ server: RunningServer, ending: String = "h.flush()") throws {
        try nbdsh(
            [server.uri],
            """
            import os, random
            h.connect_uri(uri[0])
            if not os.path.exists('\(path("mirror"))'):
                disk = bytearray(open('\(base)', 'rb').read())
                disk += bytes(-len(disk) % 512)
            else: disk = bytearray(open('\(path("mirror"))', 'rb').read())
            assert h.get_size() == len(disk) and h.pread(len(disk), 0) == disk
            for number in range(300):
                count = random.choice([512, 4096, 65536, 512 * random.randrange(1, 300)])
                offset = random.randrange(0, (len(disk) - count) // 512 + 1) * 512
                what = random.choice('wwwzr')
                if what == 'w':
                    disk[offset:offset + count] = random.randbytes(count)
                    h.pwrite(disk[offset:offset + count], offset)
                elif what == 'z':
                    h.zero(count, offset)
                    disk[offset:offset + count] = bytes(count)
                else: assert h.pread(count, offset) == disk[offset:offset + count], (offset, count)
            h.pwrite(b'last' * 128, len(disk) - 512)
            disk[-512:] = b'last' * 128
            assert h.pread(len(disk), 0) == disk
            open('\(path("mirror"))', 'wb').write(disk)
            \(ending)
            """, in: folder)
    }

    private func compare(_ changes: String) throws {
        try run("qemu-img", ["check", "-q", path(changes)], in: folder)
        try run("qemu-img", ["compare", "-f", "qcow2", "-F", "raw", path(changes), path("mirror")], in: folder)
    }

    /// Everything is there after a restart and after a kill, QEMU sees the same, and the base is as it was.
    @Test(arguments: ["writeback", "none"], ["raw", "qcow2"])
    func keepsWhatWasWritten(cache: String, format: String) throws {
        let before = try Data(contentsOf: URL(fileURLWithPath: base))
        var below = base
        if format == "qcow2" {
            below = path("bases/above.qcow2")
            _ = try qemuImage("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.img", below)
        }
        let server = try serve("changes/disk", ["--cache", cache], above: below)
        try exercise(server)
        #expect(try server.stop(signal: SIGKILL) == SIGKILL + 128)
        try run(
            "qemu-img", ["compare", "-U", "-f", "qcow2", "-F", "raw", path("changes/disk"), path("mirror")], in: folder)
        let again = try serve("changes/disk", ["--cache", cache], above: below)
        // The end is a flush.
        try exercise(again, ending: "pass")
        #expect(try again.stop() == 0, "\(again.log)")
        try compare("changes/disk")
        let info = try qemuImage("info", "--output=json", path("changes/disk"))
        for text in [
            "\"backing-filename\": \"\(below)\"", "\"backing-filename-format\": \"\(format)\"", "\"extended-l2\": true",
            "\"virtual-size\": \(Self.sizeBytes),", "\"compat\": \"1.1\"",
        ] {
            #expect(info.contains(text), "\(info)")
        }
        let isUntouched = try Data(contentsOf: URL(fileURLWithPath: base)) == before
        #expect(isUntouched, "an overlay has written to its base")
        // QEMU takes the changes to the base.
        if format == "raw" {
            try run("truncate", ["-s", "\(Self.sizeBytes)", base], in: folder)
            _ = try qemuImage("commit", "-q", path("changes/disk"))
            try folder.expectSame(base, path("mirror"))
        }
    }

    /// One that is made is there when nothing was written to it, and names a base of its own folder by its name alone.
    @Test func isMadeOnce() throws {
        #expect(try serve("bases/disk.qcow2").stop() == 0)
        let info = try qemuImage("info", path("bases/disk.qcow2"))
        #expect(info.contains("backing file: base.img (actual path:"), "\(info)")
        #expect(try qemuImage("map", path("bases/disk.qcow2")).contains("base.img"))
        let made = try folder.bytes("bases/disk.qcow2")
        #expect(try serve("bases/disk.qcow2").stop() == 0)
        #expect(try folder.bytes("bases/disk.qcow2") == made)
        // It is a qcow2 image as any other.
        try serving(["--read-only", path("bases/disk.qcow2")], in: folder) { server in
            try nbdsh([server.uri], "h.connect_uri(uri[0]); assert h.pread(512, 0) == b'\\xba' * 512", in: folder)
        }
        try FileManager.default.createSymbolicLink(atPath: path("link"), withDestinationPath: path("bases/base.img"))
        #expect(try serve("bases/disk.qcow2", above: path("link")).stop() == 0)
    }

    /// The base is another file, or is not what it was.
    @Test func theBaseHasToBeWhatItWas() throws {
        let above = path("bases/above.qcow2")
        _ = try qemuImage("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.img", above)
        for (file, below) in [("changes/a", base), ("changes/b", above)] {
            #expect(try serve(file, above: below).stop() == 0)
        }
        let time = try run("date", ["-r", base, "-u", "+%Y-%m-%dT%H:%M:%S.%NZ"], in: folder)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        // QEMU keeps what says so when it writes to the image.
        _ = try run("qemu-io", ["-f", "qcow2", "-c", "write -P 7 64k 64k", path("changes/a")], in: folder)
        try run("touch", [base], in: folder)
        let changed = try refusal("--changes", path("changes/a"), "overlay:" + base)
        #expect(
            changed.contains(
                "'\(base)' has changed since it was made: then it had 8388508 bytes, written last at \(time)"))
        #expect(changed.contains("'touch -d \(time) "), "\(changed)")
        let deeper = try refusal("--changes", path("changes/b"), "overlay:" + above)
        #expect(deeper.contains("backing file 1 of '\(above)' has changed since it was made"), "\(deeper)")
        try run("touch", ["-d", time, base], in: folder)
        try serving(["--changes", path("changes/a"), "overlay:" + base], in: folder) { server in
            try nbdsh([server.uri], "h.connect_uri(uri[0]); assert h.pread(512, 65536) == b'\\7' * 512", in: folder)
        }
        // A copy is another file, until the image names it.
        try run("cp", ["-p", base, path("bases/copy.img")], in: folder)
        let copy = ["--changes", path("changes/a"), "overlay:" + path("bases/copy.img")]
        let other = try refusal(copy[0], copy[1], copy[2])
        #expect(other.contains("its backing file is '\(base)', and not '\(path("bases/copy.img"))'"), "\(other)")
        _ = try qemuImage("rebase", "-u", "-F", "raw", "-b", path("bases/copy.img"), path("changes/a"))
        try serving(copy, in: folder) { _ in }
        try run("truncate", ["-s", "9M", path("bases/copy.img")], in: folder)
        #expect(try refusal(copy[0], copy[1], copy[2]).contains("now 9437184 bytes"))
    }

    /// What is there and is something else is left alone.
    @Test func whatCannotKeepChangesIsRefused() throws {
        let raw = try folder.file("changes/raw", sizeBytes: 1 << 20)
        let (link, linkToBase, odd) = (path("changes/link"), path("changes/base"), path("changes/odd"))
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path("nothing"))
        try FileManager.default.createSymbolicLink(atPath: linkToBase, withDestinationPath: base)
        #expect(try serve("changes/odd").stop() == 0)
        var bytes = try folder.bytes("changes/odd")
        // Behind the format of the backing file: the type of the extension, its length, size and seconds.
        let stamp = 112 + 16 + 8 + 16
        #expect(Array(bytes[(stamp - 24)..<(stamp - 20)]) == Array("SPBS".utf8))
        bytes.replaceSubrange(stamp..<stamp + 8, with: [0, 0, 0, 0, 0x3B, 0x9A, 0xCA, 0])
        try Data(bytes).write(to: URL(fileURLWithPath: odd))
        _ = try qemuImage("create", "-q", "-f", "qcow2", path("changes/alone"), "1M")
        _ = try qemuImage("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "alone", path("changes/other"))
        for (file, words) in [
            (
                raw,
                "cannot keep the changes of this overlay: it does not begin as a qcow2 image does, and it is left as it is"
            ),
            (link, "it is a link to a file that is missing"),
            (linkToBase, "it is the image '\(base)' itself, which is only read: name a new file"),
            (odd, "1000000000 nanoseconds, and a second has 1000000000"),
            (path("changes/alone"), "it is a qcow2 image without a backing file"),
            (path("changes/other"), "its backing file is 'alone', and not '\(base)'"),
            (path("changes"), "is a directory"),
            (
                path("nowhere/disk"),
                "cannot make '\(path("nowhere/disk"))', which is to keep an overlay's changes: No such"
            ),
            (base, "it is the image '\(base)' itself"),
            ("/dev/null", "is a character device"),
        ] {
            for locking in ["on", "off"] {
                let errors = try refusal("--locking", locking, "--changes", file, "overlay:" + base)
                #expect(errors.contains(words), "\(errors)")
            }
        }
        for (arguments, words) in [
            (["disk=" + base], "'\(base)' is no overlay, and has no changes beside it: name it overlay:\(base)"),
            (["overlay:" + base, "b=null:1M"], "--changes is for one image, overlay:PATH"),
            (["dir:" + folder.path], "--changes is for one image, overlay:PATH"),
        ] {
            let errors = try Program.spindle.run(["serve", "--changes", "x"] + arguments, in: folder)
            #expect(errors.status == 64 && errors.errors.contains(words), "\(errors.errors)")
        }
        let file = path("c.toml")
        try "[[export]]\nimage = 'null:1M'\nchanges = 'x'\n".write(toFile: file, atomically: true, encoding: .utf8)
        let check = try Program.spindle.run(["check", file], in: folder)
        #expect(check.errors.contains("c.toml:3: export 'null'.changes: 'null:1M' is no overlay"), "\(check.errors)")
    }

    /// A file with which somebody was killed before it had its header is begun again, and no other one.
    @Test func whatWasOnlyBegun() throws {
        #expect(try serve("changes/disk").stop() == 0)
        let whole = try folder.bytes("changes/disk")
        let tables = [UInt8](repeating: 0, count: 65536) + whole.dropFirst(65536)
        let url = URL(fileURLWithPath: path("changes/disk"))
        for count in [1, 65536, 65540, 131_072, 131_080, 196_609, whole.count] {
            try Data(tables.prefix(count)).write(to: url)
            #expect(try serve("changes/disk").stop() == 0)
            let isWhole = try folder.bytes("changes/disk") == whole
            #expect(isWhole, "\(count) bytes of the tables")
        }
        for place in [0, 3000, 70000, 150_000] {
            var other = tables
            other[place] = 0x77
            try Data(other).write(to: url)
            #expect(try refusal("--changes", path("changes/disk"), "overlay:" + base).contains("does not begin as"))
            let isLeft = try folder.bytes("changes/disk") == other
            #expect(isLeft)
        }
    }

    /// The file system is full: first for the tables, then for what a client writes.
    @Test func aFullFileSystem() throws {
        func limited(_ blocks: Int, _ arguments: [String]) throws -> ProgramResult {
            try Program.tool("sh").run(
                [
                    "-c", "ulimit -f \(blocks); exec \"$@\"", "sh", Program.spindle.path, "serve", "--listen",
                    "unix:" + path("s"),
                ]
                    + arguments, in: folder)
        }
        let overlay = ["--changes", path("changes/disk"), "disk=overlay:" + base]
        let none = try limited(300, overlay)
        #expect(none.status == 1 && none.errors.contains("which is to keep an overlay's changes: File too large"))
        #expect(try folder.bytes("changes/disk").isEmpty)
        try """
        h.pwrite(b'A' * 65536, 0)
        h.flush()
        try:
            for place in range(1, 64): h.pwrite(b'B' * 65536, place << 16)
        except nbd.Error as error: assert error.errno == 'ENOSPC', error.string
        else: raise AssertionError('there was room')
        assert h.pread(65536, 0) == b'A' * 65536
        """.write(toFile: path("script.py"), atomically: true, encoding: .utf8)
        let full = try limited(
            4096, overlay + ["--run", "nbdsh -u \"$uri\" -c - < '\(path("script.py"))'"])
        #expect(full.status == 0, "\(full.errors)")
        try run("qemu-img", ["check", "-q", path("changes/disk")], in: folder)
        try serving(overlay, in: folder) { server in
            try nbdsh([server.uri], "h.connect_uri(uri[0]); assert h.pread(65536, 0) == b'A' * 65536", in: folder)
        }
    }

    /// A recording begins with the base where the changes begin with nothing, and not where there are some.
    @Test func aRecordingAbove() throws {
        for (number, words) in [(1, "h.pwrite(b'A' * 4096, 512)"), (2, "h.pwrite(b'B' * 4096, 1 << 20)")] {
            let server = try serve("changes/disk", ["--record", path("\(number).rec")])
            try nbdsh([server.uri], "h.connect_uri(uri[0]); \(words)", in: folder)
            #expect(try server.stop() == 0)
        }
        func cut(_ number: Int) throws -> ProgramResult {
            try Program.spindle.run(
                ["cut", path("\(number).rec"), "--keep", "all", "-o", path("changes/\(number)")], in: folder)
        }
        #expect(try cut(1).status == 0)
        let list = try run("qemu-io", ["-f", "qcow2", "-c", "read -P 0x41 512 4k", path("changes/1")], in: folder)
        #expect(!list.contains("failed"), "\(list)")
        let second = try cut(2)
        #expect(second.status == 1 && second.errors.contains("has written to its image, '\(path("changes/disk"))'"))
    }
}

/// What an operator does.
extension OverlayFileTests {
    private func ctl(_ words: String..., status: Int32 = 0) throws -> String {
        let result = try Program.spindle.run(["ctl", "--control", "unix:" + path("control")] + words, in: folder)
        #expect(result.status == status, "\(words): \(result.errors)\(result.text)")
        return result.text + result.errors
    }

    private func script(_ server: RunningServer, _ export: String, _ text: String) throws {
        try nbdsh(
            ["nbd+unix:///\(export)?socket=\(server.socketPath)"], "h.connect_uri(uri[0])\n" + text, in: folder)
    }

    /// In the sandbox: two files and memory above one base, each with its own changes. A revert makes a file empty.
    @Test func severalAboveOneBase() throws {
        let server = try RunningServer(
            [
                "--control", "unix:" + path("control"), "--sandbox-path", path("changes"), "--changes",
                path("changes/a"),
                "--write-cache-model", "volatile:64K", "a=overlay:" + base,
            ], in: folder)
        let other = try Program.spindle.run(
            [
                "ctl", "--control", "unix:" + path("control"), "add", "--changes", path("changes/b"),
                "b=overlay:" + base,
            ],
            in: folder)
        // The base is out of the sandbox's reach.
        #expect(other.errors.contains("--sandbox-path"), "\(other.errors)")
        #expect(try server.stop() == 0)
        let all = try RunningServer(
            [
                "--control", "unix:" + path("control"), "--sandbox-path", folder.path, "--changes", path("changes/a"),
                "--write-cache-model", "volatile:64K", "a=overlay:" + base,
            ], in: folder)
        _ = try ctl("add", "--changes", path("changes/b"), "b=overlay:" + base)
        _ = try ctl("add", "c=overlay:" + base)
        let taken = try ctl("add", "--changes", path("changes/b"), "d=overlay:" + base, status: 1)
        #expect(taken.contains("is in use by export 'b' of this server"), "\(taken)")
        for name in ["a", "b", "c"] { try script(all, name, "h.pwrite(b'\(name)' * 65536, 4096); h.flush()") }
        for name in ["a", "b", "c"] {
            try script(
                all, name, "assert h.pread(70144, 0)[4000:69984] == b'\\xba' * 96 + b'\(name)' * 65536 + b'\\xba' * 352"
            )
        }
        #expect(try ctl("grow", "a", "32M", status: 1).contains("an overlay is as large as the image below it"))
        // A client that has it open is cut off; what is in the drive's cache is gone, too.
        try script(
            all, "a",
            """
            import subprocess
            h.pwrite(b'x' * 512, 0)
            subprocess.run(['\(Program.spindle.path)', 'ctl', '--control', 'unix:\(path("control"))', 'revert', 'a'], check=True)
            try: h.pread(512, 0)
            except nbd.Error: pass
            else: raise AssertionError('not cut off')
            h = nbd.NBD()
            h.connect_uri(uri[0])
            assert h.pread(131072, 0) == b'\\xba' * 131072
            """)
        #expect(try folder.bytes("changes/a").count == 4 << 16)
        try run("qemu-img", ["check", "-q", "-U", path("changes/a")], in: folder)
        // It is as good as a new one.
        try script(all, "a", "h.pwrite(b'n' * 1536, 512); h.flush()")
        try script(all, "b", "assert h.pread(512, 4096) == b'b' * 512")
        #expect(try all.stop() == 0, "\(all.log)")
        #expect(all.log.contains("overlay reverted"))
        for (name, pattern) in [("a", "read -P 0x6e 512 1536"), ("b", "read -P 0x62 4k 64k")] {
            try run("qemu-img", ["check", "-q", path("changes/" + name)], in: folder)
            let read = try run("qemu-io", ["-f", "qcow2", "-c", pattern, path("changes/" + name)], in: folder)
            #expect(!read.contains("failed"), "\(read)")
        }
    }

    /// A reload goes on with the file, also with other settings, and makes new ones beside it.
    @Test func aReload() throws {
        let file = path("c.toml")
        func write(_ more: String, _ description: String) throws {
            try """
            [[export]]
            name = "a"
            image = "overlay:bases/base.img"
            changes = "changes/a"
            description = "\(description)"
            \(more)
            """.write(toFile: file, atomically: true, encoding: .utf8)
        }
        try write("", "first")
        let check = try Program.spindle.run(["check", file], in: folder)
        #expect(
            check.text.contains("overlay:\(path("bases/base.img")), changes in \(path("changes/a"))"), "\(check.text)")
        #expect(
            try !FileManager.default.contentsOfDirectory(atPath: path("changes")).contains("a"), "a look makes nothing")
        let server = try RunningServer(["--config", file, "--control", "unix:" + path("control")], in: folder)
        try script(server, "a", "h.pwrite(b'a' * 512, 512); h.flush()")
        try write("[[export]]\nname = 'b'\nimage = 'overlay:bases/base.img'\nchanges = 'changes/b'", "second")
        #expect(try ctl("reload").contains("added 'b'; changed 'a'"))
        try script(
            server, "a",
            "assert h.pread(1024, 0) == b'\\xba' * 512 + b'a' * 512")
        #expect(try ctl("show", "a").contains("second"))
        try script(server, "b", "assert h.pread(1024, 0) == b'\\xba' * 1024")
        _ = try ctl("revert", "a")
        try script(server, "a", "assert h.pread(1024, 0) == b'\\xba' * 1024; h.pwrite(b'b' * 512, 0); h.flush()")
        // The table in the first sector is the changes' one.
        #expect(try server.stop() == 0, "\(server.log)")
        try run("touch", [base], in: folder)
        let changed = try Program.spindle.run(["check", file], in: folder)
        #expect(changed.status != 0 && changed.errors.contains("has changed since it was made"), "\(changed.errors)")
    }

    /// As ``script(_:_:_:)``, with a client in `h` that `revert` must not cut off, or has to.
    private static let revert = """
        import subprocess
        def revert():
            return subprocess.run(['\(Program.spindle.path)', 'ctl', '--control', control, 'revert', 'disk'],
                capture_output=True, text=True)
        def refused(*words):
            done = revert()
            assert done.returncode == 1 and all(word in done.stderr for word in words), done.stderr
            h.pwrite(b'a' * 512, 0)

        """

    private func reverting(_ server: RunningServer, _ text: String) throws {
        try script(server, "disk", "control = 'unix:\(path("control"))'\n" + Self.revert + text)
    }

    /// A server that becomes another user makes its files for that user, and can empty them. Of a file that it may not
    /// empty it knows that before clients are cut off.
    @Test(.enabled(if: geteuid() == 0, "only root can become somebody else"))
    func aServerThatBecomesAnotherUser() throws {
        let options = ["--user", "nobody", "--control", "unix:" + path("control")]
        let server = try serve("changes/disk", options)
        try reverting(server, "h.pwrite(b'a' * 512, 0); done = revert(); assert done.returncode == 0, done.stderr")
        #expect(try server.stop() == 0, "\(server.log)")
        #expect(try serve("changes/other", options + ["--record", path("recording")]).stop() == 0)
        for name in ["changes/disk", "changes/other", "recording"] {
            let attributes = try FileManager.default.attributesOfItem(atPath: path(name))
            #expect(attributes[.ownerAccountID] as? Int == 65534, "\(name)")
        }
        #expect(chown(path("changes/disk"), 0, 0) == 0)
        let again = try serve("changes/disk", options)
        try reverting(
            again, "refused('changes/disk\\' cannot be emptied: Permission denied', 'needs the right to write')")
        #expect(try again.stop() == 0)
        #expect(!again.log.contains("cut off"), "\(again.log)")
        // A file that was there keeps its owner.
        let owner = try FileManager.default.attributesOfItem(atPath: path("changes/disk"))[.ownerAccountID] as? Int
        #expect(owner == 0)
    }

    /// A revert would destroy the snapshots that somebody has made with qemu-img.
    @Test func internalSnapshotsAreKept() throws {
        #expect(try serve("changes/disk").stop() == 0)
        _ = try qemuImage("snapshot", "-c", "first", path("changes/disk"))
        let server = try serve("changes/disk", ["--control", "unix:" + path("control")])
        try reverting(server, "refused('has 1 internal snapshot,', 'qemu-img snapshot -d NAME')")
        #expect(try server.stop() == 0)
        #expect(try qemuImage("snapshot", "-l", path("changes/disk")).contains("first"))
        _ = try qemuImage("snapshot", "-d", "first", path("changes/disk"))
        let again = try serve("changes/disk", ["--control", "unix:" + path("control")])
        try reverting(again, "done = revert(); assert done.returncode == 0, done.stderr")
        #expect(try again.stop() == 0)
    }

    /// While a revert waits for the file system, a client that comes back hears of that, and of no lost power.
    @Test(.enabled(if: FrozenFileSystem.canBeMade, "only root may mount"))
    func aClientThatComesBackTooEarly() throws {
        let fileSystem = try FrozenFileSystem(.ext4)
        let server = try RunningServer(
            [
                "--control", "unix:" + path("control"), "--changes", fileSystem.path + "/disk",
                "disk=overlay:" + base,
            ], in: folder)
        try reverting(
            server,
            """
            subprocess.run(['fsfreeze', '--freeze', '\(fileSystem.path)'], check=True)
            try:
                waiting = subprocess.Popen(['\(Program.spindle.path)', 'ctl', '--control', control, 'revert', 'disk'])
                try:
                    while True: h.pread(512, 0)
                except nbd.Error: pass
                try: nbd.NBD().connect_uri(uri[0])
                except nbd.Error as error: print(error)
                else: raise AssertionError('it is there')
            finally: subprocess.run(['fsfreeze', '--unfreeze', '\(fileSystem.path)'], check=True)
            assert waiting.wait() == 0
            nbd.NBD().connect_uri(uri[0])
            """)
        #expect(try server.stop() == 0, "\(server.log)")
        for words in [
            "'spindle ctl' was told to do something with its disk just now",
            "the disk is reverted (ctl revert), as an operator has ordered",
        ] {
            #expect(server.log.contains(words), "\(server.log)")
        }
        #expect(!server.log.contains("power"), "\(server.log)")
    }

    /// What docs/images.md says is to be done after qemu-img has taken the changes elsewhere.
    @Test func afterCommitAndRebase() throws {
        try run("truncate", ["-s", "\(Self.sizeBytes)", base], in: folder)
        func expectChanges(_ arguments: [String]) throws {
            try serving(arguments, in: folder) { server in
                try nbdsh([server.uri], "h.connect_uri(uri[0]); assert h.pread(512, 512) == b'c' * 512", in: folder)
            }
        }
        let server = try serve("changes/disk")
        try script(server, "disk", "h.pwrite(b'c' * 512, 512)")
        #expect(try server.stop() == 0)
        let new = try folder.file("bases/new.img", sizeBytes: Self.sizeBytes)
        let copy = path("changes/copy")
        try run("cp", ["--preserve=all", path("changes/disk"), copy], in: folder)
        _ = try qemuImage("rebase", "-F", "raw", "-b", new, copy)
        #expect(
            try refusal("--changes", copy, "overlay:" + new).contains("'\(new)' has changed since it was made"))
        _ = try qemuImage("convert", "-O", "qcow2", "-B", new, "-F", "raw", copy, path("changes/other"))
        try expectChanges(["--changes", path("changes/other"), "overlay:" + new])
        _ = try qemuImage("commit", "-q", path("changes/disk"))
        let committed = try refusal("--changes", path("changes/disk"), "overlay:" + base)
        #expect(
            committed.contains(" \(base)')") && committed.contains("remove '\(path("changes/disk"))'"), "\(committed)")
        try FileManager.default.removeItem(atPath: path("changes/disk"))
        try expectChanges(["--changes", path("changes/disk"), "overlay:" + base])
    }

    /// `spindle check` finds what keeps a server from beginning.
    @Test(arguments: [
        (
            ["overlay:bases/base.img|changes/same", "overlay:bases/base.img|changes/../changes/same"], "2", "changes",
            "in use by export '1'"
        ),
        (["overlay:bases/base.img|changes/a", "bases/base.img|"], "2", "image", "in use by export '1'"),
        (["bases/base.img|", "overlay:bases/base.img|changes/a"], "2", "image", "in use by export '1'"),
        (["bases/base.img|", "bases/../bases/base.img|"], "2", "image", "in use by export '1'"),
        (["overlay:bases/base.img|nowhere/a"], "1", "changes", "No such file"),
    ])
    func checkFindsWhatCannotBegin(_ exports: [String], _ export: String, _ key: String, _ words: String) throws {
        let tables = exports.enumerated().map { number, text in
            let parts = text.split(separator: "|", omittingEmptySubsequences: false)
            let changes = parts[1].isEmpty ? "" : "changes = '\(parts[1])'\n"
            return "[[export]]\nname = '\(number + 1)'\nimage = '\(parts[0])'\n" + changes
        }
        try tables.joined().write(toFile: path("c.toml"), atomically: true, encoding: .utf8)
        let check = try Program.spindle.run(["check", path("c.toml")], in: folder)
        #expect(check.status == 1 && check.errors.contains("export '\(export)'.\(key): "), "\(check.errors)")
        #expect(check.errors.contains(words) && check.errors.split(separator: "\n").count == 1, "\(check.errors)")
        #expect(try refusal("--config", path("c.toml")).contains(words))
    }

    /// Any number may read a file, and without locks nobody is kept away.
    @Test func checkLetsReadersShare() throws {
        try """
        [[export]]
        name = '1'
        image = 'overlay:bases/base.img'
        changes = 'changes/a'
        [[export]]
        name = '2'
        image = 'overlay:bases/base.img'
        changes = 'changes/b'
        [[export]]
        name = '3'
        image = 'bases/base.img'
        read-only = true
        [[export]]
        name = '4'
        image = 'bases/base.img'
        locking = 'off'
        """.write(toFile: path("c.toml"), atomically: true, encoding: .utf8)
        let check = try Program.spindle.run(["check", path("c.toml")], in: folder)
        #expect(check.status == 0, "\(check.errors)")
        try "[[export]]\nname = '1'\nimage = 'overlay:bases/base.img'\nchanges = ''\n".write(
            toFile: path("c.toml"), atomically: true, encoding: .utf8)
        let empty = try Program.spindle.run(["check", path("c.toml")], in: folder)
        #expect(empty.errors.contains("c.toml:4: export '1'.changes: '' is no path"), "\(empty.errors)")
    }
}
