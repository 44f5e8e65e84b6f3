// Cuts of recorded histories: the newest part of each sector, all outcomes and some, and the smallest loss.

import Seeded
import Testing

@testable import Blocks

@Suite struct RecordedHistoryTests {
    private static let header = RecordingHeader(
        blockSize: .smallest, sectorsPerPhysical: 1, sectors: 100, began: 0, base: .zeroes)

    /// A walk over the disk finds what a look at each sector finds, in as few extents as there are.
    @Test func theNewestPartOfEachSectorIsFound() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        for round in 0..<300 {
            let note: Comment = "seed \(seed), round \(round)"
            var parts: [DiskPart] = []
            for order in 0..<UInt64.random(in: 0...30, using: &numbers) {
                let first = UInt64.random(in: 0..<60, using: &numbers)
                let range = first..<first + .random(in: 0...20, using: &numbers)
                let isZero = Int.random(in: 0..<4, using: &numbers) == 0
                parts.append(
                    DiskPart(sectors: range, order: order, source: isZero ? .zeroes : .entry(Int(order), skip: 5)))
            }
            let given = parts
            let found = newest(of: &parts)
            var seen: [UInt64: DiskExtent.Source] = [:]
            for (number, extent) in found.enumerated() {
                #expect(!extent.sectors.isEmpty, note)
                if number > 0 { #expect(found[number - 1].sectors.upperBound <= extent.sectors.lowerBound, note) }
                for sector in extent.sectors {
                    var source = extent.source
                    if case .entry(let entry, let skip) = source {
                        source = .entry(entry, skip: skip + sector - extent.sectors.lowerBound)
                    }
                    seen[sector] = source
                }
            }
            for sector in UInt64(0)..<100 {
                let part = given.last { $0.sectors.contains(sector) }
                let expected = part.map { part -> DiskExtent.Source in
                    guard case .entry(let entry, let skip) = part.source else { return part.source }
                    return .entry(entry, skip: skip + sector - part.sectors.lowerBound)
                }
                #expect(seen[sector] == expected, note)
            }
        }
    }

    /// Zeroes are one unit, sectors of a write are one each; a flush covers what it says, and no more.
    private static let history = RecordedHistory(
        header,
        [
            RecordingEntry(number: 1, kind: .write, sectors: 0..<2),
            RecordingEntry(number: 2, kind: .write, sectors: 4..<7),
            RecordingEntry(number: 3, kind: .flush, covered: 1),
            RecordingEntry(number: 4, kind: .trim, sectors: 5..<50),
        ])

    @Test func outcomesAreCounted() {
        func choices(_ keeping: PowerCutKeeping, _ limit: Int, at point: Int = 4) -> (Set<[DiskExtent]>, UInt64?) {
            let (choices, count) = Self.history.choices(at: point, keeping, limit: limit, seed: 9)
            return (
                Set(
                    choices.map {
                        Self.history.disk(after: Self.history.cut($0.cut, at: point, losing: $0.lost))
                    }), count
            )
        }
        for (keeping, count) in [(PowerCutKeeping.none, 1), (.all, 1), (.prefix, 3), (.subset, 4), (.torn, 16)] {
            let (disks, all) = choices(keeping, 16)
            #expect(
                disks.count == count - (keeping == .torn ? 6 : 0) && all == UInt64(count), "\(keeping): \(disks.count)")
        }
        #expect(choices(.subset, 3) == (choices(.subset, 3).0, 4))
        #expect(choices(.subset, 3).0.isSubset(of: choices(.subset, 4).0))
        #expect(Self.history.choices(at: 4, .torn, limit: 15, seed: 1).choices.count == 15)
        #expect(Self.history.choices(at: 4, .torn, limit: 1, seed: 1).choices.count == 1)
        // Before the flush had ended, both writes could be lost.
        #expect(choices(.subset, 16, at: 2).1 == 4 && choices(.torn, 64, at: 2).1 == 32)
        #expect(choices(.subset, 16, at: 0).1 == 1)
    }

    @Test func tooManyOutcomesAreNotCounted() {
        let history = RecordedHistory(
            Self.header, (1...70).map { RecordingEntry(number: $0, kind: .write, sectors: $0..<$0 + 1) })
        #expect(history.choices(at: 70, .subset, limit: 10, seed: 1).count == nil)
        #expect(history.choices(at: 63, .subset, limit: 10, seed: 1).count == 1 << 63)
        #expect(history.choices(at: 70, .prefix, limit: 10, seed: 1).count == 71)
        let outcomes = history.choices(at: 70, .prefix, limit: 10, seed: 1).choices
        #expect(outcomes.count == 10 && outcomes[0].cut.keeping == .all && outcomes[1].cut.keeping == .none)
    }

    /// What a cut keeps and what it loses are all of it; parts that lie side by side become one.
    @Test func lossesArePartsOfWrites() {
        let cut = Self.history.cut(
            PowerCut(keeping: .all, seed: 0), at: 4, losing: [LostPart(write: 2, sectors: 5...5)])
        #expect(cut.stableCount == 1 && cut.report.writes[0].kept == [4..<5, 6..<7])
        #expect(cut.report.lost == [LostPart(write: 2, sectors: 5...5)])
        let none = Self.history.cut(PowerCut(keeping: .none, seed: 0), at: 4)
        #expect(none.report.lost == [LostPart(write: 2, sectors: 4...6), LostPart(write: 4, sectors: 5...49)])
        let pieces = none.report.lost.flatMap(Self.history.pieces)
        #expect(pieces.count == 4 && pieces.joined == none.report.lost)
    }

    /// Nothing can be left out of what is found, and it fails.
    @Test func theSmallestFailureIsFound() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let all = Array(0..<Int.random(in: 1...40, using: &numbers))
            let needed = Set(all.filter { _ in Int.random(in: 0..<8, using: &numbers) == 0 })
            let either = Set(all.filter { _ in Int.random(in: 0..<8, using: &numbers) == 0 })
            func fails(_ some: [Int]) -> Bool {
                needed.isSubset(of: some) && (either.isEmpty || !either.isDisjoint(with: some))
            }
            let found = smallest(of: all, failing: fails)
            #expect(found.count <= 1 || fails(found), "seed \(seed)")
            #expect(found == found.sorted() && needed.isSubset(of: found), "seed \(seed)")
            for number in found where found.count > 1 {
                #expect(!fails(found.filter { $0 != number }), "seed \(seed): \(number) is not needed")
            }
        }
    }
}
