// Large WRITEs, whose payload goes from a TCP socket through a pipe into the file: what was written is what is there,
// whatever the client does in the middle, as it is over a Unix socket, where it goes through memory.

import Backends
import Foundation
import Seeded
import Support
import Testing

@testable import Loop
@testable import LoopSupport

@Suite struct LargeWriteTests {
    private static let size = 16 << 20
    private let folder: TemporaryFolder
    private let path: String
    private let backend: Backend

    init() throws {
        folder = try TemporaryFolder(onDisk: true)
        path = try folder.file("disk.img", sizeBytes: UInt64(Self.size))
        backend = try Backend(path: path, cache: .writeback, readOnly: false)
    }

    private func connect(_ loops: RunningLoops, tcp: Bool) throws -> Client {
        try tcp ? Client(try RawConnection(port: loops.port)) : Client(loops.path)
    }

    /// Leaves a connection behind that expects large WRITEs.
    private func begin(_ client: Client, _ piece: [UInt8]) throws {
        for number in 0..<8 { try client.write(piece, at: UInt64(number * piece.count)) }
        for _ in 0..<8 { try client.reply() }
    }

    /// Requests of all sizes under way at a time, by two clients that have half of the image each.
    @Test(arguments: [false, true], [1, 2]) func writesAgreeWithAModel(tcp: Bool, threads: Int) throws {
        defer { backend.close() }
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        var model = [UInt8](repeating: 0, count: Self.size)
        let loops = try RunningLoops(backend, loops: threads, in: folder)
        let clients = try (0..<2).map { _ in try connect(loops, tcp: tcp) }
        let large = [3 << 16, 1 << 18, 1 << 18, 200_704]
        for round in 0..<40 {
            var reads: [[UInt64: Range<Int>]] = [[:], [:]]
            var counts = [0, 0]
            for number in 0..<16 {
                let client = number % 2
                // A part of the client's half for each request, so that none overlaps another.
                let part = client * Self.size / 2 + number / 2 * (Self.size / 16)
                let kind = Int.random(in: 0..<10, using: &numbers)
                let count =
                    kind < 7
                    ? large.randomElement(using: &numbers)!
                    : kind == 7 ? (1 << 19) : kind == 8 ? 4096 : Int.random(in: 1...100_000, using: &numbers)
                let step = kind < 9 ? 512 : 1
                let offset = part + Int.random(in: 0...(Self.size / 16 - count) / step, using: &numbers) * step
                if round % 4 == 3 && number % 3 == 0 {
                    // Few enough bytes that replies which wait leave room for what is still sent.
                    let read = min(count, 65_536)
                    try clients[client].request(.read, at: UInt64(offset), UInt32(read), cookie: UInt64(number))
                    reads[client][UInt64(number)] = offset..<offset + read
                } else {
                    let bytes = numbers.bytes(count)
                    try clients[client].write(bytes, at: UInt64(offset), cookie: UInt64(number))
                    model.replaceSubrange(offset..<offset + count, with: bytes)
                }
                counts[client] += 1
            }
            for (client, count) in counts.enumerated() {
                for _ in 0..<count {
                    let header = try clients[client].connection.receive(16)
                    try #require(Array(header[..<8]) == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0], "seed \(seed)")
                    let cookie = header[8...].reduce(0) { $0 << 8 | UInt64($1) }
                    guard let range = reads[client][cookie] else { continue }
                    let bytes = try clients[client].connection.receive(range.count)
                    try #require(bytes == Array(model[range]), "seed \(seed), round \(round)")
                }
            }
        }
        for client in clients { client.connection.close() }
        #expect(try loops.stop())
        #expect(try folder.bytes("disk.img") == model, "seed \(seed)")
    }

    /// Of a WRITE whose client vanishes in the middle nothing reaches the drive, and whoever comes next is served.
    /// (There are fewer pipes than clients here, and a loop that has lost one does not end well.)
    @Test(arguments: [false, true]) func clientsThatVanishInTheMiddle(tcp: Bool) throws {
        defer { backend.close() }
        let loops = try RunningLoops(backend, in: folder)
        let piece = [UInt8](repeating: 7, count: 1 << 18)
        for number in 0..<10 {
            let client = try connect(loops, tcp: tcp)
            try begin(client, piece)
            let other = [UInt8](repeating: 9, count: 1 << 18)
            try client.connection.send(
                Client.header(.write, at: 0, 1 << 18) + other[..<(number % 2 == 0 ? 100_000 : 1 << 17)])
            client.connection.close()
        }
        let last = try connect(loops, tcp: tcp)
        #expect(try last.read(at: 0, 1 << 18) == piece)
        try begin(last, piece)
        last.connection.close()
        #expect(try loops.stop())
        #expect(try folder.bytes("disk.img", from: 0, count: 1 << 18) == piece)
    }

    /// Payload in pieces for which a pipe has no room; and bytes out of band, which are none of the stream.
    @Test func smallPiecesAndUrgentBytes() throws {
        defer { backend.close() }
        let loops = try RunningLoops(backend, in: folder)
        let client = try connect(loops, tcp: true)
        let local = try connect(loops, tcp: false)
        var numbers = SeededGenerator(seed: 12)
        let content = numbers.bytes(1 << 18)
        for (place, client) in [client, local].enumerated() {
            try begin(client, [UInt8](repeating: 1, count: 1 << 18))
            try client.connection.send(Client.header(.write, at: UInt64(place << 20), 1 << 18))
            for start in stride(from: 0, to: content.count, by: 700) {
                try client.connection.send(Array(content[start..<min(start + 700, content.count)]))
                if place == 0 && start == 70_000 { try client.connection.sendUrgent(0xFF) }
            }
            try client.reply()
            #expect(try client.read(at: UInt64(place << 20), 1 << 18) == content)
            client.connection.close()
        }
        #expect(try loops.stop())
    }

    /// A client that sends no more behind large WRITEs has its replies, and one that goes back to small requests is
    /// served.
    @Test(arguments: [false, true]) func whatComesAfterLargeWrites(tcp: Bool) throws {
        defer { backend.close() }
        let loops = try RunningLoops(backend, in: folder)
        let piece = [UInt8](repeating: 5, count: 1 << 18)
        let client = try connect(loops, tcp: tcp)
        for round in 0..<4 {
            try begin(client, piece)
            for number in 0..<100 {
                try client.write([UInt8](repeating: UInt8(number), count: 512), at: UInt64(number * 512))
            }
            try client.request(.flush)
            for _ in 0..<101 { try client.reply() }
            let small = try client.read(at: 0, 51_200)
            #expect(small.enumerated().allSatisfy { $1 == UInt8($0 / 512) }, "round \(round)")
        }
        for number in 0..<8 { try client.write(piece, at: UInt64(number << 18)) }
        client.connection.endSending()
        for _ in 0..<8 { try client.reply() }
        #expect(client.connection.isClosedByServer())
        #expect(try loops.stop())
        #expect(try folder.bytes("disk.img", from: 0, count: 8 << 18).allSatisfy { $0 == 5 })
    }
}
