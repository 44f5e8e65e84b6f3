// The state of a whole disk that is kept in a file: over a restart, kill -9, a move to another loop, in the eyes of
// smartctl and hdparm.

import Foundation
import Support
import Testing

@Suite struct KeptStateTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private var file: String { folder.path + "/disk.state" }

    private func serve(
        _ device: String = "spindle-hd,serial=W-1", state: String? = nil
    ) throws -> (RunningServer, GenericDevice) {
        let server = try RunningServer(
            [
                "--listen", "iscsi:127.0.0.1:0", "--listen", "unix:\(folder.path)/nbd", "--device", device, "--state",
                state ?? file, "disk=memory:64M",
            ], in: folder)
        return (server, try GenericDevice(server, in: folder))
    }

    private var uri: String { "nbd+unix:///disk?socket=\(folder.path)/nbd" }

    private func io(_ commands: String...) throws -> String {
        let result = try Program.tool("qemu-io").run(
            ["-f", "raw"] + commands.flatMap { ["-c", $0] } + [uri], in: folder)
        return result.text + result.errors
    }

    private func text() throws -> String { try String(contentsOfFile: file, encoding: .utf8) }

    private func raw(_ object: [String: Any], _ id: Int) -> Int? {
        let table: [[String: Any]] = object.at("ata_smart_attributes", "table") ?? []
        return table.first { $0["id"] as? Int == id }?.at("raw", "value")
    }

    /// What a host was told is so when the server is killed a moment later; what is only counted is at the end.
    @Test func aDriveIsTheSameAfterAKillAndAfterARestart() throws {
        do {
            let (server, disk) = try serve()
            try disk.run("hdparm", ["--yes-i-know-what-i-am-doing", "--make-bad-sector", "81920"])
            try disk.run("hdparm", ["--yes-i-know-what-i-am-doing", "--make-bad-sector", "f5000"])
            try disk.run("hdparm", ["--user-master", "u", "--security-set-pass", "secret"])
            try disk.run("hdparm", ["--yes-i-know-what-i-am-doing", "-N", "p100000"])
            // A written sector is good again.
            #expect(try !io("write -P 1 2560000 512").contains("error"))
            _ = try server.stop(signal: SIGKILL)
        }
        do {
            let (server, disk) = try serve()
            let locked = try disk.run("hdparm", ["-I"])
            #expect(locked.contains("\tlocked") && !locked.contains("not\tlocked"), "\(locked)")
            try disk.run("hdparm", ["--user-master", "u", "--security-unlock", "secret"])
            #expect(try disk.run("hdparm", ["-N"]).contains("max sectors   = 100000/131072"))
            // MEDIUM ERROR, 11h 04h: hdparm prints it, and goes on.
            #expect(try disk.attempt("hdparm", ["--read-sector", "81920"]).text.contains("sb[]:  70 00 03"))
            #expect(try !disk.attempt("hdparm", ["--read-sector", "5000"]).text.contains("sb[]:"))
            let object = try disk.smartctl(["-x"], mask: 0xF8)
            #expect(raw(object, 12) == 2 && raw(object, 197) == 1)
            #expect(try !io("read 0 1M", "write 0 1M").contains("error"))
            try disk.run("hdparm", ["--user-master", "u", "--security-disable", "secret"])
            _ = try disk.attempt("smartctl", ["-d", "sat", "-t", "short", "-C"])
            #expect(try server.stop() == 0, "\(server.log)")
        }
        let (server, disk) = try serve()
        let object = try disk.smartctl(["-x"], mask: 0xF8)
        #expect(raw(object, 12) == 3 && raw(object, 197) == 1 && raw(object, 187) ?? 0 > 0)
        #expect(raw(object, 241) == 2049 && raw(object, 242) ?? 0 >= 2048)
        #expect(object.at("ata_security", "string") as String? == "Disabled, NOT FROZEN [SEC1]")
        let tests: [[String: Any]] = object.at("ata_smart_self_test_log", "extended", "table") ?? []
        #expect(tests.first?.at("lba") as Int? == 81_920, "\(tests)")
        let errors = object.at("ata_smart_error_log", "extended", "count") as Int?
        #expect(errors ?? 0 > 0)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// A state that a tester has written: a drive of four years with a bad sector.
    @Test func aStateCanBeWrittenByHand() throws {
        let text = """
            version = 1
            device = "spindle-ssd"
            serial = "W-1"
            sector-bytes = 512
            powered-seconds = 126144000
            power-cycles = 211
            sectors-written = 20000000000
            unreadable-sectors = ["1000-1007"]
            """
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        let (server, disk) = try serve("spindle-ssd,serial=W-1")
        let object = try disk.smartctl(["-x"], mask: 0xF8)
        #expect(raw(object, 9) == 35_040 && raw(object, 12) == 212)
        #expect(raw(object, 241) == 20_000_000_000 && raw(object, 197) == 8)
        #expect(try io("read 511488 512").contains("Input/output error") == false)
        #expect(try io("read 512000 512").contains("Input/output error"))
        #expect(try server.stop() == 0, "\(server.log)")
        #expect(try self.text().contains("power-cycles = 212"))
    }

    @Test func wrongUseIsRefusedWithTheRightWay() throws {
        func refusal(_ arguments: [String]) throws -> (text: String, status: Int32) {
            let result = try Program.spindle.run(
                ["serve", "--listen", "unix:\(folder.path)/s"] + arguments, in: folder)
            return (result.text + result.errors, result.status)
        }
        let whole = ["--device", "spindle-hd,serial=W-1", "--state", file, "disk=memory:64M"]
        var (text, status) = try refusal(["--state", file, "disk=memory:64M"])
        #expect(status != 0 && text.contains("an ide-hd has no state that could be kept"), "\(text)")
        (text, status) = try refusal(["--device", "ide-cd", "--state", file, "disk=memory:64M"])
        #expect(status != 0 && text.contains("an ide-cd has no state that could be kept"), "\(text)")
        (text, status) = try refusal(whole + ["other=memory:1M"])
        #expect(status == 64 && text.contains("--state is for one image"), "\(text)")
        #expect(!FileManager.default.fileExists(atPath: file))
        try "version = 1\ndevice = 'spindle-hd'\nserial = 'W-2'\nsector-bytes = 512\n".write(
            toFile: file, atomically: true, encoding: .utf8)
        (text, status) = try refusal(whole)
        #expect(status != 0 && text.contains("the drive with serial number 'W-2', and this one has 'W-1'"), "\(text)")
        try Data([0xFF, 0x00, 0x13]).write(to: URL(fileURLWithPath: file))
        (text, status) = try refusal(whole)
        #expect(status != 0 && text.contains("it is no text in UTF-8"), "\(text)")
        // What cannot be used is left as it is.
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == Data([0xFF, 0x00, 0x13]))
        try FileManager.default.removeItem(atPath: file)
        let (server, _) = try serve()
        (text, status) = try refusal(whole)
        #expect(status != 0 && text.contains("is in use by another drive"), "\(text)")
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// Removed and added, read again with another key, and counted by whichever loop has it.
    @Test func aDriveIsTheSameAfterItWasRemovedAndAdded() throws {
        let config = folder.path + "/spindle.toml"
        func write(_ more: String) throws {
            try """
            listen = ["iscsi:127.0.0.1:0", "unix:\(folder.path)/nbd"]
            threads = 2
            [[export]]
            name = "first"
            image = "memory:1M"
            [[export]]
            name = "disk"
            image = "memory:64M"
            device = "spindle-hd,serial=W-1"
            state = "disk.state"
            \(more)
            """.write(toFile: config, atomically: true, encoding: .utf8)
        }
        try write("")
        let server = try RunningServer(
            ["--config", config, "--control", "unix:\(folder.path)/control"], in: folder)
        let disk = try GenericDevice(server, in: folder)
        func control(_ arguments: String...) throws -> (text: String, status: Int32) {
            let result = try Program.spindle.run(
                ["ctl", "--control", "unix:\(folder.path)/control"] + arguments, in: folder)
            return (result.text + result.errors, result.status)
        }
        #expect(try !io("write 0 1M").contains("error"))
        try disk.run("hdparm", ["--yes-i-know-what-i-am-doing", "--make-bad-sector", "5000"])
        #expect(try control("remove", "--force", "disk").status == 0)
        let added = try control(
            "add", "--device", "spindle-hd,serial=W-1", "--state", file, "disk=memory:64M")
        try #require(added.status == 0, "\(added.text)")
        var object = try disk.smartctl(["-x"], mask: 0xF8)
        #expect(raw(object, 12) == 2 && raw(object, 197) == 1 && raw(object, 241) == 2048)
        #expect(try control("remove", "--force", "disk").status == 0)
        try write("description = \"the same\"")
        try #require(try control("reload").status == 0)
        object = try disk.smartctl(["-x"], mask: 0xF8)
        #expect(raw(object, 12) == 3 && raw(object, 197) == 1)
        // Another key: the export goes, gives its file back, and comes again with it.
        try write("description = \"another\"")
        let reloaded = try control("reload")
        try #require(reloaded.status == 0, "\(reloaded.text)")
        object = try disk.smartctl(["-x"], mask: 0xF8)
        #expect(raw(object, 12) == 4 && raw(object, 197) == 1, "\(server.log)")
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// No file can be made: the command that was to last fails, and all that could rely on it, until there is a file.
    /// What is only read goes on.
    @Test func aStateThatCannotBeKeptIsNotReliedOn() throws {
        let place = folder.path + "/place"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        // Even root makes no file where a folder is.
        let (server, disk) = try serve(state: place + "/s")
        try FileManager.default.createDirectory(atPath: place + "/s.spindle-new", withIntermediateDirectories: true)
        let said = try disk.attempt("hdparm", ["--yes-i-know-what-i-am-doing", "--make-bad-sector", "5000"]).text
        // HARDWARE ERROR, 44h 00h, INTERNAL TARGET FAILURE: hdparm prints it, and goes on.
        #expect(said.contains("sb[]:  70 00 04 00 00 00 00 0a 00 00 00 00 44 00"), "\(said)")
        #expect(server.log.contains("the state of the drive cannot be kept"), "\(server.log)")
        #expect(try !io("read 0 1M").contains("error"))
        // Answered and flushed, it would be unreadable after a kill.
        for command in ["write 2560000 512", "write 2560000 512"] {
            #expect(try io(command).contains("Input/output error"), "\(command)")
        }
        try FileManager.default.removeItem(atPath: place + "/s.spindle-new")
        #expect(try !io("write 2560000 512").contains("error"))
        for sector in ["5000", "6000"] {
            try disk.run("hdparm", ["--yes-i-know-what-i-am-doing", "--make-bad-sector", sector])
        }
        _ = try server.stop(signal: SIGKILL)
        let kept = try String(contentsOfFile: place + "/s", encoding: .utf8)
        #expect(kept.contains("unreadable-sectors = [\"5000\", \"6000\"]"), "\(kept)")
    }

    /// What somebody else has put where the next file would be made stays as it is; what a killed server has left goes.
    @Test func aStrangersFileStays() throws {
        let (place, content) = (file + ".spindle-new", [UInt8](repeating: 7, count: 4096))
        try Data(content).write(to: URL(fileURLWithPath: place))
        let refused = try Program.spindle.run(
            [
                "serve", "--listen", "unix:\(folder.path)/nbd", "--device", "spindle-hd,serial=W-1", "--state", file,
                "disk=memory:64M",
            ], in: folder)
        #expect(refused.status == 1 && refused.errors.contains("File exists"), "\(refused.errors)")
        #expect(try Data(contentsOf: URL(fileURLWithPath: place)) == Data(content))
        try FileManager.default.removeItem(atPath: place)
        #expect(try serve().0.stop() == 0)
        try FileManager.default.copyItem(atPath: file, toPath: place)
        #expect(try serve().0.stop() == 0)
        #expect(!FileManager.default.fileExists(atPath: place))
    }

    /// What was only counted is in the file within a minute, whether somebody has the drive open or not, and as soon as
    /// the last one has left.
    @Test func countersAreKeptEachMinute() throws {
        let config = folder.path + "/spindle.toml"
        try ["busy", "left", "idle"].map {
            """
            [[export]]
            name = '\($0)'
            image = 'memory:64M'
            device = 'spindle-ssd,serial=\($0)'
            state = '\($0).state'

            """
        }.joined().write(toFile: config, atomically: true, encoding: .utf8)
        let socket = folder.path + "/nbd"
        let server = try RunningServer(["--config", config, "--listen", "unix:\(socket)"], in: folder)
        func text(_ name: String) throws -> String {
            try String(contentsOfFile: folder.path + "/\(name).state", encoding: .utf8)
        }
        func io(_ name: String, _ commands: String...) -> [String] {
            ["-f", "raw"] + commands.flatMap { ["-c", $0] } + ["nbd+unix:///\(name)?socket=\(socket)"]
        }
        let nothing = open("/dev/null", O_RDWR)
        defer { close(nothing) }
        let busy = try BoundProcess(
            try Program.tool("qemu-io").path, io("busy", "write 0 1M", "sleep 1000000"), input: nothing,
            output: nothing, errors: nothing)
        defer { busy.end() }
        try run("qemu-io", io("left", "write 0 2M"), in: folder)
        try waitUntil("the last client has left") { try text("left").contains("sectors-written = 4096") }
        for name in ["busy", "left", "idle"] {
            try waitUntil("a minute has passed for \(name)", limitSeconds: 120) {
                try !text(name).contains("powered-seconds = 0\n")
            }
        }
        #expect(try text("busy").contains("sectors-written = 2048"))
        _ = try server.stop(signal: SIGKILL)
        // The drive goes on from there.
        let next = try RunningServer(["--config", config, "--listen", "unix:\(socket)"], in: folder)
        #expect(try text("busy").contains("power-cycles = 2") && text("busy").contains("sectors-written = 2048"))
        #expect(try next.stop() == 0, "\(next.log)")
    }

    /// While a write of a state waits for its file system, nobody waits for the loop that has begun it, and clients
    /// that come and go make no threads wait with it.
    @Test(.enabled(if: FrozenFileSystem.canBeMade, "only root may mount"))
    func aFileSystemThatHangsHoldsUpNobodyElse() throws {
        let fileSystem = try FrozenFileSystem()
        let configuration = folder.path + "/configuration"
        try """
        threads = 1
        listen = "unix:\(folder.path)/nbd"
        [[export]]
        name = "disk"
        image = "memory:64M"
        device = "spindle-hd"
        state = "\(fileSystem.path)/state"
        [[export]]
        name = "other"
        image = "memory:64M"
        """.write(toFile: configuration, atomically: true, encoding: .utf8)
        let server = try RunningServer(["--config", configuration], in: folder)
        try fileSystem.freeze()
        defer { try? fileSystem.thaw() }
        // The last client leaves.
        #expect(try !io("read 0 512").contains("error"))
        let tasks = "\(server.processIdentifier)/task"
        try waitUntil("a thread waits for the file system") {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(tasks)").contains {
                waitsUninterruptibly(thread: "\(tasks)/\($0)")
            }
        }
        let script = """
            first, second = nbd.NBD(), nbd.NBD()
            first.connect_uri(uri[0])
            assert first.pread(512, 0) == bytes(512)
            second.connect_uri(uri[1])
            assert second.pread(512, 0) == bytes(512)
            """
        try nbdsh([uri, uri.replacing("/disk", with: "/other")], script, in: folder)
        let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(tasks)").count
        for _ in 0..<10 { #expect(try !io("read 0 512").contains("error")) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: "/proc/\(tasks)").count <= threads)
        try fileSystem.thaw()
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
