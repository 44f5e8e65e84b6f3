// All mistakes in a file are told at once, each with its line and key.

import Foundation
import Settings
import Testing

@Suite struct SettingsErrorTests {
    private func errors(_ text: String) -> [String] {
        do {
            _ = try SettingsFile(path: "f", text: text)
            return []
        } catch {
            return error.lines
        }
    }

    @Test(arguments: [
        // Keys.
        ("threds = 1", "f:1: threds: there is no such key; did you mean 'threads'?"),
        ("\nexports = 1", "f:2: exports: there is no such key; did you mean 'export'?"),
        (
            "cache = \"none\"",
            "f:1: cache: there is no such key; it belongs in [[export]] or [[directory]] or [[template]]"
        ),
        (
            "[limits]\nlisten = []",
            "f:2: limits.listen: there is no such key; it belongs in the top of the file, above the first table"
        ),
        ("[tls]\nfoobar = 1", "f:2: tls.foobar: there is no such key; known are mode, certificates, verify-peer, psk"),
        // Types.
        ("threads = \"1\"", "f:1: threads: a string stands where a number belongs"),
        ("threads = 1.5", "f:1: threads: a number with a fraction stands where a number belongs"),
        ("controller = 1979-05-27", "f:1: controller: a date or time stands where a string belongs"),
        ("controller = ['x']", "f:1: controller: a list stands where a string belongs"),
        ("controller = {}", "f:1: controller: a table stands where a string belongs"),
        ("listen = [\n'vsock:1',\n1]", "f:3: listen: a number stands where a list of strings belongs"),
        ("listen = true", "f:1: listen: true or false stands where a list of strings belongs"),
        ("tls = 1", "f:1: tls: a number stands where a table belongs"),
        ("export = 1", "f:1: export: a number stands where a list of tables belongs: each begins with [[export]]"),
        (
            "[export]\nimage = 'a'",
            "f:1: export: a table stands where a list of tables belongs: each begins with [[export]]"
        ),
        ("export = [\n1]", "f:2: export 1: a number stands where a table belongs"),
        ("[tls]\nverify-peer = 'yes'", "f:2: tls.verify-peer: a string stands where true or false belongs"),
        // Values.
        ("threads = 0", "f:1: threads: 0 is not allowed: a number from 1 to 256 is needed"),
        ("threads = 257", "f:1: threads: 257 is not allowed: a number from 1 to 256 is needed"),
        (
            "limits.stall-seconds = -1",
            "f:1: limits.stall-seconds: -1 is not allowed: a number from 1 to 3600 is needed"
        ),
        ("log-format = 'xml'", "f:1: log-format: 'xml' is no log format: it is one of auto, text, json, journal"),
        (
            "log-level = 'loud'",
            "f:1: log-level: 'loud' is no log level: it is one of trace, debug, info, notice, warning, error, critical"
        ),
        ("controller = 'x'", "f:1: controller: 'x' is no controller: it is one of piix3-ide, ich9-ahci"),
        (
            "listen = [\n'vsock:1',\n'x']",
            "f:3: listen: 'x' is no endpoint; use unix:PATH, tcp:HOST:PORT, iscsi:HOST:PORT, vsock:PORT, fd:N, "
                + "systemd:NAME or stdin"
        ),
        ("[tls]\n\nmode = 'yes'", "f:3: tls.mode: 'yes' is no mode of TLS: it is one of off, on, require"),
        (
            "[tls]\nmode = 'require'",
            "f:1: tls: mode require needs certificates or psk; 'spindle tls-keys DIR' makes both"
        ),
        ("[tls]\nmode = 'off'\npsk = 'x'", "f:1: tls: mode is off, but keys are given; leave one of them out"),
        (
            "[tls]\nverify-peer = true\npsk = 'x'",
            "f:1: tls: verify-peer needs certificates, whose ca-cert.pem clients are checked by"
        ),
        // Exports.
        (
            "[[export]]\nname = 'disk'\nimage = 'a'\ncache = 'wb'",
            "f:4: export 'disk'.cache: 'wb' is no cache mode: it is one of writeback, writethrough, none, directsync, unsafe"
        ),
        (
            "[[export]]\nimage = 'disk.img'\ndevice = 'ide-hd,serail=1'",
            "f:3: export 'disk'.device: ide-hd has no property 'serail': did you mean 'serial'?"
        ),
        (
            "[[export]]\nimage = 'a'\ndevice = 'ide-hd,bus=ide.3'",
            "f:3: export 'a'.device: bus=ide.3: piix3-ide has the channels ide.0 and ide.1"
        ),
        (
            "[[export]]\nimage = 'a'\ncontroller = 'piix3-ide'\ndevice = 'spindle-hd'",
            "f:3: export 'a'.controller: spindle-hd is a SATA drive, and piix3-ide has no place for one: leave controller out, or say ich9-ahci"
        ),
        (
            "[[export]]\nimage = 'memory:lots'",
            "f:2: export 'memory'.image: 'memory:lots' has no size: write it as memory:64M, memory:3G, memory:6291456s (sectors) or in bytes; a file of that name is ./memory:lots"
        ),
        (
            "[[export]]\nimage = 'null:0'",
            "f:2: export 'null'.image: image 'null:0' is empty; a drive has at least one sector of 512 bytes"
        ),
        (
            "[[export]]\nname = 'a'",
            "f:1: export 'a': the image is missing: image = \"PATH\", \"overlay:PATH\", \"memory:SIZE\" or \"null:SIZE\""
        ),
        (
            "\n[[export]]\n",
            "f:2: export 1: the image is missing: image = \"PATH\", \"overlay:PATH\", \"memory:SIZE\" or \"null:SIZE\""
        ),
        (
            "[[export]]\nname = 'a'\nimage = 'x'\n[[export]]\nimage = 'y'\nname = 'a'",
            "f:6: export 'a'.name: an export before it has this name, too; give one another name"
        ),
        (
            "[[export]]\nimage = 'x'\n[[export]]\nimage = 'x'",
            "f:3: export 'x'.name: an export before it has this name, too; give one another name"
        ),
        (
            "[[export]]\nname = \"a\\nb\"\nimage = ''",
            "f:3: export 'a\\nb'.image: the name of the image is empty: give a path, overlay:PATH, memory:SIZE or null:SIZE"
        ),
        (
            "[[export]]\nname = 'a'\nimage = 'dir:.'",
            "f:3: export 'a'.image: 'dir:.' is no image: dir: is for 'spindle serve', and a [[directory]] does the same in a "
                + "file; a file of that name is ./dir:."
        ),
        (
            "control = 'unix:c.sock'",
            "f:1: control: there is no such key; it is an option of the command line only, --control"
        ),
        ("\nuser = 'a'", "f:2: user: there is no such key; it is an option of the command line only, --user"),
        // Rules.
        (
            "[[export]]\nimage = 'x'\n\naccess = [{}]",
            "f:4: export 'x'.access 1: a rule without a condition lets everybody in; leave it out, or say whom it lets in"
        ),
        (
            "[[export]]\nimage = 'x'\n\naccess = []",
            "f:4: export 'x'.access: a list without a rule lets everybody in; leave it out, or say whom it lets in"
        ),
        (
            "[[directory]]\npath = 'x'\naccess = []",
            "f:3: directory 'x'.access: a list without a rule lets everybody in; leave it out, or say whom it lets in"
        ),
        (
            "[[export]]\nimage = 'x'\naccess = [\n{ user = 'root' },\n{ address = '10.0.0.1/8' }]",
            "f:5: export 'x'.access 2.address: '10.0.0.1/8' is no range of addresses: "
                + "the address has bits behind the prefix, which have to be zero"
        ),
        (
            "[[export]]\nimage = 'x'\naccess = [{ user = 'no.such.user' }]",
            "f:3: export 'x'.access 1.user: there is no user 'no.such.user' here; a number will do, too"
        ),
        (
            "[[export]]\nimage = 'x'\naccess = 'root'",
            "f:3: export 'x'.access: a string stands where a list of tables belongs"
        ),
        (
            "[[export]]\nimage = 'x'\naccess = [{ uesr = 'root' }]",
            "f:3: export 'x'.access 1.uesr: there is no such key; did you mean 'user'?"
        ),
        (
            "[[export]]\nimage = 'x'\nconnections = 0",
            "f:3: export 'x'.connections: 0 is not allowed: a number from 1 to 1000000 is needed"
        ),
        // Directories.
        ("\n[[directory]]", "f:2: directory 1: the path is missing: path = \"PATH\""),
        (
            "[[directory]]\npath = 'd'\nimage = 'x'",
            "f:3: directory 'd'.image: there is no such key; it belongs in [[export]] or [[template]]"
        ),
        (
            "[[directory]]\npath = 'd'\n[[directory]]\nprefix = 'x'\npath = 'd'\n[[directory]]\npath = 'd'",
            "f:7: directory 'd': it is there already; with another prefix it could be there twice"
        ),
    ])
    func oneError(text: String, message: String) {
        #expect(errors(text) == [message])
    }

