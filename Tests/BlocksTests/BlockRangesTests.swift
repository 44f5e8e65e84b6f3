// Blocks of a disk in a list that is never long.

import Seeded
import Testing

@testable import Blocks

@Suite struct BlockRangesTests {
    private static let blocks: UInt64 = 1 << 20

    private func blocks(of ranges: BlockRanges) -> Set<UInt64> { Set(ranges.ranges.joined()) }

    /// As long as there are few, they are what was added.
    @Test(arguments: UInt64(1)...8) func fewAreExact(seed: UInt64) {
        var numbers = SeededGenerator(seed: seed)
        func some() -> (BlockRanges, Set<UInt64>) {
            var (ranges, set, next) = (BlockRanges(ofBlocks: Self.blocks), Set<UInt64>(), UInt64(0))
            for _ in 0..<300 {
                let first = next + UInt64.random(in: 0...20, using: &numbers)
                next = first + UInt64.random(in: 0...20, using: &numbers)
                ranges.append(first..<next)
                set.formUnion(first..<next)
            }
            return (ranges, set)
        }
        let (one, other) = (some(), some())
        for (ranges, set) in [one, other, (one.0.union(other.0), one.1.union(other.1))] {
            let isSame = blocks(of: ranges) == set
            #expect(isSame && ranges.unit == 1 && ranges.count == UInt64(set.count))
            let touch = zip(ranges.ranges, ranges.ranges.dropFirst()).contains { $0.upperBound >= $1.lowerBound }
            #expect(!touch)
        }
    }

    /// Many are rounded: none is missing, and the list is short.
    @Test(arguments: [(UInt64(3), UInt64(100)), (700, 3), (0, 0)]) func manyAreRounded(gap: UInt64, length: UInt64) {
        var (ranges, set, next) = (BlockRanges(ofBlocks: Self.blocks), Set<UInt64>(), UInt64(0))
        var numbers = SeededGenerator(seed: gap)
        while true {
            let first = next + 1 + (gap == 0 ? UInt64.random(in: 0...2000, using: &numbers) : gap)
            next = first + max(1, length)
            guard next <= Self.blocks else { break }
            ranges.append(first..<next)
            set.formUnion(first..<next)
            #expect(ranges.ranges.count <= BlockRanges.limit)
        }
        ranges.append(Self.blocks - 1..<Self.blocks)
        set.insert(Self.blocks - 1)
        let isThere = set.isSubset(of: blocks(of: ranges))
        #expect(isThere && ranges.unit.nonzeroBitCount == 1)
        let isInside = ranges.ranges.allSatisfy {
            $0.lowerBound % ranges.unit == 0 && ($0.upperBound % ranges.unit == 0 || $0.upperBound == Self.blocks)
        }
        #expect(isInside)
        // What is rounded has something in each unit.
        let isTight = ranges.ranges.allSatisfy { range in
            stride(from: range.lowerBound, to: range.upperBound, by: Int(ranges.unit)).allSatisfy { unit in
                (unit..<min(unit + ranges.unit, Self.blocks)).contains(where: set.contains)
            }
        }
        #expect(isTight)
        var other = BlockRanges(ofBlocks: Self.blocks)
        other.append(5..<6)
        let both = ranges.union(other)
        let hasAll = set.union([5]).isSubset(of: blocks(of: both))
        #expect(hasAll && both.ranges.count <= BlockRanges.limit)
    }
}
