// `spindle serve` in its sandbox, as the kernel sees it: proc(5), prctl(2).

import Foundation
import Support
import Testing

private let isRoot = geteuid() == 0

/// setpriv(1) makes a server of nobody, without rights.
private let asNobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]

@Suite struct ServeTests {
    /// Writes through a server and reads back; all with another tool.
    private func useDrive(of server: RunningServer) throws {
        let commands = ["-c", "write -P 7 0 64k", "-c", "flush", "-c", "read -P 7 0 64k"]
        let done = try Program.tool("qemu-io").run(["-f", "raw"] + commands + [server.uri], in: server.folder)
        #expect(done.status == 0, "\(done.text) \(done.errors)")
    }

    /// A line of /proc/PID/task/TID/status for each thread.
    private func threads(of server: RunningServer, _ name: String) throws -> [[String]] {
        let tasks = "/proc/\(server.processIdentifier)/task"
        return try FileManager.default.contentsOfDirectory(atPath: tasks).map { task in
            let status = try #require(kernelFile("\(tasks)/\(task)/status"))
            let line = try #require(status.split(separator: "\n").first { $0.hasPrefix(name + ":") })
            return line.split(whereSeparator: \.isWhitespace).dropFirst().map(String.init)
        }
    }

    @Test func aServerIsConfinedUnlessTold() throws {
        let folder = try TemporaryFolder()
        for (options, filter) in [([], "2"), (["--sandbox", "log"], "2"), (["--sandbox", "off"], "0")] {
            let image = try folder.file("disk.img", sizeBytes: 1 << 20)
            let server = try RunningServer(options + ["--threads", "2", image], in: folder)
            let seccomp = try threads(of: server, "Seccomp")
            #expect(seccomp.count >= 3 && Set(seccomp) == [[filter]], "\(options)")
            #expect(Set(try threads(of: server, "NoNewPrivs")) == [["1"]], "\(options)")
            try useDrive(of: server)
            #expect(try server.stop() == 0)
            #expect(!FileManager.default.fileExists(atPath: server.socketPath))
            #expect(server.log == "", "\(options)")
        }
    }

