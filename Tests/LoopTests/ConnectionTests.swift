// Connections that come and go in odd ways: memory, slots and descriptors come back, and nobody waits for ever.

import Backends
import Foundation
import Support
import Testing

@testable import Loop
@testable import LoopSupport

@Suite struct ConnectionTests {
    private let folder: TemporaryFolder
    private static let large: UInt32 = 1 << 25

    init() throws {
        folder = try TemporaryFolder()
    }

    /// Limits that no test runs into by being slow.
    private var patient: Limits {
        var limits = Limits()
        limits.stallSeconds = 1000
        limits.handshakeSeconds = 1000
        return limits
    }

    private func memory(_ sizeBytes: UInt64 = 1 << 26) throws -> Backend {
        try Backend(memoryOfSize: sizeBytes, readOnly: false)
    }

    /// A client whose next request waits for memory that only its own replies hold, and that is gone then.
    @Test func aClientThatWaitsForItself() throws {
        let loops = try RunningLoops(try memory(), limits: patient, in: folder)
        do {
            let client = try Client(loops.path)
            for cookie in 0..<3 { try client.request(.read, at: 0, Self.large, cookie: UInt64(cookie)) }
            // The first reply is on its way, so the others have been received.
            _ = try client.connection.receive(16)
        }
        #expect(try loops.stop(), "a connection has been forgotten")
    }

    /// Clients whose last bytes and their end come together: the kernel may tell of the bytes alone (axboe/liburing
    /// issue 1549).
    @Test func anEndThatComesWithTheLastBytes() throws {
        let loops = try RunningLoops(try memory(), limits: patient, in: folder)
        for round in 0..<300 {
            let client = try Client(loops.path)
            try client.connection.send(Array(Client.header(.read, at: 0, 512, cookie: 1).dropLast()))
            client.connection.endSending()
            #expect(client.connection.isClosedByServer(), "round \(round)")
        }
        #expect(try loops.stop(), "a connection has been forgotten")
    }

    /// A client that waits for memory which another one holds, and is gone then.
    @Test func aClientThatGivesUpWaiting() throws {
        let loops = try RunningLoops(try memory(), limits: patient, in: folder)
        let holder = try Client(loops.path)
        try holder.request(.read, at: 0, Self.large)
        _ = try holder.connection.receive(16)
        do {
            let waiting = try Client(loops.path)
            // Behind the first reply is known that the second request was seen.
            try waiting.connection.send(
                Client.header(.read, at: 0, 512, cookie: 1) + Client.header(.read, at: 0, Self.large, cookie: 2))
            #expect(try waiting.reply(512) == 1)
        }
        _ = try holder.connection.receive(Int(Self.large))
        holder.connection.close()
        #expect(try loops.stop(), "a connection has been forgotten")
    }

    /// Who asks first for a lot of memory gets it first, even if there is enough for somebody behind it before.
    @Test func largeRequestsAreServedInTheirOrder() throws {
        let loops = try RunningLoops(try memory(), limits: patient, in: folder)
        // Together these have nearly all the memory for large requests, until they take their replies.
        let holders = try (0..<2).map { _ in try Client(loops.path) }
        for holder in holders {
            try holder.request(.read, at: 0, Self.large / 2 - 8192)
            _ = try holder.connection.receive(16)
        }
        // Neither of these takes its reply at once, so that it would keep what it gets.
        let first = try Client(loops.path)
        let second = try Client(loops.path)
        for (client, length) in [(first, Self.large), (second, 20 << 20)] {
            try client.connection.send(
                Client.header(.read, at: 0, 512, cookie: 1) + Client.header(.read, at: 0, length, cookie: 2))
            // Then the other request behind it has been seen as well.
            #expect(try client.reply(512) == 1)
        }
        // Half of the memory is not enough for either of them.
        for holder in holders { _ = try holder.connection.receive(Int(Self.large / 2 - 8192)) }
        #expect(try first.reply(Int(Self.large)) == 2, "somebody else was served first")
        #expect(try second.reply(20 << 20) == 2)
        for client in holders + [first, second] { client.connection.close() }
        #expect(try loops.stop())
    }

