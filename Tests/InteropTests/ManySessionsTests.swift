// Many sessions of iSCSI at once: what each of them writes and reads, and the memory that idle ones take.

import Support
import Testing

@Suite struct ManySessionsTests {
    private func sessions(_ count: Int, _ server: RunningServer) throws -> [HandMadeSession] {
        try (1...count).map {
            try HandMadeSession(server.announcement, isid: UInt8($0), maxRecvDataSegmentLength: 8192)
        }
    }

    /// Bytes that say whose they are, and when they were written.
    private func pattern(_ session: Int, _ round: Int) -> [UInt8] {
        (0..<8192).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ session &* 7 &+ round &* 101) }
    }

    /// Each session writes its own blocks and reads those of another, and the commands of all are under way together.
    @Test func twoHundredSessionsDoVerifiedIO() throws {
        let folder = try TemporaryFolder()
        let server = try RunningServer(
            ["--listen", "iscsi:127.0.0.1:0", "--threads", "2", "disk=memory:64M"], in: folder)
        let sessions = try sessions(200, server)
        for round in 0..<10 {
            for (number, session) in sessions.enumerated() {
                try session.begin(
                    [0x2A, 0, 0, 0, UInt8(number), 0, 0, 0, 16, 0], out: pattern(number, round))
            }
            for session in sessions { #expect(try session.end() == .init(status: 0)) }
            for number in sessions.indices {
                let other = UInt8((number + round * 17) % sessions.count)
                try sessions[number].begin([0x28, 0, 0, 0, other, 0, 0, 0, 16, 0], expecting: 8192)
            }
            for number in sessions.indices {
                let other = (number + round * 17) % sessions.count
                let ending = try sessions[number].end()
                try #require(
                    ending == .init(status: 0, data: pattern(other, round)),
                    "session \(number) reads other bytes than session \(other) has written in round \(round)")
            }
        }
        #expect(try server.stop() == 0)
        #expect(!server.log.contains("level=warning") && !server.log.contains("level=error"), "\(server.log)")
    }

    /// 64 idle sessions fit into 32 MiB with the server that has them.
    @Test func idleSessionsTakeLittleMemory() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 64 << 20)
        let server = try RunningServer(["--listen", "iscsi:127.0.0.1:0", "disk=\(image)"], in: folder)
        let before = server.residentBytes
        let sessions = try sessions(64, server)
        let resident = server.residentBytes
        print("64 idle iSCSI sessions: \(resident >> 10) KiB resident, \(before >> 10) KiB without them")
        #expect(resident < 32 << 20, "\(resident >> 10) KiB, \(before >> 10) KiB without them")
        for session in sessions { session.connection.close() }
        #expect(try server.stop() == 0)
    }
}