    @Test(.enabled(if: isRoot, "only root can become somebody else"), arguments: ["on", "off"])
    func asAnotherUserItServesWhatOnlyRootMayOpen(_ sandbox: String) throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        #expect(chmod(image, 0o600) == 0 && chmod(folder.path, 0o700) == 0)
        let server = try RunningServer(["--user", "nobody", "--sandbox", sandbox, image], in: folder)
        let group = try #require(getpwnam("nobody")).pointee.pw_gid
        #expect(Set(try threads(of: server, "Uid")) == [Array(repeating: "65534", count: 4)])
        #expect(Set(try threads(of: server, "Gid")) == [Array(repeating: "\(group)", count: 4)])
        #expect(Set(try threads(of: server, "Groups")) == [["\(group)"]])
        for capabilities in ["CapPrm", "CapEff", "CapAmb"] {
            #expect(Set(try threads(of: server, capabilities)) == [["0000000000000000"]])
        }
        // nobody may not open it; the server's descriptor does not ask.
        #expect(chown(server.socketPath, 65534, 0) == 0)
        try useDrive(of: server)
        #expect(try folder.bytes("disk.img", count: 4) == [7, 7, 7, 7])
        #expect(try server.stop() == 0)
    }

    @Test(.enabled(if: isRoot, "only root can become somebody else"))
    func aGroupTakesThePlaceOfTheUsersGroups() throws {
        let server = try RunningServer(["--user", "65533", "--group", "4711", "memory:1M"], in: try TemporaryFolder())
        #expect(Set(try threads(of: server, "Uid")) == [Array(repeating: "65533", count: 4)])
        #expect(Set(try threads(of: server, "Gid")) == [Array(repeating: "4711", count: 4)])
        #expect(Set(try threads(of: server, "Groups")) == [["4711"]])
        #expect(try server.stop() == 0)
    }

    private func expectFailure(
        _ status: Int32, _ message: String, _ arguments: [String], limits: [String]? = nil, program: Program = .spindle,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let folder = try TemporaryFolder()
        chmod(folder.path, 0o777)
        let path = folder.path + "/socket"
        let before = limits ?? []
        let done = try program.run(before + ["serve", "--listen", "unix:" + path] + arguments, in: folder)
        #expect(done.status == status, "\(done.errors)", sourceLocation: sourceLocation)
        #expect(done.errors.contains("Error: \(message)"), "\(done.errors)", sourceLocation: sourceLocation)
        #expect(!FileManager.default.fileExists(atPath: path), sourceLocation: sourceLocation)
    }

    @Test(
        .enabled(if: isRoot, "only root can become somebody else"),
        arguments: [
            (["--user", "no-such-user"], "there is no user 'no-such-user'"),
            (["--user", "nobody", "--group", "no-such-group"], "there is no group 'no-such-group'"),
            (["--user", "4294967295"], "there is no user '4294967295'"),
            (
                ["--user", "54321"],
                "user 54321 is not in /etc/passwd, so that its group is not known: give it with --group"
            ),
            (["--user", "root"], "--user is root"),
            (["--user", "0"], "--user is root"),
            (["--user", "nobody", "--group", "root"], "--group is root"),
        ])
    func usersThatNobodyCanBecome(_ arguments: [String], _ message: String) throws {
        try expectFailure(1, message, arguments + ["memory:1M"])
    }

    @Test func badUsage() throws {
        try expectFailure(64, "--group needs --user", ["--group", "daemon", "memory:1M"])
        try expectFailure(
            64, "The value 'maybe' is invalid for '--sandbox <sandbox>': 'maybe' is no mode of the sandbox",
            ["--sandbox", "maybe", "null:1M"])
        try expectFailure(
            1, "'/no/such/folder' cannot be kept reachable in the sandbox: No such file or directory",
            ["--sandbox-path", "/no/such/folder", "memory:1M"])
    }

    @Test(.enabled(if: isRoot, "only root can become somebody else"))
    func whoIsNotRootIsToldSo() throws {
        let setpriv = try Program.tool("setpriv")
        let folder = try TemporaryFolder()
        let before = asNobody + [try Program.spindle.copied(into: folder).path]
        try expectFailure(
            1, "only root can become another user", ["--user", "daemon", "memory:1M"], limits: before, program: setpriv)
    }

    @Test(.enabled(if: isRoot, "only root can become somebody else"))
    func theSandboxTakesNoRights() throws {
        let folder = try TemporaryFolder()
        let program = try Program.spindle.copied(into: folder)
        let withoutRights = ["setpriv"] + asNobody + ["--bounding-set=-all"]
        let server = try RunningServer(
            ["memory:1M"], limits: ["--nofile=4096"] + withoutRights, program: program, in: folder)
        #expect(Set(try threads(of: server, "CapBnd")) == [["0000000000000000"]])
        #expect(Set(try threads(of: server, "Seccomp")) == [["2"]])
        try useDrive(of: server)
        #expect(try server.stop() == 0)
        #expect(server.log == "")
    }

    @Test func tooFewDescriptorsAreToldOf() throws {
        let server = try RunningServer(
            ["--threads", "1", "memory:1M"], limits: ["--nofile=100"], in: try TemporaryFolder())
        #expect(server.log.contains("RLIMIT_NOFILE is 100, and 1 export with 1024 connections need"), "\(server.log)")
        #expect(try server.stop() == 0)
    }

    @Test(.enabled(if: isRoot, "only root may lock as much memory as it likes"))
    func lockedMemoryIsLockedAndTheServerAFlusher() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 1 << 36)
        let server = try RunningServer(["--lock-memory", "--threads", "2", image, "large=memory:16G"], in: folder)
        let locked = try #require(Int(try threads(of: server, "VmLck")[0][0]))
        // The server's later mappings are locked, too, but not there yet.
        #expect(locked > 16 << 20, "\(locked) KiB")
        // The page cache of a file is not the server's memory.
        #expect(locked < 64 << 20, "\(locked) KiB")
        let resident = try #require(Int(try threads(of: server, "VmRSS")[0][0]))
        #expect(resident < 1 << 20, "\(resident) KiB")
        // CAP_SYS_RESOURCE, which root in a container may lack.
        let capabilities = try #require(UInt64(try threads(of: server, "CapEff")[0][0], radix: 16))
        let mayFlush = capabilities & 1 << 24 != 0
        let tasks = "/proc/\(server.processIdentifier)/task"
        for task in try FileManager.default.contentsOfDirectory(atPath: tasks) {
            let line = try #require(kernelFile("\(tasks)/\(task)/stat"))
            let fields = line[(line.lastIndex(of: ")") ?? line.startIndex)...].split(separator: " ")
            let flags = try #require(UInt64(fields[7]))
            // PF_MEMALLOC_NOIO
            #expect((flags & 0x0008_0000 != 0) == mayFlush, "\(line)")
        }
        #expect(server.log.contains("the server is no IO_FLUSHER") != mayFlush)
        try useDrive(of: server)
        #expect(try server.stop() == 0)
    }

    @Test(.enabled(if: isRoot, "only root can become somebody else"))
    func memoryIsNotLockedWithoutTheRightTo() throws {
        let folder = try TemporaryFolder()
        let copy = try Program.spindle.copied(into: folder)
        try expectFailure(
            1, "memory cannot be locked: RLIMIT_MEMLOCK is 65536 bytes", ["--lock-memory", "memory:1M"],
            limits: ["--memlock=65536", "setpriv"] + asNobody + [copy.path],
            program: try Program.tool("prlimit"))
    }
}
