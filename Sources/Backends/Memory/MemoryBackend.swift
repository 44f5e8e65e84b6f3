// An image in the memory of the process, sparse as memory is: pages that were never written do not exist.

import Blocks
import Glibc
import IOUring

/// Anonymous memory, shared by all loops. Overlapping accesses of two loops are as undefined as on a disk.
struct MemoryBackend: Sendable {
    private static let pageBytes: UInt64 = 4096
    private let memory: SharedMemory
    private let map: PageMap

    /// Reserves address space; pages come when they are written.
    init(sizeBytes: UInt64) throws(ImageError) {
        // The tail sector is whole, and a mapping is never empty.
        guard let byteCount = Int(exactly: sizeBytes), byteCount <= Int.max - 4096 else {
            throw .tooLarge(sizeBytes: sizeBytes)
        }
        do {
            memory = try SharedMemory(byteCount: byteCount + 4096)
            map = try PageMap(pageCount: sizeBytes / Self.pageBytes + 1)
        } catch {
            throw .tooLarge(sizeBytes: sizeBytes)
        }
    }

    func perform(_ task: BackendTask) -> BackendProgress {
        let place = unsafe memory.base + Int(task.offset)
        let count = Int(task.remaining)
        switch task.operation {
        case .read:
            if let buffer = unsafe task.buffer { unsafe buffer.copyMemory(from: place, byteCount: count) }
        case .write:
            if let buffer = unsafe task.buffer { unsafe place.copyMemory(from: buffer, byteCount: count) }
            map.set(pages(task))
        case .writeZeroes(mayDeallocate: false):
            unsafe place.initializeMemory(as: UInt8.self, repeating: 0, count: count)
            map.set(pages(task))
        case .writeZeroes(mayDeallocate: true), .discard:
            clear(from: task.offset, to: task.offset + task.remaining)
        case .flush, .prefetch:
            break
        case .lookUp:
            preconditionFailure("an extent is a value, which a task does not have (Backend.extent)")
        }
        return .finished
    }

    /// The pages that a task touches.
    private func pages(_ task: BackendTask) -> Range<UInt64> {
        task.offset / Self.pageBytes..<(task.offset + task.remaining + Self.pageBytes - 1) / Self.pageBytes
    }

    /// The most bytes of the map's pages that one question looks at: a map of terabytes takes its time.
    private static let lookLimit: UInt64 = 1 << 32

    /// The pages that were written since they were last given back.
    func extent(at offset: UInt64, limit: UInt64) -> BackendExtent {
        let end = offset + min(limit, Self.lookLimit)
        let first = offset / Self.pageBytes
        let run = map.run(in: first..<(end + Self.pageBytes - 1) / Self.pageBytes)
        let runEnd = min((first + run.count) * Self.pageBytes, end)
        return BackendExtent(isMapped: run.isWritten, lengthBytes: runEnd - offset)
    }

    func close() {
        memory.unmap()
        map.close()
    }

    /// Whole pages are given back to the kernel, which makes them zero; the edges are written.
    private func clear(from start: UInt64, to end: UInt64) {
        let firstPage = (start + Self.pageBytes - 1) / Self.pageBytes * Self.pageBytes
        let lastPage = end / Self.pageBytes * Self.pageBytes
        guard firstPage < lastPage else { return zeroEdges(from: start, to: end) }
        zeroEdges(from: start, to: firstPage)
        map.clear(firstPage / Self.pageBytes..<lastPage / Self.pageBytes)
        let result = unsafe madvise(memory.base + Int(firstPage), Int(lastPage - firstPage), MADV_DONTNEED)
        if result != 0 { zero(from: firstPage, to: lastPage) }
        zeroEdges(from: lastPage, to: end)
    }

    /// Parts of at most two pages. One that was never written is zero, and would take memory if it were written.
    private func zeroEdges(from start: UInt64, to end: UInt64) {
        var place = start
        while place < end {
            let page = place / Self.pageBytes
            let next = min((page + 1) * Self.pageBytes, end)
            if map.run(in: page..<page + 1).isWritten { zero(from: place, to: next) }
            place = next
        }
    }

    private func zero(from start: UInt64, to end: UInt64) {
        unsafe (memory.base + Int(start)).initializeMemory(as: UInt8.self, repeating: 0, count: Int(end - start))
    }
}
