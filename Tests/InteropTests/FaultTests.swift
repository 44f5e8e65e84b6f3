// Broken disks in the eyes of clients: NBD's and initiators' tools, and who reads the log.

import Foundation
import Support
import Testing

@Suite struct FaultTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func serve(_ rules: [String], device: String = "spindle-hd") throws -> (RunningServer, GenericDevice) {
        let server = try RunningServer(
            ["--listen", "iscsi:127.0.0.1:0", "--control", "unix:" + folder.path + "/control", "--device", device]
                + rules.flatMap { ["--fault", $0] } + ["disk=memory:64M"], in: folder)
        return (server, try GenericDevice(server, in: folder))
    }

    @discardableResult
    private func ctl(_ words: String...) throws -> String {
        let result = try Program.spindle.run(
            ["ctl", "--control", "unix:" + folder.path + "/control"] + words, in: folder)
        #expect(result.status == 0, "\(result.errors)")
        return result.text
    }

    private func attribute(_ id: Int, _ object: [String: Any]) -> Int? {
        let table: [[String: Any]] = object.at("ata_smart_attributes", "table") ?? []
        return table.first { $0["id"] as? Int == id }?.at("raw", "value")
    }

    private func errors(_ object: [String: Any]) -> [String] {
        let table: [[String: Any]] = object.at("ata_smart_error_log", "extended", "table") ?? []
        return table.map { $0["error_description"] as? String ?? "" }
    }

    /// No hole hides a bad sector: who copies a drive by its map reads it, and fails.
    @Test func aBadSectorIsNoHole() throws {
        let (server, disk) = try serve(["unreadable lba=81920"])
        let uri = try server.uri(of: "disk")
        let copy = folder.path + "/copy"
        #expect(try Program.tool("nbdcopy").run([uri, copy], in: folder).status != 0)
        #expect(attribute(197, try disk.smartctl(["-x"], mask: 0xF8)) == 1)
        try ctl("fault", "clear", "disk")
        #expect(try Program.tool("nbdcopy").run([uri, copy], in: folder).status == 0)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// A command may be slow for an hour: a new client of the drive does not wait behind it, nor does the end of its
    /// own connection. It is done then.
    @Test func aSlowCommandIsDoneWhenOthersWouldWait() throws {
        let (server, _) = try serve(["slow seconds=3600 lba=5"])
        let uri = try server.uri(of: "disk")
        try nbdsh(
            [uri],
            """
            def slow(h): return h.aio_pread(nbd.Buffer(512), 5 * 512)
            first, second = nbd.NBD(), nbd.NBD()
            first.connect_uri(uri[0])
            cookie = slow(first)
            second.connect_uri(uri[0])
            assert second.pread(512, 0) == bytes(512)
            while first.aio_peek_command_completed() != cookie: assert first.poll(60000) == 1
            assert first.aio_command_completed(cookie)
            # A client that says goodbye has its answer first ("NBD_CMD_DISC").
            cookie = slow(second)
            second.aio_disconnect()
            while not second.aio_is_closed() and not second.aio_is_dead(): second.poll(60000)
            """, in: folder)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// One bad sector from its discovery to its end, as every tool sees it.
    @Test func anUnreadableSector() throws {
        let (server, disk) = try serve(["unreadable lba=81920..81927"])
        let uri = try server.uri(of: "disk")
        // What was written before is still there when the fault is gone; the sectors were written, so they are good.
        try ctl("fault", "clear", "disk")
        try run("qemu-io", ["-f", "raw", "-c", "write -P 9 0 64M", uri], in: folder)
        try ctl("fault", "add", "disk", "unreadable", "lba=81920..81927")
        #expect(attribute(197, try disk.smartctl(["-x"])) == 0)
        // NBD says where, and gives what comes before.
        try nbdsh(
            [uri],
            """
            h.set_strict_mode(h.get_strict_mode() & ~nbd.STRICT_BOUNDS)
            h.connect_uri(uri[0])
            refused('EIO', lambda: h.pread(65536, 81920 * 512 - 4096))
            said = []
            h.set_debug(True)
            h.set_debug_callback(lambda context, message: said.append(message) or 0)
            chunks = []
            def chunk(data, offset, status, error):
                chunks.append((offset, len(data), status, error.value, bytes(data[:1])))
                return 0
            try: h.pread_structured(65536, 81920 * 512 - 4096, chunk)
            except nbd.Error: pass
            assert (81920 * 512, 0, nbd.READ_ERROR) in [(o, 0, s) for o, n, s, e, b in chunks], chunks
            h.set_debug(False)
            assert any('unrecoverable read error (UNC)' in message for message in said), said
            assert h.pread(4096, 81920 * 512 - 4096) == b'\\x09' * 4096
            assert h.pread(512, 81928 * 512) == b'\\x09' * 512
            """, in: folder)
        // SAT: MEDIUM ERROR, 11h 04h, and the sector in the registers.
        let read = try disk.attempt("hdparm", ["--read-sector", "81921"])
        #expect(read.text.contains("sb[]:  70 00 03 00 00 00 00 0a 40 51 e0 01 11 04"), "\(read.text)")
        // SBC: the same, with the sector as INFORMATION.
        let verified = try disk.attempt("sg_verify", ["-v", "--lba=81922", "--count=1"])
        #expect(
            verified.text.contains("Medium Error") && verified.text.contains("0x14002"), "\(verified.text)")
        let broken = try disk.smartctl(["-x"], mask: 0x40)
        #expect(attribute(197, broken) == 3 && attribute(198, broken) == 3 && attribute(5, broken) == 0)
        #expect(errors(broken).first == "Error: UNC at LBA = 0x00014002 = 81922", "\(errors(broken))")
        // The log has a line of the kernel's kind.
        #expect(server.log.contains("the drive failed a command"), "\(server.log)")
        for text in [
            "fault=\"unreadable lba=81920..81927\"", "failed=\"READ FPDMA QUEUED\"", "status=\"{ DRDY ERR }\"",
            "error=\"{ UNC }\"", "sense=3/11/4", "lba=81920",
        ] {
            #expect(server.log.contains(text), "\(text): \(server.log)")
        }
        // A write makes them good; what had been found has others in its place.
        try run(
            "qemu-io", ["-f", "raw", "-c", "write -P 5 41943040 4096", "-c", "read -P 5 41943040 4096", uri], in: folder
        )
        let whole = try disk.smartctl(["-x"], mask: 0x40)
        #expect(attribute(197, whole) == 0 && attribute(5, whole) == 3)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// A fault is taken away while a client is there, and it has its data back.
    @Test func aFaultIsCleared() throws {
        let (server, _) = try serve(["unreadable lba=0..63", "write-fault lba=2048"])
        let list = try ctl("fault", "list", "disk")
        #expect(list.contains("unreadable lba=0..63") && list.contains("write-fault lba=2048"), "\(list)")
        let control = folder.path + "/control"
        try nbdsh(
            [try server.uri(of: "disk"), Program.spindle.path, control],
            """
            import subprocess
            h.connect_uri(uri[0])
            def ctl(*words): return subprocess.run(
                [uri[1], 'ctl', '--control', 'unix:' + uri[2], 'fault', *words], check=True, capture_output=True, text=True).stdout
            h.pwrite(b'a' * 4096, 65536)
            refused('EIO', lambda: h.pread(512, 512))
            refused('EIO', lambda: h.pwrite(b'b' * 4096, 2048 * 512 - 2048))
            assert h.pread(4096, 2048 * 512 - 2048) == b'b' * 2048 + b'\\0' * 2048
            ctl('clear', 'disk', '1')
            assert h.pread(512, 512) == b'\\0' * 512
            refused('EIO', lambda: h.pwrite(b'b' * 512, 2048 * 512))
            assert 'no faults' in ctl('clear', 'disk')
            h.pwrite(b'b' * 512, 2048 * 512)
            ctl('add', 'disk', 'device-fault command=flush count=1')
            refused('EIO', h.flush)
            h.flush()
            ctl('add', 'disk', 'icrc', 'command=read', 'count=1')
            refused('EIO', lambda: h.pread(512, 0))
            h.pread(512, 0)
            ctl('add', 'disk', 'idnf', 'lba=100')
            refused('EIO', lambda: h.pread(512, 51200))
            """, in: folder)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// Faults belong to the drive: they outlast its power, and a reload that is not about it.
    @Test func faultsStay() throws {
        let file = folder.path + "/spindle.toml"
        let settings =
            "[[export]]\nname = \"disk\"\nimage = \"memory:1M\"\ndevice = \"spindle-hd\"\n"
            + "write-cache-model = \"volatile\"\nfault = [\"unreadable lba=8\"]\n"
        func configure(_ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: file)) }
        try configure(settings)
        let server = try RunningServer(
            ["--config", file, "--control", "unix:" + folder.path + "/control"], in: folder)
        try ctl("fault", "add", "disk", "idnf lba=16")
        let uri = try server.uri(of: "disk")
        let both = "h.connect_uri(uri[0])\nfor lba in (8, 16): refused('EIO', lambda: h.pread(512, lba * 512))\n"
        try nbdsh([uri], both, in: folder)
        for state in ["off", "on"] { try ctl("power", "disk", state) }
        try nbdsh([uri], both, in: folder)
        try configure(settings + "[[export]]\nimage = \"null:1M\"\n")
        try ctl("reload")
        try nbdsh([uri], both, in: folder)
        // Other faults in the file are another drive's.
        try configure(settings.replacing("lba=8", with: "lba=9"))
        try ctl("reload")
        let list = try ctl("fault", "list", "disk")
        #expect(list.contains("unreadable lba=9") && !list.contains("idnf"), "\(list)")
        try nbdsh(
            [uri],
            "h.connect_uri(uri[0])\nrefused('EIO', lambda: h.pread(512, 9 * 512))\nh.pread(512, 8 * 512)", in: folder)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// A slow sector makes nobody else wait, and who goes away is not waited for.
    @Test func slowSectors() throws {
        let (server, _) = try serve(["slow lba=8..15 seconds=0.5", "slow lba=1000 seconds=600"])
        try nbdsh(
            [try server.uri(of: "disk")],
            """
            import time
            h.connect_uri(uri[0])
            def seconds(call):
                before = time.monotonic()
                call()
                return time.monotonic() - before
            h.pwrite(b'a' * 512, 0)
            assert seconds(lambda: h.pread(512, 8 * 512)) >= 0.5
            assert seconds(lambda: h.pwrite(b'b' * 512, 8 * 512)) >= 0.5
            assert h.pread(512, 8 * 512) == b'b' * 512
            # One that waits for ten minutes is not in the way of others.
            other = nbd.NBD()
            other.connect_uri(uri[0])
            for handle in (h, other): handle.aio_pread(nbd.Buffer(512), 1000 * 512)
            assert seconds(lambda: h.pread(512, 0)) < 60
            assert seconds(lambda: other.pread(512, 0)) < 60
            """, in: folder)
        #expect(try server.stop() == 0, "\(server.log)")
        #expect(!server.log.contains("does not end"), "\(server.log)")
    }

    /// The registers of each kind of failure as smartctl reads them in the error log.
    @Test func errorsAreNamed() throws {
        let (server, disk) = try serve([])
        let uri = try server.uri(of: "disk")
        for (rule, io, words) in [
            ("idnf lba=1000", "read", "Error: IDNF at LBA = 0x000003e8 = 1000"),
            ("icrc lba=1000", "write", "Error: ICRC, ABRT at LBA = 0x000003e8 = 1000"),
            ("abort lba=1000", "read", "Error: ABRT at LBA = 0x000003e8 = 1000"),
        ] {
            try ctl("fault", "add", "disk", rule)
            _ = try Program.tool("qemu-io").run(["-f", "raw", "-c", "\(io) 512000 512", uri], in: folder)
            let errors = errors(try disk.smartctl(["-x"], mask: 0x40))
            #expect(errors.first?.hasPrefix(words) == true, "\(errors)")
            try ctl("fault", "clear", "disk")
        }
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// Who reads a sector at a time where more fails, as ddrescue does, loses exactly the bad ones.
    @Test func onlyTheBadSectorsAreLost() throws {
        let (server, _) = try serve([])
        let uri = try server.uri(of: "disk")
        try run("qemu-io", ["-f", "raw", "-c", "write -P 9 0 64M", uri], in: folder)
        try ctl("fault", "add", "disk", "unreadable lba=2000..2003")
        try ctl("fault", "add", "disk", "unreadable lba=100000")
        try nbdsh(
            [uri],
            """
            h.connect_uri(uri[0])
            bad = []
            for first in range(0, h.get_size() // 512, 1024):
                try: h.pread(1024 * 512, first * 512)
                except nbd.Error:
                    for sector in range(first, first + 1024):
                        try: assert h.pread(512, sector * 512) == b'\\x09' * 512
                        except nbd.Error: bad.append(sector)
            assert bad == [2000, 2001, 2002, 2003, 100000], bad
            """, in: folder)
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
