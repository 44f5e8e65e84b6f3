// Memory for requests that all connections share: who comes when it is used up waits, and not for ever.

import Backends
import Foundation
import IOUring
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

    /// Holds memory with replies that are not taken: two of half a connection's memory each, of which the socket takes
    /// a part. Two more wait for them.
    private func hold(_ loops: RunningLoops, _ holder: Client) throws {
        try holder.connection.send((0..<4).flatMap { Client.header(.read, at: 0, 1 << 20, cookie: $0) })
        try loops.settle(holder)
        // The first reply has begun, the second is ready behind it.
        _ = try holder.connection.receive(16)
    }

    @Test func whoComesLaterIsServedWhenMemoryComesBack() throws {
        let loops = try loops(stallSeconds: 1000)
        let clients = try clients(loops, 3)
        let holders = clients[..<2]
        let late = clients[2]
        for holder in holders { try hold(loops, holder) }
        try wait(loops, late, 1 << 20)
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
        let clients = try clients(loops, 3)
        for holder in clients[..<2] { try hold(loops, holder) }
        let late = clients[2]
        try late.request(.read, at: 512, 1 << 20, cookie: 9)
        #expect(try late.reply(1 << 20) == 9)
        #expect(try loops.connections().count < 3)
        #expect(try loops.stop())
    }

    /// Clients of an export. All are served before one of them asks for much: else the later ones would wait for what
    /// the earlier ones have asked (docs/architecture.md, "The fence").
    private func clients(_ loops: RunningLoops, of export: String = "disk", _ count: Int) throws -> [Client] {
        let clients = try (0..<count).map { _ in try Client(try RawConnection(unix: loops.path), export: export) }
        for client in clients { #expect(try client.read(at: 0, 512).count == 512) }
        return clients
    }

    /// Holds memory with WRITEs of which only the first byte comes.
    private func hold(_ loops: RunningLoops, _ holders: [Client], _ lengths: [UInt32]) throws {
        for (holder, length) in zip(holders, lengths) {
            try holder.connection.send(Client.header(.write, length) + [0])
            try loops.settle(holder)
        }
    }

    private func letGo(_ holder: Client, _ length: UInt32) throws {
        try holder.connection.send([UInt8](repeating: 0, count: Int(length) - 1))
        try holder.reply()
    }

    /// WRITEs of which nothing comes but their headers take no memory, and are served when it comes.
    @Test func announcedPayloadsTakeNoMemory() throws {
        let loops = try loops(stallSeconds: 1000)
        let clients = try clients(loops, 13)
        for client in clients[..<12] {
            try client.connection.send(Client.header(.write, 1 << 20))
            try loops.settle(client)
        }
        for _ in 0..<2 {
            try clients[12].request(.read, at: 512, 1 << 20, cookie: 9)
            #expect(try clients[12].reply(1 << 20) == 9)
        }
        for client in clients[..<12] { try letGo(client, (1 << 20) + 1) }
        #expect(try loops.stop())
    }

    /// A READ has to wait for memory.
    private func wait(_ loops: RunningLoops, _ client: Client, _ length: UInt32) throws {
        try client.request(.read, at: 512, length, cookie: 9)
        try loops.settle(client)
        #expect(LinuxFile.receivedBytes(client.connection.descriptor) == 0)
    }

    /// So much of the memory an export has at most, but for what is too little for a MiB.
    private static let nearlyAll: [UInt32] = [1 << 20, 1 << 20, 1 << 20, 1 << 19]

    /// There is enough for a smaller request, but one that is larger has asked before.
    @Test func nobodyGoesBeforeThoseThatWait() throws {
        let loops = try loops(stallSeconds: 1000)
        let clients = try clients(loops, 6)
        try hold(loops, clients, Self.nearlyAll)
        try wait(loops, clients[4], 1 << 20)
        try wait(loops, clients[5], 1 << 16)
        try letGo(clients[0], 1 << 20)
        #expect(try clients[4].reply(1 << 20) == 9)
        #expect(try clients[5].reply(1 << 16) == 9)
        for number in 1..<4 { try letGo(clients[number], Self.nearlyAll[number]) }
        #expect(try loops.stop())
    }

    /// An export that has its share waits for what it has itself; those behind it do not.
    @Test func nobodyWaitsForAnotherExportsShare() throws {
        let loops = try loops(stallSeconds: 1000)
        try loops.serve(try Backend(memoryOfSize: 1 << 26, readOnly: false), as: "other")
        let first = try clients(loops, 5)
        let second = try clients(loops, of: "other", 4)
        try hold(loops, first, Self.nearlyAll)
        try wait(loops, first[4], 1 << 20)
        try hold(loops, second, [1 << 20, 1 << 20, 1 << 20])
        try wait(loops, second[3], 1 << 20)
        try letGo(second[0], 1 << 20)
        #expect(try second[3].reply(1 << 20) == 9)
        #expect(LinuxFile.receivedBytes(first[4].connection.descriptor) == 0)
        for number in 0..<4 { try letGo(first[number], Self.nearlyAll[number]) }
        #expect(try first[4].reply(1 << 20) == 9)
        for number in 1..<3 { try letGo(second[number], 1 << 20) }
        #expect(try loops.stop())
    }

    /// One connection's requests have as much memory as they are given, and the next one waits for it.
    @Test(arguments: [1, 4]) func aConnectionHasItsOwnLimit(megabytes: Int) throws {
        var limits = Limits()
        limits.connectionMegabytes = megabytes
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 26, readOnly: false), limits: limits, in: folder)
        let client = try Client(loops.path)
        // None of these takes more than half, and none is taken by the client yet.
        try client.connection.send((0..<64).flatMap { Client.header(.read, at: 0, 1 << 18, cookie: $0) })
        try loops.settle(client)
        _ = try client.connection.receive(16)
        let held = try #require(try loops.connections().first).requestsInFlight
        #expect((4 * megabytes - 4...4 * megabytes).contains(held), "\(held) of 256 KiB")
        _ = try client.connection.receive(1 << 18)
        for _ in 1..<64 { _ = try client.data(1 << 18) }
        #expect(try loops.stop())
    }
}
