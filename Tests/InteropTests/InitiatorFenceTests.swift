// Which session succeeds which: by the I_T nexus, not by the address that initiators come from.

import Support
import Testing

@Suite struct InitiatorFenceTests {
    private static let near = "iqn.2026-11.org.example:near"
    private static let other = "iqn.2026-11.org.example:other"
    private static let good = HandMadeSession.Ending(status: 0)

    /// A session that is in the middle of a WRITE for as long as it likes, while another initiator port of the same
    /// address begins to work: neither waits for the other, and the first one is not taken for a client that is gone.
    @Test(arguments: [(other, UInt8(1)), (near, UInt8(2))])
    func anotherPortOfTheSameAddressIsAnotherClient(initiator: String, isid: UInt8) throws {
        let folder = try TemporaryFolder()
        let server = try RunningServer(["--listen", "iscsi:127.0.0.1:0", "disk=memory:1M"], in: folder)
        let first = try HandMadeSession(server.announcement, initiator: Self.near, isid: 1)
        let rest = try first.beginHalfOfAWrite([0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0], [UInt8](repeating: 7, count: 512))
        let second = try HandMadeSession(server.announcement, initiator: initiator, isid: isid)
        #expect(try second.perform([0, 0, 0, 0, 0, 0]) == Self.good)
        try first.connection.send(rest)
        #expect(try first.end() == Self.good)
        let read = try second.perform([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], expecting: 512)
        #expect(read.data == [UInt8](repeating: 7, count: 512))
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// The same port begins its session anew: the old one is over (RFC 7143, 6.3.5).
    @Test func theSamePortIsTheSameClient() throws {
        let folder = try TemporaryFolder()
        let server = try RunningServer(["--listen", "iscsi:127.0.0.1:0", "disk=memory:1M"], in: folder)
        let first = try HandMadeSession(server.announcement, initiator: Self.near, isid: 1)
        _ = try first.beginHalfOfAWrite([0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0], [UInt8](repeating: 7, count: 512))
        let second = try HandMadeSession(server.announcement, initiator: Self.near, isid: 1)
        #expect(first.connection.isClosedByServer())
        let read = try second.perform([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], expecting: 512)
        #expect(read.data == [UInt8](repeating: 0, count: 512))
        #expect(server.log.contains("its initiator has begun the session anew"), "\(server.log)")
    }
}
