// The uses of a file's page cache beside reading and writing through a ring: find out what is there,
// send from its mapped pages, splice them, and write by a copy that seldom waits.

import Glibc
import IOUring

/// The page cache of a backend's file. Only a backend has it whose every access goes through the page cache.
public struct PageCache: Sendable {
    /// The file.
    let descriptor: Int32
    /// Its pages; nil where they cannot be mapped, or may be waited for without a bound.
    let mapping: FileMapping?

    /// Where the bytes of a range are, mapped for the kernel to send from (see ``FileMapping``); nil when not all of
    /// them are known to be there. `scratch` has room for a chunk.
    public func cachedBytes(
        at offset: UInt64, count: UInt64, known: ResidentChunks, scratch: MemoryRange
    ) -> MemoryRange? {
        guard let mapping, let end = end(of: offset, count, mapping) else { return nil }
        let base = unsafe UInt64(UInt(bitPattern: mapping.base))
        let chunks = (base + offset) / ResidentChunks.chunkBytes...(base + end - 1) / ResidentChunks.chunkBytes
        let pages = max(1, min(count, ResidentChunks.chunkBytes) / FileMapping.pageBytes)
        for chunk in chunks {
            switch known.look(up: chunk, pageCount: pages) {
            case .resident: continue
            case .unknown: return nil
            case .worthLooking(let byReading):
                guard let isResident = isCached(chunk, mapping, byReading ? scratch : nil),
                    known.settle(chunk, isResident: isResident)
                else { return nil }
            }
        }
        return bytes(mapping, offset, count)
    }

    /// Whether this process is told what of the image is in the page cache (``FileMapping/tellsWhatIsResident``).
    public var tellsWhatIsResident: Bool { mapping?.tellsWhatIsResident ?? false }

    /// Where the bytes of a range are, if the kernel says now that they are all there.
    public func residentBytes(at offset: UInt64, count: UInt64) -> MemoryRange? {
        guard let mapping, let end = end(of: offset, count, mapping) else { return nil }
        let pageBytes = FileMapping.pageBytes
        let lastPage = (end - 1) / pageBytes
        var page = offset / pageBytes
        while page <= lastPage {
            let pageCount = min(lastPage - page + 1, UInt64(FileMapping.pagesPerLook))
            guard mapping.saysAllResident(at: page * pageBytes, pageCount: Int(pageCount)) else { return nil }
            page += pageCount
        }
        return bytes(mapping, offset, count)
    }

    /// Its pages can be sent from.
    public var isMapped: Bool { mapping != nil }

    /// Where the bytes of a range would be, whether they are there or not; nil where they are not mapped.
    public func mappedBytes(at offset: UInt64, count: UInt64) -> MemoryRange? {
        guard let mapping, end(of: offset, count, mapping) != nil else { return nil }
        return bytes(mapping, offset, count)
    }

    /// Bytes that are mapped for as long as the backend is open.
    private func bytes(_ mapping: FileMapping, _ offset: UInt64, _ count: UInt64) -> MemoryRange {
        unsafe MemoryRange(mapping.base + Int(offset), count: Int(count))
    }

    /// The end of a range, if it is not empty and all of it is mapped.
    private func end(of offset: UInt64, _ count: UInt64, _ mapping: FileMapping) -> UInt64? {
        let (end, isTooFar) = offset.addingReportingOverflow(count)
        return !isTooFar && end <= mapping.byteCount && count > 0 ? end : nil
    }

    /// Adds bytes of the file, where they are in its mapping, to a pipe.
    ///
    /// - Returns: nil for other memory.
    public func add(_ bytes: MemoryRange, to pipe: inout PagePipe) -> PagePipe.Filling? {
        guard let start = unsafe bytes.start, let offset = unsafe mappedOffset(of: start) else { return nil }
        return pipe.add(descriptor, offset: offset, count: bytes.count)
    }

    /// Which byte of the image a place in its mapping is; nil for other memory.
    public func mappedOffset(of place: UnsafeMutableRawPointer) -> UInt64? {
        guard let mapping, unsafe place >= mapping.base, unsafe UInt64(place - mapping.base) < mapping.byteCount else {
            return nil
        }
        return unsafe UInt64(place - mapping.base)
    }

    /// Pages of the mapping no longer count as memory of this process.
    public func dropMappedPages() {
        mapping?.dropPages()
    }

    /// Performs a write, waiting for it: as a rule a copy into the page cache.
    public func writeNow(_ task: inout BackendTask) -> BackendProgress {
        while task.remaining > 0 {
            let result = unsafe pwrite(descriptor, task.buffer, Int(task.remaining), off_t(clamping: task.offset))
            if result < 0 && errno == EINTR { continue }
            guard result > 0 else { return .failed(result == 0 ? ENOSPC : errno) }
            task.advance(UInt64(result))
        }
        return .finished
    }

    /// Performs a write from what is in a pipe, waiting for it.
    public func writeNow(_ task: inout BackendTask, from pipe: inout PagePipe) -> BackendProgress {
        while task.remaining > 0 {
            let result = pipe.write(to: descriptor, offset: task.offset, count: Int(task.remaining))
            if result == -Int(EINTR) { continue }
            guard result > 0 else { return .failed(result == 0 ? ENOSPC : Int32(-result)) }
            task.advance(UInt64(result))
        }
        return .finished
    }

    /// Whether all of a chunk is in the page cache, as far as it is mapped; nil when that is not to be found out.
    /// Reading it works for everybody, and is done when there is room for what is read.
    private func isCached(_ chunk: UInt64, _ mapping: FileMapping, _ scratch: MemoryRange?) -> Bool? {
        let base = unsafe UInt64(UInt(bitPattern: mapping.base))
        let start = max(chunk * ResidentChunks.chunkBytes, base) - base
        let end = min((chunk + 1) * ResidentChunks.chunkBytes - base, mapping.byteCount)
        let count = Int(end - start)
        if let isResident = mapping.isResident(at: start, pageCount: count / Int(FileMapping.pageBytes)) {
            return isResident
        }
        guard let scratch else { return nil }
        precondition(count <= scratch.count, "the scratch has room for a chunk")
        guard let room = unsafe scratch.start else { return nil }
        return unsafe LinuxFile.readCached(descriptor, into: room, count: count, offset: start) == count
    }
}
