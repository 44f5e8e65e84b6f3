// Configurations that are none: nested without an end, without an end themselves, damaged.

import Foundation
import Seeded
import Support
import Testing

@testable import Settings

@Suite struct HostileFileTests {
    private static let example = """
        listen = ["tcp:127.0.0.1:0", "unix:/tmp/s"]
        threads = 2 # as many
        [tls]
        mode = 'off'
        [limits]
        connections = 100
        [[export]]
        name = "a\\u00e9"
        image = "memory:1M"
        access = [{ user = 0 }, { address = "10.0.0.0/8" }]
        [[directory]]
        path = '''/srv'''
        access = [
          { certificate = "x" }, # more
        ]

        """

    /// Nested texts, and their messages.
    private static let nested: [(text: String, words: String)] = [
        ("[" + String(repeating: "a.", count: 20_000) + "a]\n", "tables and lists are nested more than"),
        ("\n" + String(repeating: "a.", count: 20_000) + "a = 1\n", "tables and lists are nested more than"),
        ("x = {" + String(repeating: "a.", count: 20_000) + "a = 1}\n", "tables and lists are nested more than"),
        ("x = " + String(repeating: "[", count: 100_000), "tables and lists are nested more than"),
        (
            "x = " + String(repeating: "{ a = ", count: 50_000) + "1" + String(repeating: "}", count: 50_000),
            "tables and lists are nested more than"
        ),
        (String(repeating: "#", count: 4 << 20) + "\n", "is too large; a configuration has at most 4194304 bytes"),
    ]

    private func file(_ text: String, in folder: TemporaryFolder) throws -> String {
        let path = folder.path + "/c.toml"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    @Test func theProgramSaysWhatIsNestedTooDeeply() throws {
        let folder = try TemporaryFolder()
        for (text, words) in Self.nested {
            let path = try file(text, in: folder)
            for command in [["check", path], ["serve", "--config", path]] {
                let done = try Program.spindle.run(command, in: folder, limitSeconds: 20)
                #expect(done.status == 1 && done.errors.contains(words), "\(done.status) \(done.errors.prefix(300))")
            }
        }
    }

    @Test func whatIsNestedLessIsRead() throws {
        let keys = Array(repeating: "a", count: 16).joined(separator: ".")
        let error = #expect(throws: SettingsErrors.self) { try SettingsFile(path: "f", text: "\(keys) = [[[[1]]]]\n") }
        #expect(
            error?.lines.count == 1 && error?.lines[0].contains("there is no such key") == true, "\(error?.lines ?? [])"
        )
    }

    /// FIFOs, folders and devices, from the beginning and on SIGHUP: the server goes on with what it has, and ends when
    /// told.
    @Test func noRegularFiles() throws {
        let folder = try TemporaryFolder()
        let fifo = folder.path + "/fifo"
        #expect(mkfifo(fifo, 0o600) == 0)
        let path = try file("[[export]]\nname = \"a\"\nimage = \"null:1M\"\n", in: folder)
        let server = try RunningServer(["--sandbox-path", "/dev", "--config", path], in: folder)
        for (target, words) in [(fifo, "a FIFO"), (folder.path, "a directory"), ("/dev/zero", "a device")] {
            for command in [["check", target], ["serve", "--config", target]] {
                let done = try Program.spindle.run(command, in: folder, limitSeconds: 20)
                let said = "\(target): is \(words); a regular file is needed"
                #expect(done.status == 1 && done.errors.contains(said), "\(done.errors)")
            }
            #expect(unlink(path) == 0 && symlink(target, path) == 0)
            kill(server.processIdentifier, SIGHUP)
            try waitUntil("it says that there is \(words): \(server.log)") {
                server.log.contains("is \(words); a regular file is needed")
            }
        }
        for (text, words) in Self.nested {
            unlink(path)
            _ = try file(text, in: folder)
            let before = server.log.count
            kill(server.processIdentifier, SIGHUP)
            try waitUntil("it says '\(words)'") {
                server.log.dropFirst(before).contains(words) || !server.isRunning
            }
            #expect(server.isRunning)
        }
        let size = try Program.tool("nbdinfo").run(["--size", server.uri], in: folder)
        #expect(size.text == "1048576\n", "\(size.errors)")
        #expect(try server.stop() == 0)
    }

    /// Any change to a file leaves one that is read, or a message about the mistake.
    @Test(arguments: [UInt64.random(in: 0...UInt64.max), 7])
    func damagedFiles(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let bytes = Array(Self.example.utf8)
        let begin = ContinuousClock.now
        var refused = 0
        for round in 0..<300 {
            var damaged = bytes
            for _ in 0...Int.random(in: 0..<4, using: &random) { Self.damage(&damaged, &random) }
            do {
                _ = try SettingsFile(path: "f", text: String(decoding: damaged, as: UTF8.self))
            } catch {
                refused += 1
                #expect(!error.lines.isEmpty, "seed \(seed), round \(round)")
            }
        }
        #expect(refused > 100, "seed \(seed)")
        #expect(ContinuousClock.now - begin < .seconds(60), "seed \(seed)")
    }

    private static func damage(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1..<20, using: &random)))
        case 2: bytes.insert(contentsOf: bytes[place...].prefix(Int.random(in: 1..<60, using: &random)), at: place)
        case 3:
            let pieces = ["a.", "[", "{a=", "\"", "'''", "[[", "]", "\n", "#", "\\u0000", "= "]
            let piece = Array((pieces.randomElement(using: &random) ?? "").utf8)
            let count = [1, 2, 17, 300, 20_000].randomElement(using: &random) ?? 1
            bytes.insert(contentsOf: Array(repeating: piece, count: count).joined(), at: place)
        case 4: bytes.swapAt(place, Int.random(in: 0..<bytes.count, using: &random))
        default: bytes.removeSubrange(place...)
        }
        if bytes.isEmpty { bytes = [0x0A] }
    }
}
