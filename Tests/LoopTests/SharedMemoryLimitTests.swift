// Memory for requests that all connections share: who comes when it is used up waits, and not for ever.

import Backends
import Foundation
import Support
import Testing

@testable import Loop
@testable import LoopSupport

@Suite struct SharedMemoryLimitTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    /// Of so little memory an export has as much as two connections can use.
    private func loops(stallSeconds: Int) throws -> RunningLoops {
        var limits = Limits()
        limits.requestMegabytes = 1
        limits.stallSeconds = stallSeconds
        return try RunningLoops(
            try Backend(memoryOfSize: 1 << 26, readOnly: false), limits: limits, in: folder)
    }

    /// Clients that hold memory with replies they do not take: two of half a connection's memory each, of which the
    /// socket takes a part.
    private func holders(_ loops: RunningLoops) throws -> [Client] {
        try (0..<2).map { _ in
            let client = try Client(loops.path)
            for cookie in 0..<4 { try client.request(.read, at: 0, 1 << 20, cookie: UInt64(cookie)) }
            // The first reply has begun, the second is ready behind it.
            _ = try client.connection.receive(16)
            return client
        }
    }

    @Test func whoComesLaterIsServedWhenMemoryComesBack() throws {
        let loops = try loops(stallSeconds: 1000)
        let holders = try holders(loops)
        let late = try Client(loops.path)
        try late.request(.read, at: 512, 1 << 20, cookie: 9)
        // All that was sent has been looked at.
        for _ in 0..<3 { _ = try loops.connections() }
        #expect(try loops.connections().last?.requestsInFlight == 0, "there is memory for three")
        _ = try holders[0].connection.receive(1 << 20)
        for _ in 1..<4 { _ = try holders[0].data(1 << 20) }
        #expect(try late.reply(1 << 20) == 9)
        _ = try holders[1].connection.receive(1 << 20)
        for _ in 1..<4 { _ = try holders[1].data(1 << 20) }
        #expect(try loops.stop())
    }

    @Test func whoKeepsMemoryFromOthersIsEnded() throws {
        let loops = try loops(stallSeconds: 2)
        let holders = try holders(loops)
        let late = try Client(loops.path)
        try late.request(.read, at: 512, 1 << 20, cookie: 9)
        #expect(try late.reply(1 << 20) == 9)
        #expect(try loops.connections().count < 3)
        _ = holders
        #expect(try loops.stop())
    }

    /// A client whose replies hold memory: it does not take them, but for the header of the first.
    private func holder(_ loops: RunningLoops, of export: String = "disk", _ lengths: [UInt32]) throws -> Client {
        let client = try Client(try RawConnection(unix: loops.path), export: export)
        for length in lengths { try client.request(.read, at: 0, length) }
        _ = try client.connection.receive(16)
        return client
    }

    private func takeReplies(_ holder: Client, _ lengths: [UInt32]) throws {
        _ = try holder.connection.receive(Int(lengths[0]))
        for length in lengths.dropFirst() { _ = try holder.data(length) }
    }

    /// Sends a READ, which has to wait for memory.
    private func waiter(_ loops: RunningLoops, of export: String = "disk", _ length: UInt32) throws -> Client {
        let client = try Client(try RawConnection(unix: loops.path), export: export)
        try client.request(.read, at: 512, length, cookie: 9)
        for _ in 0..<3 { _ = try loops.connections() }
        #expect(try loops.connections().last?.requestsInFlight == 0)
        return client
    }

    /// There is enough for a smaller request, but one that is larger has asked before.
    @Test func nobodyGoesBeforeThoseThatWait() throws {
        let loops = try loops(stallSeconds: 1000)
        let lengths: [[UInt32]] = [[1 << 20, 1 << 20], [1 << 20, 1 << 19]]
        let holders = try lengths.map { try holder(loops, $0) }
        let large = try waiter(loops, 1 << 20)
        let small = try waiter(loops, 1 << 16)
        try takeReplies(holders[0], lengths[0])
        #expect(try large.reply(1 << 20) == 9)
        #expect(try small.reply(1 << 16) == 9)
        try takeReplies(holders[1], lengths[1])
        #expect(try loops.stop())
    }

    /// An export that has its share waits for what it has itself; those behind it do not.
    @Test func nobodyWaitsForAnotherExportsShare() throws {
        let loops = try loops(stallSeconds: 1000)
        try loops.serve(try Backend(memoryOfSize: 1 << 26, readOnly: false), as: "other")
        let lengths: [[UInt32]] = [[1 << 20, 1 << 20], [1 << 20, 1 << 19]]
        let holders = try lengths.map { try holder(loops, $0) }
        let first = try waiter(loops, 1 << 20)
        let otherLengths: [[UInt32]] = [[1 << 20, 1 << 20], [1 << 20]]
        let others = try otherLengths.map { try holder(loops, of: "other", $0) }
        let second = try waiter(loops, of: "other", 1 << 20)
        try takeReplies(others[1], otherLengths[1])
        #expect(try second.reply(1 << 20) == 9)
        for (holder, lengths) in zip(holders, lengths) { try takeReplies(holder, lengths) }
        #expect(try first.reply(1 << 20) == 9)
        try takeReplies(others[0], otherLengths[0])
        #expect(try loops.stop())
    }

    /// One connection's requests have as much memory as they are given, and the next one waits for it.
    @Test(arguments: [1, 4]) func aConnectionHasItsOwnLimit(megabytes: Int) throws {
        var limits = Limits()
        limits.connectionMegabytes = megabytes
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 26, readOnly: false), limits: limits, in: folder)
        let client = try Client(loops.path)
        // None of these takes more than half, and none is taken by the client yet.
        for cookie in 0..<64 { try client.request(.read, at: 0, 1 << 18, cookie: UInt64(cookie)) }
        _ = try client.connection.receive(16)
        for _ in 0..<3 { _ = try loops.connections() }
        let held = try #require(try loops.connections().first).requestsInFlight
        #expect((4 * megabytes - 4...4 * megabytes).contains(held), "\(held) of 256 KiB")
        _ = try client.connection.receive(1 << 18)
        for _ in 1..<64 { _ = try client.data(1 << 18) }
        #expect(try loops.stop())
    }
}
