// Runs of data and zeroes against a search block by block.

import Seeded
import Testing

@testable import NBD

@Suite struct ZeroRunsTests {
    private typealias Run = ZeroRuns.Run

    /// All runs, the last one taking the rest when `limit` is reached.
    private func runs(_ data: [UInt8], at offset: UInt64, joinsAll: Bool = false, limit: Int = .max) -> [Run] {
        var search = ZeroRuns(count: data.count, offsetBytes: offset, joinsAll: joinsAll)
        var found: [Run] = []
        while let run = search.next(in: data.span.bytes, isLastAllowed: found.count == limit - 1) { found.append(run) }
        return found
    }

    /// The same, one block of the image after the other.
    private func expected(_ data: [UInt8], at offset: UInt64) -> [Run] {
        var found: [Run] = []
        var start = 0
        while start < data.count {
            let imageOffset = offset + UInt64(start)
            let end = min(data.count, start + Int((imageOffset / 4096 + 1) * 4096 - imageOffset))
            let isHole = data[start..<end].allSatisfy { $0 == 0 }
            if let last = found.indices.last, found[last].isHole == isHole {
                found[last].count += end - start
            } else {
                found.append(Run(start: start, count: end - start, isHole: isHole))
            }
            start = end
        }
        return found
    }

    /// Data in which blocks are zero, or zero but for one byte somewhere.
    private func randomData(_ generator: inout SeededGenerator) -> (data: [UInt8], offset: UInt64) {
        let offset = UInt64([0, 1, 511, 512, 4095, 4096, 5000].randomElement(using: &generator)!) + (1 << 40)
        let count = Int.random(in: 1...[3, 600, 5000, 40_000].randomElement(using: &generator)!, using: &generator)
        var data = [UInt8](repeating: 0, count: count)
        for _ in 0..<Int.random(in: 0...8, using: &generator) {
            let start = Int.random(in: 0..<count, using: &generator)
            let length = [1, 1, 100, 9000].randomElement(using: &generator)!
            for place in start..<min(count, start + length) {
                data[place] = UInt8.random(in: 1...255, using: &generator)
            }
        }
        return (data, offset)
    }

    @Test func randomRuns() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for step in 0..<400 {
            let (data, offset) = randomData(&generator)
            try #require(runs(data, at: offset) == expected(data, at: offset), "seed \(seed), step \(step)")
        }
    }

    /// A reply has room for so many chunks: the runs are all of it nevertheless, and what is called a hole is one.
    @Test(arguments: 1...8)
    func noMoreRunsThanAllowed(limit: Int) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for step in 0..<100 {
            let (data, offset) = randomData(&generator)
            let found = runs(data, at: offset, limit: limit)
            let all = expected(data, at: offset)
            if all.count < limit {
                try #require(found == all, "seed \(seed), step \(step)")
            } else {
                let last = try #require(found.last)
                try #require(found.count == limit && Array(found.dropLast()) == Array(all.prefix(limit - 1)))
                try #require(!last.isHole && last.start + last.count == data.count, "seed \(seed), step \(step)")
            }
        }
    }

    @Test func onePieceForAClientThatWantsOne() {
        #expect(
            runs([UInt8](repeating: 0, count: 9000), at: 0, joinsAll: true) == [
                Run(start: 0, count: 9000, isHole: false)
            ])
    }

    @Test func blocksAreThoseOfTheImage() {
        // 100 bytes end one block of the image, the next one is zero and then a single byte follows.
        var data = [UInt8](repeating: 0, count: 100 + 4096 + 1)
        data[99] = 1
        data[4196] = 1
        #expect(
            runs(data, at: 4096 - 100) == [
                Run(start: 0, count: 100, isHole: false), Run(start: 100, count: 4096, isHole: true),
                Run(start: 4196, count: 1, isHole: false),
            ])
        #expect(runs([], at: 0) == [])
        #expect(runs([0], at: 77) == [Run(start: 0, count: 1, isHole: true)])
        #expect(runs([0, 1], at: 77) == [Run(start: 0, count: 2, isHole: false)])
    }
}
