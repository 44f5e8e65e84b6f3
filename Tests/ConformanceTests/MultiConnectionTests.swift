// Several connections to one export, on two threads (checklist M).

import Support
import Testing

@Suite struct MultiConnectionTests {
    // 156, 157: what one connection was told is written, another one reads, with and without a flush in between.
    @Test func writesOfOneConnectionAreReadOnAnother() throws {
        let image = try ServedImage(sizeBytes: 4 << 20, threads: 2)
        let clients = try (0..<5).map { _ in try image.open() }
        for step in 0..<200 {
            let data = pattern(4096, seed: UInt64(step) + 1)
            let offset = step * 37 % 1000 * 4096
            try clients[step % 5].performSuccessfully(.write(offset, data))
            if step % 3 == 0 { try clients[(step + 1) % 5].performSuccessfully(.flush) }
            #expect(try clients[(step + 2) % 5].read(offset, 4096) == data, "step \(step)")
        }
    }

    // 158: writers on eight connections, the blocks of each overlapping those of others; every read after an answered
    // write gives what some writer wrote last or is writing, never anything older.
    @Test func noConnectionReadsStaleBlocks() throws {
        let blocks = 16
        let image = try ServedImage(sizeBytes: blocks * 4096, threads: 2)
        let clients = try (0..<8).map { _ in try image.open() }
        var latest = [UInt8](repeating: 0, count: blocks)
        var numbers = SeededNumbers(seed: 31)
        for version in 1...250 {
            // One write a block at most, all under way together.
            let chosen = (0..<blocks).shuffled(using: &numbers).prefix(clients.count)
            for (client, block) in zip(clients, chosen) {
                try client.submit(.write(block * 4096, [UInt8](repeating: UInt8(version), count: 4096)))
            }
            for (client, block) in zip(clients, chosen) {
                #expect(try client.reply().error == 0)
                latest[block] = UInt8(version)
            }
            for (client, block) in zip(clients.reversed(), chosen) {
                #expect(try client.read(block * 4096, 4096).allSatisfy { $0 == latest[block] }, "version \(version)")
            }
        }
    }

    // 92, 158: connections that write their own bytes of the same sectors at the same time do not undo each other's.
    @Test(arguments: [("writeback", 1), ("writeback", 2), ("none", 2)])
    func neighboursInASectorDoNotLoseTheirBytes(mode: String, threads: Int) throws {
        let size = 16 << 10
        var model = pattern(size)
        let image = try ServedImage(sizeBytes: size, content: model, threads: threads, options: ["--cache", mode])
        let clients = try (0..<4).map { _ in try image.open() }
        // Ranges of 61 bytes belong to the four by turns: each sector is of all of them, some ranges are in two
        // sectors.
        let ranges = stride(from: 0, to: size, by: 61).map { $0..<min($0 + 61, size) }
        var numbers = SeededNumbers(seed: 8)
        for _ in 0..<12 {
            var batches = [[Request]](repeating: [], count: 4)
            for (number, range) in ranges.enumerated() {
                let isZero = Int.random(in: 0..<8, using: &numbers) == 0
                let data = isZero ? .zeroes(range.count) : numbers.bytes(range.count)
                model.overwrite(range.lowerBound, with: data)
                batches[number % 4].append(
                    isZero ? .zero(range.lowerBound, range.count) : .write(range.lowerBound, data))
            }
            for (client, batch) in zip(clients, batches) {
                try client.send(batch.map(client.register).flatMap(\.bytes))
            }
            for (client, batch) in zip(clients, batches) {
                for _ in batch { #expect(try client.reply().error == 0) }
            }
        }
        for client in clients { #expect(try client.read(0, size).difference(from: model) == nil) }
        #expect(try image.server.stop() == 0)
        #expect(try image.bytes().difference(from: model) == nil)
    }

    // 92: a whole sector and some bytes of it, written at the same time: whichever is last, the sector is never what it
    // was before both.
    @Test func aSectorAndBytesOfItAreWrittenOneAfterTheOther() throws {
        let sectors = 100
        let image = try ServedImage(sizeBytes: sectors * 512, threads: 2)
        let clients = try (0..<2).map { _ in try image.open() }
        for round in 1...30 {
            let whole = [UInt8](repeating: UInt8(2 * round), count: 512)
            let part = [UInt8](repeating: UInt8(2 * round + 1), count: 200)
            let writes = (0..<sectors).map { (Request.write($0 * 512, whole), Request.write($0 * 512 + 100, part)) }
            try clients[0].send(writes.flatMap { clients[0].register($0.0).bytes })
            try clients[1].send(writes.flatMap { clients[1].register($0.1).bytes })
            for client in clients {
                for _ in 0..<sectors { #expect(try client.reply().error == 0) }
            }
            var mixed = whole
            mixed.overwrite(100, with: part)
            let after = try clients[round % 2].read(0, sectors * 512)
            for sector in 0..<sectors {
                let bytes = after.bytes(sector * 512, 512)
                #expect(bytes == whole || bytes == mixed, "round \(round), sector \(sector)")
            }
        }
    }

    // 161: readers of a read-only export on many connections.
    @Test func aReadOnlyExportIsReadByMany() throws {
        let content = pattern(1 << 20)
        let image = try ServedImage(content: content, threads: 2, options: ["--read-only"])
        let clients = try (0..<16).map { try image.open(structured: $0 % 2 == 0) }
        for client in clients { try client.submit(.read(0, 1 << 20)) }
        for client in clients { #expect(try client.reply().data.difference(from: content) == nil) }
    }
}
