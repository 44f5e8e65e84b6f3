// What the keys of a file mean.

import ATA
import Backends
import Listening
import Loop
import Server
import Settings
import Testing

@Suite struct SettingsTests {
    private func read(_ text: String, path: String = "spindle.toml") throws -> ServeSettings {
        try SettingsFile(path: path, text: text).settings
    }

    @Test func nothingSaid() throws {
        #expect(try read("") == ServeSettings())
        #expect(try read("# nothing\n[tls]\n[limits]\n") == ServeSettings())
    }

    @Test func everythingSaid() throws {
        let settings = try read(
            """
            listen = ["unix:/run/s", "tcp:[::1]:10809", "vsock:5", "fd:3"]
            threads = 3
            controller = "ich9-ahci"
            log-format = "json"
            log-level = "debug"
            [tls]
            mode = "require"
            certificates = "/keys"
            verify-peer = true
            psk = "/keys/psk"
            [limits]
            handshake-seconds = 1
            stall-seconds = 2
            shutdown-seconds = 3600
            [[export]]
            name = "a"
            image = "/images/a.img"
            device = "ide-hd,serial=42"
            controller = "piix3-ide"
            cache = "none"
            read-only = true
            """)
        #expect(
            settings.endpoints == [
                .unix(path: "/run/s"), .tcp(host: "::1", port: 10809), .vsock(port: 5), .descriptor(3),
            ])
        #expect(settings.threads == 3)
        #expect(settings.controller == .ich9AHCI)
        #expect(settings.logFormat == .json)
        #expect(settings.logLevel == .debug)
        #expect(settings.tls.mode == .require)
        #expect(settings.tls.certificates == "/keys")
        #expect(settings.tls.verifyPeer == true)
        #expect(settings.tls.preSharedKeys == "/keys/psk")
        let limits = settings.limits.limits
        #expect([limits.handshakeSeconds, limits.stallSeconds, limits.shutdownSeconds] == [1, 2, 3600])
        let export = try #require(settings.exports.first)
        #expect(export.name == "a")
        #expect(export.image == "/images/a.img")
        #expect(export.reference == .file(path: "/images/a.img"))
        #expect(export.drive.device.serialNumber == "42")
        #expect(export.drive.controller == .piix3IDE)
        #expect(export.drive.cache == .none)
        #expect(export.drive.readOnly)
    }

    @Test func oneEndpointNeedsNoList() throws {
        #expect(try read("listen = \"vsock:5\"").endpoints == [.vsock(port: 5)])
    }

    @Test func whatIsNotSaidOfAnExport() throws {
        let settings = try read(
            """
            controller = "ich9-ahci"
            export = [{ image = "a/b.c.img" }, { image = "memory:1M" }, { image = "null:3s" }, { image = ".x", name = "" }]
            """)
        #expect(settings.exports.map(\.name) == ["b.c", "memory", "null", ""])
        for export in settings.exports {
            #expect(export.drive.controller == .ich9AHCI)
            #expect(export.drive.device == DriveProperties())
            #expect(export.drive.cache == .writeback)
            #expect(!export.drive.readOnly)
        }
    }

    /// What a file names is the same wherever the program that reads it was started.
    @Test func pathsBeginAtTheFile() throws {
        let text = """
            listen = ["unix:s", "unix:/t"]
            [tls]
            certificates = "keys"
            psk = "../psk"
            [[export]]
            image = "a.img"
            [[export]]
            name = "b"
            image = "/a.img"
            [[export]]
            image = "memory:1M"
            """
        let there = try read(text, path: "/etc/spindle.toml")
        #expect(there.endpoints == [.unix(path: "/etc/s"), .unix(path: "/t")])
        #expect(there.tls.certificates == "/etc/keys")
        #expect(there.tls.preSharedKeys == "/etc/../psk")
        #expect(there.exports.map(\.image) == ["/etc/a.img", "/a.img", "memory:1M"])
        #expect(try read(text, path: "conf/x").exports[0].image == "conf/a.img")
        #expect(try read(text, path: "x").exports[0].image == "a.img")
        #expect(try read(text, path: "/x").exports[0].image == "/a.img")
    }

    @Test func theCommandLineGoesFirst() throws {
        let file = try read(
            """
            listen = "vsock:1"
            threads = 1
            controller = "ich9-ahci"
            log-format = "json"
            log-level = "debug"
            tls = { psk = "/f", mode = "on" }
            limits = { stall-seconds = 1, shutdown-seconds = 1 }
            [[export]]
            image = "null:1M"
            """)
        var line = ServeSettings()
        line.endpoints = [.vsock(port: 2)]
        line.threads = 2
        line.logFormat = .text
        line.logLevel = .error
        line.tls.mode = .require
        line.limits.stallSeconds = 2
        line.exports = [try ExportSettings(parsing: "b=null:1M")]
        let both = file.overridden(by: line)
        #expect(both.endpoints == [.vsock(port: 1), .vsock(port: 2)])
        #expect(both.threads == 2)
        #expect(both.controller == .ich9AHCI)
        #expect(both.logFormat == .text)
        #expect(both.logLevel == .error)
        #expect(both.tls.mode == .require)
        #expect(both.tls.preSharedKeys == "/f")
        #expect(both.limits.limits.stallSeconds == 2)
        #expect(both.limits.limits.shutdownSeconds == 1)
        #expect(both.limits.limits.handshakeSeconds == Limits().handshakeSeconds)
        #expect(both.exports.map(\.name) == ["null", "b"])
    }

    @Test(arguments: [
        ("a.img", "a", "a.img"), ("/x/a.b.img", "a.b", "/x/a.b.img"), ("n=a.img", "n", "a.img"), ("=a", "", "a"),
        ("x/n=a.img", "n=a", "x/n=a.img"), ("n=x=y", "n", "x=y"), (".hidden", ".hidden", ".hidden"),
        ("memory:1M", "memory", "memory:1M"),
    ])
    func namesAndImages(text: String, name: String, image: String) throws {
        let export = try ExportSettings(parsing: text)
        #expect(export.name == name)
        #expect(export.image == image)
    }

    @Test func whoMayOpenWhat() throws {
        let settings = try read(
            """
            [[export]]
            image = "x"
            description = "for laptops"
            tls-only = true
            connections = 2
            takeover = true
            access = [
                { certificate = "CN=a", address = "10.0.0.0/8" }, { psk-user = "b" }, { user = "root" }, { user = 7 },
            ]
            [[directory]]
            path = "d"
            prefix = "p-"
            cache = "none"
            access = [{ address = "::1" }]
            """, path: "/etc/f")
        let drive = settings.exports[0].drive
        #expect(drive.description == "for laptops")
        #expect(drive.requiresTLS && drive.isTakenOver)
        #expect(drive.maximumConnections == 2)
        let ten = try AddressRange(parsing: "10.0.0.0/8")
        #expect(
            drive.access == [
                AccessRule(certificateName: "CN=a", addresses: ten), AccessRule(preSharedKeyUser: "b"),
                AccessRule(user: 0), AccessRule(user: 7),
            ])
        let directory = settings.directories[0]
        #expect(directory.path == "/etc/d" && directory.prefix == "p-")
        #expect(directory.drive.cache == .none)
        #expect(directory.drive.access == [AccessRule(addresses: try AddressRange(parsing: "::1"))])
        let served = try ExportSettings(
            reading: SettingsValue(
                toml: "image = 'null:1M'\ntls-only = true\nconnections = 3\ndescription = 'd'\n"
                    + "takeover = true\naccess = [{ user = 1 }]")
        ).open(ordinal: 1)
        #expect(served.requiresTLS && served.isTakenOver)
        #expect(served.maximumConnections == 3)
        #expect(served.description == "d")
        #expect(served.access == [AccessRule(user: 1)])
    }

    @Test(arguments: [
        ("dir:/srv", "/srv", ""), ("a-=dir:b", "b", "a-"), ("=dir:b", "b", ""), ("dir:./x=y", "./x=y", ""),
    ])
    func directoriesOnTheCommandLine(text: String, path: String, prefix: String) throws {
        #expect(try ImageArgument(parsing: text) == .directory(DirectorySettings(path: path, prefix: prefix)))
    }

    @Test func filesThatLookLikeDirectories() throws {
        #expect(try ImageArgument(parsing: "./dir:x") == .export(ExportSettings(image: "./dir:x")))
        #expect(throws: SettingsError("'dir:' names no directory: write it as dir:PATH")) {
            try ImageArgument(parsing: "dir:")
        }
    }

    /// From the control socket there are no lines.
    @Test func valuesWithoutLines() throws {
        let value = SettingsValue(.table(["image": .init(.string("null:1M")), "cache": .init(.string("none"))]))
        #expect(try ExportSettings(reading: value).drive.cache == .none)
        let bad = SettingsValue(.table(["cache": .init(.string("wb")), "x": .init(.integer(1))]))
        let errors = #expect(throws: SettingsErrors.self) { try ExportSettings(reading: bad) }
        #expect(
            errors.map { Set($0.lines) } == [
                "export: the image is missing: image = \"PATH\", \"overlay:PATH\", \"memory:SIZE\" or \"null:SIZE\"",
                "export.cache: 'wb' is no cache mode: it is one of writeback, writethrough, none, directsync, unsafe",
                "export.x: there is no such key; known are name, image, target, lun, changes, record, state, per-client, device, "
                    + "controller, cache, image-format, image-snapshot, write-cache-model, fault, read-only, locking, description, "
                    + "tls-only, access, connections, takeover",
            ])
    }

    /// What is wrong with a drive, and what is wrong with that.
    @Test func faults() throws {
        let disk = "[[export]]\nimage = \"memory:1M\"\ndevice = \"spindle-hd\"\n"
        let drive = try read(disk + "fault = [\"unreadable lba=5..7\", \"icrc every=9\"]").exports[0]
        #expect(drive.drive.faults.map(\.description) == ["unreadable lba=5..7", "icrc every=9"])
        let opened = try drive.open(ordinal: 1)
        #expect(opened.drive.drive.faults.map(\.rule) == ["unreadable lba=5..7", "icrc every=9"])
        opened.close()
        #expect(try read(disk + "fault = \"abort\"").exports[0].drive.faults.count == 1)
        let many = (0..<17).map { "\"idnf lba=\($0)\"" }.joined(separator: ",")
        for (text, message) in [
            (disk + "fault = [\"icrc evry=9\"]", "'evry=9' says nothing about a fault"),
            (disk + "fault = [\(many)]", "a drive has at most 16 faults, and these are 17"),
            (
                "[[export]]\nimage = \"memory:1M\"\nfault = \"abort\"",
                "'ide-hd' is what it is elsewhere, and has no faults"
            ),
        ] {
            let errors = #expect(throws: SettingsErrors.self) { try read(text) }
            #expect(errors?.description.contains(message) == true, "\(String(describing: errors))")
            #expect(errors?.description.contains("export 'memory'.fault: ") == true)
        }
        // Where its end is, the image says.
        let beyond = try read(disk + "fault = \"idnf lba=2048\"").exports[0]
        for open in [{ _ = try beyond.open(ordinal: 1) }, { _ = try beyond.preview(ordinal: 1) }] {
            let error = #expect(throws: SettingsError.self) { try open() }
            let words = "fault 'idnf lba=2048': lba=2048 is behind the drive's end: it has 2048 sectors"
            #expect(error?.description.contains(words) == true)
        }
    }

    @Test func serialNumbersByPlace() throws {
        let exports = try (1...3).map { try ExportSettings(name: "\($0)", image: "null:1M").open(ordinal: $0) }
        #expect(exports.map(\.drive.drive.identifyData.serialNumber) == ["QM00001", "QM00002", "QM00003"])
        var own = try ExportSettings(image: "null:1M")
        own.drive.device.serialNumber = "own"
        #expect(try own.open(ordinal: 12).drive.drive.identifyData.serialNumber == "own")
        #expect(
            try ExportSettings(image: "null:1M").open(ordinal: 123_456).drive.drive.identifyData.serialNumber
                == "QM123456")
        #expect(SerialNumber.lowestUnused([]) == 1)
        #expect(SerialNumber.lowestUnused([1, 2, 4]) == 3)
        #expect(SerialNumber.lowestUnused([2, 3]) == 1)
    }
}
