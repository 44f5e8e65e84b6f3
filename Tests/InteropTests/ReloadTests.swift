// A server that reads its configuration again: who notices, and who does not.

import Foundation
import Support
import Testing

@Suite("Reading the configuration again")
struct ReloadTests {
    private func write(_ text: String, in folder: TemporaryFolder) throws -> String {
        let file = folder.path + "/spindle.toml"
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        return file
    }

    /// Tells a server to read its file again, and waits until it says how that went.
    private func reload(_ server: RunningServer) throws {
        let before = server.log.components(separatedBy: "configuration ").count
        kill(server.processIdentifier, SIGHUP)
        try waitUntil("the configuration was read: \(server.log)") {
            server.log.components(separatedBy: "configuration ").count > before
        }
    }

    @Test("sessions whose export did not change go on; others end")
    func liveSessions() throws {
        let folder = try TemporaryFolder()
        for name in ["same", "changed", "gone"] { _ = try folder.file(name + ".img", sizeBytes: 1 << 20) }
        let images = ["same", "changed", "gone"].map { "[[export]]\nimage = \"\($0).img\"" }
        let file = try write(images.joined(separator: "\n"), in: folder)
        try serving(["--config", file], in: folder) { server in
            let next = """
                # Lines move, which is no change.
                [[export]]
                image = "new.img"
                [[export]]
                image = "changed.img"
                description = "another one"
                [[export]]
                image = "same.img"
                """
            _ = try folder.file("new.img", sizeBytes: 2 << 20)
            let uris = try ["same", "changed", "gone"].map { try server.uri(of: $0) }
            try nbdsh(
                uris,
                """
                import os, signal
                handles = [nbd.NBD() for _ in uri]
                for handle, address in zip(handles, uri):
                    handle.connect_uri(address)
                    handle.pwrite(b'before' + bytes(506), 0)
                with open('\(file)', 'w') as file: file.write('''\(next)''')
                os.kill(\(server.processIdentifier), signal.SIGHUP)
                listed = []
                count = 0
                def exports():
                    found = []
                    with_list = nbd.NBD()
                    with_list.set_opt_mode(True)
                    with_list.connect_unix('\(server.socketPath)')
                    with_list.opt_list(lambda name, description: found.append((name, description)) or 0)
                    with_list.opt_abort()
                    return found
                # All the time there are requests on the session that stays.
                while [name for name, _ in exports()] != ['new', 'changed', 'same']:
                    offset = 512 * (count % 2000)
                    handles[0].pwrite(count.to_bytes(512, 'big'), offset)
                    assert handles[0].pread(512, offset) == count.to_bytes(512, 'big')
                    count += 1
                assert dict(exports())['changed'] == 'another one'
                handles[0].pwrite(b'after' + bytes(507), 512)
                handles[0].flush()
                for handle in handles[1:]:
                    try: handle.pread(512, 0)
                    except nbd.Error: pass
                    else: raise AssertionError('a session of an export that has changed goes on')
                again = nbd.NBD()
                again.connect_uri(uri[1])
                assert again.pread(512, 0)[:6] == b'before'
                again.shutdown()
                refused('ENOENT', lambda: nbd.NBD().connect_uri(uri[2]))
                handles[0].shutdown()
                """, in: folder)
            #expect(try folder.bytes("same.img", from: 512, count: 5) == Array("after".utf8))
            // What was written to an export that is gone is in its image.
            #expect(try folder.bytes("gone.img", count: 6) == Array("before".utf8))
            // The first export of the file answers to the empty name.
            try expectSize(2 << 20, server.uri, in: folder)
            #expect(server.log.contains("added 'new'; changed 'changed'; removed 'gone'"), "\(server.log)")
        }
    }

