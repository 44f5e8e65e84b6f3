// Logical units that come later than their target: files of a directory, and exports of `spindle ctl add`.

import Foundation
import Support
import Testing

@Suite struct LaterUnitTests {
    private static let target = "iqn.2026-11.org.example:group"
    private static let powerOn: [UInt8] = [6, 0x29, 0]

    /// A server whose target has one unit, and waits for two others.
    private final class Served {
        let folder: TemporaryFolder
        let server: RunningServer
        private let control: String
        private let file: String
        var files: String { folder.path + "/files" }

        init(_ table: String = "luns = [\"system\", \"file\", \"added\"]") throws {
            folder = try TemporaryFolder()
            file = folder.path + "/spindle.toml"
            control = "unix:" + folder.path + "/control"
            try FileManager.default.createDirectory(
                atPath: folder.path + "/files", withIntermediateDirectories: false)
            try Self.text(table).write(toFile: file, atomically: true, encoding: .utf8)
            server = try RunningServer(["--config", file, "--threads", "3", "--control", control], in: folder)
        }

        private static func text(_ table: String) -> String {
            "listen = \"iscsi:127.0.0.1:0\"\n[[export]]\nname = \"system\"\nimage = \"memory:1M\"\n"
                + "[[directory]]\npath = \"files\"\n[[target]]\nname = \"\(target)\"\n\(table)\n"
        }

        func ctl(_ arguments: String...) throws -> ProgramResult {
            try Program.spindle.run(["ctl", arguments[0], "--control", control] + arguments.dropFirst(), in: folder)
        }

        func reload(_ table: String) throws -> ProgramResult {
            try Self.text(table).write(toFile: file, atomically: true, encoding: .utf8)
            return try ctl("reload")
        }

        func session(isid: UInt8 = 1, initiator: String = "iqn.2026-11.org.example:hand") throws -> HandMadeSession {
            try HandMadeSession(server.announcement, initiator: initiator, isid: isid, target: target)
        }

        /// Moves a file into the directory.
        func bring(megabytes: Int) throws {
            try Data(count: megabytes << 20).write(to: URL(fileURLWithPath: folder.path + "/new"))
            try #require(rename(folder.path + "/new", files + "/file") == 0)
        }
    }

    private func waitForNews(_ session: HandMadeSession) throws {
        try waitUntil("the session is told of other units") {
            try session.ready(unit: 0).sense == HandMadeSession.hasOtherUnits
        }
    }

    @Test func unitsComeWithTheirExports() throws {
        let served = try Served()
        #expect(served.server.log.contains("no export is named 'file' now: LUN 1 comes when one is"))
        let session = try served.session()
        #expect(try session.inventory() == [0])
        try served.bring(megabytes: 2)
        try waitForNews(session)
        #expect(try session.inventory() == [0, 1])
        #expect(try session.ready(unit: 1).sense == Self.powerOn)
        #expect(try session.lastBlock(unit: 1) == 4095)
        let added = try served.ctl("add", "added=memory:3M")
        #expect(added.status == 0, "\(added.errors)")
        try waitForNews(session)
        #expect(try session.inventory() == [0, 1, 2])
        #expect(try served.ctl("remove", "--force", "added").status == 0)
        try waitForNews(session)
        #expect(try session.inventory() == [0, 1])
        #expect(try session.ready(unit: 2).sense == HandMadeSession.isAbsent)
        #expect(try served.server.stop() == 0, "\(served.server.log)")
    }

    /// Who has the unit of a removed file keeps it, as clients of NBD do; another file of that name is for others.
    @Test func aRemovedFileStaysWithItsSessions() throws {
        let served = try Served()
        try served.bring(megabytes: 2)
        let old = try served.session()
        try waitUntil("the file is there") { try old.inventory() == [0, 1] }
        #expect(unlink(served.files + "/file") == 0)
        try waitUntil("the file is gone") { try served.session(isid: 2).inventory() == [0] }
        try served.bring(megabytes: 5)
        try waitUntil("another one is there") { try served.session(isid: 2).inventory() == [0, 1] }
        let new = try served.session(isid: 2)
        #expect(try new.ready(unit: 1).sense == Self.powerOn)
        #expect(try new.lastBlock(unit: 1) == 5 * 2048 - 1)
        #expect(try old.inventory() == [0, 1])
        #expect(try old.ready(unit: 1).sense == Self.powerOn)
        #expect(try old.lastBlock(unit: 1) == 4095)
        #expect(try served.server.stop() == 0, "\(served.server.log)")
    }

