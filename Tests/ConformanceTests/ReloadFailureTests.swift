// A reload that fails, at each of its steps: the server has what it had before, and no more.

import Foundation
import Support
import Testing

@Suite struct ReloadFailureTests {
    private let folder: TemporaryFolder
    private let key: TestKey
    private let file: String

    /// What the server begins with: files, memory, a directory, TLS.
    private let good: String

    init() throws {
        folder = try TemporaryFolder()
        key = try TestKey()
        for name in ["a", "b"] { _ = try folder.file(name + ".img", sizeBytes: 1 << 20, beginning: Array(name.utf8)) }
        for name in ["new", "other"] { _ = try folder.file(name + ".img", sizeBytes: 1 << 20) }
        _ = try folder.file("empty.img", sizeBytes: 0)
        for name in ["d", "e"] {
            try FileManager.default.createDirectory(
                atPath: folder.path + "/" + name, withIntermediateDirectories: false)
        }
        _ = try folder.file("d/one", sizeBytes: 1 << 20)
        _ = try folder.file("e/two", sizeBytes: 1 << 20)
        mkfifo(folder.path + "/fifo", 0o600)
        file = folder.path + "/spindle.toml"
        good = """
            tls = { psk = "\(key.path)", mode = "on" }
            [[export]]
            image = "a.img"
            [[export]]
            image = "b.img"
            [[export]]
            name = "m"
            image = "memory:1M"
            [[directory]]
            path = "d"

            """
        try write(good)
    }

    private func write(_ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
    }

    private func serve(_ arguments: [String] = []) throws -> RunningServer {
        try RunningServer(
            ["--config", file, "--control", "unix:" + folder.path + "/control", "--sandbox-path", folder.path]
                + arguments, in: folder)
    }

    /// Tells the server to read its file again.
    private func reload(_ server: RunningServer) throws -> ProgramResult {
        try Program.spindle.run(["ctl", "--control", "unix:" + folder.path + "/control", "reload"], in: folder)
    }

    /// All that could have changed.
    private struct State: Equatable {
        var files: [String]
        var locked: [String: Bool] = [:]
        var exports: [OptionReply]
        var threads: Int
    }

    private func state(_ server: RunningServer) throws -> State {
        let openBefore = try server.openFiles().count
        let client = try server.negotiate()
        let exports = try client.ask(OptionNumber.list)
        client.close()
        // Descriptors of connections are closed a moment after these.
        try waitUntil("the connection's descriptor is closed") { try server.openFiles().count <= openBefore }
        let tasks = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(server.processIdentifier)/task")
        // Workers of the ring come and go.
        let threads = tasks.filter {
            let name = kernelFile("/proc/\(server.processIdentifier)/task/\($0)/comm")
            return name.map { !$0.hasPrefix("iou-") } ?? false
        }
        var state = State(files: try server.openFiles(), exports: exports, threads: threads.count)
        for name in ["a.img", "b.img", "new.img", "other.img", "d/one", "e/two"] {
            state.locked[name] = try isLocked(folder.path + "/" + name)
        }
        return state
    }

    private static let new = "[[export]]\nimage = \"new.img\"\n"

    /// What is wrong, and what the operator is told of it. A new image that can be opened comes before each.
    private static let mistakes: [(text: String, words: String)] = [
        ("[[export]]\nimage = \"none.img\"", "No such file"),
        ("[[export]]\nimage = \"empty.img\"", "empty"),
        ("[[export]]\nimage = \"d\"", "a directory"),
        ("[[export]]\nimage = \"fifo\"", "a FIFO"),
        ("[[export]]\nimage = \"locked.img\"", "in use by another program"),
        ("[[export]]\nname = \"twice\"\nimage = \"new.img\"", "in use by export 'new' of this server"),
        ("[[directory]]\npath = \"none\"", "No such file"),
        ("[[directory]]\npath = \"e\"\nprefix = \"e-\"\n[[directory]]\npath = \"a.img\"", "Not a directory"),
        ("[[directory]]\npath = \"e\"\nprefix = \"e-\"\n[[export]]\nimage = \"none.img\"", "No such file"),
    ]

    /// The same, in exports that are there already.
    private static let changes: [(text: String, words: String)] = [
        ("[[export]]\nname = \"m\"\nimage = \"none.img\"", "No such file"),
        ("[[export]]\nname = \"a\"\nimage = \"b.img\"\n[[export]]\nimage = \"none.img\"", "No such file"),
        ("[[export]]\nname = \"a\"\nimage = \"a.img\"\n[[export]]\nname = \"a\"\nimage = \"b.img\"", "this name"),
    ]

