// A server among processes: its PID file, its parent.

import Foundation
import Support
import Testing

@Suite struct PIDFileTests {
    /// Who sees the file can connect, and reads the number of the process that serves.
    @Test func itIsThereWhileClientsCanConnect() throws {
        let folder = try TemporaryFolder()
        let (path, socket) = (folder.path + "/pid", folder.path + "/s")
        // What a killed server left behind is replaced, not looked at.
        try "999999999\n".write(toFile: path, atomically: true, encoding: .utf8)
        let program = try RunningProgram(
            .spindle, ["serve", "--listen", "unix:\(socket)", "--pid-file", path, "null:1M"], in: folder)
        let own = "\(program.processIdentifier)\n"
        try program.wait("to write the file") { (try? String(contentsOfFile: path, encoding: .utf8)) == own }
        let client = try RawConnection(unix: socket)
        #expect(try client.receive(18).starts(with: Array("NBDMAGIC".utf8)))
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o7777 == 0o644)
        #expect(try program.stop() == 0)
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(!files.contains { $0.hasPrefix("pid") || $0 == "s" }, "\(files)")
    }

    /// What another server has put in its place meanwhile stays.
    @Test func itIsNotTheNextServersFile() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/pid"
        try serving(["--pid-file", path, "null:1M"], in: folder) { _ in
            try "1\n".write(toFile: path + ".next", atomically: true, encoding: .utf8)
            try #require(rename(path + ".next", path) == 0)
        }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "1\n")
    }

    /// Nobody is served by a server that cannot say which it is.
    @Test func aPlaceWhereNoFileCanBe() throws {
        let folder = try TemporaryFolder()
        try FileManager.default.createDirectory(atPath: folder.path + "/folder", withIntermediateDirectories: true)
        for (path, reason) in [
            ("/nonexistent/pid", "No such file or directory"),
            (folder.path + "/folder", "there is something that is no regular file"),
            ("/dev/null", "there is something that is no regular file"),
        ] {
            let result = try Program.spindle.run(
                ["serve", "--pid-file", path, "--run", "touch \(folder.path)/ran", "null:1M"], in: folder)
            #expect(result.status == 1, "\(result.errors)")
            #expect(result.errors.contains("cannot write the PID file '\(path)': \(reason)"), "\(result.errors)")
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/ran"))
    }

    /// A server that fails to begin leaves none.
    @Test func aServerThatDoesNotBegin() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/pid"
        let result = try Program.spindle.run(
            ["serve", "--pid-file", path, "--listen", "unix:/nonexistent/s", "null:1M"], in: folder)
        #expect(result.status == 1)
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(!files.contains { $0.hasPrefix("pid") }, "\(files)")
    }
}

@Suite struct ProcessorTests {
    /// How many threads a server has.
    private func threads(_ arguments: [String], in folder: TemporaryFolder) throws -> Int {
        let result = try Program.tool("taskset").run(
            arguments + ["--run", "ls /proc/$PPID/task | wc -l", "null:1M"], in: folder)
        return try #require(Int(result.text.filter(\.isNumber)), "\(result.errors)")
    }

    /// A container or taskset may leave a server fewer processors than there are.
    @Test func thereIsALoopForEachProcessorThatMayBeUsed() throws {
        let folder = try TemporaryFolder()
        let status = try #require(kernelFile("/proc/self/status"))
        let allowed = try #require(status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") })
        let first = allowed.split(separator: "\t")[1].prefix { $0.isNumber }
        let one = ["-c", String(first), Program.spindle.path, "serve"]
        let unasked = try threads(one, in: folder)
        #expect(try unasked == threads(one + ["--threads", "1"], in: folder))
        #expect(try unasked + 2 == threads(one + ["--threads", "3"], in: folder))
    }
}

@Suite struct ParentTests {
    /// The shell ends as soon as the server serves; the server ends in order.
    @Test func theParentEnds() throws {
        let folder = try TemporaryFolder()
        let script = "\"$@\" --pid-file pid >out & while ! grep -q serving out; do :; done; cat pid"
        let result = try Program.tool("env").run(
            [
                "-C", folder.path, "sh", "-c", script, "sh", Program.spindle.path, "serve", "--exit-with-parent",
                "--listen",
                "unix:s", "null:1M",
            ], in: folder)
        let process = try #require(Int32(result.text.dropLast()), "\(result.errors)")
        defer { kill(process, SIGKILL) }
        try waitUntil("the server has ended") { hasEnded(process) }
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(!files.contains("s") && !files.contains("pid"), "\(files)")
    }

    /// The server begins when the process that started it has ended.
    @Test func theParentHasEnded() throws {
        let folder = try TemporaryFolder()
        let script = #"""
            (
                me=$(exec sh -c 'echo $PPID')
                while grep -q "^PPid:.$$\$" /proc/$me/status; do :; done
                exec "$@" >out 2>err
            ) &
            """#
        try run(
            "env",
            [
                "-C", folder.path, "sh", "-c", script, "sh", Program.spindle.path, "serve", "--exit-with-parent",
                "null:1M",
                "--listen", "unix:s", "--pid-file", "pid",
            ], in: folder)
        let errors = { (try? String(contentsOfFile: folder.path + "/err", encoding: .utf8)) ?? "" }
        defer {
            let text = (try? String(contentsOfFile: folder.path + "/pid", encoding: .utf8)) ?? ""
            if let process = Int32(text.dropLast()) { kill(process, SIGKILL) }
        }
        try waitUntil("the server has seen it: \(errors())") {
            errors().contains("the parent process has ended already")
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/s"))
    }
}