    @Test func anExportSaysItsPlace() throws {
        let near = "iqn.2026-11.org.example:near"
        let served = try Served("luns = [\"\", \"system\"]\naccess = [{ initiator = \"\(near)\" }]")
        let session = try served.session(initiator: near)
        #expect(try session.inventory(unit: 1) == [1])
        #expect(try served.ctl("add", "--target", Self.target, "--lun", "5", "x=memory:2M").status == 0)
        try waitUntil("the session has both") { try session.inventory(unit: 1) == [1, 5] }
        // The rules of the target are those of its table, whoever adds a unit.
        #expect(throws: HandMadeSession.LoginRefused(status: 0x0203)) {
            _ = try served.session(isid: 2, initiator: "iqn.2026-11.org.example:other")
        }
        // Without a table, such exports make a target.
        let own = "iqn.2026-11.org.example:own"
        for (lun, size) in [("3", "2M"), ("1", "3M")] {
            #expect(try served.ctl("add", "--target", own, "--lun", lun, "own\(lun)=memory:\(size)").status == 0)
        }
        let other = try HandMadeSession(served.server.announcement, target: own)
        #expect(try other.inventory(unit: 1) == [1, 3])
        #expect(try other.ready(unit: 1).sense == Self.powerOn)
        #expect(try other.lastBlock(unit: 1) == 3 * 2048 - 1)
        for (arguments, message) in [
            (["--target", Self.target, "--lun", "5"], "export 'x' is LUN 5 of the target '\(Self.target)' already"),
            (["--target", Self.target, "--lun", "1"], "is for export 'system' by its [[target]]"),
            (["--target", Self.target], "lun = NUMBER says which this is"),
            (["--target", own], "is at the target '\(own)' already"),
            (["--lun", "5"], "lun = 5 needs the name of a target"),
            (["--lun", "64"], "a number from 0 to 63 is needed"),
            (["--target", "disk"], "'disk' is no name of a target"),
            (["--target", own + "\u{fc}"], "it has '\u{fc}'; small letters"),
        ] {
            let refused = try Program.spindle.run(
                ["ctl", "add", "--control", "unix:\(served.folder.path)/control"] + arguments + ["y=memory:1M"],
                in: served.folder)
            #expect(refused.status != 0 && refused.errors.contains(message), "\(arguments): \(refused.errors)")
        }
        #expect(try served.server.stop() == 0, "\(served.server.log)")
    }

    /// New tables place those, too, that no settings name.
    @Test func aReloadMovesExportsOfOthers() throws {
        let served = try Served()
        try served.bring(megabytes: 2)
        #expect(try served.ctl("add", "added=memory:3M").status == 0)
        let session = try served.session()
        try waitUntil("all are there") { try session.inventory() == [0, 1, 2] }
        let result = try served.reload("luns = [\"system\", \"added\", \"later\"]")
        #expect(result.status == 0, "\(result.errors)")
        for line in [
            "no export has changed", "export 'added' has another place among the targets",
            "export 'file' has another place among the targets",
            "no export is named 'later' now: LUN 2 comes when one is",
        ] { #expect(result.text.contains(line), "\(result.text)") }
        try waitUntil("they have their new places") { try session.inventory() == [0, 1] }
        #expect(try session.ready(unit: 1).sense == Self.powerOn && session.lastBlock(unit: 1) == 3 * 2048 - 1)
        let own = try HandMadeSession(served.server.announcement, target: "iqn.2026-11.org.spindle:file")
        #expect(try own.lastBlock(unit: 0) == 4095)
        #expect(try served.server.stop() == 0, "\(served.server.log)")
    }

    @Test(arguments: [
        ("\"system\", \"nothing\"", "warning: no export is named 'nothing' now: LUN 1 comes when one is"),
        ("\"sytem\"", "LUN 0 comes when one is; did you mean 'system'?"),
    ])
    func checkTellsWhatIsMissing(units: String, message: String) throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/spindle.toml"
        try
            "[[export]]\nname = \"system\"\nimage = \"memory:1M\"\n[[target]]\nname = \"\(Self.target)\"\nluns = [\(units)]\n"
            .write(toFile: file, atomically: true, encoding: .utf8)
        let result = try Program.spindle.run(["check", file], in: folder)
        #expect(result.status == 0 && result.errors.contains("\(file):6: target '\(Self.target)'.luns: "))
        #expect(result.errors.contains(message), "\(result.errors)")
    }
}
