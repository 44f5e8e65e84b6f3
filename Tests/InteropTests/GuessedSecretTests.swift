// Somebody who guesses the secrets of CHAP, and those who know theirs.

import Foundation
import Support
import Testing

@Suite struct GuessedSecretTests {
    /// A Login Request with these keys.
    private static func request(_ pairs: [String], flags: UInt8, number: UInt8) -> [UInt8] {
        let text = pairs.reduce(into: [UInt8]()) { $0 += Array($1.utf8) + [0] }
        var pdu = [UInt8](repeating: 0, count: 48)
        pdu.replaceSubrange(0..<8, with: [0x43, flags, 0, 0, 0, 0, UInt8(text.count >> 8), UInt8(text.count & 0xFF)])
        pdu.replaceSubrange(8..<14, with: [0x40, 0, 0, 0, 0, 1])
        pdu[27] = 1
        pdu[31] = number
        return pdu + text + [UInt8](repeating: 0, count: (4 - text.count % 4) % 4)
    }

    private static func answer(_ connection: RawConnection) throws -> (header: [UInt8], data: [UInt8]) {
        let header = try connection.receive(48)
        let count = Int(header[5]) << 16 | Int(header[6]) << 8 | Int(header[7])
        return (header, try connection.receive((count + 3) & ~3))
    }

    /// Guesses once.
    ///
    /// - Returns: Status-Class and Status-Detail of the answer.
    private static func guess(_ port: UInt16) throws -> UInt16 {
        let connection = try RawConnection(port: port)
        defer { connection.close() }
        let first = [
            "InitiatorName=iqn.2026-11.org.example:\(UInt32.random(in: 0...UInt32.max))", "SessionType=Discovery",
            "AuthMethod=CHAP", "CHAP_A=5",
        ]
        try connection.send(request(first, flags: 0, number: 1))
        let (_, question) = try answer(connection)
        try #require(String(decoding: question, as: UTF8.self).contains("CHAP_C=0x"))
        let hash = String(repeating: "5a", count: 16)
        try connection.send(request(["CHAP_N=alice", "CHAP_R=0x\(hash)"], flags: 0x81, number: 2))
        let header = try answer(connection).header
        return UInt16(header[36]) << 8 | UInt16(header[37])
    }

    @Test func guessesAreSlowAndNobodyElseIs() throws {
        let folder = try TemporaryFolder()
        let secrets = folder.path + "/secrets"
        try "alice:correct-horse-1\n".write(toFile: secrets, atomically: true, encoding: .utf8)
        try #require(chmod(secrets, 0o600) == 0)
        let port = try freePort()
        let server = try RunningServer(
            [
                "--listen", "iscsi:127.0.0.1:\(port)", "--listen", "iscsi:[::1]:\(port)", "--chap", secrets,
                "--threads", "2", "disk=memory:1M",
            ], in: folder)
        func find(_ host: String, initiator: String = "iqn.2026-11.org.example:me") throws -> ProgramResult {
            try Program.tool("iscsi-ls").run(
                ["-i", initiator, "iscsi://alice%correct-horse-1@\(host):\(port)"], in: folder)
        }
        // Known before somebody guesses.
        #expect(try find("127.0.0.1").status == 0)
        let clock = ContinuousClock()
        let start = clock.now
        var statuses: [UInt16: Int] = [:]
        while clock.now - start < .seconds(3) { statuses[try Self.guess(port), default: 0] += 1 }
        // Five are free, and those after a second, and after two more.
        #expect((6...8).contains(statuses[0x0201, default: 0]), "\(statuses)")
        #expect(Set(statuses.keys).isSubset(of: [0x0201, 0x0301]), "\(statuses)")
        // Another address, and an initiator of the same one that is known, come in at once.
        for host in ["[::1]", "127.0.0.1"] {
            let moment = clock.now
            #expect(try find(host).text.contains("Target:iqn.2026-11.org.spindle:disk"))
            #expect(clock.now - moment < .seconds(0.9), "\(host) waits for \(clock.now - moment)")
        }
        // A stranger from the same address waits for its turn.
        try waitUntil("a stranger gets in") {
            try find("127.0.0.1", initiator: "iqn.2026-11.org.example:stranger").text.contains("Target:")
        }
        #expect(try server.stop() == 0, "\(server.log)")
        let lines = server.log.split(separator: "\n")
        #expect(lines.count { $0.contains("logins slowed down") } == 1, "\(server.log)")
        #expect(lines.count { $0.contains("login failed") } == 5, "\(server.log)")
    }
}
