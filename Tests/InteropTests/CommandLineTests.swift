// The command line as a person meets it: what was mistyped, what can be completed, exit statuses, and all errors at
// once.

import Foundation
import Support
import Testing

@Suite struct CommandLineTests {
    @Test(arguments: [
        (["serv"], "there is no command 'serv'; did you mean 'serve'?"),
        (["ctl", "lst"], "there is no command 'lst'; did you mean 'list'?"),
        (["help", "serv"], "there is no command 'serv'; did you mean 'serve'?"),
        (["help", "ctl", "lst"], "there is no command 'lst'; did you mean 'list'?"),
        (["ctl", "help", "lst"], "there is no command 'lst'; did you mean 'list'?"),
        (["check", "--foo"], "there is no option '--foo'"),
        (["check", "--kyes"], "there is no option '--kyes'; did you mean '--keys'?"),
        (["ctl", "add", "--divice=ide-hd"], "there is no option '--divice'; did you mean '--device'?"),
        (["check", "--", "--foo", "--bar"], "Unexpected argument '--bar'"),
        (["ctl", "--control", "tcp:1", "list"], "'tcp:1' is no control socket; use unix:PATH"),
        (["serve", "--control", "tcp:1", "null:1M"], "'tcp:1' is no control socket; use unix:PATH"),
        (["frob"], "there is no command 'frob'; there are serve, ctl, check, identify, tls-keys, cut, bench, help"),
        (["tls-keys", "--host", "", "k"], "a name in a certificate has 1 to 64 bytes"),
        (["tls-keys", "--user", "a:b", "k"], "a user of a pre-shared key has no colon"),
        (["tls-keys", "--days", "0", "k"], "a number from 1 to 36500 is needed"),
        (["serve", "--control", "tcp:127.0.0.1:1", "null:1M"], "it has to be a Unix socket"),
        (["serve", "--metrics", "stdin", "null:1M"], "use tcp:127.0.0.1:9464"),
        (["serve", "--metrics", "tcp:127.0.0.1", "null:1M"], "has no port; use tcp:127.0.0.1:9464"),
        (["ctl", "power", "a", "kut"], "'kut' is no state of the power: it is off, on, cut or report"),
        (["ctl", "add", "dir:."], "'dir:.' is no image: dir: is for 'spindle serve', and a [[directory]]"),
        (["identify", "dir:."], "'dir:.' is no image: dir: is for 'spindle serve', and a [[directory]]"),
        (["ctl", "add", "--locking", "maybe", "null:1M"], "'maybe' is no way of locking: it is one of on, off"),
        (["serve", "--connections", "0", "null:1M"], "a number from 1 to 1000000 is needed"),
        (["serve", "--stall-seconds", "soon", "null:1M"], "a number from 1 to 3600 is needed"),
    ])
    func wrongUseIs64(arguments: [String], words: String) throws {
        let folder = try TemporaryFolder()
        let result = try Program.tool("env").run(["-C", folder.path, Program.spindle.path] + arguments, in: folder)
        #expect(result.status == 64, "\(result.errors)")
        #expect(result.errors.contains(words), "\(result.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/k/keys.psk"))
    }

    /// The usage behind a mistake is that of the command, whoever has found the mistake.
    @Test(arguments: [
        (["check"], "spindle check [--keys] [<file>]"),
        (["check", "--foo"], "spindle check [--keys] [<file>]"),
        (["tls-keys", "--host", "", "k"], "spindle tls-keys [--psk]"),
        (["ctl", "lst"], "spindle ctl [--control <endpoint>] [--json] <subcommand>"),
        (["ctl", "drop"], "spindle ctl drop [--control <endpoint>] [--json] <number>"),
        (["help", "serv"], "spindle <subcommand>"),
    ])
    func theUsageIsTheCommands(arguments: [String], usage: String) throws {
        let folder = try TemporaryFolder()
        let errors = try Program.tool("env").run(["-C", folder.path, Program.spindle.path] + arguments, in: folder)
            .errors
        #expect(errors.contains("\nUsage: \(usage)"), "\(errors)")
        let commands = usage.split(separator: " ").prefix { !"[<".contains($0.first ?? " ") }.joined(separator: " ")
        #expect(errors.contains("\n  See '\(commands) --help' for more information."), "\(errors)")
    }

