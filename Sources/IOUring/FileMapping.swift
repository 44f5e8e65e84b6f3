// A file's pages in the page cache as memory that can be sent from: mmap(2), preadv2(2).

import CLibURing
import Glibc

/// The whole pages of a file, shared with everybody who has it open. Writes to the file are seen at once.
///
/// Only the kernel may read this memory, for a send or the like: where the file has shrunk, or its medium fails, it
/// answers with EFAULT what would end a process that looks by itself. A page that is not in the page cache is waited
/// for.
@safe
public struct FileMapping: Sendable {
    private let memory: SharedMemory
    /// How much of the file is mapped: whole pages.
    public let byteCount: UInt64
    /// How much is mapped in all: the last page is behind the end of the file.
    private let mappedByteCount: Int
    /// So many pages are asked for at once.
    public static let pagesPerLook = 64
    /// The size of a page.
    public static let pageBytes: UInt64 = 4096

    /// Maps a file that has `sizeBytes` bytes.
    ///
    /// - Returns: nil where there is nothing to map, or the address space is used up.
    public init?(_ descriptor: Int32, sizeBytes: UInt64) {
        unsafe self.init(descriptor, sizeBytes: sizeBytes, at: nil)
    }

    /// Maps a file at a place, instead of what is mapped there; nil: where the kernel likes.
    init?(_ descriptor: Int32, sizeBytes: UInt64, at place: UnsafeMutableRawPointer?) {
        byteCount = sizeBytes / Self.pageBytes * Self.pageBytes
        let (mapped, isTooLarge) = byteCount.addingReportingOverflow(2 * Self.pageBytes)
        guard byteCount > 0, !isTooLarge, let count = Int(exactly: mapped) else { return nil }
        mappedByteCount = count
        let flags = MAP_SHARED | MAP_NORESERVE | (unsafe place == nil ? 0 : MAP_FIXED)
        let memory = unsafe mmap(place, count, PROT_READ, flags, descriptor, 0)
        guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { return nil }
        // Where a process keeps all of its memory (mlockall(2)), the page cache is none of it.
        unsafe munlock(memory, count)
        self.memory = unsafe SharedMemory(mapped: memory, byteCount: count)
    }

    /// Where the file's first byte is.
    public var base: UnsafeMutableRawPointer { unsafe memory.base }

    /// Whether all pages of a part are in the page cache, as far as this process is told.
    ///
    /// - Parameters:
    ///   - offset: where the part begins, at a page.
    ///   - pageCount: its pages, at most ``pagesPerLook``.
    /// - Returns: nil when it is not told.
    public func isResident(at offset: UInt64, pageCount: Int) -> Bool? {
        guard saysAllResident(at: offset, pageCount: pageCount) else { return false }
        return tellsWhatIsResident ? true : nil
    }

    /// Whether mincore(2) calls all pages of a part resident.
    public func saysAllResident(at offset: UInt64, pageCount: Int) -> Bool {
        precondition(offset + UInt64(pageCount) * Self.pageBytes <= byteCount, "the part is not mapped")
        var pages = SIMD64<UInt8>.zero
        let bytes = pageCount * Int(Self.pageBytes)
        let failed = unsafe withUnsafeMutableBytes(of: &pages) { vector in
            unsafe mincore(base + Int(offset), bytes, vector.baseAddress?.assumingMemoryBound(to: UInt8.self)) != 0
        }
        guard !failed else { return false }
        for number in 0..<pageCount where pages[number] & 1 == 0 { return false }
        return true
    }

    /// mincore(2) says what is resident only to who may write the file or owns it, and to others that everything is:
    /// also the page behind the file's end, where nothing can be.
    public var tellsWhatIsResident: Bool {
        var behind: UInt8 = 1
        let result = unsafe mincore(base + mappedByteCount - Int(Self.pageBytes), Int(Self.pageBytes), &behind)
        return result == 0 && behind & 1 == 0
    }

    /// Takes all pages out of the process's page table, so that they no longer count as its memory. They stay in the
    /// page cache, and come back when they are sent.
    public func dropPages() {
        unsafe madvise(base, Int(byteCount), MADV_DONTNEED)
    }

    /// Ends the mapping; nobody sends from it any more.
    public func unmap() {
        memory.unmap()
    }
}

extension LinuxFile {
    /// pread(2) of what is in the page cache, without waiting for anything (`RWF_NOWAIT`).
    ///
    /// - Returns: how many bytes were there, up to the first that was not; 0 also for any failure.
    public static func readCached(
        _ descriptor: Int32, into buffer: UnsafeMutableRawPointer, count: Int, offset: UInt64
    ) -> Int {
        var vector = unsafe iovec(iov_base: buffer, iov_len: count)
        return max(0, unsafe preadv2(descriptor, &vector, 1, off_t(clamping: offset), Int32(LINUX_RWF_NOWAIT)))
    }
}
