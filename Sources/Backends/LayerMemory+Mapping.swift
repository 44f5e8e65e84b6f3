// Memory for layers, mapped: it costs nothing until it is touched.

import Blocks
import Glibc
import IOUring

extension Overlay {
    /// A disk that is like its image, or like what is frozen above that.
    public init(sizeBytes: UInt64, blockSize: BlockSize, above frozen: [OverlayMap] = []) throws(RingError) {
        let mapBytes = Int(clamping: Self.mapBytes(sizeBytes: sizeBytes, blockSize: blockSize))
        self.init(sizeBytes: sizeBytes, blockSize: blockSize, map: try LayerMemory(mapping: mapBytes), above: frozen)
    }
}

extension LayerMemory {
    /// Maps memory.
    public convenience init(mapping byteCount: Int) throws(RingError) {
        let start = try unsafe mapMemory(byteCount: byteCount)
        unsafe self.init(start, byteCount: byteCount) { start, byteCount in unsafe munmap(start, byteCount) }
    }

    /// A part of it, for a backend's task. The layers outlive the requests that they have under way.
    public func range(_ range: Range<Int>) -> MemoryRange {
        unsafe MemoryRange(self[range].baseAddress, count: range.count)
    }
}
