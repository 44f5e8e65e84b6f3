// Access rules for iSCSI initiators: who may not open a target does not find it.

import Foundation
import Support
import Testing

@Suite struct InitiatorAccessTests {
    private static let near = "iqn.2026-11.org.example:near"
    private static let other = "iqn.2026-11.org.example:other"
    private static let notFound = HandMadeSession.LoginRefused(status: 0x0203)

    private static func server(_ text: String, in folder: TemporaryFolder) throws -> RunningServer {
        let file = folder.path + "/spindle.toml"
        try ("listen = \"iscsi:127.0.0.1:0\"\n" + text).write(toFile: file, atomically: true, encoding: .utf8)
        return try RunningServer(["--config", file, "--threads", "2"], in: folder)
    }

    /// Targets that an initiator finds, by iscsi-ls.
    private static func targets(
        _ server: RunningServer, as initiator: String, user: String = "", in folder: TemporaryFolder
    ) throws -> [String] {
        let portal = try #require(server.announcement.split(separator: " ").first { $0.hasPrefix("iscsi://") })
            .split(separator: "/")[1]
        let found = try Program.tool("iscsi-ls").run(["-i", initiator, "iscsi://\(user)\(portal)"], in: folder)
        return found.text.split(separator: "\n").compactMap { line in
            line.hasPrefix("Target:") ? String(line.dropFirst(7).prefix { $0 != " " }) : nil
        }.sorted()
    }

    /// A name that is only said is no identity.
    @Test func onlyWhatIsProvedIsAnIdentity() throws {
        let folder = try TemporaryFolder()
        let secrets = folder.path + "/chap", control = "unix:" + folder.path + "/control"
        let isMade = FileManager.default.createFile(
            atPath: secrets, contents: Data("alice:correct-horse-1\n".utf8), attributes: [.posixPermissions: 0o600])
        #expect(isMade)
        for user in ["", "alice%correct-horse-1@"] {
            let server = try RunningServer(
                ["--listen", "iscsi:127.0.0.1:0", "--log-level", "info", "--control", control, "disk=memory:1M"]
                    + (user.isEmpty ? [] : ["--chap", secrets]), in: folder)
            let url = try #require(server.announcement.split(separator: " ").first { $0.hasPrefix("iscsi://") })
            let address = String(url.dropFirst(8).dropLast())
            try run("iscsi-inq", ["-i", Self.near, "iscsi://\(user)\(address)"], in: folder)
            if user.isEmpty {
                let session = try HandMadeSession(server.announcement, initiator: Self.other)
                let table = try Program.spindle.run(["ctl", "--control", control, "connections"], in: folder).text
                let rows = table.split(separator: "\n").map { $0.split(separator: " ") }
                #expect(rows.last?[3...4] == ["-", Self.other[...]], "\(table)")
                session.connection.close()
            }
            #expect(try server.stop() == 0)
            let opened = try #require(server.log.split(separator: "\n").first { $0.contains("export opened") })
            #expect(opened.contains(" initiator=\(Self.near) "), "\(opened)")
            #expect(opened.contains(" identity=alice ") == !user.isEmpty, "\(opened)")
            #expect(opened.contains("identity=") == !user.isEmpty, "\(opened)")
        }
    }

