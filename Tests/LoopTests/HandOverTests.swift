// A unit with layers is served by one loop, its home, whichever loop its clients have come to.

import Backends
import Blocks
import Support
import TLS
import Testing

@testable import Loop
@testable import LoopSupport

@Suite struct HandOverTests {
    private let folder: TemporaryFolder
    private let key: TestKey
    private static let sizeBytes: UInt64 = 1 << 20
    private static let loopCount = 3

    init() throws {
        folder = try TemporaryFolder()
        key = try TestKey()
    }

    private func loops(_ faults: [Fault]) throws -> RunningLoops {
        let credentials = try TLSCredentials(certificates: nil, preSharedKeyFile: key.path, verifyPeer: false)
        let backend = try Backend(
            path: folder.file("disk.img", sizeBytes: Self.sizeBytes), cache: .writeback, readOnly: false)
        return try RunningLoops(
            backend, loops: Self.loopCount, tls: TLSSettings(credentials: credentials, isRequired: false), in: folder
        ) {
            if !faults.isEmpty {
                $0.blocks.faults = Faults(faults, sizeBytes: Self.sizeBytes, blockSize: .smallest)
            }
        }
    }

    /// A fault that changes nothing.
    private let harmless = Fault(.short(bytes: 4096), 0..<sizeBytes)

    /// What a client has sent behind its last option goes with it, more of it than the kernel gives at once, too.
    @Test(arguments: TestedLink.allCases, [0, 3, 40])
    func aClientIsHandedOver(link: TestedLink, requests count: Int) throws {
        let loops = try loops([harmless])
        var clients: [PayloadClient] = []
        // Each goes to the loop with the fewest, so each loop gets some.
        for number in 0..<2 * Self.loopCount {
            let payload = [UInt8](repeating: UInt8(number + 1), count: 8192)
            let offset = UInt64(number) * 8192
            let requests = (0..<count).flatMap { cookie in
                Client.header(.write, at: offset, 8192, cookie: UInt64(cookie)) + payload
            }
            clients.append(try PayloadClient(loops, link, chunks: false, key: key, requests: requests))
        }
        let status = try loops.connections()
        #expect(status.map(\.loop) == Array(repeating: 0, count: 2 * Self.loopCount))
        #expect(status.map(\.number) == (1...UInt64(2 * Self.loopCount)).map { $0 })
        for (number, client) in clients.enumerated() {
            var cookies = Set<UInt64>()
            for _ in 0..<count {
                let answer = try client.answer([:])
                try #require(answer.error == 0)
                cookies.insert(answer.cookie)
            }
            #expect(cookies.count == count)
            let data = try client.read(at: UInt64(number) * 8192, 8192).data
            #expect(data == [UInt8](repeating: count > 0 ? UInt8(number + 1) : 0, count: 8192))
        }
        for client in clients { client.connection.close() }
        #expect(try loops.stop())
    }

    /// An export without layers is every loop's.
    @Test func withoutLayersEachLoopServesItsOwn() throws {
        let loops = try loops([])
        let clients = try (0..<Self.loopCount).map { _ in try PayloadClient(loops, .unix, chunks: false) }
        #expect(Set(try loops.connections().map(\.loop)).count == Self.loopCount)
        for client in clients { client.connection.close() }
        #expect(try loops.stop())
    }

    /// A client that connects, asks and goes, again and again, stays with the loop that accepts. One that comes while
    /// others are there gets the loop with the fewest.
    @Test func aConnectionGoesToTheLoopWithTheFewest() throws {
        let loops = try loops([])
        for _ in 0..<4 {
            let client = try PayloadClient(loops, .unix, chunks: false)
            #expect(try loops.connections().map(\.loop) == [0])
            client.connection.close()
            try waitUntil("the connection has ended") { try loops.connections().isEmpty }
        }
        var clients = try (0..<2 * Self.loopCount).map { _ in try PayloadClient(loops, .unix, chunks: false) }
        #expect(try loops.connections().map(\.loop).sorted() == [0, 0, 1, 1, 2, 2])
        // Both of the last loop's go, and the next two take their places.
        let last = Set(try loops.connections().filter { $0.loop == 2 }.map(\.number))
        for number in last { clients[Int(number) - 5].connection.close() }
        try waitUntil("two connections have ended") { try loops.connections().count == 4 }
        clients += try (0..<2).map { _ in try PayloadClient(loops, .unix, chunks: false) }
        #expect(try loops.connections().map(\.loop).sorted() == [0, 0, 1, 1, 2, 2])
        for client in clients { client.connection.close() }
        #expect(try loops.stop())
    }

    /// What a layer remembers is the unit's: it is there for the clients of all loops, and when all of them have gone.
    @Test func whatALayerRemembersIsOneForAll() throws {
        let loops = try loops([Fault(.unreadable(.unrecovered), 0..<1, count: 2 * Self.loopCount)])
        var failures = 0
        for _ in 0..<2 {
            for _ in 0..<2 * Self.loopCount {
                let client = try PayloadClient(loops, .unix, chunks: false)
                if try client.read(at: 0, 512).error != 0 { failures += 1 }
                client.connection.close()
                try waitUntil("the client is gone") { try loops.connections().isEmpty }
            }
        }
        #expect(failures == 2 * Self.loopCount)
        #expect(try loops.stop())
    }
}
