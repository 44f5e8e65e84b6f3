// What an old connection had in flight does not land behind what a newer one does.

import Backends
import Foundation
import Support
import Testing

@testable import Loop
@testable import LoopSupport

@Suite struct FenceTests {
    private let folder: TemporaryFolder
    private let old = [UInt8](repeating: 0xAA, count: 4096)
    private let new = [UInt8](repeating: 0xBB, count: 4096)

    init() throws {
        folder = try TemporaryFolder()
    }

    private func loops(
        _ count: Int, _ limits: Limits = Limits(), _ change: (inout ServedExport) -> Void = { _ in }
    ) throws -> RunningLoops {
        try RunningLoops(
            try Backend(memoryOfSize: 1 << 26, readOnly: false), loops: count, limits: limits, in: folder,
            export: change
        )
    }

    /// Asks for more than a connection has memory for, and writes behind that; all in one piece.
    private func overload(_ client: Client, reads: Int) throws {
        let read = Client.header(.read, at: 1 << 20, 1 << 20)
        try client.connection.send(
            (0..<reads).flatMap { _ in read } + Client.header(.write, at: 0, UInt32(old.count)) + old)
    }

    /// A write that a slow disk holds up, its client killed meanwhile: whoever comes then sees it done.
    @Test(arguments: [1, 2], [false, true]) func aWriteInFlightIsDoneFirst(count: Int, isGone: Bool) throws {
        let loops = try loops(count)
        // The disk is slow: another writer has it for itself.
        let gate = loops.entry.gate
        var hasClaim = false
        #expect(gate.enterAlone(loop: 0, hasClaim: &hasClaim) == .entered(.nobody))
        let before = try Client(loops.path)
        try before.write(old, at: 0)
        try loops.settle(before)
        #expect(try loops.connections().map(\.requestsInFlight) == [1])
        if isGone { before.connection.close() }
        let after = try Client(loops.path)
        // Nothing keeps a READ out of the gate.
        try after.request(.read, at: 0, 4096)
        try loops.settle(after)
        _ = gate.leaveAlone(loop: 0)
        // Each loop has a turn, and looks at the gate.
        _ = try loops.connections()
        #expect(try after.data(4096) == old, "the old write has come after the new connection's first request")
        try after.write(new, at: 0)
        try after.reply()
        #expect(try after.read(at: 0, 4096) == new)
        #expect(try loops.stop())
    }

    /// What the old connection had sent, and nobody had read yet, is done first, too: it waits for memory that its own
    /// replies hold.
    @Test func aWriteThatWasNotReadIsDoneFirst() throws {
        let loops = try loops(1)
        let before = try Client(loops.path)
        // Half of the connection's memory each; the first replies are not taken.
        try overload(before, reads: 4)
        try loops.settle(before)
        let after = try Client(loops.path)
        try after.request(.read, at: 0, 4096)
        try loops.settle(after)
        for _ in 0..<4 { _ = try before.data(1 << 20) }
        #expect(try after.data(4096) == old)
        #expect(try loops.stop())
    }

    /// A client that does not take its replies keeps nobody waiting for long.
    @Test func aDeafClientIsNotWaitedForLong() throws {
        let loops = try loops(1)
        let deaf = try Client(loops.path)
        try overload(deaf, reads: 4)
        try loops.settle(deaf)
        let begin = Date()
        let after = try Client(loops.path)
        #expect(try after.read(at: 0, 4096) == [UInt8](repeating: 0, count: 4096))
        #expect(Date().timeIntervalSince(begin) < 20)
        // It is there all the same.
        for _ in 0..<4 { _ = try deaf.data(1 << 20) }
        try deaf.reply()
        #expect(try loops.stop())
    }

    /// Half a WRITE, then silence, then the same client on a new connection: the other half is not waited for.
    @Test func halfAWriteOfAClientThatHasComeBackIsDropped() throws {
        let loops = try loops(2)
        let before = try Client(try RawConnection(port: loops.port))
        try before.connection.send(Client.header(.write, at: 0, 4096) + old.prefix(2048))
        try loops.settle(before)
        let after = try Client(try RawConnection(port: loops.port))
        try after.write(new, at: 0)
        try after.reply()
        // Too late.
        try? before.connection.send(Array(old.suffix(2048)))
        #expect(before.connection.isClosedByServer())
        #expect(try after.read(at: 0, 4096) == new)
        #expect(try loops.stop())
    }

    /// A client that is slow, and alive, is not cut off because another one comes from the same address.
    @Test func aSlowClientGoesOn() throws {
        try waitUntil("a slow client was never silent for long") { try goesOnSlowly() }
    }

