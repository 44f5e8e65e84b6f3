// Initiators that others wrote, at an iSCSI endpoint of a server: libiscsi's tools, and QEMU's block layer.

import Foundation
import Support
import Testing

@Suite struct ISCSIInitiatorTests {
    /// A server with an iSCSI endpoint, the URL of whose first target is known.
    private struct Target {
        let server: RunningServer
        let url: String
        let portal: String

        /// The target in QEMU's words, for which a URL has no room.
        var options: String {
            let parts = url.split(separator: "/")
            return
                "driver=raw,file.driver=iscsi,file.transport=tcp,file.portal=\(parts[1]),file.target=\(parts[2]),file.lun=0"
        }

        init(_ arguments: [String], in folder: TemporaryFolder) throws {
            server = try RunningServer(["--listen", "iscsi:127.0.0.1:0"] + arguments, in: folder)
            let words = server.announcement.split(separator: " ")
            url = String(try #require(words.first { $0.hasPrefix("iscsi://") }).dropLast())
            portal = url.split(separator: "/").prefix(2).joined(separator: "//")
        }
    }

    @Test func anInitiatorFindsTheTargetsAndTheirUnits() throws {
        let folder = try TemporaryFolder()
        let target = try Target(["--threads", "2", "Disk_1=memory:64M", "b=memory:3G"], in: folder)
        let found = try Program.tool("iscsi-ls").run(["-s", target.portal], in: folder)
        #expect(found.status == 0, "\(found.errors)")
        #expect(
            found.text.contains("Target:iqn.2026-11.org.spindle:disk-1-dcecaa0b Portal:127.0.0.1:"), "\(found.text)")
        #expect(found.text.contains("Target:iqn.2026-11.org.spindle:b "))
        #expect(found.text.contains("Lun:0    Type:DIRECT_ACCESS (Size:63M)"))
        #expect(found.text.contains("Lun:0    Type:DIRECT_ACCESS (Size:2G)"))
        let capacity = try Program.tool("iscsi-readcapacity16").run([target.url], in: folder)
        #expect(capacity.text.contains("RETURNED LOGICAL BLOCK ADDRESS:131071"))
        #expect(capacity.text.contains("Total size:67108864"))
        let inquiry = try Program.tool("iscsi-inq").run([target.url], in: folder)
        #expect(inquiry.text.contains("Vendor:ATA     \nProduct:QEMU HARDDISK   \nRevision:2.5+"))
    }

