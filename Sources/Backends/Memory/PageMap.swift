// Which pages of an image in memory have been written: nothing that the kernel tells of a process's own memory says so.

import IOUring
import Synchronization

/// A bit for each page, shared by all loops.
///
/// A writer of a page writes first and sets its bit then; one that empties it clears the bit first. So of a writer and
/// one that empties the same page at the same time, no order leaves data under a clear bit.
struct PageMap: Sendable {
    private static let bitsPerWord: UInt64 = 64
    private let memory: SharedMemory
    private let pageCount: UInt64

    /// A map of empty pages. Its memory comes as it is used, like that of the pages.
    init(pageCount: UInt64) throws(RingError) {
        let wordCount = Int(pageCount / Self.bitsPerWord) + 1
        memory = try SharedMemory(byteCount: wordCount * MemoryLayout<UInt64>.size)
        self.pageCount = pageCount
    }

    func close() {
        memory.unmap()
    }

    /// Zeroed memory is an atomic zero.
    private func word(_ index: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
        unsafe memory.base.assumingMemoryBound(to: Atomic<UInt64>.self) + Int(index)
    }

    /// The bits of one word that stand for pages of a range.
    private func mask(_ index: UInt64, _ pages: Range<UInt64>) -> UInt64 {
        let first = index * Self.bitsPerWord
        let low = max(pages.lowerBound, first) - first
        let high = min(pages.upperBound, first + Self.bitsPerWord) - first
        return (~0 << low) & (high == Self.bitsPerWord ? ~0 : ~(~0 << high))
    }

    private func words(_ pages: Range<UInt64>) -> Range<UInt64> {
        guard !pages.isEmpty else { return 0..<0 }
        return pages.lowerBound / Self.bitsPerWord..<(pages.upperBound - 1) / Self.bitsPerWord + 1
    }

    /// Pages have been written.
    func set(_ pages: Range<UInt64>) {
        for index in words(pages) {
            let mask = mask(index, pages)
            // A page is written often and becomes so once: a mere look leaves the cache line to the others.
            guard unsafe word(index).pointee.load(ordering: .acquiring) & mask != mask else { continue }
            unsafe word(index).pointee.bitwiseOr(mask, ordering: .acquiringAndReleasing)
        }
    }

    /// Pages are about to be emptied.
    func clear(_ pages: Range<UInt64>) {
        for index in words(pages) {
            let mask = mask(index, pages)
            guard unsafe word(index).pointee.load(ordering: .acquiring) & mask != 0 else { continue }
            unsafe word(index).pointee.bitwiseAnd(~mask, ordering: .acquiringAndReleasing)
        }
    }

    /// Whether the first of some pages is written, and how many of them, counted from it, are like it.
    func run(in pages: Range<UInt64>) -> (isWritten: Bool, count: UInt64) {
        let first = pages.lowerBound
        let isWritten =
            unsafe word(first / Self.bitsPerWord).pointee.load(ordering: .acquiring)
            >> (first % Self.bitsPerWord) & 1 == 1
        for index in words(pages) {
            let bits = unsafe word(index).pointee.load(ordering: .acquiring)
            let others = (isWritten ? ~bits : bits) & mask(index, pages)
            guard others == 0 else {
                return (isWritten, index * Self.bitsPerWord + UInt64(others.trailingZeroBitCount) - first)
            }
        }
        return (isWritten, pages.upperBound - first)
    }
}