    /// - Returns: false when this test was held up for so long that its client was silent, and may be cut off.
    private func goesOnSlowly() throws -> Bool {
        let loops = try loops(2)
        let slow = try Client(try RawConnection(port: loops.port))
        try slow.connection.send(Client.header(.write, at: 0, 4096) + old.prefix(4000))
        try loops.settle(slow)
        let after = try Client(try RawConnection(port: loops.port))
        try after.request(.read, at: 0, 512)
        // For longer than anybody is waited for, a byte now and then.
        for number in 4000..<4015 {
            let pause = ContinuousClock().measure {
                usleep(300_000)
                try? slow.connection.send(number < 4014 ? [old[number]] : Array(old[4014...]))
            }
            guard pause < .milliseconds(900) else {
                #expect(try loops.stop())
                return false
            }
        }
        try slow.reply()
        // It was not waited for as long as that.
        #expect(try after.data(512) == [UInt8](repeating: 0, count: 512))
        #expect(try after.read(at: 0, 4096) == old)
        #expect(try loops.stop())
        return true
    }

    /// Nor is one that is there and does not take its replies.
    @Test func aDeafClientOverTCPGoesOn() throws {
        let loops = try loops(2)
        let deaf = try Client(try RawConnection(port: loops.port))
        try overload(deaf, reads: 8)
        try loops.settle(deaf)
        let after = try Client(try RawConnection(port: loops.port))
        #expect(try after.read(at: 0, 4096) == [UInt8](repeating: 0, count: 4096))
        for _ in 0..<8 { _ = try deaf.data(1 << 20) }
        try deaf.reply()
        #expect(try after.read(at: 0, 4096) == old)
        #expect(try loops.stop())
    }

    /// A connection that waits may end, and so may the one that is waited for: whoever is left is served.
    @Test(arguments: [(false, false), (true, false), (true, true)]) func eitherMayEnd(tcp: Bool, resets: Bool) throws {
        let loops = try loops(2)
        func connect() throws -> Client { try tcp ? Client(try RawConnection(port: loops.port)) : Client(loops.path) }
        func end(_ client: Client) { resets ? client.connection.reset() : client.connection.close() }
        for isFirst in [true, false] {
            let before = try connect()
            try before.connection.send(Client.header(.write, at: 0, 4096) + old.prefix(2048))
            try loops.settle(before)
            let after = try connect()
            try after.request(.read, at: 0, 4096)
            try loops.settle(after)
            end(isFirst ? before : after)
            if isFirst {
                #expect(try after.data(4096) == [UInt8](repeating: 0, count: 4096))
                end(after)
            } else {
                try before.connection.send(Array(old.suffix(2048)))
                try before.reply()
                #expect(try before.read(at: 0, 4096) == old)
                end(before)
            }
            try waitUntil("both have ended") { try loops.connections().isEmpty }
            // Both of their slots.
            let next = try (0..<2).map { _ in try connect() }
            for client in next { #expect(try client.read(at: 8192, 512).count == 512) }
            for client in next { client.connection.close() }
            try waitUntil("they have ended") { try loops.connections().isEmpty }
        }
        #expect(try loops.stop())
    }

    /// Several connections of one client, as nbd-client -C has them, all live on.
    @Test func connectionsBesideEachOtherAreLeftAlone() throws {
        let loops = try loops(2)
        let clients = try (0..<8).map { _ in try Client(try RawConnection(port: loops.port)) }
        for (number, client) in clients.enumerated() {
            try client.write([UInt8](repeating: UInt8(number), count: 512), at: UInt64(number) * 512)
        }
        for client in clients { try client.reply() }
        for (number, client) in clients.enumerated() {
            #expect(
                try client.read(at: UInt64(7 - number) * 512, 512) == [UInt8](repeating: UInt8(7 - number), count: 512))
        }
        #expect(try loops.stop())
    }

    /// An export with one client: what it had before it came back is ended, even though it is silent and whole.
    @Test func takingOver() throws {
        var limits = Limits()
        limits.handshakeSeconds = 1
        let loops = try loops(2, limits) { $0.isTakenOver = true }
        let before = try Client(try RawConnection(port: loops.port))
        let local = try Client(loops.path)
        // Older than a handshake can be.
        try waitUntil("both are old") { try loops.connections().allSatisfy { $0.seconds >= 2 } }
        let after = try Client(try RawConnection(port: loops.port))
        let besides = try Client(try RawConnection(port: loops.port))
        #expect(try after.read(at: 0, 512).count == 512)
        #expect(before.connection.isClosedByServer())
        for client in [after, besides, local] { #expect(try client.read(at: 0, 512).count == 512) }
        #expect(try loops.stop())
    }
}
