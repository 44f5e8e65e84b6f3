// [[target]] tables: several exports as logical units of one target, for initiators that others wrote and one by hand.

import Foundation
import Support
import Testing

@Suite struct TargetTableTests {
    private static let target = "iqn.2026-11.org.example:group"

    private static func text(_ units: String, _ exports: [String] = ["system", "data", "more"]) -> String {
        "listen = \"iscsi:127.0.0.1:0\"\n"
            + exports.enumerated().map { "[[export]]\nname = \"\($1)\"\nimage = \"memory:\($0 + 1)M\"\n" }.joined()
            + "[[target]]\nname = \"\(target)\"\nluns = [\(units)]\n"
    }

    private static func server(
        _ text: String, _ more: [String] = [], in folder: TemporaryFolder
    ) throws -> (RunningServer, file: String) {
        let file = folder.path + "/spindle.toml"
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        return (try RunningServer(["--config", file, "--threads", "3"] + more, in: folder), file)
    }

    @Test func aTargetHasSeveralUnits() throws {
        let folder = try TemporaryFolder()
        let (server, _) = try Self.server(Self.text("\"data\", \"\", \"system\""), in: folder)
        let portal = try #require(server.announcement.split(separator: " ").first { $0.hasPrefix("iscsi://") })
            .split(separator: "/").prefix(2).joined(separator: "//")
        #expect(
            server.announcement.contains("/\(Self.target)/0:") && server.announcement.contains("/\(Self.target)/2:"))
        let found = try Program.tool("iscsi-ls").run(["-s", portal], in: folder)
        #expect(found.text.components(separatedBy: Self.target).count == 2, "\(found.text)")
        #expect(found.text.contains("Lun:0    Type:DIRECT_ACCESS (Size:1M)"), "\(found.text)")
        #expect(found.text.contains("Lun:2    Type:DIRECT_ACCESS (Size:1023k)"), "\(found.text)")
        #expect(!found.text.contains("Lun:1 "), "\(found.text)")
        #expect(found.text.contains("Target:iqn.2026-11.org.spindle:more "), "\(found.text)")
        #expect(!found.text.contains("spindle:data") && !found.text.contains("spindle:system"), "\(found.text)")
    }

    /// An export says the whole name of its target.
    @Test func anExportNamesItsTarget() throws {
        let folder = try TemporaryFolder()
        let name = "iqn.2001-04.com.example:storage.disk2"
        let (server, _) = try Self.server(
            "listen = \"iscsi:127.0.0.1:0\"\n[[export]]\nname = \"data\"\nimage = \"memory:3M\"\n"
                + "target = \"\(name)\"\n", in: folder)
        let url = try #require(server.announcement.split(separator: " ").first { $0.hasPrefix("iscsi://") }).dropLast()
        #expect(url.hasSuffix("/\(name)/0"), "\(server.announcement)")
        try run("iscsi-inq", [String(url)], in: folder)
        let portal = url.split(separator: "/").prefix(2).joined(separator: "//")
        let found = try run("iscsi-ls", [portal], in: folder)
        #expect(found.hasPrefix("Target:\(name) ") && found.split(separator: "\n").count == 1, "\(found)")
        #expect(try HandMadeSession(server.announcement, target: name).lastBlock(unit: 0) == 3 * 2048 - 1)
        #expect(throws: HandMadeSession.LoginRefused(status: 0x0203)) {
            _ = try HandMadeSession(server.announcement, target: "iqn.2026-11.org.spindle:data")
        }
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// Each command goes to the unit that it names; one that is not there says so.
    @Test func commandsReachTheirUnits() throws {
        let folder = try TemporaryFolder()
        let (server, _) = try Self.server(Self.text("\"\", \"data\", \"system\""), in: folder)
        let session = try HandMadeSession(server.announcement, target: Self.target)
        for unit: UInt8 in [1, 2] { #expect(try session.ready(unit: unit).sense == [6, 0x29, 0]) }
        #expect(try session.inventory() == [1, 2])
        #expect(try session.inventory(unit: 2) == [1, 2])
        #expect(try session.lastBlock(unit: 1) == 4095)
        #expect(try session.lastBlock(unit: 2) == 2047)
        for unit: UInt8 in [0, 3] {
            #expect(try session.ready(unit: unit).sense == HandMadeSession.isAbsent)
            // Peripheral qualifier 011b, device type 1Fh.
            #expect(try session.perform([0x12, 0, 0, 0, 36, 0], unit: unit, expecting: 36).data.first == 0x7F)
        }
        let block = [UInt8](repeating: 0x5A, count: 512)
        #expect(try session.perform([0x2A, 0, 0, 0, 0, 3, 0, 0, 1, 0], unit: 1, out: block) == .good)
        let read: [UInt8] = [0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0]
        #expect(try session.perform(read, unit: 1, expecting: 512).data == block)
        #expect(try session.perform(read, unit: 2, expecting: 512).data == [UInt8](repeating: 0, count: 512))
        // Page 83h has the name of the target that has both.
        for unit: UInt8 in [1, 2] {
            let page = try session.perform([0x12, 1, 0x83, 4, 0, 0], unit: unit, expecting: 1024).data
            #expect(String(decoding: page, as: UTF8.self).contains("\(Self.target),t,0x0001"))
        }
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// A reload takes units away and brings others: the session goes on, and is told.
    @Test func unitsComeAndGo() throws {
        let folder = try TemporaryFolder()
        let control = "unix:" + folder.path + "/control"
        let (server, file) = try Self.server(
            Self.text("\"system\", \"data\""), ["--control", control], in: folder)
        func reload(_ text: String) throws {
            try text.write(toFile: file, atomically: true, encoding: .utf8)
            let result = try Program.spindle.run(["ctl", "--control", control, "reload"], in: folder)
            #expect(result.status == 0, "\(result.errors)")
        }
        let session = try HandMadeSession(server.announcement, target: Self.target)
        #expect(try session.ready(unit: 1).sense == [6, 0x29, 0])
        #expect(try session.inventory() == [0, 1])
        // The first one goes.
        try reload(Self.text("\"\", \"data\"", ["other", "data"]))
        #expect(try session.ready(unit: 0).sense == HandMadeSession.isAbsent)
        #expect(try session.ready(unit: 1).sense == HandMadeSession.hasOtherUnits)
        #expect(try session.ready(unit: 1) == .good)
        #expect(try session.inventory() == [1])
        // Two come. Who has read REPORT LUNS need not be told.
        try reload(Self.text("\"system\", \"data\", \"more\"", ["other", "data", "system", "more"]))
        try waitUntil("the units are there") { try session.inventory() == [0, 1, 2] }
        #expect(try session.ready(unit: 1) == .good)
        #expect(try session.ready(unit: 2).sense == [6, 0x29, 0])
        #expect(try session.lastBlock(unit: 2) == 4 * 2048 - 1)
        #expect(try session.lastBlock(unit: 1) == 4095)
        // The whole target goes, and so does the session, after an Asynchronous Message.
        try reload(Self.text("\"other\"", ["other"]))
        #expect(try session.receive().header[0] == 0x32)
        #expect(session.connection.isClosedByServer())
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// A logical unit reset is for one unit, a target reset for all.
    @Test func resetsAreForTheirUnits() throws {
        let folder = try TemporaryFolder()
        let (server, _) = try Self.server(Self.text("\"system\", \"data\""), in: folder)
        let session = try HandMadeSession(server.announcement, target: Self.target)
        #expect(try session.ready(unit: 1).sense == [6, 0x29, 0])
        #expect(try session.manage(function: 5, unit: 1) == 0)
        #expect(try session.ready(unit: 0) == .good)
        #expect(try session.ready(unit: 1).sense == [6, 0x29, 0])
        #expect(try session.manage(function: 6, unit: 0) == 0)
        for unit: UInt8 in [0, 1] { #expect(try session.ready(unit: unit).sense == [6, 0x29, 0]) }
        // LUN does not exist.
        #expect(try session.manage(function: 5, unit: 9) == 2)
    }

    /// CLEAR TASK SET ends the commands of all initiators, for a unit has one task set: those that had some are told
    /// (SAM-5, CLEAR TASK SET; RFC 7143, 11.5.1).
    @Test func clearTaskSetIsForAllInitiators() throws {
        let folder = try TemporaryFolder()
        let (server, _) = try Self.server(Self.text("\"system\", \"data\""), in: folder)
        func session(_ name: String) throws -> HandMadeSession {
            try HandMadeSession(
                server.announcement, initiator: "iqn.2026-11.org.example:\(name)", target: Self.target)
        }
        let one = try session("one"), two = try session("two"), idle = try session("idle")
        #expect(try two.ready(unit: 1).sense == [6, 0x29, 0])
        // One write for each unit, whose data are still to come.
        var transfers: [[UInt8]] = []
        for unit: UInt8 in [0, 1] {
            try two.command(
                number: 3 + UInt32(unit), flags: 0xA0, expected: 512, [0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0], unit: unit)
            let header = try two.receive().header
            #expect(header[0] == 0x31)
            transfers.append(Array(header[20..<24]))
        }
        #expect(try one.manage(function: 4, unit: 0) == 0)
        // The data are taken all the same.
        let cleared: [UInt8] = [6, 0x2F, 0]
        for unit in [0, 1] {
            try two.sendData(of: UInt32(3 + unit), transfer: transfers[unit], unit: UInt8(unit), count: 512)
            let ending = try two.end()
            #expect(unit == 0 ? ending.sense == cleared : ending == .good, "\(unit): \(ending)")
        }
        try two.command(number: 5, flags: 0x80, [0, 0, 0, 0, 0, 0])
        #expect(try two.end().sense == cleared)
        try two.command(number: 6, flags: 0x80, [0, 0, 0, 0, 0, 0])
        #expect(try two.end() == .good)
        // Nothing of theirs was ended.
        for other in [one, idle] { #expect(try other.ready(unit: 0) == .good) }
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// A reset of another initiator has ended a write whose data still come. Its own reset ends it for good: nothing is
    /// said of it any more behind the response to that (SAM-5, LOGICAL UNIT RESET; RFC 7143, 11.6).
    @Test func twoResetsEndAWrite() throws {
        let folder = try TemporaryFolder()
        let (server, _) = try Self.server(Self.text("\"system\", \"data\""), in: folder)
        func session(_ name: String) throws -> HandMadeSession {
            try HandMadeSession(
                server.announcement, initiator: "iqn.2026-11.org.example:\(name)", target: Self.target)
        }
        let one = try session("one"), two = try session("two")
        // Two bursts, each with an R2T of its own.
        try two.command(number: 2, flags: 0xA0, expected: 512 << 10, [0x2A, 0, 0, 0, 0, 0, 0, 4, 0, 0])
        let asked = try two.receive().header
        #expect(asked[0] == 0x31)
        #expect(try one.manage(function: 5, unit: 0) == 0)
        #expect(try two.manage(function: 5, unit: 0) == 0)
        try two.sendData(of: 2, transfer: Array(asked[20..<24]), unit: 0, count: 256 << 10)
        try two.command(number: 3, flags: 0x80, [0, 0, 0, 0, 0, 0])
        let next = try two.receive()
        #expect(next.header[0] == 0x21 && next.header[19] == 3, "\(next.header)")
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// TARGET COLD RESET ends all sessions of its target (RFC 7143, 11.5.1, 11.6.1), and what they have begun. Who has
    /// asked for it hears of that first. Sessions of other targets go on.
    @Test func aColdResetEndsAllSessionsOfItsTarget() throws {
        let folder = try TemporaryFolder()
        let (server, _) = try Self.server(Self.text("\"system\", \"data\""), in: folder)
        func session(_ name: String, _ target: String = Self.target) throws -> HandMadeSession {
            try HandMadeSession(server.announcement, initiator: "iqn.2026-11.org.example:\(name)", target: target)
        }
        let one = try session("one"), two = try session("two")
        let other = try session("one", "iqn.2026-11.org.spindle:more")
        // RESERVE (6), and a write whose data are still to come.
        #expect(try two.perform([0x16, 0, 0, 0, 0, 0]) == .good)
        try two.command(number: 3, flags: 0xA0, expected: 512, [0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0])
        #expect(try two.receive().header[0] == 0x31)
        #expect(try one.manage(function: 7, unit: 0) == 0)
        for ended in [one, two] { #expect(ended.connection.isClosedByServer()) }
        #expect(server.log.contains("reason=\"an initiator has reset its target\""), "\(server.log)")
        #expect(try other.ready(unit: 0) == .good)
        #expect(try session("one").perform([0x16, 0, 0, 0, 0, 0]) == .good)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    @Test(arguments: [
        ("\"system\", \"system\"", "'system' is a logical unit already"),
        ("\"\"", "it has no export"), ("", "it has no export"),
        (Array(repeating: "\"\"", count: 65).joined(separator: ","), "at most 64 logical units, and these are 65"),
    ])
    func mistakesAreTold(units: String, message: String) throws {
        let folder = try TemporaryFolder()
        try check(Self.text(units), message, in: folder)
    }

    @Test func namesThatCollideAreTold() throws {
        let folder = try TemporaryFolder()
        let two = Self.text("\"system\"")
        try check(
            two + "[[target]]\nname = \"\(Self.target)\"\nluns = [\"data\"]\n", "a [[target]] before it has this name",
            in: folder)
        let taken = "[[export]]\nname = \"x\"\nimage = \"memory:1M\"\ntarget = \"iqn.2026-11.org.spindle:data\"\n"
        try check(two + taken, "is that of export 'data'", in: folder)
        let pair = ["x", "y"].map {
            "[[export]]\nname = \"\($0)\"\nimage = \"memory:1M\"\ntarget = \"iqn.a:pair\"\nlun = 1\n"
        }
        try check(
            two + pair.joined(), "LUN 1 of 'iqn.a:pair' is export 'x' already; give one of them another lun", in: folder
        )
        try check(
            two + "[[export]]\nname = \"x\"\nimage = \"memory:1M\"\ntarget = \"\(Self.target)\"\n",
            "lun = NUMBER says which this is", in: folder)
        try check(
            two.replacing("name = \"data\"", with: "name = \"data\"\ntarget = \"iqn.a:b\"").replacing(
                "[\"system\"]", with: "[\"data\"]"), "leave its own key target out", in: folder)
        // Without initiators, nobody needs the names.
        try (two + taken).replacing("iscsi:127.0.0.1:0", with: "tcp:127.0.0.1:0")
            .write(toFile: folder.path + "/nbd.toml", atomically: true, encoding: .utf8)
        #expect(try Program.spindle.run(["check", folder.path + "/nbd.toml"], in: folder).status == 0)
    }

    /// Two tables of one name are one mistake, and not the exports' too.
    @Test func aSecondTableIsOneMistake() throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/spindle.toml"
        let second = "[[target]]\nname = \"\(Self.target)\"\nluns = [\"more\"]\n"
        try (Self.text("\"system\"") + second).write(toFile: file, atomically: true, encoding: .utf8)
        let result = try Program.spindle.run(["check", file], in: folder)
        #expect(
            result.errors == "\(file):15: target '\(Self.target)'.name: a [[target]] before it has this name, too; "
                + "one has all units of a target\n")
    }

    /// Files that come later are served in any case, and only where there are initiators one is told that a target's
    /// name is taken, or that there is none.
    @Test(arguments: [("iscsi:127.0.0.1:0", 2), ("tcp:127.0.0.1:0", 0)])
    func exportsWithoutATargetAreTold(endpoint: String, warnings: Int) throws {
        let folder = try TemporaryFolder()
        let files = folder.path + "/files"
        try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: false)
        // A name that is made of another's, on purpose, and one that is too long.
        for name in ["Disk", "disk-5023b6e2", "disk", String(repeating: "x", count: 230)] {
            try Data(count: 1 << 20).write(to: URL(fileURLWithPath: files + "/" + name))
        }
        let server = try RunningServer(["--listen", endpoint, "dir:" + files], in: folder)
        #expect(try server.stop() == 0, "\(server.log)")
        let lines = server.log.split(separator: "\n")
        #expect(lines.count { $0.contains("has no iSCSI target") } == warnings, "\(server.log)")
    }

    private func check(_ text: String, _ message: String, in folder: TemporaryFolder) throws {
        let file = folder.path + "/spindle.toml"
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        let result = try Program.spindle.run(["check", file], in: folder)
        #expect(result.status != 0 && result.errors.contains(message), "\(result.errors)\(result.text)")
    }
}
