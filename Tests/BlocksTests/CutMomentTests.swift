// The moments at which the power of a drive can be cut: who is answered before, and that nobody is after.

import Seeded
import Testing

@testable import Blocks

@Suite struct CutMomentTests {
    private static let operations: [BackendOperation] = [
        .read, .write, .write, .write, .writeZeroes(mayDeallocate: true), .discard, .flush, .prefetch,
    ]
    private static let range: ClosedRange<UInt64> = 7...9

    private static func moments(_ numbers: inout SeededGenerator) -> [CutMoment] {
        let count = UInt64.random(in: 1...6, using: &numbers)
        return [.afterWrites(count), .atWrite(range), .atFlush(count), .atFlushEnd(count)]
    }

    /// Random requests at once, ended in any order, with an order among them: all is as a model says that is only told
    /// what comes and what is answered.
    @Test(arguments: 0..<4) func thePowerGoesAtItsMoment(kind: Int) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        for round in 0..<40 {
            var medium = CachedMedium()
            for life in 0..<3 {
                let place: Comment = "seed \(seed), round \(round), life \(life)"
                let moment = Self.moments(&numbers)[kind]
                try run(&medium, until: { $0.requests.count >= 10 * (1 + life) }, &numbers)
                let before = Account(medium)
                medium.stack.order(moment)
                try run(&medium, until: { !$0.stack.hasPower }, &numbers)
                #expect(medium.stack.takePowerLoss() && !medium.stack.takePowerLoss(), place)
                let then = Account(medium)
                try check(moment, medium, before, then, place)
                // Without power nothing begins, and what is on its way ends without an answer.
                let image = medium.bytes
                let onItsWay = medium.pending
                medium.begin(.write, 0..<1)
                medium.begin(.flush, 0..<0)
                medium.begin(.read, 0..<1)
                #expect(medium.pending == onItsWay && medium.bytes == image, place)
                while let number = medium.pending.randomElement(using: &numbers) {
                    try medium.end(number, fails: false)
                }
                #expect(Account(medium).answered == then.answered, place)
                #expect(
                    medium.requests.indices.filter { !medium.requests[$0].isOver } == medium.waiting.sorted(), place)
                medium.giveUp()
                try checkCut(&medium, &numbers, place)
                #expect(medium.stack.hasPower, place)
            }
        }
    }

    /// What was answered, by its number.
    private struct Account {
        var answered: Set<Int>
        var flushCount: UInt64
        var begun: Int

        init(_ medium: CachedMedium) {
            answered = Set(medium.requests.indices.filter { medium.requests[$0].isAnswered })
            flushCount = medium.cache.flushCount
            begun = medium.requests.count
        }
    }

    private func check(
        _ moment: CutMoment, _ medium: CachedMedium, _ before: Account, _ then: Account, _ place: Comment
    ) throws {
        let news = then.answered.subtracting(before.answered)
        let last = try #require(medium.requests.indices.last)
        func count(_ isCounted: (BackendOperation) -> Bool) -> UInt64 {
            UInt64(news.count { isCounted(medium.requests[$0].request.operation) })
        }
        let writes = count { $0 == .write || $0 == .discard || $0 == .writeZeroes(mayDeallocate: true) }
        let flushes = count { $0 == .flush }
        switch moment {
        case .afterWrites(let limit): #expect(writes == limit, place)
        case .atWrite:
            #expect(!news.contains(last) && touches(medium.requests[last]), place)
            let others = (before.begun..<last).filter { touches(medium.requests[$0]) }
            #expect(others.isEmpty, "an earlier one; \(place.rawValue)")
        case .atFlush(let limit):
            let begun = (before.begun...last).filter { medium.requests[$0].request.operation == .flush }
            #expect(UInt64(begun.count) == limit && begun.last == last && !news.contains(last), place)
            #expect(medium.requests[last].pending == nil, place)
        case .atFlushEnd(let limit):
            #expect(flushes == limit - 1 && then.flushCount == before.flushCount + limit, place)
        }
    }

    private func touches(_ running: CachedMedium.Running) -> Bool {
        let request = running.request
        switch request.operation {
        case .write, .discard, .writeZeroes:
            return (Self.range.lowerBound * 512..<(Self.range.upperBound + 1) * 512)
                .overlaps(request.offset..<request.offset + request.length)
        case .read, .flush, .prefetch, .lookUp: return false
        }
    }

    /// Each sector is something that the drive may have left, and the drive goes on.
    private func checkCut(_ medium: inout CachedMedium, _ numbers: inout SeededGenerator, _ place: Comment) throws {
        let keeping = PowerCutKeeping.allCases.randomElement(using: &numbers)!
        _ = medium.cut(PowerCut(keeping: keeping, seed: numbers.next()))
        for sector in 0..<Int(CachedMedium.sectors) {
            let value = try #require(medium.value(sector), place)
            try #require(medium.versions[sector][medium.stable[sector]...].contains(value), place)
        }
        medium.forgetHistory()
    }

    private func run(
        _ medium: inout CachedMedium, until isOver: (CachedMedium) -> Bool, _ numbers: inout SeededGenerator
    ) throws {
        let limit = medium.requests.count + 1000
        while !isOver(medium) {
            try #require(medium.requests.count < limit, "the moment does not come")
            if medium.requests.count - medium.requests.count(where: \.isOver) < 6, Bool.random(using: &numbers) {
                medium.beginAny(of: Self.operations, &numbers)
            } else if let number = medium.pending.randomElement(using: &numbers) {
                try medium.end(number, fails: false)
            }
        }
    }

    /// The same seed means the same write, any of them can be it, and what a cut keeps does not follow from it.
    @Test func aSeedChoosesAWrite() {
        let chosen = (0..<1000).map { CutMoment.random(writes: 10, seed: $0) }
        #expect(chosen == (0..<1000).map { CutMoment.random(writes: 10, seed: $0) })
        for count in 1...10 as ClosedRange<UInt64> { #expect(chosen.count { $0 == .afterWrites(count) } > 50) }
        var kept: Set<Int> = []
        for seed in 0..<1000 as Range<UInt64> where chosen[Int(seed)] == .afterWrites(10) {
            var medium = CachedMedium()
            for first in 0..<9 as Range<UInt64> { medium.begin(.write, first..<first + 1) }
            let report = medium.cut(PowerCut(keeping: .prefix, seed: seed))
            kept.insert(report.writes.count { $0.fate == .kept })
        }
        #expect(kept == Set(0...9))
    }

    /// An order that is taken back does nothing.
    @Test func anOrderCanBeTakenBack() {
        var medium = CachedMedium()
        medium.stack.order(.afterWrites(1))
        medium.stack.order(nil)
        medium.begin(.write, 0..<4)
        #expect(medium.isIdle && medium.stack.hasPower && !medium.stack.takePowerLoss())
    }
}
