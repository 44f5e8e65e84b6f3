// The stored parts and holes of an image: lseek(2) with SEEK_DATA and SEEK_HOLE for files, the map of an image
// in memory.

import Blocks
import IOUring

extension Backend {
    /// The extent that begins at `offset`, as far as it is looked for. Both numbers are whole blocks, and so is the
    /// extent; `limit` is above zero. Simultaneous writes may show or not.
    public func extent(at offset: UInt64, limit: UInt64, blockSize: BlockSize) -> BackendExtent {
        switch kind {
        case .file(let file): file.extent(at: offset, limit: limit, blockSize: blockSize)
        case .memory(let image): image.extent(at: offset, limit: limit)
        case .null: BackendExtent(isMapped: false, lengthBytes: limit)
        }
    }
}

extension FileBackend {
    /// A sector of which one byte is stored is stored; one behind the end of the file is not.
    func extent(at offset: UInt64, limit: UInt64, blockSize: BlockSize) -> BackendExtent {
        guard let data = LinuxFile.nextData(bufferedDescriptor, from: offset) else {
            return BackendExtent(isMapped: false, lengthBytes: limit)
        }
        let holeBytes = data - blockSize.remainder(data) - offset
        guard holeBytes == 0 else { return BackendExtent(isMapped: false, lengthBytes: min(holeBytes, limit)) }
        guard let hole = LinuxFile.nextHole(bufferedDescriptor, from: data) else {
            return BackendExtent(isMapped: true, lengthBytes: limit)
        }
        // A hole that somebody has made right here in the meantime is found with the next question.
        let end = max(blockSize.bytes(ofBlocks: blockSize.blocks(holdingBytes: hole)), offset + blockSize.bytes)
        return BackendExtent(isMapped: true, lengthBytes: min(end - offset, limit))
    }
}