    /// A reload that is refused for what it would open has not opened anything, and has not closed anything.
    @Test func whatIsRefusedChangesNothing() throws {
        let holder = try RunningServer([try folder.file("locked.img", sizeBytes: 1 << 20)], in: folder)
        let server = try serve()
        let client = try server.open("a", tcp: false)
        let inDirectory = try server.open("one")
        _ = try reload(server)
        // A loop's worker begins with the first write.
        try client.performSuccessfully(.write(4096, pattern(512, seed: 0)))
        let before = try state(server)
        let locked = [
            "a.img": true, "b.img": true, "new.img": false, "other.img": false, "d/one": true, "e/two": false,
        ]
        #expect(before.locked == locked)
        // Beside the exports that stay, and instead of them.
        let keys = String(good[..<(try #require(good.range(of: "[[export]]")).lowerBound)])
        let files = Self.mistakes.flatMap { [(good, $0), (keys, $0)] } + Self.changes.map { (keys, $0) }
        for (number, (base, mistake)) in files.enumerated() {
            try write(base + Self.new + mistake.text)
            let result = try reload(server)
            #expect(result.status == 1, "\(mistake.text): \(result.text)")
            #expect(result.errors.contains(mistake.words), "\(mistake.text): \(result.errors)")
            try waitUntil("all is as it was after \(mistake.text)") { try state(server) == before }
            try client.performSuccessfully(.write(4096, pattern(512, seed: UInt64(number) + 1)))
            #expect(try client.read(4096, 512) == pattern(512, seed: UInt64(number) + 1))
            #expect(try inDirectory.read(0, 512) == .zeroes(512))
        }
        // The directory is still watched.
        _ = try folder.file("d/later", sizeBytes: 1 << 20)
        try waitUntil("the new file is served") { (try? server.open("later")) != nil }
        // And the right file does what it says.
        try write(good + Self.new)
        #expect(try reload(server).status == 0)
        #expect(try isLocked(folder.path + "/new.img"))
        #expect(try client.read(0, 1) == Array("a".utf8))
        try #expect(holder.stop() == 0)
        #expect(try server.stop() == 0, "\(server.log)")
        #expect(try !isLocked(folder.path + "/a.img"))
    }

    /// TLS is taken up with the rest or not at all, and neither is the level of the log.
    @Test func keysOfARefusedFileAreNotTakenUp() throws {
        let server = try serve()
        // Where the server may read it.
        let others = folder.path + "/others.psk"
        try Data("alice:\(String(repeating: "cd", count: 32))\n".utf8).write(to: URL(fileURLWithPath: others))
        var other = key.settings
        other.preSharedKey = ("alice", [UInt8](repeating: 0xCD, count: 32))
        for text in [
            "log-level = \"trace\"\n" + good.replacing(key.path, with: others)
                + "[[export]]\nimage = \"none.img\"",
            "log-level = \"trace\"\n" + good.replacing(key.path, with: folder.path + "/none.psk"),
        ] {
            try write(text)
            #expect(try reload(server).status == 1)
            let client = try server.negotiate()
            try client.startTLS(key.settings)
            #expect(try client.go("a").sizeBytes == 1 << 20)
            let refused = try server.negotiate()
            expectError("the TLS handshake failed: A TLS fatal alert has been received.") {
                try refused.startTLS(other)
            }
            let level = try Program.spindle.run(
                ["ctl", "--control", "unix:" + folder.path + "/control", "log-level"], in: folder)
            #expect(level.text == "notice\n", "\(level.errors)")
        }
        #expect(try server.stop() == 0)
    }

    /// An export that cannot become what it should, because another one has taken its image first, is what it was: with
    /// its serial number, its content, and for the next reload.
    @Test func anExportThatCannotChangeIsRestored() throws {
        let server = try serve()
        let facts = try server.negotiate().go("b", [InformationNumber.description])
        let client = try server.open("m")
        let changed = """
            tls = { psk = "\(key.path)", mode = "on" }
            [[export]]
            name = "n"
            image = "a.img"
            [[export]]
            name = "b"
            image = "a.img"
            [[export]]
            name = "m"
            image = "memory:1M"

            """
        try write(changed)
        let result = try reload(server)
        #expect(result.text.contains("export 'b' cannot be served"), "\(result.text)\(result.errors)")
        #expect(try server.negotiate().go("b", [InformationNumber.description]) == facts)
        #expect(try server.open("b").read(0, 1) == Array("b".utf8))
        #expect(try server.open("n").read(0, 1) == Array("a".utf8))
        #expect(try client.read(0, 512) == .zeroes(512))
        for name in ["a.img", "b.img"] { #expect(try isLocked(folder.path + "/" + name), "\(name)") }
        #expect(try !isLocked(folder.path + "/d/one"), "the directory is gone")
        // A file that says what it is changes nothing of it; one without it removes it.
        try write(changed.replacing("name = \"b\"\nimage = \"a.img\"", with: "name = \"b\"\nimage = \"b.img\""))
        #expect(try reload(server).text.contains("no export has changed"))
        try write("tls = { psk = \"\(key.path)\", mode = \"on\" }\n[[export]]\nname = \"m\"\nimage = \"memory:1M\"")
        #expect(try reload(server).text.contains("removed 'b', 'n'"))
        for name in ["a.img", "b.img"] { #expect(try !isLocked(folder.path + "/" + name), "\(name)") }
        #expect(try client.read(0, 512) == .zeroes(512))
        #expect(try server.stop() == 0)
    }
}