    @Test("a file with errors changes nothing, and the log says them all")
    func badFiles() throws {
        let folder = try TemporaryFolder()
        let good = "[[export]]\nname = \"a\"\nimage = \"memory:1M\"\n[[export]]\nname = \"b\"\nimage = \"null:1M\"\n"
        let file = try write(good, in: folder)
        let locked = try folder.file("locked.img", sizeBytes: 1 << 20)
        try serving([locked], in: folder) { _ in
            try serving(["--config", file, "--sandbox-path", folder.path], in: folder) { server in
                let a = try server.uri(of: "a")
                let list = try run("nbdinfo", ["--list", server.uri], in: folder)
                for (text, errors) in [
                    ("threads = 0\n[[export]]\nimage = 1", [":1: threads: 0 is", ":3: export 1.image: "]),
                    (
                        "[[export]]\nimage = \"null:1M\"\n[[export]]\nimage = \"none\"",
                        [":4: export 'none'.image: cannot"]
                    ),
                    // Another program has the image: the export before it is not removed for this.
                    ("[[export]]\nname = \"b\"\nimage = \"locked.img\"", [":3: export 'b'.image: image "]),
                    ("= 1", [":1: this is no TOML: "]), (good + "[[directory]]\npath = \"none\"", [":8: directory "]),
                    ("[tls]\npsk = \"none\"\n" + good, ["cannot read '\(folder.path)/none'"]),
                    (good + good, ["export 'a'.name: "]),
                ] {
                    try nbdsh(
                        [a],
                        """
                        h.connect_uri(uri[0])
                        h.pwrite(b'x' * 512, 0)
                        with open('\(file)', 'w') as file: file.write('''\(text)''')
                        """, in: folder)
                    let before = server.log
                    try reload(server)
                    try waitUntil("all errors were logged: \(server.log)") {
                        errors.allSatisfy { server.log.dropFirst(before.count).contains($0) }
                    }
                    #expect(server.log.contains("nothing has changed"))
                    #expect(try run("nbdinfo", ["--list", server.uri], in: folder) == list, "\(text)")
                }
                // Then the right file works as it did.
                _ = try write(good.replacing("\"b\"", with: "\"c\""), in: folder)
                try reload(server)
                try expectSize(1 << 20, a.replacing("/a?", with: "/c?"), in: folder)
                try nbdsh([a], "h.connect_uri(uri[0])\nassert h.pread(512, 0) == b'x' * 512", in: folder)
            }
        }
    }

    /// An image that a changed export has locked is opened again once that is closed.
    @Test("the image of a changed export is the same")
    func imagesThatStay() throws {
        let folder = try TemporaryFolder()
        _ = try folder.file("disk.img", sizeBytes: 1 << 20)
        let file = try write("[[export]]\nimage = \"disk.img\"", in: folder)
        try serving(["--config", file], in: folder) { server in
            try nbdsh([server.uri], "h.connect_uri(uri[0])\nh.pwrite(b'x' * 512, 0)\nh.shutdown()", in: folder)
            _ = try write("[[export]]\nname = \"other\"\nimage = \"disk.img\"\nread-only = true", in: folder)
            try reload(server)
            try nbdsh(
                [server.uri],
                "h.connect_uri(uri[0])\nassert h.is_read_only()\nassert h.pread(512, 0) == b'x' * 512", in: folder)
            // With its image deleted, a changed export would be lost: so nothing is done.
            try FileManager.default.removeItem(atPath: folder.path + "/disk.img")
            _ = try write("[[export]]\nname = \"third\"\nimage = \"disk.img\"", in: folder)
            try reload(server)
            #expect(server.log.contains("nothing has changed"))
            try nbdsh([server.uri], "h.connect_uri(uri[0])\nassert h.pread(512, 0) == b'x' * 512", in: folder)
        }
    }

    @Test("serial numbers stay, and those of the gone are given again")
    func serialNumbers() throws {
        let folder = try TemporaryFolder()
        func export(_ name: String) -> String { "[[export]]\nname = \"\(name)\"\nimage = \"null:1M\"\n" }
        let file = try write(export("a") + export("b") + export("c"), in: folder)
        try serving(["--config", file], in: folder) { server in
            _ = try write(export("d") + export("c") + export("a"), in: folder)
            try reload(server)
            let list = try run("nbdinfo", ["--list", server.uri], in: folder)
            let serials = list.matches(of: /serial (QM[0-9]+)/).map { String($0.output.1) }
            #expect(serials == ["QM00002", "QM00003", "QM00001"], "\(list)")
        }
    }

