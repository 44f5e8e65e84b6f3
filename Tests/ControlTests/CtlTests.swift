// `spindle ctl` against a running server, and against none.

import Foundation
import Support
import Testing

@Suite struct CtlTests {
    @Test func exportsComeAndGo() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1G"], in: folder)
        let image = try folder.file("b.img", sizeBytes: 3 << 20)
        #expect(
            try server.control("list") == """
                NAME   SIZE  CONNECTIONS  STATE  DESCRIPTION
                a     1 GiB            0  idle   QEMU HARDDISK 2.5+, serial QM00001, 2097152 sectors

                """)
        let added = try server.control("add", "--device", "ide-hd,serial=7", "--cache", "none", "--read-only", image)
        #expect(added.contains("Name:         b\n"), "\(added)")
        #expect(added.contains("Size:         3145728 bytes (3 MiB, 6144 sectors)\n"), "\(added)")
        #expect(added.contains("State:        idle, read-only\n"), "\(added)")
        #expect(try server.size(of: "b") == 3 << 20)
        #expect(try server.control("show", "b") == added)
        #expect(try server.control("remove", "b").isEmpty)
        #expect(try server.size(of: "b") == nil)
        #expect(try server.refusal("remove", "b").contains("'b'"))
        // A mistake that shows without the server is a wrong use.
        for (arguments, words) in [
            (["add", "c=memory:1M", "--device", "ide-hd,serail=7"], "'serial'"),
            (["add", "c=memory:1M", "--cache", "fast"], "one of writeback"),
            (["add", "c=memory:1M", "--controller", "ide"], "one of piix3-ide"),
            (["grow", "a", "large"], "has no size"), (["drop", "x"], "a number from 0"),
            (["log-level", "loud"], "one of trace, debug"),
        ] {
            let result = try server.ctl(arguments)
            #expect(result.status == 64 && result.errors.contains(words), "\(arguments): \(result.errors)")
        }
        #expect(try server.refusal("add", "a=memory:1M").contains("'a'"))
        try server.finish()
    }

    @Test func aRelativePathBeginsWhereCtlWasStarted() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        _ = try folder.file("b.img", sizeBytes: 1 << 20)
        let script = "cd '\(folder.path)' && exec '\(Program.spindle.path)' ctl --control unix:control add b.img"
        let result = try Program.tool("sh").run(["-c", script], in: folder)
        #expect(result.status == 0, "\(result.errors)")
        #expect(try server.size(of: "b") == 1 << 20)
        try server.finish()
    }

    @Test func clientsAreLetGoOrEnded() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M", "b=memory:1M"], in: folder)
        let patient = try SteeredClient(server.uri("a"), then: "h.pread(512, 0); h.shutdown()", in: folder)
        let ended = try SteeredClient(server.uri("b"), then: "h.pread(512, 0)", in: folder)
        let table = try server.control("connections").split(separator: "\n")
        #expect(table.count == 3 && table[0].hasPrefix("NUMBER  EXPORT  CLIENT "), "\(table)")
        #expect(try server.refusal("remove", "a").contains("force"))
        #expect(try server.control("remove", "--drain", "a").contains("State:        draining\n"))
        #expect(try server.refusal("remove", "a").contains("no export named 'a'"))
        #expect(try server.control("remove", "--force", "b").isEmpty)
        #expect(try ended.go().hasPrefix("failed"))
        #expect(try patient.go() == "done")
        try waitUntil("the export is gone") { try server.control("list") == "no exports\n" }
        try waitUntil("the connection is gone") { try server.control("connections") == "no connections\n" }
        #expect(try server.refusal("drop", "999").contains("999"))
        try server.finish()
    }

    @Test func anImageThatAnExportHasIsNamedWithIt() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("a.img", sizeBytes: 1 << 20)
        let server = try ControlledServer([image], in: folder)
        let client = try SteeredClient(server.uri("a"), then: "h.pread(512, 0)", in: folder)
        #expect(try server.refusal("add", "b=\(image)").contains("is in use by export 'a' of this server"))
        // Also while it waits for its last client; that is hurried.
        _ = try server.control("remove", "--drain", "a")
        #expect(try server.refusal("add", "b=\(image)").contains("is in use by export 'a' of this server"))
        #expect(try server.control("remove", "--force", "a").isEmpty)
        #expect(try client.go().hasPrefix("failed"))
        #expect(try server.control("list") == "no exports\n")
        #expect(try server.refusal("remove", "--force", "a").contains("no export named 'a'"))
        _ = try server.control("add", "b=\(image)")
        try server.finish()
    }

    @Test func theRest() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("a.img", sizeBytes: 1 << 20)
        let server = try ControlledServer([image], in: folder)
        #expect(try server.control("grow", "a", "2M").contains("Size:         2097152 bytes (2 MiB, 4096 sectors)\n"))
        #expect(try server.refusal("grow", "a", "1M").contains("'a'"))
        #expect(try server.control("log-level") == "notice\n")
        #expect(try server.control("log-level", "debug") == "debug\n")
        #expect(try server.refusal("reload").contains("--config"))
        #expect(try server.control("metrics").contains("# TYPE spindle_"))
        #expect(try server.control("status").contains("Process:       \(server.server.processIdentifier)\n"))
        let connection = try SteeredClient(server.uri("a"), then: "h.pread(512, 0)", in: folder)
        let json = try JSONSerialization.jsonObject(with: Data(try server.control("--json", "connections").utf8))
        let list = try #require((json as? [String: Any])?["connections"] as? [[String: Any]])
        let number = try #require(list.first?["number"] as? Int)
        #expect(try server.control("drop", String(number)).isEmpty)
        #expect(try connection.go().hasPrefix("failed"))
        #expect(try server.control("list", "--json") == server.curl("GET", "/v1/exports").body)
        try server.finish()
    }

    /// Each in a line of its own, and no name begins one.
    @Test func mistakesAreInLines() throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/spindle.toml"
        let text = "[[export]]\nname = \"a\"\nimage = \"memory:1M\"\n"
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        let server = try ControlledServer(["--config", file], in: folder)
        try (text + "thraeds = 1\ncolour = 2\n[[export]]\nname = \"b\\nc\"\nimage = \"\"\n").write(
            toFile: file, atomically: true, encoding: .utf8)
        let lines = try server.refusal("reload").split(separator: "\n")
        try #require(lines.count == 3, "\(lines)")
        #expect(lines[0].hasPrefix("Error: \(file):4: export 'a'.thraeds: "), "\(lines)")
        #expect(lines[1].hasPrefix("\(file):5: export 'a'.colour: "), "\(lines)")
        #expect(lines[2].hasPrefix("\(file):8: export 'b\\nc'.image: "), "\(lines)")
        let name = try server.refusal("show", "no\nError: name")
        #expect(name == "Error: there is no export named 'no\\nError: name'\n", "\(name)")
        try server.finish()
    }

    @Test func theServerIsFoundByTheEnvironment() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        for value in [server.socketPath, "unix:" + server.socketPath] {
            let result = try Program.tool("env").run(
                ["SPINDLE_CONTROL=" + value, Program.spindle.path, "ctl", "status"], in: folder)
            #expect(result.status == 0, "\(result.errors)")
        }
        try server.finish()
    }

    @Test func noServerIsSaidInWords() throws {
        let folder = try TemporaryFolder()
        func errors(_ arguments: [String], status: Int32 = 1) throws -> String {
            let result = try Program.spindle.run(["ctl"] + arguments, in: folder)
            #expect(result.status == status, "\(arguments): \(result.text)\(result.errors)")
            return result.errors
        }
        #expect(try errors(["list"]).contains("there is no socket /run/spindle/control.sock"))
        let missing = folder.path + "/missing"
        #expect(try errors(["--control", "unix:" + missing, "list"]).contains("there is no socket \(missing)"))
        let regular = try folder.file("regular", sizeBytes: 1)
        #expect(try errors(["--control", "unix:" + regular, "list"]).contains("'\(regular)' is no socket"))
        let stale = folder.path + "/stale"
        let bind = "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])"
        #expect(try Program.tool("python3").run(["-c", bind, stale], in: folder).status == 0)
        #expect(try errors(["--control", "unix:" + stale, "list"]).contains("nobody listens"))
        #expect(try errors(["--control", "tcp:localhost:1", "list"], status: 64).contains("unix:PATH"))
        #expect(try errors(["frobnicate"], status: 64).contains("frobnicate"))
        // Something else listens there.
        let server = try RunningServer(["a=memory:1M"], in: folder)
        #expect(try errors(["--control", "unix:" + server.socketPath, "list"]).contains("no answer that makes sense"))
    }

    @Test(.enabled(if: geteuid() == 0, "only root can become somebody else"))
    func aServerOfSomebodyElseIsSaidInWords() throws {
        let folder = try TemporaryFolder()
        let controlled = try ControlledServer(["a=memory:1M"], in: folder)
        let other = try Program.tool("setpriv").run(
            [
                "--reuid=65534", "--clear-groups", try Program.spindle.copied(into: folder).path, "ctl", "--control",
                "unix:" + controlled.socketPath, "list",
            ], in: folder)
        #expect(other.status == 1)
        #expect(other.errors.contains("only the user that runs the server may"), "\(other.errors)")
        try controlled.finish()
    }
}
