// Memory for the data of requests: pages of one mapping, handed out as contiguous runs.

import Glibc
import IOUring

/// A fixed number of pages. A page costs memory from its first use until ``trim()``.
///
/// The lowest free run is handed out first, so that what is touched stays as small as what is needed at one time.
@safe
struct PageArena: ~Copyable {
    static let pageBytes = 4096

    private let base: UnsafeMutableRawPointer
    /// A bit for each page, set while it is free.
    private let free: UnsafeMutablePointer<UInt64>
    private let wordCount: Int
    let pageCount: Int
    private(set) var pagesInUse = 0
    /// Pages below this one have been handed out since the last trim.
    private(set) var touchedEnd = 0

    /// Maps memory for `pageCount` pages.
    init(pageCount: Int) throws(RingError) {
        unsafe base = try mapMemory(byteCount: pageCount * Self.pageBytes)
        wordCount = (pageCount + 63) / 64
        self.pageCount = pageCount
        unsafe free = UnsafeMutablePointer<UInt64>.allocate(capacity: wordCount)
        unsafe free.initialize(repeating: ~0, count: wordCount)
        let excess = wordCount * 64 - pageCount
        unsafe free[wordCount - 1] >>= UInt64(excess)
    }

    deinit {
        unsafe munmap(base, pageCount * Self.pageBytes)
        unsafe free.deallocate()
    }

    /// Takes `count` contiguous pages.
    ///
    /// - Returns: the first page's number, or nil while there is no such run.
    mutating func allocate(_ count: Int) -> Int? {
        guard let start = firstRun(of: count) else { return nil }
        mark(start, count, free: false)
        pagesInUse += count
        touchedEnd = max(touchedEnd, start + count)
        return start
    }

    /// Gives back pages taken with ``allocate(_:)``.
    mutating func release(_ start: Int, _ count: Int) {
        mark(start, count, free: true)
        pagesInUse -= count
    }

    /// The memory of a page.
    func pointer(toPage page: Int) -> UnsafeMutableRawPointer {
        unsafe base + page * Self.pageBytes
    }

    /// Gives the memory of an arena that nobody uses back to the kernel.
    mutating func trim() {
        guard pagesInUse == 0, touchedEnd > 0 else { return }
        unsafe madvise(base, touchedEnd * Self.pageBytes, MADV_DONTNEED)
        touchedEnd = 0
    }

    /// The lowest run of `count` free pages.
    private func firstRun(of count: Int) -> Int? {
        var runStart = 0
        var runLength = 0
        var page = 0
        while page < pageCount {
            // Shifting by the place in the word leaves the state of `page` and those after it.
            let word = unsafe free[page / 64] >> UInt64(page % 64)
            let left = min(64 - page % 64, pageCount - page)
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

    private func mark(_ start: Int, _ count: Int, free isFree: Bool) {
        var page = start
        while page < start + count {
            let length = min(64 - page % 64, start + count - page)
            let bits = (length == 64 ? ~0 : (UInt64(1) << UInt64(length)) - 1) << UInt64(page % 64)
            let wasFree = unsafe free[page / 64] & bits
            precondition(wasFree == (isFree ? 0 : bits), "pages are taken once and given back once")
            unsafe free[page / 64] = isFree ? free[page / 64] | bits : free[page / 64] & ~bits
            page += length
        }
    }
}
