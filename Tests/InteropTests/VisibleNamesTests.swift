// Names that others chose, on a terminal: files in a folder for uploads, for instance. And names that are no text.

import Foundation
import Support
import Testing

@Suite struct VisibleNamesTests {
    /// Escape sequences, a line that looks like an announcement, marks that turn the direction of writing.
    private static let names = ["a\u{1B}]0;owned\u{7}b.img", "x\nserving 'fake' at nbd:", "r\u{202E}gmi.exe"]

    private func expectHarmless(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) {
        for scalar: Unicode.Scalar in ["\u{1B}", "\u{7}", "\u{202E}"] {
            #expect(!text.unicodeScalars.contains(scalar), "\(text.debugDescription)", sourceLocation: sourceLocation)
        }
        let forged = text.split(separator: "\n").contains { $0.hasPrefix("serving 'fake'") }
        #expect(!forged, "\(text)", sourceLocation: sourceLocation)
    }

    @Test func theAnnouncement() throws {
        let folder = try TemporaryFolder()
        let images = try TemporaryFolder()
        for name in Self.names { _ = try images.file(name, sizeBytes: 512) }
        for arguments in [["dir:" + images.path], Self.names.map { images.path + "/" + $0 }] {
            try serving(arguments, in: folder) { server in
                #expect(server.announcement.split(separator: "\n").count == 3)
                expectHarmless(server.announcement)
                #expect(server.announcement.contains("serving 'a\\u001b]0;owned\\u0007b"), "\(server.announcement)")
            }
        }
        // Its description is what a configuration says.
        let file = folder.path + "/c.toml"
        try "[[export]]\nname=\"a\"\nimage=\"null:1M\"\ndescription=\"\\u001b[2J\\nserving 'fake' at nbd:\"".write(
            toFile: file, atomically: true, encoding: .utf8)
        try serving(["--config", file], in: folder) { expectHarmless($0.announcement) }
    }

    /// Who reads an announcement takes the URI from it: it is that of the name, and no name looks like another's
    /// announcement.
    @Test func theURIThatIsAnnounced() throws {
        let folder = try TemporaryFolder()
        let images = try TemporaryFolder()
        for name in Self.names + ["a' at nbd:evil: QEMU"] { _ = try images.file(name, sizeBytes: 512) }
        try serving(["dir:" + images.path], in: folder) { server in
            let lines = server.announcement.split(separator: "\n")
            #expect(lines.count == 4)
            for line in lines {
                let uri = try #require(line.components(separatedBy: "' at ").dropFirst().first).prefix { $0 != " " }
                // In the URI, only the colon behind it is not its own.
                let result = try Program.tool("nbdinfo").run(["--size", String(uri.dropLast())], in: folder)
                #expect(result.text == "512\n", "\(line): \(result.errors)")
            }
        }
    }

    @Test func check() throws {
        let folder = try TemporaryFolder()
        let images = try TemporaryFolder()
        for name in Self.names { _ = try images.file(name, sizeBytes: 512) }
        _ = try images.file("empty\u{1B}[2J\nserving 'fake' at nbd:", sizeBytes: 0)
        let file = folder.path + "/c.toml"
        try "[[directory]]\npath = \"\(images.path)\"".write(toFile: file, atomically: true, encoding: .utf8)
        let result = try Program.spindle.run(["check", file], in: folder)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.text.split(separator: "\n").count == 5, "\(result.text)")
        expectHarmless(result.text)
        let escaped = Self.names[0].replacing("\u{1B}", with: "\\u001B").replacing("\u{7}", with: "\\u0007")
        try "[[export]]\nimage = \"none/\(escaped)\"\n".write(toFile: file, atomically: true, encoding: .utf8)
        let wrong = try Program.spindle.run(["check", file], in: folder)
        #expect(wrong.status == 1 && wrong.errors.contains("\\u001b]0;owned"), "\(wrong.errors)")
        expectHarmless(wrong.errors)
    }

    @Test(arguments: [
        ["serve"], ["identify"], ["check"], ["serve", "--listen"], ["serve", "--cache"], ["frob\u{1B}[2J"],
        ["ctl", "--control"], ["bench"],
    ])
    func errors(before: [String]) throws {
        let folder = try TemporaryFolder()
        for name in Self.names {
            let result = try Program.spindle.run(before + [folder.path + "/" + name], in: folder)
            #expect(result.status == 1 || result.status == 64, "\(result.errors)")
            expectHarmless(result.errors)
        }
    }

    /// Linux' names are bytes, those of NBD are UTF-8 (proto.md, "String values"): what is no text is said to be none.
    @Test func namesThatAreNoText() throws {
        let folder = try TemporaryFolder()
        let images = try TemporaryFolder()
        let spindle = Program.spindle.path
        let script = """
            cd "$1"; truncate -s 1M $'caf\\xe9.img' good; mkfifo pipe; mkdir sub
            "$2" serve --listen unix:s $'caf\\xe9.img'; echo $?
            "$2" serve --listen $'unix:caf\\xe9.sock' good; echo $?
            ls
            """
        let result = try Program.tool("bash").run(["-c", script, "bash", images.path, spindle], in: folder)
        #expect(result.errors.contains("'caf\\xe9.img' is no UTF-8 text, as names have to be"), "\(result.errors)")
        #expect(result.errors.contains("'unix:caf\\xe9.sock' is no UTF-8 text"), "\(result.errors)")
        #expect(result.text.hasPrefix("64\n64\n") && !result.text.contains("sock"), "\(result.text)")
        try serving(["dir:" + images.path], in: folder) { server in
            #expect(server.announcement.split(separator: "\n").count == 1)
            for (name, reason) in [("caf\\\\xe9.img", "no UTF-8"), ("pipe", "a FIFO"), ("sub", "a folder")] {
                let line = server.log.split(separator: "\n").first { $0.contains("\(name)") }
                #expect(line?.contains("file left out") == true && line?.contains(reason) == true, "\(server.log)")
            }
        }
        // While it serves, too.
        let others = try TemporaryFolder()
        try serving(["good=memory:512", "dir:" + others.path], in: folder) { server in
            try run(
                "bash",
                ["-c", "cd '\(others.path)'; mkfifo later; echo x > $'n\\xffw'; mkdir folder; ln -s good link"],
                in: folder)
            for name in ["later", "n\\\\xffw", "folder", "link"] {
                try waitUntil("'\(name)' is spoken of: \(server.log)") { server.log.contains("\(name)") }
            }
        }
    }

    /// A folder full of what is no drive is no flood of lines: the first few are told, the rest are counted.
    @Test func manyThatAreLeftOut() throws {
        let folder = try TemporaryFolder()
        let images = try TemporaryFolder()
        for number in 0..<200 {
            try FileManager.default.createDirectory(
                atPath: images.path + "/\(number)", withIntermediateDirectories: false)
        }
        let server = try RunningServer(["good=memory:512", "dir:" + images.path], in: folder)
        #expect(try server.stop() == 0)
        let lines = server.log.split(separator: "\n").filter { $0.contains("left out") }
        #expect(lines.count == 6, "\(server.log)")
        let summary = try #require(lines.last)
        #expect(summary.contains("more of the same was left out") && summary.contains("count=195"), "\(summary)")
    }
}
