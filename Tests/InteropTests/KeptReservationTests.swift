// Persistent reservations with APTPL (SPC-4 5.13): they outlive a server that is killed, for initiators and for NBD.

import Foundation
import Support
import Testing

@Suite struct KeptReservationTests {
    private static let conflict = HandMadeSession.Ending(status: 0x18)
    private static let good = HandMadeSession.Ending(status: 0)
    /// WRITE (10) of a block of zeroes.
    private static let write: [UInt8] = [0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    private static let block = [UInt8](repeating: 0, count: 512)

    /// PERSISTENT RESERVE OUT.
    private static func reserveOut(
        _ session: HandMadeSession, _ action: UInt8, type: UInt8 = 0, key: UInt8 = 0, newKey: UInt8 = 0,
        persists: Bool = false
    ) throws -> HandMadeSession.Ending {
        var list = [UInt8](repeating: 0, count: 24)
        list[7] = key
        list[15] = newKey
        list[20] = persists ? 1 : 0
        return try session.perform([0x5F, action, type, 0, 0, 0, 0, 0, 24, 0], out: list)
    }

    /// PERSISTENT RESERVE IN, REPORT CAPABILITIES: PTPL_C and PTPL_A.
    private static func capabilities(_ session: HandMadeSession) throws -> (canKeep: Bool, keeps: Bool) {
        let data = try session.perform([0x5E, 2, 0, 0, 0, 0, 0, 0, 8, 0], expecting: 8).data
        try #require(data.count == 8)
        return (data[2] & 1 != 0, data[3] & 1 != 0)
    }

    private static func server(_ arguments: [String], in folder: TemporaryFolder) throws -> RunningServer {
        try RunningServer(
            ["--listen", "iscsi:127.0.0.1:0", "--threads", "2"] + arguments + ["disk=memory:64M"], in: folder)
    }

    /// The writes of NBD's clients are refused.
    private static func keepsOutWrites(_ server: RunningServer, in folder: TemporaryFolder) throws -> Bool {
        let io = try Program.tool("qemu-io").run(["-f", "raw", "-c", "write 0 4k", server.uri], in: folder)
        return (io.text + io.errors).contains("Operation not permitted")
    }

    /// Who asks for structured replies is told why, in words, and so is the log.
    @Test func aClientOfNBDIsToldOfAReservation() throws {
        let folder = try TemporaryFolder()
        let server = try Self.server([], in: folder)
        let owner = try HandMadeSession(server.announcement)
        #expect(try Self.reserveOut(owner, 0, newKey: 7) == Self.good)
        #expect(try Self.reserveOut(owner, 1, type: 1, key: 7) == Self.good)
        try nbdsh(
            [server.uri],
            """
            said = []
            h.set_debug(True)
            h.set_debug_callback(lambda function, message: said.append(message) or 0)
            h.connect_uri(uri[0])
            assert h.get_structured_replies_negotiated()
            refused('EPERM', lambda: h.pwrite(b'x' * 512, 0))
            words = 'an initiator has reserved or write-protected the drive'
            assert any(line.endswith(words) for line in said), said
            """, in: folder)
        let line = server.log.split(separator: "\n").first { $0.contains("message=\"request refused\"") } ?? ""
        #expect(line.contains(" command=write length=512 offset=0 "), "\(server.log)")
        #expect(line.hasSuffix("reason=\"an initiator has reserved or write-protected the drive\""), "\(server.log)")
        #expect(try server.stop() == 0, "\(server.log)")
    }

    @Test func aReservationOutlivesAServerThatIsKilled() throws {
        let folder = try TemporaryFolder()
        let arguments = ["--reservations", folder.path]
        do {
            let server = try Self.server(arguments, in: folder)
            let owner = try HandMadeSession(server.announcement, initiator: "iqn.2026-11.org.example:owner")
            #expect(try Self.capabilities(owner) == (true, false))
            #expect(try Self.reserveOut(owner, 0, newKey: 7, persists: true) == Self.good)
            // Write Exclusive.
            #expect(try Self.reserveOut(owner, 1, type: 1, key: 7) == Self.good)
            #expect(try Self.capabilities(owner) == (true, true))
            #expect(try Self.keepsOutWrites(server, in: folder))
            try server.stop(signal: SIGKILL)
        }
        do {
            let server = try Self.server(arguments, in: folder)
            // Before any initiator has come.
            #expect(try Self.keepsOutWrites(server, in: folder))
            let other = try HandMadeSession(server.announcement, initiator: "iqn.2026-11.org.example:other")
            #expect(try other.perform(Self.write, out: Self.block) == Self.conflict)
            let owner = try HandMadeSession(server.announcement, initiator: "iqn.2026-11.org.example:owner")
            #expect(try owner.perform(Self.write, out: Self.block) == Self.good)
            #expect(try Self.capabilities(owner) == (true, true))
            // RELEASE. The registration stays.
            #expect(try Self.reserveOut(owner, 2, type: 1, key: 7) == Self.good)
            #expect(try other.perform(Self.write, out: Self.block) == Self.good)
            try server.stop(signal: SIGKILL)
        }
        do {
            let server = try Self.server(arguments, in: folder)
            #expect(try !Self.keepsOutWrites(server, in: folder))
            let owner = try HandMadeSession(server.announcement, initiator: "iqn.2026-11.org.example:owner")
            #expect(try Self.reserveOut(owner, 1, type: 1, key: 7) == Self.good)
            // Without APTPL nothing is kept any more.
            #expect(try Self.reserveOut(owner, 0, key: 7, newKey: 8) == Self.good)
            #expect(try Self.capabilities(owner) == (true, false))
            try server.stop(signal: SIGKILL)
        }
        let server = try Self.server(arguments, in: folder)
        #expect(try !Self.keepsOutWrites(server, in: folder))
        let owner = try HandMadeSession(server.announcement, initiator: "iqn.2026-11.org.example:owner")
        #expect(try Self.reserveOut(owner, 1, type: 1, key: 8) == Self.conflict)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    @Test func withoutAFolderNothingIsPromised() throws {
        let folder = try TemporaryFolder()
        let server = try Self.server([], in: folder)
        let session = try HandMadeSession(server.announcement)
        #expect(try Self.capabilities(session) == (false, false))
        // INVALID FIELD IN PARAMETER LIST.
        #expect(try Self.reserveOut(session, 0, newKey: 7, persists: true).sense == [5, 0x26, 0])
        #expect(try Self.reserveOut(session, 0, newKey: 7) == Self.good)
    }

    /// A file that no server has written, or one that another server has open, keeps nothing, and stays as it is.
    @Test(arguments: ["short", "torn", "foreign", "a folder", "in use"])
    func aFileThatIsNoneIsToldOf(kind: String) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/disk.reservations"
        var others: [RunningServer] = []
        switch kind {
        case "short": try Data(count: 100).write(to: URL(fileURLWithPath: path))
        case "torn": try Data(repeating: 7, count: 128 << 10).write(to: URL(fileURLWithPath: path))
        case "foreign":
            let server = try Self.server(["--reservations", folder.path], in: folder)
            let session = try HandMadeSession(server.announcement)
            #expect(try Self.reserveOut(session, 0, newKey: 7, persists: true) == Self.good)
            try server.stop(signal: SIGKILL)
            // A byte of the only place that was written.
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            for offset in [UInt64(0), 64 << 10] {
                try file.seek(toOffset: offset + 20)
                try file.write(contentsOf: Data([0xFF]))
                try file.seek(toOffset: offset + 7)
                try file.write(contentsOf: Data([9]))
            }
            try file.close()
        case "a folder": try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        default: others.append(try Self.server(["--reservations", folder.path], in: folder))
        }
        let before = try? Data(contentsOf: URL(fileURLWithPath: path))
        let server = try Self.server(["--reservations", folder.path], in: folder)
        #expect(server.log.contains("disk.reservations") && server.log.contains("keeps none"), "\(server.log)")
        let session = try HandMadeSession(server.announcement)
        #expect(try Self.capabilities(session) == (false, false))
        #expect(try session.perform(Self.write, out: Self.block) == Self.good)
        #expect((try? Data(contentsOf: URL(fileURLWithPath: path))) == before)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// The newest of the two places is damaged, or was never whole: the change before it holds, and somebody is told.
    @Test(arguments: ["changed", "cleared"])
    func whatATornPlaceLosesIsToldOf(damage: String) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/disk.reservations"
        let arguments = ["--reservations", folder.path]
        do {
            let server = try Self.server(arguments, in: folder)
            let owner = try HandMadeSession(server.announcement)
            #expect(try Self.reserveOut(owner, 0, newKey: 7, persists: true) == Self.good)
            #expect(try Self.reserveOut(owner, 0, key: 7, newKey: 8, persists: true) == Self.good)
            // Write Exclusive, the third change, in the second place.
            #expect(try Self.reserveOut(owner, 1, type: 1, key: 8) == Self.good)
            #expect(!server.log.contains("is lost"), "\(server.log)")
            try server.stop(signal: SIGKILL)
        }
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        try file.seek(toOffset: (64 << 10) + (damage == "changed" ? 21 : 0))
        try file.write(contentsOf: damage == "changed" ? Data([0xFF, 0xFF]) : Data(count: 20))
        try file.close()
        do {
            let server = try Self.server(arguments, in: folder)
            let lines = server.log.split(separator: "\n").filter { $0.contains("reservations is lost") }
            #expect(lines.count == 1, "\(server.log)")
            #expect(lines.allSatisfy { $0.contains("export=disk") && $0.contains(path) }, "\(lines)")
            #expect(try !Self.keepsOutWrites(server, in: folder))
            let owner = try HandMadeSession(server.announcement)
            #expect(try Self.reserveOut(owner, 1, type: 1, key: 8) == Self.good)
            try server.stop(signal: SIGKILL)
        }
        let server = try Self.server(arguments, in: folder)
        #expect(!server.log.contains("is lost"), "the next change mends the file: \(server.log)")
        #expect(try Self.keepsOutWrites(server, in: folder))
    }