    @Test func whatNobodyCouldGetPast() throws {
        let text = """
            [[export]]
            image = "x"

            tls-only = true
            access = [{ certificate = "c" }]
            [[directory]]
            path = "d"
            access = [{ psk-user = "u" }, { user = "root" }]
            """
        let file = try SettingsFile(path: "f", text: text)
        #expect(
            SettingsErrors(file: "f", file.dilemmas(ServeSettings())).lines == [
                "f:4: export 'x'.tls-only: the server has no TLS: nobody could open it; [tls] says where keys are",
                "f:5: export 'x'.access: clients show no certificates: [tls] needs certificates, and verify-peer = true",
                "f:8: directory 'd'.access: clients have no pre-shared keys: [tls] needs psk",
            ])
        var settings = ServeSettings()
        settings.tls.certificates = "c"
        #expect(file.dilemmas(settings).map(\.line) == [5, 8])
        settings.tls.verifyPeer = true
        settings.tls.preSharedKeys = "k"
        #expect(file.dilemmas(settings).isEmpty)
        settings.tls.mode = .off
        #expect(file.dilemmas(settings).count == 3)
    }

    @Test func aNameThatIsTooLong() {
        let name = String(repeating: "n", count: 4097)
        #expect(
            errors("[[export]]\nimage = 'x'\nname = '\(name)'").first
                == "f:3: export '\(name)'.name: a name of 4097 bytes is too long; at most 4096 are allowed")
        #expect(errors("[[export]]\nimage = 'x'\nname = '\(name.dropLast())'").isEmpty)
    }

    /// In the order of their lines.
    @Test func allErrors() {
        let text = """
            threads = 0
            liste = "x"
            [[export]]
            image = ""
            cache = "x"
            read-only = 1
            [[export]]
            colour = "red"
            [limits]
            shutdown-seconds = -1
            """
        let lines = errors(text).map { $0.prefix { $0 != " " } }
        #expect(lines == ["f:1:", "f:2:", "f:4:", "f:5:", "f:6:", "f:7:", "f:8:", "f:10:"], "\(errors(text))")
    }

    /// A value of no type that any key takes is an error at each key of the table: so each is read by somebody.
    @Test(arguments: SettingsKey.all) func everyKeyIsRead(key: SettingsKey) {
        let header = key.section.rawValue
        // Rules are a list in an export.
        if key.section == .access {
            let found = errors("export = [{ image = 'x', access = [\n{ \(key.name) = 1979-05-27 }] }]")
            #expect(found == ["f:2: export 'x'.access 1.\(key.name): a date or time stands where a string belongs"])
            return
        }
        let text = "\(header)\n\(key.name) = 1979-05-27\n"
        let found = errors(text).filter { $0.contains(".\(key.name):") || $0.contains(": \(key.name):") }
        #expect(found.count == 1 && found[0].contains("a date or time stands where"), "\(errors(text))")
        #expect(found.allSatisfy { $0.hasPrefix("f:2: ") })
    }

    /// A generator prints the table: names are unique in their section, and nothing is empty.
    @Test func theTableOfKeys() {
        #expect(Set(SettingsKey.all.map { $0.section.rawValue + $0.name }).count == SettingsKey.all.count)
        for key in SettingsKey.all {
            #expect(![key.name, key.type, key.standard, key.help].contains(""), "\(key)")
            #expect(key.help.hasSuffix("."), "\(key)")
        }
    }

    @Test func theExampleHasEveryKey() throws {
        let example = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("contrib/spindle.toml")
        let text = try String(contentsOf: example, encoding: .utf8)
        for key in SettingsKey.all {
            #expect(text.contains("\(key.name) = "), "\(key)")
        }
    }

    @Test func filesThatCannotBeRead() {
        for (path, message) in [
            ("/nonexistent", "/nonexistent: cannot be read: No such file or directory"),
            ("/", "/: is a directory; a regular file is needed"),
        ] {
            let errors = #expect(throws: SettingsErrors.self) { try SettingsFile(reading: path) }
            #expect(errors?.lines == [message])
        }
    }
}
