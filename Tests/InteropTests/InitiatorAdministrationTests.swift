// What an operator does to drives that initiators have open: they grow, and sessions end.

import Support
import Testing

@Suite struct InitiatorAdministrationTests {
    private let folder: TemporaryFolder
    private let server: RunningServer

    init() throws {
        folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        server = try RunningServer(
            [
                "--listen", "iscsi:127.0.0.1:0", "--threads", "2", "--control", "unix:\(folder.path)/control",
                "disk=\(image)", "more=memory:1M",
            ], in: folder)
    }

    private func ctl(_ arguments: String...) throws -> ProgramResult {
        try Program.spindle.run(
            ["ctl", arguments[0], "--control", "unix:\(folder.path)/control"] + arguments.dropFirst(), in: folder)
    }

    private func session(_ initiator: String, _ export: String = "disk") throws -> HandMadeSession {
        try HandMadeSession(
            server.announcement, initiator: "iqn.2026-11.org.example:\(initiator)",
            target: "iqn.2026-11.org.spindle:\(export)")
    }

    /// The server says what it still has to say, and closes.
    private func isEnded(_ session: HandMadeSession) -> Bool {
        _ = session.connection.receiveAll()
        return session.connection.isClosedByServer()
    }

    /// CAPACITY DATA HAS CHANGED, to every initiator once (SBC-3).
    @Test func initiatorsHearOfADriveThatHasGrown() throws {
        let sessions = [try session("one"), try session("two")]
        for session in sessions { #expect(try session.lastBlock(unit: 0) == 2047) }
        let grown = try ctl("grow", "disk", "3M")
        #expect(grown.status == 0, "\(grown.errors)")
        for session in sessions {
            let ending = try session.ready(unit: 0)
            #expect(ending.status == 2 && ending.sense == [6, 0x2A, 0x09], "\(ending)")
            #expect(try session.ready(unit: 0) == .good)
            #expect(try session.lastBlock(unit: 0) == 3 * 2048 - 1)
        }
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// A name is shown as it was said, and is no command to the terminal of who looks.
    @Test func namesOfInitiatorsInJSON() throws {
        let name = "\u{9B}31m\u{202E}x"
        let session = try session(name)
        #expect(try session.ready(unit: 0) == .good)
        let listed = try ctl("connections", "--json")
        #expect(listed.text.contains("iqn.2026-11.org.example:\\u009b31m\\u202ex"), "\(listed.text)")
        #expect(!listed.text.unicodeScalars.contains { "\u{9B}\u{202E}".unicodeScalars.contains($0) })
        #expect(try server.stop() == 0, "\(server.log)")
    }

    @Test func aDroppedSessionEndsAlone() throws {
        let one = try session("one"), two = try session("two")
        let rows = try ctl("connections").text.split(separator: "\n").map { $0.split(separator: " ") }
        let row = try #require(rows.first { $0.contains("iqn.2026-11.org.example:one") }, "\(rows)")
        let dropped = try ctl("drop", String(row[0]))
        #expect(dropped.status == 0, "\(dropped.errors)")
        #expect(isEnded(one))
        #expect(try two.ready(unit: 0) == .good)
        // It may come again.
        #expect(try session("one").ready(unit: 0) == .good)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    @Test func aForcedRemovalEndsTheSessionsOfItsDrive() throws {
        let one = try session("one"), two = try session("two"), other = try session("one", "more")
        let refused = try ctl("remove", "disk")
        #expect(refused.status != 0 && refused.errors.contains("2 connections"), "\(refused.errors)")
        #expect(try one.ready(unit: 0) == .good)
        let removed = try ctl("remove", "--force", "disk")
        #expect(removed.status == 0, "\(removed.errors)")
        for session in [one, two] {
            // An Asynchronous Message comes first.
            #expect(try session.receive().header[0] == 0x32)
            #expect(session.connection.isClosedByServer())
        }
        #expect(try other.ready(unit: 0) == .good)
        #expect(throws: HandMadeSession.LoginRefused(status: 0x0203)) { _ = try session("one") }
        #expect(try server.stop() == 0, "\(server.log)")
    }

    @Test func aDrainedDriveKeepsItsSessions() throws {
        let one = try session("one"), other = try session("two", "more")
        #expect(try ctl("remove", "--drain", "disk").status == 0)
        #expect(throws: HandMadeSession.LoginRefused.self) { _ = try session("two") }
        #expect(try one.ready(unit: 0) == .good)
        #expect(try one.lastBlock(unit: 0) == 2047)
        #expect(try ctl("list").text.contains("draining"))
        one.connection.close()
        try waitUntil("the drive is gone") { try !ctl("list").text.contains("disk") }
        #expect(try other.ready(unit: 0) == .good)
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
