// `spindle check` and `spindle serve --config`, through the program.

import Foundation
import Support
import Testing

@Suite struct ConfigurationTests {
    private func check(_ file: String, in folder: TemporaryFolder) throws -> ProgramResult {
        try Program.spindle.run(["check", file], in: folder)
    }

    private func write(_ text: String, in folder: TemporaryFolder) throws -> String {
        let file = folder.path + "/spindle.toml"
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        return file
    }

    private static let threeDrives = """
        [[export]]
        image = "system.img"
        device = "ide-hd,serial=A1,model=FIRST"
        [[export]]
        name = "solid"
        image = "memory:2M"
        device = "ide-hd,rotation_rate=1,physical_block_size=8192"
        controller = "ich9-ahci"
        [[export]]
        name = "archive"
        image = "null:3M"
        cache = "writethrough"
        read-only = true
        """

    @Test func checkSaysWhatWouldBeServed() throws {
        let folder = try TemporaryFolder()
        _ = try folder.file("system.img", sizeBytes: 1 << 20)
        let file = try write("listen = [\"unix:s\", \"vsock:7\"]\n" + Self.threeDrives, in: folder)
        let result = try check(file, in: folder)
        #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
        #expect(
            result.text == """
                3 exports at unix:\(folder.path)/s, vsock:7
                'system': FIRST 2.5+, serial A1, 2048 sectors, piix3-ide, writeback: \(folder.path)/system.img
                'solid': QEMU HARDDISK 2.5+, serial QM00002, 4096 sectors, ich9-ahci, writeback: memory:2M
                'archive': QEMU HARDDISK 2.5+, serial QM00003, 6144 sectors, piix3-ide, writethrough, read-only: null:3M

                """)
    }

    @Test func theExampleIsRight() throws {
        let example = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("contrib/spindle.toml").path
        let folder = try TemporaryFolder()
        let result = try check(example, in: folder)
        #expect(result.status == 0 && result.text.hasPrefix("2 exports at unix:"), "\(result.errors)")
        // With every key that stands there as a comment it is no less right, but for the keys, which are not there.
        // Only an overlay has changes, only a qcow2 image has snapshots, only a whole disk has faults and a state: all
        // none here.
        let lines = try String(contentsOfFile: example, encoding: .utf8).split(
            separator: "\n", omittingEmptySubsequences: false)
        let whole = lines.map { $0.hasPrefix("#") && $0.dropFirst().first != " " ? $0.dropFirst() : $0 }
            .filter { !$0.hasPrefix("listen = [\"unix") && !$0.hasPrefix("changes = ") }
            .filter { !$0.hasPrefix("image-snapshot = ") && !$0.hasPrefix("fault = ") && !$0.hasPrefix("state = ") }
            .joined(separator: "\n")
            .replacing("/var/lib/spindle", with: "reservations")
        let all = try check(write(whole, in: folder), in: folder)
        #expect(all.status == 1)
        #expect(all.errors.split(separator: "\n").count == 4, "\(all.errors)")
        #expect(all.errors.contains(": chap: cannot read the secrets in '\(folder.path)/keys/chap'"), "\(all.errors)")
        #expect(all.errors.contains(": reservations: the folder for"), "\(all.errors)")
        #expect(all.errors.contains("spindle.toml: tls: cannot read '\(folder.path)/keys/"), "\(all.errors)")
        #expect(all.errors.contains("directory '\(folder.path)/drives'.path: "), "\(all.errors)")
    }

    /// Images that are in use are looked at all the same; those that are not there are said with their lines.
    @Test func imagesAndKeysAreLookedAt() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("used.img", sizeBytes: 1 << 20)
        _ = try folder.file("empty.img", sizeBytes: 0)
        try serving([image], in: folder) { _ in
            let used = try check(write("[[export]]\nimage = \"used.img\"", in: folder), in: folder)
            #expect(used.status == 0, "\(used.errors)")
        }
        let file = try write(
            """
            [tls]
            psk = "missing"
            [[export]]
            image = "used.img"
            [[export]]
            name = "b"
            image = "missing.img"
            [[export]]

            image = "empty.img"
            """, in: folder)
        let result = try check(file, in: folder)
        #expect(result.status == 1 && result.output.isEmpty)
        #expect(
            result.errors == """
                \(file):7: export 'b'.image: cannot open image '\(folder.path)/missing.img': No such file or directory; \
                create it first, 'truncate -s 3G FILE' for instance
                \(file):10: export 'empty'.image: image '\(folder.path)/empty.img' is empty; \
                a drive has at least one sector of 512 bytes
                \(file): tls: cannot read '\(folder.path)/missing': No such file or directory; \
                'spindle tls-keys DIR' makes a set of keys and certificates

                """)
    }

    /// Two of one name: each has its own lines. `serve` looks at what is wrong with their images, too.
    @Test func theLinesAreThoseOfTheExport() throws {
        let folder = try TemporaryFolder()
        for name in ["", "name = \"x\""] {
            let file = try write(
                """
                [[export]]
                image = "null:1M"
                \(name)
                [[export]]
                \(name)
                image = "null:0"
                [[directory]]
                path = "."
                [[directory]]
                path = "missing"
                [[directory]]
                prefix = "b"

                path = "missing"
                """, in: folder)
            let export = name.isEmpty ? "null" : "x"
            for result in try [check(file, in: folder), Program.spindle.run(["serve", "--config", file], in: folder)] {
                let mistakes = result.errors.split(separator: "\n").map { $0.dropFirst(file.utf8.count + 1) }
                #expect(
                    mistakes.contains { $0.hasPrefix("6: export '\(export)'.image: image 'null:0'") },
                    "\(result.errors)")
                #expect(mistakes.contains { $0.hasPrefix("10: directory '") }, "\(result.errors)")
                #expect(mistakes.contains { $0.hasPrefix("14: directory '") }, "\(result.errors)")
            }
        }
    }

    /// Secrets and the folder for reservations, too: `serve` says of them what `check` says.
    @Test(arguments: [
        ("chap = \"none\"", "1: chap: cannot read the secrets in"),
        ("chap = \"short\"", "1: chap: line 1 of"), ("chap = \"empty\"", "1: chap: there is no secret in"),
        ("\nchap-target = \"good\"", "2: chap-target: the target's own secret needs those of initiators, too"),
        ("chap = \"good\"\nchap-target = \"none\"", "2: chap-target: cannot read the secrets in"),
        ("chap = \"good\"\nchap-target = \"good\"", "2: chap-target: line 1 of"),
        ("reservations = \"none\"", "1: reservations: the folder for reservations"),
        ("reservations = \"good\"", "1: reservations: the folder for reservations"),
    ])
    func secretsAndReservationsAreLookedAt(text: String, message: String) throws {
        let folder = try TemporaryFolder()
        for (name, line) in [("good", "alice:correct-horse-1\n"), ("short", "alice:short\n"), ("empty", "")] {
            try line.write(toFile: folder.path + "/" + name, atomically: true, encoding: .utf8)
        }
        let file = try write(
            text + "\nlisten = \"iscsi:127.0.0.1:0\"\n[[export]]\nimage = \"memory:1M\"\n", in: folder)
        let result = try check(file, in: folder)
        #expect(result.status == 1 && result.errors.hasPrefix("\(file):\(message)"), "\(result.errors)")
        let server = try Program.spindle.run(["serve", "--config", file], in: folder)
        #expect(server.status == 1 && server.errors == result.errors, "\(server.errors)")
    }

    /// What protects nobody is told, by `check` and at the start; what does protect is not.
    @Test(arguments: [
        ("listen = \"iscsi:127.0.0.1:0\"\ntls = { psk = \"keys\", mode = \"require\" }", "", ":2: tls.mode: "),
        ("listen = \"iscsi:127.0.0.1:0\"\ntls = { psk = \"keys\", mode = \"require\" }", "tls-only = true", nil),
        ("tls = { psk = \"keys\", mode = \"require\" }", "", nil),
        ("listen = \"unix:s\"\nchap = \"secrets\"", "", ":2: chap: "),
        ("listen = \"iscsi:127.0.0.1:0\"\nchap = \"secrets\"", "", nil),
        ("listen = \"unix:s\"", units, ":7: target 'iqn.2026-11.org.example:t'.access: "),
        ("listen = [\"unix:s\", \"iscsi:127.0.0.1:0\"]", units, nil),
    ])
    func protectionThatIsNotMetIsTold(server: String, export: String, place: String?) throws {
        let folder = try TemporaryFolder()
        for (name, line) in [
            ("keys", "alice:" + String(repeating: "ab", count: 32)), ("secrets", "alice:correct-horse-1"),
        ] {
            try (line + "\n").write(toFile: folder.path + "/" + name, atomically: true, encoding: .utf8)
            try #require(chmod(folder.path + "/" + name, 0o600) == 0)
        }
        let file = try write("\(server)\n[[export]]\nimage = \"memory:1M\"\n\(export)\n", in: folder)
        let result = try check(file, in: folder)
        #expect(result.status == 0, "\(result.errors)")
        let lines = result.errors.split(separator: "\n")
        #expect(lines.count == (place == nil ? 0 : 1), "\(result.errors)")
        if let place { #expect(result.errors.hasPrefix("\(file)\(place)warning: "), "\(result.errors)") }
        let running = try RunningServer(["--config", file], in: folder)
        #expect(try running.stop() == 0)
        for message in ["TLS is required of", "only iSCSI initiators are", "the rules of a target are"] {
            #expect(running.log.contains(message) == result.errors.contains(message), "\(running.log)")
        }
    }

    private static let units =
        "[[target]]\nname = \"iqn.2026-11.org.example:t\"\nluns = [\"memory\"]\n"
        + "access = [{ address = \"127.0.0.1\" }]"

    @Test func drivesOfAFile() throws {
        let folder = try TemporaryFolder()
        _ = try folder.file("system.img", sizeBytes: 1 << 20)
        let file = try write("listen = \"tcp:127.0.0.1:0\"\n" + Self.threeDrives, in: folder)
        try serving(["--config", file, "more=null:4M"], in: folder) { server in
            let list = try run("nbdinfo", ["--list", "--json", server.uri], in: folder)
            let exports = try #require(
                (JSONSerialization.jsonObject(with: Data(list.utf8)) as? [String: Any])?["exports"] as? [[String: Any]])
            #expect(exports.map { $0["export-name"] as? String } == ["system", "solid", "archive", "more"])
            #expect(
                exports.map { $0["description"] as? String } == [
                    "FIRST 2.5+, serial A1, 2048 sectors", "QEMU HARDDISK 2.5+, serial QM00002, 4096 sectors",
                    "QEMU HARDDISK 2.5+, serial QM00003, 6144 sectors",
                    "QEMU HARDDISK 2.5+, serial QM00004, 8192 sectors",
                ])
            #expect(exports.map { $0["is_rotational"] as? Bool } == [true, false, true, true])
            #expect(exports.map { $0["is_read_only"] as? Bool } == [false, false, true, false])
            #expect(exports.map { $0["can_flush"] as? Bool } == [true, true, false, true])
            #expect(exports.map { $0["block_size_preferred"] as? Int } == [4096, 8192, 4096, 4096])
            // The first drive answers to the empty name, and on the endpoint of the file as on that of the command
            // line.
            try expectSize(1 << 20, server.uri, in: folder)
            try expectSize(4 << 20, server.uri(of: "more", over: .tcp), in: folder)
        }
    }

    /// What the command line says of drives is said of its own; other options go before the file's.
    @Test func theCommandLineAndAFile() throws {
        let folder = try TemporaryFolder()
        let file = try write(
            "controller = \"ich9-ahci\"\nlog-level = \"debug\"\n[[export]]\nimage = \"memory:1M\"", in: folder)
        let arguments = ["--config", file, "--read-only", "--log-level", "error", "null:1M"]
        try serving(arguments, in: folder) { server in
            let memory = try run("nbdinfo", [server.uri(of: "memory")], in: folder)
            #expect(memory.contains("is_read_only: false"))
            let null = try run("nbdinfo", [server.uri(of: "null")], in: folder)
            #expect(null.contains("is_read_only: true"))
            #expect(server.log.isEmpty, "\(server.log)")
        }
        for (arguments, message) in [
            (["memory=null:1M"], "two exports are named 'memory'; give one another name: NAME=IMAGE"),
            (["--device", "ide-hd,unit=1", "null:1M"], "unit=1: a port of ich9-ahci has one drive"),
            (["--tls", "on"], "--tls on needs --tls-certificates or --tls-psk"),
        ] {
            let result = try Program.spindle.run(["serve", "--config", file] + arguments, in: folder)
            #expect(result.status == 64 && result.errors.contains("Error: " + message), "\(result.errors)")
        }
        try serving(
            ["--config", file, "--controller", "piix3-ide", "--device", "ide-hd,unit=1", "null:1M"], in: folder
        ) {
            #expect($0.announcement.contains("serving 'null'"))
        }
    }

    @Test func serveSaysAllErrors() throws {
        let folder = try TemporaryFolder()
        let file = try write("threads = 0\n[[export]]\nimage = \"x\"\ncache = \"wb\"", in: folder)
        let first = try Program.spindle.run(["serve", "--config", file], in: folder)
        #expect(first.status == 1 && first.output.isEmpty)
        #expect(first.errors == (try check(file, in: folder)).errors)
        #expect(
            first.errors.hasPrefix("\(file):1: threads: 0 is") && first.errors.contains("\n\(file):4: export 'x'.cache")
        )
        let missing = try write("[[export]]\nimage = \"x\"\n[[export]]\nimage = \"y\"", in: folder)
        let second = try Program.spindle.run(["serve", "--config", missing], in: folder)
        #expect(second.status == 1)
        #expect(second.errors == (try check(missing, in: folder)).errors)
    }
}
