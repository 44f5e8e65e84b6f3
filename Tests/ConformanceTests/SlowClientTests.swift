// Clients that hold memory for requests and do not get on: others do not wait for them (checklist N).

import Foundation
import Support
import Synchronization
import Testing

@Suite(.serialized) struct SlowClientTests {
    /// A client that has opened an export.
    private func opener(_ server: RunningServer, _ name: String) throws -> RawConnection {
        let raw = try RawConnection(unix: server.socketPath)
        try raw.send(clientFlags(3) + option(OptionNumber.go, informationRequest(name)))
        _ = try raw.receive(18 + 32 + 20)
        return raw
    }

    /// Clients that have sent the beginning of a WRITE. All of them have opened the export before the first begins:
    /// else they would wait for each other at their fences.
    private func beginners(
        _ count: Int, _ server: RunningServer, bytes: Int, sent: Int, name: String = ""
    ) throws -> [RawConnection] {
        let clients = try (0..<count).map { _ in try opener(server, name) }
        let payload = [UInt8](repeating: 0xAA, count: sent)
        let request = Request(type: CommandNumber.write, offset: 0, length: UInt64(bytes), payload: payload)
        for raw in clients { try raw.send(request.bytes) }
        return clients
    }

    /// Requests of a few MiB have memory apart from larger ones, and smaller ones have memory apart from both.
    @Test func aSmallerRequestDoesNotWaitForALargerOne() throws {
        let image = try ServedImage(sizeBytes: 64 << 20)
        let large = try beginners(1, image.server, bytes: 32 << 20, sent: 100_000)[0]
        let client = try image.open()
        client.limitSeconds = 8
        #expect(try client.read(0, 2 << 20) == .zeroes(2 << 20))
        #expect(try client.read(1, 4 << 20) == .zeroes(4 << 20))
        let middle = try beginners(2, image.server, bytes: 4 << 20, sent: 100_000)
        #expect(try client.read(0, 1 << 20) == .zeroes(1 << 20))
        withExtendedLifetime((large, middle)) {}
    }

    /// Hundreds of clients with half a WRITE of 1 MiB each use up what there is for all; a connection has a share of
    /// its own.
    @Test func aSmallRequestAlwaysHasMemory() throws {
        let folder = try TemporaryFolder()
        let server = try RunningServer(["--threads", "2", "slow=memory:64M", "fast=memory:64M"], in: folder)
        let slow = try beginners(320, server, bytes: 1 << 20, sent: 5000, name: "slow")
        for _ in 0..<4 {
            let client = try server.open("fast")
            client.limitSeconds = 8
            #expect(try client.read(0, 4096) == .zeroes(4096))
            try client.performSuccessfully(.write(0, .zeroes(16_384)))
            // More at a time than its share has room for.
            for reply in try client.perform((0..<100).map { .read($0 * 4096, 8192) }) { #expect(reply.error == 0) }
        }
        withExtendedLifetime(slow) {}
    }

    /// A byte now and then is no progress: the client is disconnected when somebody waits, and the log says why.
    @Test func whoTricklesIsDisconnected() throws {
        let image = try ServedImage(sizeBytes: 64 << 20, options: ["--stall-seconds", "2"])
        let slow = try beginners(1, image.server, bytes: 32 << 20, sent: 100_000)[0]
        let trickle = Trickle(slow, bytes: 1, everyMicroseconds: 100_000)
        let client = try image.open()
        #expect(try client.read(0, 1 << 25) == .zeroes(1 << 25))
        trickle.stop()
        let log = image.server.log
        #expect(log.contains("client cut off") && log.contains("memory that others wait for"), "\(log)")
    }

    /// One that is slow, but gets on, is waited for.
    @Test func whoGetsOnIsNotDisconnected() throws {
        let image = try ServedImage(sizeBytes: 64 << 20, options: ["--stall-seconds", "1"])
        let slow = try beginners(1, image.server, bytes: 32 << 20, sent: 1 << 20)[0]
        // Some 8 MiB a second.
        let trickle = Trickle(slow, bytes: 1 << 18, everyMicroseconds: 30_000, count: 31 * 4)
        let client = try image.open()
        client.limitSeconds = 30
        #expect(try client.read(0, 1 << 25)[0] == 0xAA)
        trickle.stop()
        #expect(!image.server.log.contains("cut off"))
    }

    /// Clients that are just quick enough to keep their memory stand before nobody who holds none.
    @Test func manyThatAreQuickEnoughKeepNobodyOut() throws {
        let folder = try TemporaryFolder()
        let server = try RunningServer(["--threads", "1", "slow=memory:64M", "fast=memory:64M"], in: folder)
        // Two at a time have room, and each of them keeps it for some six seconds.
        let slow = try beginners(12, server, bytes: 4 << 20, sent: 1 << 16, name: "slow")
        let trickles = slow.map { Trickle($0, bytes: 1 << 16, everyMicroseconds: 100_000, count: 63) }
        let client = try server.open("fast")
        // In the order of asking it would have been the last, after half a minute.
        client.limitSeconds = 12
        #expect(try client.read(0, 2 << 20) == .zeroes(2 << 20))
        for trickle in trickles { trickle.stop() }
        withExtendedLifetime(slow) {}
    }

    /// A client that does not read is disconnected, too, when somebody waits.
    @Test func whoDoesNotReadIsDisconnected() throws {
        let image = try ServedImage(sizeBytes: 64 << 20, options: ["--stall-seconds", "2"])
        let deaf = try opener(image.server, "")
        for _ in 0..<4 { try deaf.send(Request.read(0, 1 << 25).bytes) }
        _ = try deaf.receive(16 + 1000)
        let client = try image.open()
        #expect(try client.read(0, 1 << 25) == .zeroes(1 << 25))
        withExtendedLifetime(deaf) {}
    }

    /// The memory of hundreds of clients is given back when they are gone.
    @Test func memoryIsGivenBack() throws {
        let image = try ServedImage(sizeBytes: 64 << 20, threads: 2)
        let client = try image.open()
        #expect(try client.read(0, 512) == .zeroes(512))
        let before = image.server.residentBytes
        do {
            let slow = try beginners(400, image.server, bytes: 1 << 20, sent: 200_000)
            try waitUntil("what \(slow.count) clients have sent is in memory") {
                image.server.residentBytes - before > 64 << 20
            }
        }
        var left = 0
        try waitUntil("the memory is back, and not \(left >> 20) MiB are left", limitSeconds: 60) {
            usleep(100_000)
            left = image.server.residentBytes - before
            return left < 16 << 20
        }
    }
}

/// Bytes on a connection, a few at a time, on a thread of their own.
private final class Trickle: Sendable {
    private let isStopped = Atomic(false)
    private let ended = DispatchSemaphore(value: 0)

    init(_ connection: RawConnection, bytes: Int, everyMicroseconds pause: UInt32, count: Int = .max) {
        let descriptor = connection.descriptor
        Thread.detachNewThread { [self] in
            let part = [UInt8](repeating: 0xAA, count: bytes)
            var left = count
            while left > 0, !isStopped.load(ordering: .relaxed) {
                var sent = 0
                while sent < bytes {
                    let result = part.withUnsafeBytes {
                        send(descriptor, $0.baseAddress! + sent, bytes - sent, Int32(MSG_NOSIGNAL))
                    }
                    guard result > 0 else {
                        ended.signal()
                        return
                    }
                    sent += result
                }
                left -= 1
                usleep(pause)
            }
            ended.signal()
        }
    }

    func stop() {
        isStopped.store(true, ordering: .relaxed)
        ended.wait()
    }
}
