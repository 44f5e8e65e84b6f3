// Memory for the data of requests: pages of one mapping, handed out as contiguous runs.

import IOUring

/// A fixed number of pages. A page costs memory from its first use until a ``trim()`` that finds it free.
///
/// The lowest free run is handed out first, so that what is touched stays as small as what is needed at one time.
struct PageArena: ~Copyable {
    static let pageBytes = 4096

    private let memory: MappedRegion
    /// A bit for each page, set while it is free.
    private var free: FixedList<UInt64>
    /// A bit for each page, set while it costs memory.
    private var touched: FixedList<UInt64>
    let pageCount: Int
    private(set) var pagesInUse = 0
    /// How many pages cost memory.
    private(set) var touchedPages = 0

    /// Maps memory for `pageCount` pages.
    init(pageCount: Int) throws(RingError) {
        memory = try MappedRegion(byteCount: pageCount * Self.pageBytes)
        let wordCount = (pageCount + 63) / 64
        self.pageCount = pageCount
        free = FixedList(repeating: ~0, count: wordCount)
        free[wordCount - 1] >>= UInt64(wordCount * 64 - pageCount)
        touched = FixedList(repeating: 0, count: wordCount)
    }

    /// Whether so many contiguous pages are free.
    func hasRun(of count: Int) -> Bool {
        pagesInUse + count <= pageCount && firstRun(of: count) != nil
    }

    /// Takes `count` contiguous pages.
    ///
    /// - Returns: the first page's number, or nil while there is no such run.
    mutating func allocate(_ count: Int) -> Int? {
        guard let start = firstRun(of: count) else { return nil }
        mark(start, count, free: false)
        pagesInUse += count
        return start
    }

    /// Gives back pages taken with ``allocate(_:)``.
    mutating func release(_ start: Int, _ count: Int) {
        mark(start, count, free: true)
        pagesInUse -= count
    }

    /// The memory of pages that follow each other.
    func bytes(_ first: Int, _ count: Int) -> MemoryRange {
        precondition(first >= 0 && count >= 0 && first + count <= pageCount, "the arena has no such pages")
        return unsafe memory[first * Self.pageBytes..<(first + count) * Self.pageBytes]
    }

    /// Gives the memory of pages that nobody uses back to the kernel.
    mutating func trim() {
        guard touchedPages > pagesInUse else { return }
        for word in 0..<touched.count {
            var unused = touched[word] & free[word]
            touchedPages -= unused.nonzeroBitCount
            touched[word] ^= unused
            while unused != 0 {
                let first = unused.trailingZeroBitCount
                let length = (~(unused &>> UInt64(first))).trailingZeroBitCount
                let start = (word * 64 + first) * Self.pageBytes
                memory.trim(start..<start + length * Self.pageBytes)
                unused &= ~((~0 &>> UInt64(64 - length)) &<< UInt64(first))
            }
        }
    }

    /// The lowest run of `count` free pages.
    private func firstRun(of count: Int) -> Int? {
        var runStart = 0
        var runLength = 0
        var page = 0
        while page < pageCount {
            // Shifting by the place in the word leaves the state of `page` and those after it.
            let word = free[page >> 6] &>> UInt64(page & 63)
            let left = min(64 - page & 63, pageCount - page)
            if word & 1 == 0 {
                runLength = 0
                page += min(word.trailingZeroBitCount, left)
                runStart = page
            } else {
                let length = min((~word).trailingZeroBitCount, left)
                runLength += length
                page += length
                if runLength >= count { return runStart }
            }
        }
        return nil
    }

    private mutating func mark(_ start: Int, _ count: Int, free isFree: Bool) {
        var page = start
        while page < start + count {
            let first = page & 63
            let length = min(64 - first, start + count - page)
            let bits = (~0 &>> UInt64(64 - length)) &<< UInt64(first)
            let word = free[page >> 6]
            precondition(word & bits == (isFree ? 0 : bits), "pages are taken once and given back once")
            free[page >> 6] = word ^ bits
            touchedPages += (bits & ~touched[page >> 6]).nonzeroBitCount
            touched[page >> 6] |= bits
            page += length
        }
    }
}
