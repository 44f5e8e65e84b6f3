// Requests that would take for ever: others are served meanwhile, and when their client is gone they end (checklist N).

import Foundation
import Support
import Testing

@Suite(.serialized) struct EndlessRequestTests {
    /// 128 PiB, which is nowhere: 32 MiB a command, and each takes some 100 ns.
    private static let size: UInt64 = 131_072 << 40
    private let server: RunningServer

    init() throws {
        server = try RunningServer(
            ["--threads", "2", "--listen", "tcp:127.0.0.1:0", "big=null:131072T"], in: try TemporaryFolder())
    }

    private func open(tcp: Bool) throws -> Client {
        let client = try server.negotiate(tcp: tcp)
        try client.negotiate(.extended)
        try client.go("big")
        return client
    }

    /// A client that has begun a WRITE_ZEROES of everything from `offset` on.
    private func beginner(tcp: Bool, offset: UInt64 = 0) throws -> Client {
        let client = try open(tcp: tcp)
        try begin(client, offset: offset)
        return client
    }

    private func begin(_ client: Client, offset: UInt64 = 0) throws {
        try client.submit(
            Request(type: CommandNumber.writeZeroes, offset: offset, length: Self.size - 4096 - offset))
        // The next request is answered: the long one has begun.
        let other = try client.perform(.read(0, 512))
        #expect(other.request.type == CommandNumber.read && other.error == 0)
    }

    private func expectIdle() throws {
        var before = server.processorSeconds
        try waitUntil("the server has nothing to do") {
            usleep(500_000)
            let now = server.processorSeconds
            defer { before = now }
            return now - before < 0.015
        }
    }

    /// Its client has gone, in whatever way, and somebody comes: he is served soon, and nobody works for the other.
    @Test(arguments: [false, true], [0, 1, 2]) func whoComesNextIsServed(tcp: Bool, way: Int) throws {
        let gone = try beginner(tcp: tcp, offset: way == 1 ? 1 : 0)
        switch way {
        case 0: gone.close()
        case 1: gone.endSending()
        default: if tcp { gone.reset() } else { gone.close() }
        }
        let next = try open(tcp: tcp)
        next.limitSeconds = 30
        #expect(try next.read(0, 512) == .zeroes(512))
        try next.performSuccessfully(.write(0, pattern(4096)))
        try expectIdle()
        #expect(try server.stop() == 0)
    }

    /// Nobody comes: a closed socket is seen over a Unix socket, and after a reset; over TCP it is after some seconds.
    @Test(arguments: [false, true]) func nobodyWorksForNobody(tcp: Bool) throws {
        try beginner(tcp: tcp).close()
        try expectIdle()
        #expect(try server.stop() == 0)
    }

    /// A client that has only ended its own direction is answered all the same.
    @Test(arguments: [false, true]) func whoReadsOnIsAnswered(tcp: Bool) throws {
        let client = try open(tcp: tcp)
        let request = client.register(
            Request(type: CommandNumber.writeZeroes, offset: 512, length: Self.size / 65_536))
        try client.send(request.bytes)
        client.endSending()
        #expect(try client.reply().error == 0)
        #expect(client.isClosedByServer())
    }

    /// A client that is there, and has not finished, keeps what it asked for; others begin after some seconds.
    @Test(arguments: [false, true]) func aLivingClientGoesOn(tcp: Bool) throws {
        let old = try beginner(tcp: tcp)
        let next = try open(tcp: tcp)
        next.limitSeconds = 30
        try next.performSuccessfully(.write(0, pattern(4096)))
        // Only this one is answered.
        #expect(try old.perform(.read(0, 512)).request.type == CommandNumber.read)
        #expect(try !old.isReadable(withinMilliseconds: 500))
        old.close()
        #expect(try server.stop() == 0)
    }

    /// Whole sectors or not, writes that come meanwhile are done: those of others, and its own.
    @Test(arguments: [UInt64(0), 1]) func writesGoOnMeanwhile(offset: UInt64) throws {
        // On both loops.
        let others = try (0..<3).map { _ in try open(tcp: false) }
        let client = try open(tcp: false)
        try begin(client, offset: offset)
        for _ in 0..<20 {
            for other in others {
                try other.performSuccessfully(.write(4096, pattern(4096)))
                try other.performSuccessfully(.write(1, pattern(1000)))
                try other.performSuccessfully(.zero(4095, 2))
                try other.performSuccessfully(.trim(0, 1 << 20))
            }
        }
        #expect(try client.perform(.write(3, pattern(4096))).request.type == CommandNumber.write)
        client.close()
        #expect(try server.stop() == 0)
    }

    /// Commands of others have their turns between its own.
    @Test func othersWaitNoLongerThanForAFewCommands() throws {
        let other = try open(tcp: false)
        let clients = try (0..<4).map { _ in try open(tcp: false) }
        for client in clients { try begin(client) }
        let start = Date()
        for _ in 0..<100 { _ = try other.read(0, 4096) }
        #expect(Date().timeIntervalSince(start) < 30)
        for client in clients { client.close() }
        #expect(try server.stop() == 0)
    }
}
