// An image in the memory of the process, sparse as memory is: pages that were never written do not exist.

import Glibc
import IOUring

/// Anonymous memory, shared by all loops. Overlapping accesses of two loops are as undefined as on a disk.
struct MemoryImage: Sendable {
    private static let pageBytes: UInt64 = 4096
    private let memory: SharedMemory

    /// Reserves address space; pages come when they are written.
    init(sizeBytes: UInt64) throws(MediumError) {
        // The tail sector is whole, and a mapping is never empty.
        guard let byteCount = Int(exactly: sizeBytes), byteCount <= Int.max - 4096 else {
            throw .tooLarge(sizeBytes: sizeBytes)
        }
        do {
            memory = try SharedMemory(byteCount: byteCount + 4096)
        } catch {
            throw .tooLarge(sizeBytes: sizeBytes)
        }
    }

    func perform(_ task: MediumTask) -> MediumProgress {
        let place = unsafe memory.base + Int(task.offset)
        let count = Int(task.remaining)
        switch task.request {
        case .read:
            if let buffer = unsafe task.buffer { unsafe buffer.copyMemory(from: place, byteCount: count) }
        case .write:
            if let buffer = unsafe task.buffer { unsafe place.copyMemory(from: buffer, byteCount: count) }
        case .writeZeroes(mayDeallocate: false):
            unsafe place.initializeMemory(as: UInt8.self, repeating: 0, count: count)
        case .writeZeroes(mayDeallocate: true), .discard:
            clear(from: task.offset, to: task.offset + task.remaining)
        case .flush, .prefetch:
            break
        }
        return .finished
    }

    /// Whole pages are given back to the kernel, which makes them zero; the edges are written.
    private func clear(from start: UInt64, to end: UInt64) {
        let firstPage = (start + Self.pageBytes - 1) / Self.pageBytes * Self.pageBytes
        let lastPage = end / Self.pageBytes * Self.pageBytes
        guard firstPage < lastPage else { return zero(from: start, to: end) }
        zero(from: start, to: firstPage)
        let result = unsafe madvise(memory.base + Int(firstPage), Int(lastPage - firstPage), MADV_DONTNEED)
        if result != 0 { zero(from: firstPage, to: lastPage) }
        zero(from: lastPage, to: end)
    }

    private func zero(from start: UInt64, to end: UInt64) {
        unsafe (memory.base + Int(start)).initializeMemory(as: UInt8.self, repeating: 0, count: Int(end - start))
    }
}