    /// Every kind of end, again and again in the same few slots.
    @Test func slotsAreUsedAgain() throws {
        var limits = patient
        limits.connections = 3
        let loops = try RunningLoops(try memory(1 << 20), limits: limits, in: folder)
        for round in 0..<120 {
            let client = try reconnect(loops.path)
            switch round % 6 {
            case 0: break
            case 1: try client.request(.disconnect)
            case 2: try client.connection.send(Array(Client.header(.write, at: 0, 4096).prefix(20)))
            case 3: try client.connection.send(Client.header(.write, at: 0, 65536) + [1, 2, 3])
            case 4: for _ in 0..<200 { try client.request(.read, at: 0, 4096) }
            default:
                try client.write([UInt8](repeating: 1, count: 100), at: 700)
                try client.reply()
                try client.connection.send([UInt8](repeating: 0xFF, count: 28))
                #expect(client.connection.isClosedByServer())
            }
        }
        #expect(try loops.stop(), "a connection has been forgotten")
    }

    /// Connects when a slot is free again: the end of the one before is the server's business, at its own time.
    private func reconnect(_ path: String) throws -> Client {
        let deadline = Date(timeIntervalSinceNow: 60)
        while true {
            do {
                return try Client(path)
            } catch RawConnection.Failure.closed where Date() < deadline {
                continue
            } catch RawConnection.Failure.cannotSend where Date() < deadline {
                continue
            }
        }
    }

    @Test func moreConnectionsThanThereAreSlotsAreClosed() throws {
        var limits = patient
        limits.connections = 2
        let loops = try RunningLoops(try memory(1 << 20), limits: limits, in: folder)
        let first = try Client(loops.path)
        let second = try Client(loops.path)
        #expect(try RawConnection(unix: loops.path).isClosedByServer())
        // Those that are there do not notice.
        for client in [first, second] {
            try client.request(.read, at: 512, 512, cookie: 3)
            #expect(try client.reply(512) == 3)
        }
        first.connection.close()
        let third = try reconnect(loops.path)
        for client in [second, third] { client.connection.close() }
        #expect(try loops.stop())
    }

    /// A client that opens nothing has so much time, whether or not anybody waits for it.
    @Test func aHandshakeHasAnEnd() throws {
        var limits = patient
        limits.handshakeSeconds = 1
        let loops = try RunningLoops(try memory(1 << 20), limits: limits, in: folder)
        let open = try Client(loops.path)
        let silent = try RawConnection(unix: loops.path)
        _ = try silent.receive(18)
        #expect(silent.isClosedByServer())
        #expect(try open.read(at: 0, 512).count == 512)
        #expect(try loops.stop())
    }

    /// A loop that stops lets go of clients that say nothing, and of those that do not read.
    @Test func stoppingWaitsForNobodyForLong() throws {
        var limits = patient
        limits.shutdownSeconds = 1
        let loops = try RunningLoops(try memory(), loops: 2, limits: limits, in: folder)
        let silent = try Client(loops.path)
        let deaf = try Client(loops.path)
        for _ in 0..<3 { try deaf.request(.read, at: 0, Self.large) }
        let half = try RawConnection(unix: loops.path)
        _ = try half.receive(18)
        let inPayload = try Client(loops.path)
        try inPayload.connection.send(Client.header(.write, at: 0, 65536) + [1, 2, 3])
        #expect(try loops.stop())
        #expect(silent.connection.isClosedByServer())
        #expect(half.isClosedByServer())
        #expect(inPayload.connection.isClosedByServer())
    }

    /// Parts of the same sectors from several loops at once: a read-modify-write that lost another one's bytes shows.
    @Test func partialSectorsFromSeveralLoops() throws {
        let file = try folder.file("disk.img", sizeBytes: 1 << 16)
        let backend = try Backend(path: file, cache: .writeback, readOnly: false)
        let loops = try RunningLoops(backend, loops: 3, limits: patient, in: folder)
        let clients = try (0..<6).map { _ in try Client(loops.path) }
        // Of each 102 bytes, every client owns 17.
        let starts = Array(stride(from: 0, to: 10_200, by: 102))
        for round in UInt8(1)...4 {
            for start in starts {
                for (number, client) in clients.enumerated() {
                    try client.write(
                        [UInt8](repeating: round * 16 + UInt8(number), count: 17), at: UInt64(start + 17 * number))
                }
            }
            for client in clients { for _ in starts { try client.reply() } }
        }
        let bytes = try folder.bytes("disk.img", count: 10_200)
        for (place, byte) in bytes.enumerated() {
            try #require(byte == 64 + UInt8(place % 102 / 17), "byte \(place) was lost")
        }
        for client in clients { client.connection.close() }
        #expect(try loops.stop())
        backend.close()
    }
}
