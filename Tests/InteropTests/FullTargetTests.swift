// A target that has all the sessions it can have: nobody new gets in, and who was in comes back at once.

import Support
import Testing

@Suite struct FullTargetTests {
    private static let groups = ["a", "b"]

    private func session(_ server: RunningServer, _ number: Int) throws -> HandMadeSession {
        try HandMadeSession(
            server.announcement, initiator: "iqn.2026-11.org.example:\(Self.groups[number / 200])",
            isid: UInt8(number % 200), target: "iqn.2026-11.org.example:group")
    }

    @Test func whoComesBackTakesItsOldPlace() throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/spindle.toml"
        try """
        listen = "iscsi:127.0.0.1:0"
        [[export]]
        name = "one"
        image = "memory:1M"
        [[export]]
        name = "two"
        image = "memory:1M"
        [[target]]
        name = "iqn.2026-11.org.example:group"
        luns = ["one", "two"]
        """.write(toFile: file, atomically: true, encoding: .utf8)
        let server = try RunningServer(["--config", file, "--threads", "2"], in: folder)
        var sessions = try (0..<256).map { try session(server, $0) }
        let isFull = HandMadeSession.LoginRefused(status: 0x0302)
        #expect(throws: isFull) { _ = try session(server, 256) }
        for number in [0, 100, 255] {
            let new = try session(server, number)
            #expect(sessions[number].connection.isClosedByServer())
            sessions[number] = new
            #expect(try new.inventory() == [0, 1])
            #expect(try new.ready(unit: 1).sense == [6, 0x29, 0])
            for unit: UInt8 in [0, 1] { #expect(try new.lastBlock(unit: unit) == 2047) }
        }
        #expect(throws: isFull) { _ = try session(server, 256) }
        for number in [1, 99, 254] { #expect(try sessions[number].inventory() == [0, 1]) }
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
