// Sectors that cannot be read, as ranges.

import Seeded
import Testing

@testable import ATA

@Suite struct SectorSetTests {
    private static func sectors(_ set: SectorSet) -> Set<UInt64> { Set(set.ranges.flatMap { Array($0) }) }

    /// Against a set of numbers, as long as there is room.
    @Test func agreesWithAModel() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        var set = SectorSet()
        var model: Set<UInt64> = []
        for step in 0..<3000 {
            let first = UInt64.random(in: 0..<500, using: &numbers)
            let range = first..<first + UInt64.random(in: 0...20, using: &numbers)
            if Bool.random(using: &numbers) {
                let hasRoom = set.insert(range)
                #expect(hasRoom)
                model.formUnion(range)
            } else {
                set.remove(range)
                model.subtract(range)
            }
            let isSame = Self.sectors(set) == model && set.count == UInt64(model.count)
            #expect(isSame, "seed \(seed), step \(step)")
            #expect(set.first(in: range) == range.first { model.contains($0) }, "seed \(seed), step \(step)")
            #expect(zip(set.ranges, set.ranges.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
        }
    }

    /// A host that writes every second sector of a range leaves no more ranges than there is room for: what it has
    /// written can be read, and nothing else has become unreadable.
    @Test func everySecondSector() {
        var set = SectorSet()
        let hasRoom = set.insert(0..<1 << 20)
        #expect(hasRoom)
        for sector in stride(from: UInt64(1), to: 1 << 20, by: 2) { set.remove(sector..<sector + 1) }
        #expect(set.ranges.count <= SectorSet.limit && !set.isEmpty)
        #expect(set.ranges.allSatisfy { $0.count == 1 && $0.lowerBound % 2 == 0 })
        _ = set.insert(5..<6)
        #expect(set.ranges.count <= SectorSet.limit)
    }
}