    @Test func namesDecideWhatIsFound() throws {
        let folder = try TemporaryFolder()
        let server = try Self.server(
            """
            [[export]]
            name = "all"
            image = "memory:1M"
            [[export]]
            name = "named"
            image = "memory:1M"
            access = [{ initiator = "\(Self.near)", address = "127.0.0.0/8" }]
            [[export]]
            name = "elsewhere"
            image = "memory:1M"
            access = [{ initiator = "\(Self.near)", address = "192.0.2.0/24" }]
            [[export]]
            name = "one"
            image = "memory:1M"
            [[export]]
            name = "two"
            image = "memory:1M"
            access = [{ initiator = "\(Self.near)" }]
            [[target]]
            name = "iqn.2026-11.org.example:group"
            luns = ["one", "two"]
            [[export]]
            name = "three"
            image = "memory:1M"
            [[target]]
            name = "iqn.2026-11.org.example:closed"
            luns = ["three"]
            access = [{ initiator = "\(Self.near)" }]
            """, in: folder)
        let (all, named) = ("iqn.2026-11.org.spindle:all", "iqn.2026-11.org.spindle:named")
        let (group, closed) = ("iqn.2026-11.org.example:group", "iqn.2026-11.org.example:closed")
        #expect(try Self.targets(server, as: Self.near, in: folder) == [closed, group, all, named].sorted())
        #expect(try Self.targets(server, as: Self.other, in: folder) == [group, all].sorted())
        for (initiator, target) in [
            (Self.other, named), (Self.other, closed), (Self.near, "iqn.2026-11.org.spindle:elsewhere"),
        ] {
            #expect(throws: Self.notFound) {
                _ = try HandMadeSession(server.announcement, initiator: initiator, target: target)
            }
        }
        #expect(server.log.contains("no access rule of the target lets the initiator in"), "\(server.log)")
        // Of a target with several units, each initiator has those that it may open.
        for (initiator, units) in [(Self.near, [UInt8(0), 1]), (Self.other, [0])] {
            let session = try HandMadeSession(server.announcement, initiator: initiator, target: group)
            let cdb: [UInt8] = [0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
            let data = try session.perform(cdb, expecting: 256).data
            #expect(stride(from: 8, to: data.count, by: 8).map { data[$0 + 1] } == units)
            let status = try session.perform([0, 0, 0, 0, 0, 0], unit: 1)
            #expect(status.sense == (units.count == 2 ? [6, 0x29, 0] : [5, 0x25, 0]))
        }
        // Rules about initiators keep clients of NBD out.
        let info = try Program.tool("nbdinfo").run(["nbd+unix:///named?socket=\(server.socketPath)"], in: folder)
        #expect(info.status != 0)
    }

    @Test func provenNamesDecide() throws {
        let folder = try TemporaryFolder()
        try "alice:correct-horse-1\nbob:correct-horse-2\n".write(
            toFile: folder.path + "/chap", atomically: true, encoding: .utf8)
        let server = try Self.server(
            """
            chap = "chap"
            [[export]]
            name = "all"
            image = "memory:1M"
            [[export]]
            name = "hers"
            image = "memory:1M"
            access = [{ chap-user = "alice" }]
            [[export]]
            name = "both"
            image = "memory:1M"
            access = [{ chap-user = "bob", initiator = "\(Self.near)" }, { chap-user = "alice" }]
            """, in: folder)
        func found(_ initiator: String, _ user: String) throws -> [String] {
            try Self.targets(server, as: initiator, user: user, in: folder).map {
                String($0.split(separator: ":")[1])
            }
        }
        #expect(try found(Self.other, "alice%correct-horse-1@") == ["all", "both", "hers"])
        #expect(try found(Self.near, "bob%correct-horse-2@") == ["all", "both"])
        #expect(try found(Self.other, "bob%correct-horse-2@") == ["all"])
        #expect(try found(Self.near, "") == [])
    }

    @Test(arguments: [
        ("{ chap-user = \"alice\" }", "the server needs chap"),
        ("{ initiator = \"host\" }", "'host' is no name of an initiator"),
        ("{ initiator = \"\(near)\", user = 0 }", "nobody could meet the rule"),
    ])
    func rulesThatNobodyMeetsAreTold(rule: String, message: String) throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/spindle.toml"
        try "[[export]]\nimage = \"memory:1M\"\naccess = [\(rule)]\n".write(
            toFile: file, atomically: true, encoding: .utf8)
        let result = try Program.spindle.run(["check", file], in: folder)
        #expect(result.status != 0 && result.errors.contains(message), "\(result.errors)")
    }
}
