// The arena of pages against a list of which page is free.

import Glibc
import Seeded
import Testing

@testable import Loop

@Suite struct PageArenaTests {
    /// The lowest run of free pages, found page by page.
    private func lowestRun(_ isFree: [Bool], _ count: Int) -> Int? {
        guard count <= isFree.count else { return nil }
        return (0...isFree.count - count).first { start in isFree[start..<start + count].allSatisfy { $0 } }
    }

    @Test(arguments: [1, 2, 63, 64, 65, 127, 128, 130, 514])
    func randomUse(pageCount: Int) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var arena = try PageArena(pageCount: pageCount)
        var isFree = [Bool](repeating: true, count: pageCount)
        var taken: [(start: Int, count: Int)] = []
        var refusals = 0
        for step in 0..<3000 {
            if Bool.random(using: &generator) || taken.isEmpty {
                // Mostly small runs, sometimes as large as there can be.
                let most = Int.random(in: 0..<8, using: &generator) == 0 ? pageCount : max(1, pageCount / 8)
                let count = Int.random(in: 1...most, using: &generator)
                let start = arena.allocate(count)
                try #require(start == lowestRun(isFree, count), "seed \(seed), step \(step): \(count) pages")
                guard let start else {
                    refusals += 1
                    continue
                }
                for page in start..<start + count { isFree[page] = false }
                taken.append((start, count))
            } else {
                let run = taken.remove(at: Int.random(in: 0..<taken.count, using: &generator))
                arena.release(run.start, run.count)
                for page in run.start..<run.start + run.count { isFree[page] = true }
            }
            try #require(arena.pagesInUse == isFree.count { !$0 }, "seed \(seed), step \(step)")
        }
        #expect(refusals > 0, "seed \(seed): the arena was never full")
        for run in taken { arena.release(run.start, run.count) }
        #expect(arena.pagesInUse == 0)
        let (all, more) = (arena.allocate(pageCount), arena.allocate(1))
        #expect(all == 0 && more == nil)
    }

    @Test func moreThanThereIs() throws {
        var arena = try PageArena(pageCount: 64)
        let (tooMany, all) = (arena.allocate(65), arena.allocate(64))
        #expect(tooMany == nil && all == 0)
    }

    /// Pages lie one behind the other, and hold what is put there.
    @Test func pagesAreContiguous() throws {
        var arena = try PageArena(pageCount: 8)
        let start = arena.allocate(8)
        #expect(start == 0)
        let first = try #require(arena.bytes(0, 8).start)
        for page in 0..<8 { #expect(arena.bytes(page, 1).start == first + page * 4096) }
        memset(first, 7, 8 * 4096)
        #expect(arena.bytes(7, 1).start?.load(fromByteOffset: 4095, as: UInt8.self) == 7)
    }

    /// Which of an arena's pages cost memory (mincore(2)).
    private func resident(_ arena: borrowing PageArena) throws -> [Bool] {
        var pages = [UInt8](repeating: 0, count: arena.pageCount)
        try #require(mincore(arena.bytes(0, arena.pageCount).start, arena.pageCount * PageArena.pageBytes, &pages) == 0)
        return pages.map { $0 & 1 != 0 }
    }

    /// A trim takes the pages that are free, wherever they are, and leaves the others as they are.
    @Test(arguments: UInt64(1)...8) func aTrimTakesWhatIsFree(seed: UInt64) throws {
        var numbers = SeededGenerator(seed: seed)
        var arena = try PageArena(pageCount: 200)
        var taken: [(start: Int, count: Int)] = []
        for _ in 0..<40 {
            let count = Int.random(in: 1...9, using: &numbers)
            guard let start = arena.allocate(count) else { break }
            memset(try #require(arena.bytes(start, count).start), 5, count * PageArena.pageBytes)
            taken.append((start, count))
        }
        taken.shuffle(using: &numbers)
        for _ in 0..<taken.count / 2 {
            let run = taken.removeLast()
            arena.release(run.start, run.count)
        }
        #expect(arena.touchedPages > arena.pagesInUse)
        arena.trim()
        let used = taken.reduce(into: Set<Int>()) { $0.formUnion($1.start..<$1.start + $1.count) }
        #expect(arena.touchedPages == used.count && arena.pagesInUse == used.count)
        let resident = try resident(arena)
        #expect(resident.indices.allSatisfy { resident[$0] == used.contains($0) }, "seed \(seed)")
        for page in used { #expect(arena.bytes(page, 1).start?.load(as: UInt8.self) == 5) }
    }

    @Test func onlyUsedPagesCostMemoryAndOnlyUntilTheTrim() throws {
        var arena = try PageArena(pageCount: 100)
        try #require(try !resident(arena).contains(true))
        let taken = arena.allocate(10)
        let start = try #require(taken)
        memset(try #require(arena.bytes(start, 10).start), 1, 10 * 4096)
        var used = try resident(arena).count { $0 }
        #expect(used == 10)
        arena.trim()
        used = try resident(arena).count { $0 }
        #expect(used == 10, "pages in use stay")
        arena.release(start, 10)
        used = try resident(arena).count { $0 }
        #expect(used == 10, "released pages are kept for the next request")
        arena.trim()
        try #require(try !resident(arena).contains(true))
        let all = arena.allocate(100)
        #expect(all == 0)
        #expect(arena.bytes(3, 1).start?.load(as: UInt8.self) == 0)
    }
}
