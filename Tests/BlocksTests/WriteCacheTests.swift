// A volatile write cache: what is read, what a flush brings to the image, and what a power cut leaves.

import Glibc
import Seeded
import Testing

@testable import Blocks

@Suite struct WriteCacheTests {
    private static let operations: [BackendOperation] = [
        .read, .read, .write, .write, .write, .write, .writeZeroes(mayDeallocate: true), .discard,
        .flush, .prefetch,
    ]

    /// Random requests at once, ended in any order, then a cut: what was flushed is there, each sector is something
    /// that it was since, and what is kept is what the report says.
    @Test(arguments: PowerCutKeeping.allCases) func aCutLeavesWhatADriveMayLeave(keeping: PowerCutKeeping) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var numbers = SeededGenerator(seed: seed)
        var lostSomething = false
        for round in 0..<12 {
            var medium = CachedMedium()
            for _ in 0..<3 {
                try run(&medium, &numbers)
                let cut = PowerCut(keeping: keeping, seed: numbers.next())
                let before = (0..<Int(CachedMedium.sectors)).map { medium.value($0) }
                let report = medium.cut(cut)
                let place: Comment = "seed \(seed), round \(round), \(cut)"
                for sector in 0..<Int(CachedMedium.sectors) {
                    let value = try #require(medium.value(sector), place)
                    let versions = medium.versions[sector]
                    try #require(
                        versions[medium.stable[sector]...].contains(value), "\(place.rawValue), sector \(sector)")
                    if keeping == .all { try #require(value == versions.last, place) }
                    if keeping == .none { try #require(value == before[sector], place) }
                    let writes = report.writes.filter { $0.sectors.contains(UInt64(sector)) }
                    if writes.isEmpty { try #require(value == versions.last, place) }
                    let kept = writes.last { $0.kept.contains { $0.contains(UInt64(sector)) } }
                    if kept == nil { try #require(value == before[sector], place) }
                    if let kept, kept == writes.last { try #require(value == versions.last, place) }
                    // Each write has a value of its own, which is the writer's number.
                    for write in writes where write.operation == .write {
                        let isKept = write.kept.contains { $0.contains(UInt64(sector)) }
                        try #require(isKept || value != UInt8(write.writer.client), "\(place.rawValue), \(write)")
                    }
                    lostSomething = lostSomething || value != versions.last
                }
                #expect(report.writes.map(\.sequence) == report.writes.map(\.sequence).sorted())
                medium.forgetHistory()
            }
        }
        #expect(lostSomething == (keeping != .all), "a cut that loses nothing is none; seed \(seed)")
    }

    private func run(_ medium: inout CachedMedium, _ numbers: inout SeededGenerator) throws {
        let end = medium.requests.count + 60
        while medium.requests.count < end || !medium.isIdle {
            if medium.requests.count < end, Int.random(in: 0..<2, using: &numbers) == 0 {
                medium.beginAny(of: Self.operations, &numbers)
            } else if let number = medium.pending.randomElement(using: &numbers) {
                try medium.end(number, fails: false)
            } else {
                try #require(medium.requests.count < end, "requests wait for nobody")
            }
        }
    }

    @Test func theSameSeedGivesTheSameOutcome() {
        func outcome(_ seed: UInt64) -> (report: PowerCutReport, bytes: [UInt8]) {
            var medium = CachedMedium()
            for first in [0, 4, 2, 9] as [UInt64] { medium.begin(.write, first..<first + 4) }
            let report = medium.cut(PowerCut(keeping: .torn, seed: seed))
            return (report, medium.bytes)
        }
        let (first, second, other) = (outcome(1), outcome(1), outcome(2))
        #expect(first.report == second.report)
        #expect(first.bytes.elementsEqual(second.bytes), "the same seed")
        #expect(!first.bytes.elementsEqual(other.bytes), "another seed")
    }

    /// Of a physical sector that is written in part, sectors that nobody was writing may become noise: of one physical
    /// sector at most, never one whose sectors were all written, and never what lies behind the end of the medium.
    @Test func aTornPhysicalSectorLosesItsNeighbours() throws {
        let start = UInt64.random(in: 0...UInt64.max)
        var damaged: Set<UInt64> = []
        for seed in (0..<300).map({ start &+ $0 }) {
            // The last physical sector ends behind the medium.
            var medium = CachedMedium(sectorsPerPhysical: 32)
            #expect(CachedMedium.sectors == 48)
            medium.begin(.write, 30..<33)
            medium.begin(.writeZeroes(mayDeallocate: true), 34..<36)
            let report = medium.cut(PowerCut(keeping: .torn, seed: seed))
            let sectors = Set(report.damaged.joined())
            #expect(Set(sectors.map { $0 / 32 }).count <= 1, "seed \(seed)")
            #expect(sectors.isDisjoint(with: [30, 31, 32, 34, 35]), "seed \(seed)")
            for sector in 0..<CachedMedium.sectors {
                let isNoise = medium.value(Int(sector)) == nil
                #expect(isNoise == sectors.contains(sector), "seed \(seed), sector \(sector)")
            }
            damaged.formUnion(sectors)
            // Whole physical sectors have no neighbours, and other cuts write none.
            for (keeping, written) in [(.torn, 0..<32), (.all, 1..<3), (.subset, 1..<3)]
                as [(PowerCutKeeping, Range<UInt64>)]
            {
                medium = CachedMedium(sectorsPerPhysical: keeping == .torn ? 8 : 32)
                medium.begin(.write, written.clamped(to: 0..<16))
                #expect(medium.cut(PowerCut(keeping: keeping, seed: seed)).damaged.isEmpty, "seed \(seed)")
            }
        }
        #expect(damaged.isSuperset(of: [0, 33, 36, 47]), "seed \(start)")
        var first = CachedMedium(sectorsPerPhysical: 8)
        var second = CachedMedium(sectorsPerPhysical: 8)
        for seed in 0..<8 as Range<UInt64> {
            first.begin(.write, 1..<2)
            second.begin(.write, 1..<2)
            let cut = PowerCut(keeping: .torn, seed: seed)
            #expect(first.cut(cut) == second.cut(cut) && first.bytes.elementsEqual(second.bytes), "the same seed")
        }
    }

    /// What has gone to the image for want of room is not lost, though nobody has asked for it.
    @Test(arguments: PowerCutKeeping.allCases) func sectorsThatHadToGoAreKept(keeping: PowerCutKeeping) throws {
        let start = UInt64.random(in: 0...UInt64.max)
        for seed in (0..<50).map({ start &+ $0 }) {
            var medium = CachedMedium(sectorsPerPhysical: 8)
            medium.begin(.write, 12..<13)
            medium.begin(.write, 11..<18)
            // Nothing fits any more: the oldest sector goes, and its neighbours behind it.
            medium.begin(.write, 30..<40)
            while let number = medium.pending.first { try medium.end(number, fails: false) }
            let report = medium.cut(PowerCut(keeping: keeping, seed: seed))
            let write = try #require(report.writes.first { $0.sectors == 11..<18 }, "seed \(seed)")
            let kept = Set(write.kept.joined())
            #expect(kept.isSuperset(of: 12..<18), "seed \(seed)")
            #expect(kept.isDisjoint(with: Set(report.damaged.joined())), "seed \(seed)")
            for sector in write.sectors where !report.damaged.contains(where: { $0.contains(sector) }) {
                #expect((medium.value(Int(sector)) == 2) == kept.contains(sector), "seed \(seed), sector \(sector)")
            }
        }
    }

    /// What cannot reach the image stays here: the flush fails, and the next one may succeed.
    @Test func aFlushThatFailsLosesNothing() throws {
        var medium = CachedMedium()
        medium.begin(.write, 3..<9)
        medium.begin(.flush, 0..<0)
        try medium.end(1, fails: true)
        #expect(medium.isIdle && medium.stable[3] == 0 && medium.value(3) == 0)
        medium.begin(.flush, 0..<0)
        try medium.end(2, fails: false)
        try medium.end(2, fails: false)
        #expect(medium.isIdle && medium.stable[3] == 1 && medium.value(3) == medium.versions[3].last)
        #expect(medium.cache.isClean)
    }

    /// A flush that comes while another request takes sectors to the image waits for it, and then goes on.
    @Test func oneTakesSectorsToTheImageAtATime() throws {
        var medium = CachedMedium()
        medium.begin(.write, 0..<4)
        medium.begin(.flush, 0..<0)
        medium.begin(.write, 0..<2)
        medium.begin(.flush, 0..<0)
        #expect(medium.pending == [1])
        try medium.end(1, fails: false)
        #expect(medium.pending == [1, 3])
        let below = try #require(medium.requests[3].pending)
        #expect(below.operation == .write && below.offset == 0 && below.length == 1024)
        #expect(medium.requests[1].pending?.operation == .flush)
    }

    /// Zeroes and trims are lost as writes are; sectors that are named are lost in any case.
    /// Whatever the seed, the fates of writes are those that the cut's name says; and there are all of these.
    @Test(arguments: PowerCutKeeping.allCases) func theNameOfACutSaysWhatItKeeps(keeping: PowerCutKeeping) {
        var found: Set<[CutWrite.Fate]> = []
        for seed in 0..<300 as Range<UInt64> {
            var medium = CachedMedium()
            medium.begin(.write, 0..<3)
            medium.begin(.writeZeroes(mayDeallocate: true), 4..<6)
            medium.begin(.write, 8..<11)
            medium.begin(.discard, 12..<15)
            let writes = medium.cut(PowerCut(keeping: keeping, seed: seed)).writes
            found.insert(writes.map(\.fate))
            // A range is one entry of the cache.
            #expect(writes[1].fate != .torn && writes[3].fate != .torn, "seed \(seed)")
        }
        func choices(_ fates: [[CutWrite.Fate]]) -> Set<[CutWrite.Fate]> {
            fates.reduce([[]]) { begun, next in Set(begun.flatMap { fate in next.map { fate + [$0] } }) }
        }
        let expected: Set<[CutWrite.Fate]> =
            switch keeping {
            case .none: [[.lost, .lost, .lost, .lost]]
            case .all: [[.kept, .kept, .kept, .kept]]
            case .prefix:
                Set((0...4).map { Array(repeating: .kept, count: $0) + Array(repeating: .lost, count: 4 - $0) })
            case .subset: choices(Array(repeating: [.kept, .lost], count: 4))
            case .torn: choices([[.kept, .lost, .torn], [.kept, .lost], [.kept, .lost, .torn], [.kept, .lost]])
            }
        #expect(found.isSubset(of: expected), "\(found.subtracting(expected))")
        // With three sectors a write is whole in one of eight cuts only.
        #expect(keeping == .torn ? found.count > 20 : found == expected, "\(expected.subtracting(found))")
    }

    @Test func rangesAreLostAndNamedSectorsToo() {
        var medium = CachedMedium()
        medium.begin(.write, 0..<4)
        medium.begin(.writeZeroes(mayDeallocate: true), 1..<3)
        let report = medium.cut(PowerCut(keeping: .all, seed: 0, lost: [2...2]))
        #expect(report.writes.map(\.kept) == [[0..<2, 3..<4], [1..<2]])
        #expect(report.writes.map(\.fate) == [.torn, .torn])
        #expect((0..<4).map { medium.value($0) } == [1, 0, 0, 1])
        medium.begin(.writeZeroes(mayDeallocate: true), 0..<4)
        #expect(medium.cut(PowerCut(keeping: .none, seed: 0)).writes.map(\.fate) == [.lost])
        #expect(medium.value(0) == 1)
    }

    /// A client that writes one sector again and again, and zeroes it in between, holds nobody up. Other tests add
    /// nothing to the time of this thread.
    @Test func aSectorWithManyVersionsCostsNoMore() {
        let began = threadSeconds()
        defer { #expect(threadSeconds() - began < 60, "each version takes longer than the one before it") }
        let count = 60_000
        let cacheBytes = (2 * count + 8) * 512
        var stack = BlockStack()
        stack.writeCache = WriteCache(
            cacheBytes: cacheBytes, memory: allocated(WriteCache.memoryBytes(cacheBytes: cacheBytes)),
            blockSize: .smallest)
        var task = BlockTask()
        var data = [UInt8](repeating: 7, count: 512)
        let write = BackendRequest(.write, offset: 512, length: 512)
        let zeroes = BackendRequest(.writeZeroes(mayDeallocate: true), offset: 0, length: 4096)
        data.withMutableBytes { data in
            for _ in 0..<count { _ = stack.begin(write, &task, &data) }
            #expect(stack.begin(zeroes, &task, &data) == .finished)
            for _ in 0..<count { _ = stack.begin(write, &task, &data) }
            #expect(stack.begin(BackendRequest(.flush), &task, &data) == .io(zeroes))
            #expect(stack.writeCache?.versions.count == 2 * count)
            guard case .io(let below) = stack.resume(.done, &task, &data) else {
                Issue.record("the sector has not reached the image")
                return
            }
            #expect(below.offset == 512 && below.length == 512)
            #expect(stack.writeCache?.versions.count == count)
            #expect(stack.resume(.done, &task, &data) == .io(BackendRequest(.flush)))
            #expect(stack.writeCache?.isClean == true)
        }
    }

    /// A trimmed range reads as zeroes from the answer on, and is zeroes in the image, too.
    @Test func trimmedRangesReadAsTheyWillRead() throws {
        var medium = CachedMedium()
        medium.begin(.write, 0..<4)
        medium.begin(.discard, 1..<3)
        medium.begin(.read, 0..<4)
        let read = medium.requests[2].data
        #expect((0..<4).map { read[$0 * 512] } == [1, 0, 0, 1])
        let report = medium.cut(PowerCut(keeping: .all, seed: 0))
        #expect(report.writes.map(\.operation) == [.write, .discard])
        #expect((0..<4).map { medium.value($0) } == [1, 0, 0, 1])
    }

    /// A look-up says that what is here is stored, and asks below for no more than what is not.
    @Test func lookUpsKnowWhatIsHere() throws {
        var medium = CachedMedium()
        medium.begin(.write, 4..<6)
        var task = BlockTask()
        var data = MutableRawSpan()
        let whole = BackendRequest(.lookUp, offset: 0, length: CachedMedium.sectors * 512)
        #expect(medium.stack.begin(whole, &task, &data) == .io(whole.part(from: 0, count: 4 * 512)))
        let extent = BackendExtent(isMapped: false, lengthBytes: 1024)
        #expect(medium.stack.resume(extent, &task, &data) == .found(extent))
        let rest = whole.part(from: 4 * 512, count: 20 * 512)
        #expect(
            medium.stack.begin(rest, &task, &data) == .found(BackendExtent(isMapped: true, lengthBytes: 1024)))
    }
}

/// The processor time of this thread, in seconds (clock_gettime(2)).
private func threadSeconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return time.tv_sec
}
