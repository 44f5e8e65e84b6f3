// Memory that a loop's connections share for requests which are too large for their own.

import IOUring

/// Pages in two regions. An export has pages in one of them at a time: if its image does not answer, it keeps one
/// region at most, and requests of others have the other one. Without regions, half of the memory could be free without
/// a run of pages for the largest request.
struct Stage: ~Copyable {
    static let regionCount = 2

    private var regions: FixedList<PageArena>
    private let pagesPerRegion: Int

    init(pagesPerRegion: Int) throws(RingError) {
        self.pagesPerRegion = pagesPerRegion
        regions = FixedList(capacity: Self.regionCount)
        for _ in 0..<Self.regionCount { regions.append(try PageArena(pageCount: pagesPerRegion)) }
    }

    var pagesInUse: Int { sum { $0.pagesInUse } }
    var touchedPages: Int { sum { $0.touchedPages } }

    /// Whether there is a run of so many pages for an export.
    func hasRun(of pages: Int, _ share: MemoryShare) -> Bool {
        mayUse(share).contains { regions[$0].hasRun(of: pages) }
    }

    /// Takes contiguous pages.
    ///
    /// - Returns: the first page's number; nil if there is no such run for this export.
    mutating func allocate(_ pages: Int, _ share: inout MemoryShare) -> Int? {
        for region in mayUse(share) {
            guard let first = regions[region].allocate(pages) else { continue }
            share.region = region
            share.pages += pages
            return region * pagesPerRegion + first
        }
        return nil
    }

    /// Gives pages back.
    mutating func release(_ first: Int, _ pages: Int, _ share: inout MemoryShare) {
        precondition(first / pagesPerRegion == share.region, "an export has pages in one region")
        regions[share.region].release(first % pagesPerRegion, pages)
        share.pages -= pages
    }

    /// The memory of pages that follow each other.
    func bytes(_ first: Int, _ count: Int) -> MemoryRange {
        regions[first / pagesPerRegion].bytes(first % pagesPerRegion, count)
    }

    /// Gives the memory of pages that nobody uses back to the kernel.
    mutating func trim() {
        for region in 0..<Self.regionCount { regions[region].trim() }
    }

    /// An export that has nothing looks into the first region first, so that the second stays free for long.
    private func mayUse(_ share: MemoryShare) -> Range<Int> {
        share.pages > 0 ? share.region..<share.region + 1 : 0..<Self.regionCount
    }

    private func sum(_ count: (borrowing PageArena) -> Int) -> Int {
        var sum = 0
        for region in 0..<Self.regionCount { sum += count(regions[region]) }
        return sum
    }
}
