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

    /// Initiators that send the first data of many large writes and nothing further: the memory of these data has a
    /// bound, and others are served.
    @Test func unsolicitedDataOfManyHaveABound() throws {
        let folder = try TemporaryFolder()
        let image = try folder.file("disk.img", sizeBytes: 64 << 20)
        let server = try RunningServer(
            ["--threads", "2", "--listen", "iscsi:127.0.0.1:0", "disk=\(image)"], in: folder)
        var sessions = try sessions(31, server)
        let other = sessions.removeLast()
        let before = server.residentBytes
        // WRITE (16) of 32 MiB.
        let write: [UInt8] = [0x8A, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
        let first = [UInt8](repeating: 7, count: 1 << 16)
        for session in sessions {
            for _ in 0..<60 { try session.beginWrite(write, of: 32 << 20, first: first) }
            try waitUntil("the server has received all") { session.connection.isTaken }
        }
        let ending = try other.perform([0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0], expecting: 4096)
        #expect(ending == .init(status: 0, data: [UInt8](repeating: 0, count: 4096)))
        let resident = server.residentBytes
        #expect(resident < before + 64 << 20, "\(resident >> 20) MiB, \(before >> 20) MiB before")
        for session in sessions { session.connection.close() }
        // Whose turn comes when they have gone is served.
        let one = [UInt8](repeating: 9, count: 8192)
        #expect(try other.perform([0x2A, 0, 0, 0, 0, 0, 0, 0, 16, 0], out: one).status == 0)
        #expect(try server.stop() == 0, "\(server.log)")
    }

    // WRITE (16) and READ (16) of 1 MiB.
    private static let largeWrite: [UInt8] = [0x8A, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0]
    private static let largeRead: [UInt8] = [0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0]

    /// An export has memory for four requests of 1 MiB, and nobody is cut off for keeping it.
    private func scarceServer(_ folder: TemporaryFolder) throws -> RunningServer {
        try RunningServer(
            [
                "--threads", "1", "--request-megabytes", "1", "--stall-seconds", "3600", "--listen",
                "iscsi:127.0.0.1:0", "disk=memory:64M",
            ], in: folder)
    }

    /// Sessions of as many clients.
    private func sessions(atAddresses count: Int, _ server: RunningServer) throws -> [HandMadeSession] {
        try (1...count).map {
            try HandMadeSession(server.announcement, isid: UInt8($0), from: RawConnection.loopback + UInt32($0))
        }
    }

    /// Initiators at many addresses ask to write, and do not answer R2Ts, whether they have sent their first data or
    /// not: others are served as if they were not there.
    @Test(arguments: [0, 1 << 16]) func unansweredTransfersKeepNobodyWaiting(firstBytes: Int) throws {
        let folder = try TemporaryFolder()
        let server = try scarceServer(folder)
        let other = try HandMadeSession(server.announcement, isid: 200)
        #expect(try other.writeZeroes(Self.largeWrite, count: 1 << 20) == 0)
        let silent = try sessions(atAddresses: 60, server)
        let first = [UInt8](repeating: 7, count: firstBytes)
        for session in silent {
            for _ in 0..<4 { try session.beginWrite(Self.largeWrite, of: 1 << 20, first: first) }
            try waitUntil("the server has received all") { session.connection.isTaken }
        }
        let start = ContinuousClock.now
        #expect(try other.perform(Self.largeRead, expecting: 1 << 20).status == 0)
        #expect(try other.writeZeroes(Self.largeWrite, count: 1 << 20) == 0)
        #expect(start.duration(to: .now) < .seconds(5))
        // One that has come later is turned away at most for as long as the first data of the others keep their places.
        let late = try HandMadeSession(server.announcement, isid: 201)
        try waitUntil("a later one is served") { try late.writeZeroes(Self.largeWrite, count: 1 << 20) == 0 }
        for session in silent { session.connection.close() }
        #expect(try server.stop() == 0, "\(server.log)")
    }

    /// Initiators that have answered R2Ts before, and stop: they lose the memory that others wait for, but no session.
    @Test func whoAnswersNoMoreLosesItsMemory() throws {
        let folder = try TemporaryFolder()
        let server = try scarceServer(folder)
        let other = try HandMadeSession(server.announcement, isid: 200)
        let silent = try sessions(atAddresses: 4, server)
        for session in silent { #expect(try session.writeZeroes(Self.largeWrite, count: 1 << 20) == 0) }
        for session in silent { try session.beginWrite(Self.largeWrite, of: 1 << 20, first: [7]) }
        let asked = try silent.map { try $0.receiveReadyToTransfer() }
        let start = ContinuousClock.now
        #expect(try other.perform(Self.largeRead, expecting: 1 << 20).status == 0)
        #expect(start.duration(to: .now) < .seconds(10))
        for (session, readyToTransfer) in zip(silent, asked) {
            try session.answer(readyToTransfer)
            // TASK SET FULL.
            #expect(try session.end().status == 0x28)
            #expect(try session.writeZeroes(Self.largeWrite, count: 1 << 20) == 0)
        }
        #expect(try server.stop() == 0, "\(server.log)")
    }
}