    /// What bash offers behind a word, by the script that the program makes for it.
    private func completions(_ words: [String], in folder: TemporaryFolder) throws -> Set<String> {
        let script = """
            cd "$1"; shift
            eval "$("$1" --generate-completion-script bash)"; shift
            COMP_WORDS=(spindle "$@"); COMP_CWORD=$#; COMP_LINE="spindle $*"; COMP_POINT=${#COMP_LINE}
            compopt() { :; }
            _spindle spindle "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
            printf '%s\\n' "${COMPREPLY[@]}"
            """
        let text = try run("bash", ["-c", script, "bash", folder.path, Program.spindle.path] + words, in: folder)
        return Set(text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) })
    }

    @Test func completionsKnowValuesAndFiles() throws {
        let folder = try TemporaryFolder()
        _ = try folder.file("disk.img", sizeBytes: 512)
        let modes: Set<String> = ["writeback", "writethrough", "none", "directsync", "unsafe"]
        #expect(try completions(["serve", "--cache", ""], in: folder) == modes)
        #expect(try completions(["serve", "--controller", "i"], in: folder) == ["ich9-ahci"])
        #expect(try completions(["serve", "--log-level", "not"], in: folder) == ["notice"])
        #expect(try completions(["serve", "--sandbox", "o"], in: folder) == ["on", "off"])
        #expect(try completions(["serve", "--listen", "s"], in: folder).isSuperset(of: ["stdin", "systemd:"]))
        #expect(try completions(["identify", "--format", "sum"], in: folder) == ["summary"])
        for words in [
            ["serve", "di"], ["identify", "di"], ["serve", "--pid-file", "di"], ["serve", "--tls-psk", "di"],
        ] {
            #expect(try completions(words, in: folder) == ["disk.img"], "\(words)")
        }
    }

    /// Every value that is no number, and no name or text that somebody makes up, has something to complete it with.
    @Test func everyValueIsCompleted() throws {
        let madeUp: Set<String> = [
            "number", "threads", "seconds", "mib", "days", "size", "depth", "connections", "requests", "mix", "n",
            "name", "new", "snapshot", "command", "subcommands", "seed", "first-last",
        ]
        let dump = try Program.spindle.run(["--experimental-dump-help"], in: TemporaryFolder())
        let document = try #require(try JSONSerialization.jsonObject(with: Data(dump.output)) as? [String: Any])
        var commands = [try #require(document["command"] as? [String: Any])]
        var completed = 0
        while let command = commands.popLast() {
            commands += command["subcommands"] as? [[String: Any]] ?? []
            for argument in command["arguments"] as? [[String: Any]] ?? [] where argument["kind"] as? String != "flag" {
                let value = try #require(argument["valueName"] as? String)
                let isCompleted = argument["completionKind"] != nil
                #expect(isCompleted || madeUp.contains(value), "\(command["commandName"] ?? ""): \(value)")
                completed += isCompleted ? 1 : 0
            }
        }
        #expect(completed > 30)
    }

    /// Keys, names and images in one round.
    @Test func checkSaysEverythingAtOnce() throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/c.toml"
        try """
        [[export]]
        image = "nope.img"
        cahce = "none"
        [[export]]
        name = "twice"
        image = "null:1M"
        [[export]]
        name = "twice"
        image = "missing.img"
        [limits]
        foo = 1
        [[directory]]
        path = "nowhere"
        [tls]
        certificates = "nokeys"
        """.write(toFile: file, atomically: true, encoding: .utf8)
        let result = try Program.spindle.run(["check", file], in: folder)
        #expect(result.status == 1)
        for words in [
            ":2: export 'nope'.image: cannot open image", ":3: export 'nope'.cahce: there is no such key",
            ":8: export 'twice'.name: an export before it", "missing.img': No such file", ":11: limits.foo:",
            ":13: directory '\(folder.path)/nowhere'.path: directory", "tls: ",
        ] {
            #expect(result.errors.contains(words), "\(words) is not in\n\(result.errors)")
        }
    }

    @Test func checkAndServeWarn() throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/c.toml"
        func check(_ text: String) throws -> ProgramResult {
            try text.write(toFile: file, atomically: true, encoding: .utf8)
            return try Program.spindle.run(["check", file], in: folder)
        }
        let empty = try check("")
        #expect(
            empty.status == 0 && empty.errors.contains("nothing is served: there is no [[export]]"), "\(empty.errors)")
        let export = { (name: String, device: String) in
            "[[export]]\nname = \"\(name)\"\nimage = \"null:1M\"\ndevice = \"ide-hd,\(device)\"\n"
        }
        let uuid = "serial=0f2a8f5e-1c1c-4f0e-9a7d-00000000000"
        let warned = try check(
            export("a", uuid + "1") + export("b", uuid + "2") + export("c", "wwn=7") + export("d", "wwn=7")
                + export("e", "serial=QM00003"))
        #expect(warned.status == 0 && warned.text.split(separator: "\n").count == 6)
        let lines = warned.errors.split(separator: "\n")
        #expect(lines.count == 5, "\(warned.errors)")
        for words in [
            ":4: export 'a'.device: warning: export 'a' has a serial number of 36 characters",
            "exports 'a' and 'b' have the same serial number '0f2a8f5e-1c1c-4f0e-9'",
            "exports 'c' and 'd' have the same world wide name 0x7",
            // The third drive's own.
            "exports 'c' and 'e' have the same serial number 'QM00003'",
        ] {
            #expect(warned.errors.contains(words), "\(words) is not in\n\(warned.errors)")
        }
        let images = try (0..<3).map { try folder.file("\($0).img", sizeBytes: 512) }
        try serving(["--device", "ide-hd,serial=ABC"] + images, in: folder) { server in
            #expect(
                server.log.contains("exports '0', '1' and 1 other have the same serial number 'ABC'"), "\(server.log)")
        }
        // Drives that differ, or have their own numbers, need no words.
        try serving(["--log-level", "warning"] + images, in: folder) { #expect($0.log.isEmpty, "\($0.log)") }
    }

    /// All that is printed is the command's, unless something is wrong.
    @Test func theCommandsOutputIsAll() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        let data = try folder.randomFile("data", sizeBytes: 1 << 20)
        let result = try Program.spindle.run(["serve", image, "--run", "nbdcopy '\(data)' \"$uri\""], in: folder)
        #expect(result.status == 0 && result.errors.isEmpty && result.output.isEmpty, "\(result.errors)")
    }
}