    @Test("what only a restart takes up is named, and the command line stays")
    func whatNeedsARestart() throws {
        let folder = try TemporaryFolder()
        let file = try write("[[export]]\nname = \"a\"\nimage = \"null:1M\"", in: folder)
        try serving(["--config", file, "--threads", "2", "b=memory:1M"], in: folder) { server in
            try nbdsh([server.uri(of: "b")], "h.connect_uri(uri[0])\nh.pwrite(b'x' * 512, 0)\nh.shutdown()", in: folder)
            let a = try server.uri(of: "a")
            _ = try write(
                "listen = \"vsock:1\"\nthreads = 3\n[limits]\nstall-seconds = 3\n[[export]]\nname = \"a\"\nimage = \"null:2M\"",
                in: folder)
            try reload(server)
            try waitUntil("the keys were named: \(server.log)") {
                // The threads of the command line go before those of the file.
                server.log.contains("only a restart takes up what has changed of: listen, [limits]")
            }
            try expectSize(2 << 20, a, in: folder)
            try nbdsh(
                [server.uri(of: "b")], "h.connect_uri(uri[0])\nassert h.pread(512, 0) == b'x' * 512", in: folder)
        }
    }

    @Test("what a restart would take up is what differs from what the server has begun with")
    func whatWasChangedBack() throws {
        let folder = try TemporaryFolder()
        let export = "[[export]]\nimage = \"null:1M\"\n"
        let file = try write("threads = 1\n" + export, in: folder)
        try serving(["--config", file, "--control", "unix:\(folder.path)/control"], in: folder) { server in
            for (threads, isNamed) in [(2, true), (3, true), (3, true), (1, false), (2, true)] {
                _ = try write("threads = \(threads)\n" + export, in: folder)
                let result = try Program.spindle.run(
                    ["ctl", "--control", "unix:\(folder.path)/control", "reload"], in: folder)
                #expect(result.status == 0, "\(result.errors)")
                let words = "only a restart takes up what has changed of: threads"
                #expect(result.text.contains(words) == isNamed, "threads = \(threads): \(result.text)")
            }
        }
    }

    @Test("a new path that the sandbox does not have is said to be one")
    func newPaths() throws {
        let folder = try TemporaryFolder()
        let other = try TemporaryFolder()
        let image = try other.file("disk.img", sizeBytes: 1 << 20)
        let file = try write("[[export]]\nname = \"a\"\nimage = \"null:1M\"", in: folder)
        for (arguments, isReached) in [([], false), (["--sandbox-path", other.path], true)] {
            _ = try write("[[export]]\nname = \"a\"\nimage = \"null:1M\"", in: folder)
            try serving(["--config", file] + arguments, in: folder) { server in
                _ = try write("[[export]]\nname = \"b\"\nimage = \"\(image)\"", in: folder)
                try reload(server)
                try waitUntil("the path was tried: \(server.log)") {
                    server.log.contains(isReached ? "added 'b'; removed 'a'" : "--sandbox-path names others")
                }
            }
        }
    }

    @Test("keys for TLS are read again for new connections")
    func keysForTLS() throws {
        let folder = try TemporaryFolder()
        let keys = folder.path + "/keys.psk"
        func write(user: String) throws {
            try Data("\(user):\(String(repeating: "ab", count: 32))\n".utf8).write(to: URL(fileURLWithPath: keys))
        }
        try write(user: "old")
        let export = "[[export]]\nimage = \"memory:1M\""
        let file = try self.write("tls = { psk = \"keys.psk\", mode = \"on\" }\n" + export, in: folder)
        try serving(["--config", file], in: folder) { server in
            func uri(_ user: String) -> String {
                "nbds+unix://\(user)@/?socket=\(server.socketPath)&tls-psk-file=\(keys)"
            }
            try expectSize(1 << 20, uri("old"), in: folder)
            try expectSize(1 << 20, server.uri, in: folder)
            try write(user: "new")
            _ = try self.write("tls = { psk = \"keys.psk\", mode = \"require\" }\n" + export, in: folder)
            try reload(server)
            try expectSize(1 << 20, uri("new"), in: folder)
            try runFailing("nbdinfo", ["--size", server.uri], in: folder)
            try write(user: "old")
            try runFailing("nbdinfo", ["--size", uri("old")], in: folder)
        }
    }

