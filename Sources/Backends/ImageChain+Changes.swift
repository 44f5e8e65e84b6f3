// Which blocks of an overlay's disk are not those of its image, or of a snapshot.

import Blocks
import Glibc
import IOUring

extension ImageChain {
    /// The blocks that are in the files in front of the base, as the layer has them: nobody uses it.
    ///
    /// - Parameters:
    ///   - count: how many of these files are asked; nil: all.
    ///   - part: the bytes of the disk that are asked about; nil: all.
    mutating func ownBlocks(
        _ blockSize: BlockSize, ofFirst count: Int? = nil, in part: Range<UInt64>? = nil
    ) throws(ImageError) -> BlockRanges {
        guard let changes, let sizeBytes = blocks.diskBytes, let layer = blocks.qcow2 else {
            preconditionFailure("the changes are in a qcow2 image")
        }
        let imageCount = count ?? layer.headers.count - changes.baseHeaderCount
        var ranges = BlockRanges(ofBlocks: blockSize.blocks(holdingBytes: sizeBytes))
        var offset = part?.lowerBound ?? 0
        let end = part?.upperBound ?? sizeBytes
        do throws(Qcow2Damage) {
            while offset < end {
                let step = try blocks.qcow2?.ownership(of: offset..<end, ofFirst: imageCount)
                switch step {
                case nil: return ranges
                case .found(let isOwn, let byteCount):
                    let end = blockSize.blocks(holdingBytes: offset + byteCount)
                    if isOwn { ranges.append(blockSize.blocks(inBytes: offset)..<end) }
                    offset += byteCount
                case .read(let request, let slot):
                    let isRead = read(request)
                    blocks.qcow2?.endReading(request, slot, isRead: isRead)
                    guard isRead else {
                        throw Qcow2Damage(kind: .unreadable, diskOffset: offset, fileOffset: request.offset)
                    }
                }
            }
        } catch {
            throw .changes(path: changes.path, "\(error)")
        }
        return ranges
    }

    private func read(_ request: BackendRequest) -> Bool {
        guard let memory = blocks.qcow2?.memory else { return false }
        let (file, start) = (Int(request.file), Int(request.dataOffset))
        let source = file == 0 ? backend : backings[file - 1]
        return unsafe source.readNow(into: memory[start..<start + Int(request.length)], at: request.offset)
    }

    /// The blocks that are not those of the base, or of a snapshot.
    public mutating func changedBlocks(since snapshot: String?, _ blockSize: BlockSize) throws(ImageError)
        -> BlockRanges
    {
        guard let snapshot, let changes, let sizeBytes = blocks.diskBytes else { return try ownBlocks(blockSize) }
        let path = changes.path(ofSnapshot: snapshot)
        let other = try Backend(path: path, cache: changes.cache, readOnly: true, locking: .off)
        var levels: (files: [Backend], headers: [Qcow2Header]) = ([], [])
        defer { for file in [other] + levels.files { file.close() } }
        let header = try Qcow2Header(of: other, path)
        levels = try changes.openLevels(below: header, of: path, other.fileNumber)
        // What both are above is the same for both.
        let mine = [backend.fileNumber] + backings.dropLast(changes.baseFileCount).map(\.fileNumber)
        let others = ([other] + levels.files).map(\.fileNumber)
        let common = zip(mine.reversed(), others.reversed()).prefix { $0 == $1 }.count
        guard header.sizeBytes == sizeBytes else {
            throw .changes(path: path, "its disk has \(header.sizeBytes) bytes, and this one \(sizeBytes)")
        }
        let ranges = try ownBlocks(blockSize, ofFirst: mine.count - common)
        guard others.count > common else { return ranges }
        var blocks = BlockStack()
        let headers = [header] + levels.headers
        blocks.qcow2 = Qcow2(
            headers, rawBytes: nil, memory: try Self.tableMemory(headers, isWritable: false), blockSize: blockSize)
        var chain = ImageChain(changes, other, levels.files, blocks)
        return ranges.union(try chain.ownBlocks(blockSize, ofFirst: others.count - common))
    }

    /// The same disk as its files have it, for a look at its tables: what no flush has brought there is missing. The
    /// one with the layers is in use.
    public init(tablesOf changes: ChangesFile, _ backend: Backend, _ backings: [Backend], _ blockSize: BlockSize)
        throws(ImageError)
    {
        var headers: [Qcow2Header] = []
        for file in [backend] + backings.dropLast(changes.baseFileCount) {
            headers.append(try Qcow2Header(of: file, changes.path, fileBytes: try file.grow(toBytes: nil)))
        }
        var blocks = BlockStack()
        blocks.qcow2 = Qcow2(
            headers, rawBytes: nil, memory: try Self.tableMemory(headers, isWritable: false), blockSize: blockSize)
        self.init(changes, backend, backings, blocks)
    }
}