    @Test func theFolderHasToBeThere() throws {
        let folder = try TemporaryFolder()
        let result = try Program.spindle.run(
            ["serve", "--reservations", folder.path + "/none", "disk=memory:1M"], in: folder)
        #expect(result.status != 0 && result.errors.contains("a folder that is there is needed"), "\(result.errors)")
    }

    /// Exports that come later have their files, too, and those that come again what was kept of them.
    @Test func anExportThatComesLaterHasItsFile() throws {
        let folder = try TemporaryFolder()
        let control = "unix:" + folder.path + "/control"
        let server = try Self.server(["--reservations", folder.path, "--control", control], in: folder)
        func ctl(_ arguments: String...) throws {
            let result = try Program.spindle.run(["ctl", "--control", control] + arguments, in: folder)
            #expect(result.status == 0, "\(arguments): \(result.errors)")
        }
        let target = "iqn.2026-11.org.spindle:late"
        for _ in 0..<2 {
            try ctl("add", "late=memory:1M")
            let session = try HandMadeSession(server.announcement, target: target)
            #expect(try Self.reserveOut(session, 6, newKey: 7, persists: true) == Self.good)
            #expect(try Self.capabilities(session) == (true, true))
            session.connection.close()
            try ctl("remove", "late", "--drain")
        }
        try ctl("add", "late=memory:1M")
        let session = try HandMadeSession(server.announcement, target: target)
        #expect(try Self.reserveOut(session, 1, type: 1, key: 7) == Self.good)
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