    @Test("secrets for CHAP are read again for new logins, and a bad file leaves the old ones")
    func secretsForCHAP() throws {
        let folder = try TemporaryFolder()
        func secrets(_ name: String, _ text: String) throws {
            try text.write(toFile: folder.path + "/" + name, atomically: true, encoding: .utf8)
        }
        try secrets("chap", "alice:correct-horse-1\n")
        let text = "listen = \"iscsi:127.0.0.1:0\"\nchap = \"chap\"\n[[export]]\nimage = \"memory:1M\"\n"
        let file = try write(text, in: folder)
        let server = try RunningServer(["--config", file], in: folder)
        let url = String(
            try #require(server.announcement.split(separator: " ").first { $0.hasPrefix("iscsi://") }).dropLast())
        func mayLogIn(_ user: String, _ query: String = "") throws -> Bool {
            try Program.tool("iscsi-inq").run([url.replacing("://", with: "://\(user)@") + query], in: folder).status
                == 0
        }
        #expect(try mayLogIn("alice%correct-horse-1"))
        try secrets("chap", "alice:correct-horse-2\n")
        try reload(server)
        try waitUntil("the change is told: \(server.log)") { server.log.contains("CHAP has new secrets") }
        #expect(try mayLogIn("alice%correct-horse-2"))
        #expect(try !mayLogIn("alice%correct-horse-1"))
        try secrets("chap", "alice:short\n")
        try reload(server)
        #expect(server.log.contains("nothing has changed") && server.log.contains("the secret has 5 bytes"))
        #expect(try mayLogIn("alice%correct-horse-2"))
        // Another file, and a secret of the target's own.
        try secrets("other", "bob:correct-horse-3\n")
        try secrets("own", "disks:battery-staple-2\n")
        _ = try write(text.replacing("\"chap\"", with: "\"other\"\nchap-target = \"own\""), in: folder)
        try reload(server)
        try waitUntil("the change is told: \(server.log)") {
            server.log.components(separatedBy: "CHAP has new secrets").count == 3
        }
        #expect(try mayLogIn("bob%correct-horse-3", "?target_user=disks&target_password=battery-staple-2"))
        #expect(try !mayLogIn("alice%correct-horse-2"))
        #expect(!server.log.contains("only a restart"), "\(server.log)")
    }

    @Test("keys and secrets that a server did not begin with wait for a restart, however often it reads them")
    func keysThatComeLater() throws {
        let folder = try TemporaryFolder()
        for (name, line) in [("psk", "a:" + String(repeating: "ab", count: 32)), ("chap", "alice:correct-horse-1")] {
            try (line + "\n").write(toFile: folder.path + "/" + name, atomically: true, encoding: .utf8)
        }
        let export = "[[export]]\nimage = \"memory:1M\"\n"
        let file = try write(export, in: folder)
        try serving(["--config", file], in: folder) { server in
            _ = try write("chap = \"chap\"\ntls = { psk = \"psk\" }\n" + export, in: folder)
            try reload(server)
            try waitUntil("the keys were named: \(server.log)") {
                server.log.contains("only a restart takes up what has changed of: chap, tls.mode")
            }
            try reload(server)
            try expectSize(1 << 20, server.uri, in: folder)
        }
    }

    @Test("the service manager is told")
    func serviceManager() throws {
        let folder = try TemporaryFolder()
        let file = try write("[[export]]\nimage = \"null:1M\"", in: folder)
        let manager = try ServiceManager(in: folder)
        let server = try RunningProgram(
            .tool("env"),
            [
                "NOTIFY_SOCKET=\(manager.path)", Program.spindle.path, "serve", "--config", file, "--listen",
                "unix:\(folder.path)/s",
            ], in: folder)
        #expect(manager.next() == "READY=1")
        server.signal(SIGHUP)
        let reloading = try #require(manager.next())
        #expect(reloading.wholeMatch(of: /RELOADING=1\nMONOTONIC_USEC=[0-9]+/) != nil, "\(reloading)")
        #expect(manager.next() == "READY=1")
        try server.stop()
    }
}

/// What listens to sd_notify(3).
private final class ServiceManager {
    let path: String
    private let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)

    init(in folder: TemporaryFolder) throws {
        path = folder.path + "/notify"
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(result == 0)
    }

    /// The next message; nil if none comes within ten seconds.
    func next() -> String? {
        var bytes = [UInt8](repeating: 0, count: 1024)
        while true {
            let count = recv(descriptor, &bytes, bytes.count, 0)
            if count >= 0 { return String(decoding: bytes[..<count], as: UTF8.self) }
            if errno != EINTR { return nil }
        }
    }

    deinit { close(descriptor) }
}
