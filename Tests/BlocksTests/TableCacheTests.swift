// The pieces of an image's tables in memory.

import Seeded
import Testing

@testable import Blocks

@Suite struct TableCacheTests {
    private static func cache(gibibytes: UInt64) throws -> TableCache {
        let creation = try Qcow2Creation(sizeBytes: gibibytes << 30, shape: .changes, backing: nil)
        var file = [UInt8](repeating: 0, count: Qcow2Header.byteCount)
        creation.forEachTable { offset, bytes in
            if offset == 0 { file.replaceSubrange(0..<bytes.count, with: bytes) }
        }
        return TableCache(try Qcow2Header(file, fileBytes: creation.fileBytes))
    }

    /// Places of a disk's L2 tables: a table has 16 pieces, and data stand between one and the next.
    private static func places(gibibytes: UInt64, _ numbers: inout SeededGenerator) -> [UInt64] {
        var table: UInt64 = 0
        return (0..<gibibytes * 4).flatMap { _ in
            table += UInt64.random(in: 1...8192, using: &numbers) << 16
            return (0..<16).map { table + $0 << 12 }
        }
    }

    /// Random writes all over a disk need no commit before a flush asks for one, as long as the tables fit.
    @Test(arguments: [1, 8, 16] as [UInt64]) func allPiecesMayChange(gibibytes: UInt64) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        var cache = try Self.cache(gibibytes: gibibytes)
        for place in Self.places(gibibytes: gibibytes, &numbers).shuffled(using: &numbers) {
            guard case .missing(let slot) = cache.claim(place) else {
                Issue.record("seed \(seed): there is no room for \(place)")
                return
            }
            cache.end(slot, isRead: true)
            guard cache.mayChange(slot) else {
                Issue.record("seed \(seed): \(place) may not change")
                return
            }
            cache.change(slot)
        }
    }

    /// Whatever is wanted: what has changed stays, and is written once; what is there is what was wanted last.
    @Test func whatHasChangedStays() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        var cache = try Self.cache(gibibytes: 1)
        let places = Self.places(gibibytes: 16, &numbers)
        var changed: Set<UInt64> = []
        var content: [Int: UInt64] = [:]
        for _ in 0..<20_000 {
            let place = places.randomElement(using: &numbers)!
            switch cache.claim(place + UInt64.random(in: 0..<4096, using: &numbers)) {
            case .present(let slot): #expect(content[slot] == place, "seed \(seed)")
            case .missing(let slot):
                #expect(content[slot].map { !changed.contains($0) } ?? true, "seed \(seed)")
                content[slot] = place
                cache.end(slot, isRead: true)
            case .busy, .overlap: Issue.record("seed \(seed): a slot in each set is for reading")
            }
            #expect(cache.holds(place..<place + 1))
            guard case .present(let slot) = cache.claim(place) else {
                Issue.record("seed \(seed): \(place) is not there")
                return
            }
            if cache.mayChange(slot) {
                cache.change(slot)
                changed.insert(place)
            }
        }
        #expect(changed.count > 128)
        var written: Set<UInt64> = []
        while let (slot, place) = cache.changed(.mapping, from: 0) {
            #expect(written.insert(place).inserted)
            cache.endWriting(slot)
        }
        #expect(written == changed)
        #expect(!cache.hasChanges(of: .mapping))
    }
}
