// Writes that a loop's worker does: they are what was asked for.

import Backends
import Seeded
import Support
import Testing

@testable import Loop
@testable import LoopSupport

@Suite struct WorkerWritesTests {
    /// One client with a processor for itself, and two that share one loop: whole sectors, among writes that have to
    /// complete a sector and keep others out meanwhile; all sent at once, so that payloads lie across the pieces in
    /// which they arrive.
    @Test(arguments: [1, 2]) func allSizesAtOnce(clientCount: Int) throws {
        let seed: UInt64 = 20_261_122
        var numbers = SeededGenerator(seed: seed)
        let folder = try TemporaryFolder(onDisk: true)
        let part = 1 << 20
        var model = numbers.bytes(clientCount * part)
        let path = try folder.file("disk.img", sizeBytes: UInt64(model.count), beginning: model)
        let backend = try Backend(path: path, cache: .writeback, readOnly: false)
        let loops = try RunningLoops(backend, in: folder)
        let clients = try (0..<clientCount).map { _ in try Client(loops.path) }
        for _ in 0..<6 {
            var counts = [Int](repeating: 0, count: clientCount)
            for (number, client) in clients.enumerated() {
                var bytes: [UInt8] = []
                var offset = number * part
                while offset < (number + 1) * part - 70_000 {
                    let sectors = Int.random(in: 1...(counts[number] % 10 == 0 ? 100 : 9), using: &numbers)
                    let isOdd = counts[number] % 7 == 0
                    let start = isOdd ? offset + Int.random(in: 1...511, using: &numbers) : offset
                    let payload = numbers.bytes(isOdd ? Int.random(in: 1...3000, using: &numbers) : sectors * 512)
                    bytes += Client.header(.write, at: UInt64(start), UInt32(payload.count))
                    bytes += payload
                    model.replaceSubrange(start..<start + payload.count, with: payload)
                    counts[number] += 1
                    offset = (start + payload.count + 511) / 512 * 512
                }
                try client.connection.send(bytes)
            }
            for (client, count) in zip(clients, counts) {
                for _ in 0..<count { try client.reply() }
            }
        }
        for client in clients { client.connection.close() }
        #expect(try loops.stop())
        backend.close()
        let image = try folder.bytes("disk.img", from: 0, count: model.count)
        #expect(image == model, "seed \(seed)")
    }
}
