// What no initiator does, and what befalls it: PDUs by hand, at an iSCSI endpoint of a server.

import Foundation
import Support
import Testing

@Suite struct HostileInitiatorTests {
    /// A login that stays in its middle: of a PDU, or of the login.
    @Test(arguments: [true, false])
    func aLoginThatDoesNotEndIsEnded(isInsideAPDU: Bool) throws {
        let server = try RunningServer(
            ["--listen", "iscsi:127.0.0.1:0", "--handshake-seconds", "1", "disk=memory:1M"], in: TemporaryFolder())
        let connection = try RawConnection(port: try HandMadeSession.port(server.announcement))
        let pairs = ["InitiatorName=iqn.2026-11.org.example:slow", "TargetName=iqn.2026-11.org.spindle:disk"]
        if isInsideAPDU {
            try connection.send(Array(HandMadeSession.login(pairs).prefix(70)))
        } else {
            try connection.send(HandMadeSession.login(flags: 0, pairs + ["AuthMethod=None"]))
            let header = try connection.receive(48)
            #expect(header[0] == 0x23 && header[36] == 0, "\(header)")
            _ = try connection.receive(((Int(header[6]) << 8 | Int(header[7])) + 3) & ~3)
        }
        #expect(connection.isClosedByServer())
        #expect(server.log.contains("reason=\"no target was opened within 1 s\""), "\(server.log)")
        #expect(try HandMadeSession(server.announcement).ready(unit: 0) == .good)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// What one initiator does wrong is nothing to another of the same drive, on the same thread.
    @Test func othersGoOn() throws {
        let server = try RunningServer(
            ["--listen", "iscsi:127.0.0.1:0", "--threads", "1", "disk=memory:1M"], in: TemporaryFolder())
        let other = try HandMadeSession(server.announcement, initiator: "iqn.2026-11.org.example:other")
        func goesOn(_ byte: UInt8) throws {
            let block = [UInt8](repeating: byte, count: 512)
            #expect(try other.perform([0x2A, 0, 0, 0, 0, byte, 0, 0, 1, 0], out: block) == .good)
            #expect(try other.perform([0x28, 0, 0, 0, 0, byte, 0, 0, 1, 0], expecting: 512).data == block)
        }
        // A task tag that is in use: the first task waits for its data, the second is rejected (11.3.4, 11.17.1).
        let hostile = try HandMadeSession(server.announcement)
        let write: [UInt8] = [0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0]
        try hostile.command(number: 2, flags: 0xA0, expected: 512, write)
        #expect(try hostile.receive().header[0] == 0x31)
        try goesOn(1)
        try hostile.command(number: 3, tag: 2, flags: 0xA0, expected: 512, write)
        let reject = try hostile.receive().header
        #expect(reject[0] == 0x3F && reject[2] == 7, "\(reject)")
        try goesOn(2)
        // Texts that go on and never end, up to the limit and beyond.
        let flood = String(repeating: "x", count: 2000)
        var tag: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF]
        var rejects = 0
        for number in 0..<100 {
            try hostile.sendText(flags: 0x40, transferTag: tag, (0..<4).map { "X-a\(number).\($0)=\(flood)" })
            let (header, _) = try hostile.receive()
            if header[0] == 0x3F { rejects += 1 }
            tag = header[0] == 0x24 ? Array(header[20..<24]) : [0xFF, 0xFF, 0xFF, 0xFF]
            if number % 20 == 0 { try goesOn(UInt8(3 + number / 20)) }
        }
        #expect(rejects > 5)
        // A CmdSN that leaves some out ends the session.
        try hostile.command(number: 20, flags: 0x80, [0, 0, 0, 0, 0, 0])
        #expect(hostile.connection.isClosedByServer())
        #expect(server.log.contains("a CmdSN was left out"), "\(server.log)")
        try goesOn(9)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// Responses wait to be sent from the page cache, and their pages go. What was encoded has its number, so it stays,
    /// is sent once, and others follow it: with one PDU for a MiB, with many, and with several responses in a send.
    @Test(arguments: [(8192, 1 << 20), (256 << 10, 1 << 20), (256 << 10, 256 << 10)])
    func aFileShrinksUnderResponses(maxRecvDataSegmentLength: Int, byteCount: Int) throws {
        let folder = try TemporaryFolder(onDisk: true)
        let image = folder.path + "/image"
        try Data(repeating: 7, count: 32 << 20).write(to: URL(fileURLWithPath: image))
        let metrics = folder.path + "/metrics"
        let server = try RunningServer(
            ["--listen", "iscsi:127.0.0.1:0", "--metrics", "unix:\(metrics)", "disk=\(image)"], in: folder)
        let session = try HandMadeSession(
            server.announcement, maxRecvDataSegmentLength: maxRecvDataSegmentLength)
        let numbers = UInt8(2)..<32
        for number in numbers {
            // READ(10) from each MiB.
            try session.command(
                number: UInt32(number), flags: 0xC0, expected: byteCount,
                [0x28, 0, 0, 0, number * 8, 0, 0, UInt8(byteCount >> 17), 0, 0])
        }
        // What is answered and not sent waits. Of responses of a MiB, there is memory for a few at a time.
        let least = byteCount < 1 << 20 ? numbers.count : 2
        try waitUntil("\(least) READs were answered") {
            let scrape = ["-sS", "--unix-socket", metrics, "http://localhost/metrics"]
            let lines = try Program.tool("curl").run(scrape, in: folder).text.split(separator: "\n")
            let counter = "spindle_requests_total{export=\"disk\",command=\"read\"} "
            return lines.contains { $0.hasPrefix(counter) && (Int($0.dropFirst(counter.count)) ?? 0) >= least }
        }
        #expect(truncate(image, 1 << 20) == 0)
        var received = [Int](repeating: 0, count: Int(numbers.upperBound))
        var left = numbers.count
        while left > 0 {
            let (header, data) = try session.receive()
            let number = Int(header[19])
            try #require(header[0] == 0x25 && numbers.contains(UInt8(number)), "no Data-In PDU of a task: \(header)")
            let offset = header[40..<44].reduce(0) { $0 << 8 | Int($1) }
            try #require(offset == received[number], "data of task \(number) that are not the next ones")
            received[number] += data.count
            #expect(data.allSatisfy { $0 == 7 || $0 == 0 })
            if header[1] & 1 != 0 {
                #expect(received[number] == byteCount && header[3] == 0)
                left -= 1
            }
        }
        session.connection.close()
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// A Logout behind commands that are under way: it ends those that have not begun, the responses to others come
    /// first, and nothing behind its own (RFC 7143, 11.14, 11.15).
    @Test func nothingFollowsALogoutResponse() throws {
        let server = try RunningServer(["--listen", "iscsi:127.0.0.1:0", "disk=null:64M"], in: TemporaryFolder())
        let session = try HandMadeSession(server.announcement)
        let byteCount = 512 << 10
        let numbers = UInt8(2)..<32
        for number in numbers {
            let read = [0x28, 0, 0, 0, 0, 0, 0, UInt8(byteCount >> 17), 0, 0]
            try session.command(number: UInt32(number), flags: 0xC0, expected: byteCount, read)
        }
        var logout = [UInt8](repeating: 0, count: 48)
        logout.replaceSubrange(0..<2, with: [0x06, 0x80])
        logout[19] = 100
        logout[27] = numbers.upperBound
        try session.connection.send(logout)
        var received = [Int](repeating: 0, count: Int(numbers.upperBound))
        while true {
            let (header, data) = try session.receive()
            if header[0] == 0x26 { break }
            try #require(header[0] == 0x25, "no Data-In PDU: \(header)")
            received[Int(header[19])] += data.count
        }
        // None is left in its middle.
        #expect(received[2] == byteCount && received.allSatisfy { [0, byteCount].contains($0) })
        #expect(session.connection.receiveAll().isEmpty, "something follows")
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