    @Test(arguments: ["none", "crc32c"])
    func dataGoThereAndBack(headerDigest: String) throws {
        let folder = try TemporaryFolder()
        let image = folder.path + "/image", source = folder.path + "/source", copy = folder.path + "/copy"
        let bytes = [UInt8]((0..<48 << 20).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) })
        try Data(bytes).write(to: URL(fileURLWithPath: source))
        try Data(count: bytes.count).write(to: URL(fileURLWithPath: image))
        let target = try Target(["--threads", "2", "disk=\(image)"], in: folder)
        let disk = target.options + ",file.header-digest=\(headerDigest)"
        // Requests of 2 MiB, sixteen at a time: more than a connection has memory for, and each asks for its data.
        let there = try Program.tool("qemu-img").run(
            ["convert", "-n", "-W", "-m", "16", "-f", "raw", "--target-image-opts", source, disk], in: folder)
        #expect(there.status == 0 && there.errors == "", "\(there.errors)")
        #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: image))) == bytes)
        let back = try Program.tool("qemu-img").run(
            ["convert", "-m", "16", "--image-opts", "-O", "raw", disk, copy], in: folder)
        #expect(back.status == 0 && back.errors == "", "\(back.errors)")
        #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: copy))) == bytes)
    }

    @Test func oneDriveIsBehindBothFrontEnds() throws {
        let folder = try TemporaryFolder()
        let target = try Target(["--threads", "2", "disk=memory:64M"], in: folder)
        let io = try Program.tool("qemu-io")
        for (first, second, pattern) in [
            (target.server.uri, target.url, "0x5a"), (target.url, target.server.uri, "0xa5"),
        ] {
            let written = try io.run(["-f", "raw", "-c", "write -P \(pattern) 1M 1M", first], in: folder)
            #expect(written.status == 0, "\(written.text)")
            let read = try io.run(["-f", "raw", "-c", "read -P \(pattern) 1M 1M", second], in: folder)
            #expect(read.status == 0 && !read.text.contains("verification failed"), "\(read.text)")
        }
    }

    @Test func whoAsksForAnotherTargetIsTold() throws {
        let folder = try TemporaryFolder()
        let target = try Target(["--target-prefix", "iqn.2026-11.org.example", "disk=memory:64M"], in: folder)
        #expect(target.url.hasSuffix("/iqn.2026-11.org.example:disk/0"))
        let asked = try Program.tool("iscsi-inq").run([target.url.replacing(":disk/", with: ":disc/")], in: folder)
        #expect(asked.status != 0 && asked.errors.contains("Target not found"), "\(asked.errors)")
        let refused = "login failed"
        #expect(target.server.log.contains(refused) && target.server.log.contains("there is no target"))
    }

    /// CHAP both ways, in libiscsi's words for it.
    @Test func anInitiatorProvesWhoItIs() throws {
        let folder = try TemporaryFolder()
        let secrets = folder.path + "/secrets", own = folder.path + "/own"
        try "# initiators\niqn.2026-11.org.example:alice:correct-horse-1\n".write(
            toFile: secrets, atomically: true, encoding: .utf8)
        try "disks:battery-staple-2\n".write(toFile: own, atomically: true, encoding: .utf8)
        let target = try Target(["--chap", secrets, "--chap-target", own, "disk=memory:64M"], in: folder)
        // Whoever can read the file can be alice.
        #expect(target.server.log.contains("can read the keys in '\(secrets)'"), "\(target.server.log)")
        func asks(_ user: String?, _ query: String = "") throws -> ProgramResult {
            let url = target.url.replacing("iscsi://", with: "iscsi://" + (user.map { $0 + "@" } ?? "")) + query
            return try Program.tool("iscsi-inq").run([url], in: folder)
        }
        let alice = "iqn.2026-11.org.example:alice%correct-horse-1"
        #expect(try asks(alice).status == 0)
        #expect(try asks(alice, "?target_user=disks&target_password=battery-staple-2").status == 0)
        for (user, query) in [
            (nil, ""), ("iqn.2026-11.org.example:alice%correct-horse-2", ""), ("bob%correct-horse-1", ""),
            (alice, "?target_user=disks&target_password=battery-staple-3"),
        ] {
            #expect(try asks(user, query).status != 0, "\(user ?? "nobody")\(query)")
        }
        // A list of targets is for those as well who have said who they are.
        let portal = target.portal
        #expect(try Program.tool("iscsi-ls").run([portal], in: folder).status != 0)
        let found = try Program.tool("iscsi-ls").run([portal.replacing("://", with: "://\(alice)@")], in: folder)
        #expect(found.text.contains("Target:iqn.2026-11.org.spindle:disk"))
    }

    /// CHAP in QEMU's words for it, as docs/iscsi.md has them.
    @Test func qemuProvesWhoItIs() throws {
        let folder = try TemporaryFolder()
        let secrets = folder.path + "/secrets", secret = folder.path + "/secret"
        let alice = "iqn.2026-11.org.example:alice"
        try "\(alice):correct-horse-1\n".write(toFile: secrets, atomically: true, encoding: .utf8)
        let target = try Target(["--chap", secrets, "disk=memory:64M"], in: folder)
        func run(_ tool: String, _ command: [String], user: String, _ password: String) throws -> ProgramResult {
            try password.write(toFile: secret, atomically: true, encoding: .utf8)
            let disk = target.options + ",file.user=\(user),file.password-secret=chap"
            return try Program.tool(tool).run(
                command + ["--object", "secret,id=chap,file=\(secret)", "--image-opts", disk], in: folder)
        }
        let info = try run("qemu-img", ["info"], user: alice, "correct-horse-1")
        #expect(info.status == 0 && info.text.contains("virtual size: 64 MiB"), "\(info.text)\(info.errors)")
        let write = ["-c", "write -P 0x5a 1M 1M", "-c", "read -P 0x5a 1M 1M"]
        let written = try run("qemu-io", write, user: alice, "correct-horse-1")
        #expect(written.status == 0 && written.text.contains("read 1048576/1048576 bytes"), "\(written.text)")
        for (user, password) in [(alice, "correct-horse-2"), ("bob", "correct-horse-1")] {
            let refused = try run("qemu-img", ["info"], user: user, password)
            #expect(refused.status != 0 && refused.errors.contains("Authentication failure"), "\(refused.errors)")
        }
    }

    /// A session of a user who has proved to be that is begun anew by that user alone, whoever says its name and ISID.
    @Test func nobodyTakesOverTheSessionOfAnother() throws {
        let folder = try TemporaryFolder()
        let secrets = folder.path + "/secrets", hashed = folder.path + "/hashed"
        try "alice:correct-horse-1\nbob:correct-horse-2\n".write(toFile: secrets, atomically: true, encoding: .utf8)
        let target = try Target(["--chap", secrets, "disk=memory:1M"], in: folder)
        func receive(_ connection: RawConnection) throws -> (header: [UInt8], text: String) {
            let header = try connection.receive(48)
            let count = Int(header[6]) << 8 | Int(header[7])
            return (header, String(decoding: try connection.receive((count + 3) & ~3), as: UTF8.self))
        }
        /// Status-Class and Status-Detail of a login.
        func logIn(_ user: String, _ secret: String) throws -> (connection: RawConnection, status: [UInt8]) {
            let connection = try RawConnection(port: try HandMadeSession.port(target.server.announcement))
            let names = ["InitiatorName=iqn.2026-11.org.example:hand", "TargetName=iqn.2026-11.org.spindle:disk"]
            try connection.send(HandMadeSession.login(flags: 0, names + ["AuthMethod=CHAP"]))
            _ = try receive(connection)
            try connection.send(HandMadeSession.login(flags: 0, ["CHAP_A=5"]))
            let question = try receive(connection).text.split(separator: "\0").map { $0.split(separator: "=") }
            func value(_ key: String) throws -> String { String(try #require(question.first { $0[0] == key })[1]) }
            let digits = Array(try value("CHAP_C").dropFirst(2))
            let challenge = stride(from: 0, to: digits.count, by: 2).compactMap {
                UInt8(String(digits[$0...$0 + 1]), radix: 16)
            }
            let identifier = try #require(UInt8(try value("CHAP_I")))
            try Data([identifier] + Array(secret.utf8) + challenge).write(to: URL(fileURLWithPath: hashed))
            let hash = try Program.tool("md5sum").run([hashed], in: folder).text.prefix(32)
            try connection.send(HandMadeSession.login(flags: 0x83, ["CHAP_N=\(user)", "CHAP_R=0x\(hash)"]))
            let header = try receive(connection).header
            return (connection, Array(header[36...37]))
        }
        let first = try logIn("alice", "correct-horse-1")
        #expect(first.status == [0, 0])
        #expect(try logIn("bob", "correct-horse-2").status == [2, 2])
        let words = "a session of 'alice' has its name and ISID, and it has proved to be 'bob'"
        #expect(target.server.log.contains(words), "\(target.server.log)")
        #expect(!target.server.log.contains("session anew"), "\(target.server.log)")
        // Alice herself begins it anew.
        #expect(try logIn("alice", "correct-horse-1").status == [0, 0])
        #expect(target.server.log.contains("its initiator has begun the session anew"), "\(target.server.log)")
    }

    /// Each login has a challenge of its own (RFC 7143, 12.1.3), as long as MD5's digest.
    @Test func noChallengeComesTwice() throws {
        let folder = try TemporaryFolder()
        let secrets = folder.path + "/secrets"
        try "alice:correct-horse-1\n".write(toFile: secrets, atomically: true, encoding: .utf8)
        let target = try Target(["--chap", secrets, "disk=memory:1M"], in: folder)
        func challenge() throws -> String {
            let connection = try RawConnection(port: try HandMadeSession.port(target.server.announcement))
            var text = ""
            for pairs in [
                ["InitiatorName=iqn.2026-11.org.example:hand", "SessionType=Discovery", "AuthMethod=CHAP"],
                ["CHAP_A=5"],
            ] {
                try connection.send(HandMadeSession.login(flags: 0, pairs))
                let header = try connection.receive(48)
                try #require(header[0] == 0x23 && header[36] == 0, "\(header)")
                let count = Int(header[6]) << 8 | Int(header[7])
                text = String(decoding: try connection.receive((count + 3) & ~3), as: UTF8.self)
            }
            return String(try #require(text.split(separator: "\0").first { $0.hasPrefix("CHAP_C=") }).dropFirst(7))
        }
        let challenges = try (0..<8).map { _ in try challenge() }
        #expect(Set(challenges).count == 8, "\(challenges)")
        #expect(challenges.allSatisfy { $0.hasPrefix("0x") && $0.count >= 34 }, "\(challenges)")
    }

    @Test(arguments: [
        ("", "there is no secret in"), ("alice", "secrets': it is no NAME:SECRET: there is no colon"),
        ("\nalice:short", "the secret has 5 bytes"),
        ("a:correct-horse-1\na:correct-horse-2", "secrets': the name has a secret already"),
    ])
    func secretsThatAreNone(text: String, message: String) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/secrets"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        let result = try Program.spindle.run(
            ["serve", "--listen", "iscsi:127.0.0.1:0", "--chap", path, "disk=memory:1M"], in: folder)
        #expect(result.status != 0 && result.errors.contains(message), "\(result.errors)")
    }

    /// Who speaks something else costs nobody anything.
    @Test func aClientOfAnotherProtocolIsCutOff() throws {
        let folder = try TemporaryFolder()
        let target = try Target(["disk=memory:64M"], in: folder)
        let port = try #require(UInt16(target.portal.split(separator: ":").last ?? ""))
        let connection = try RawConnection(port: port)
        try connection.send(Array("GET / HTTP/1.1\r\nHost: here\r\nUser-Agent: somebody else\r\n\r\n".utf8))
        #expect(connection.isClosedByServer())
        #expect(target.server.log.contains("client cut off"), "\(target.server.log)")
        #expect(try Program.tool("iscsi-inq").run([target.url], in: folder).status == 0)
    }
}
