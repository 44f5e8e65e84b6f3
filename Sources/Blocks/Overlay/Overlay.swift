// A disk of its own above an image that is only read: changes are kept beside the image, and go with the export.

/// The layer that keeps all changes in files of its own, each at its place on the disk.
///
/// The file that is written is number 0 of the unit (``BackendRequest/file``), the one that requests from above are
/// for. Behind it come those that nobody writes to any more, the newest first, and then those of the image.
public struct Overlay: Sendable {
    /// The size of the disk in bytes.
    public let sizeBytes: UInt64
    private let blockSize: BlockSize
    private var map: OverlayMap
    /// What is in each of the files that nobody writes to any more.
    private let frozen: [OverlayMap]

    /// How many of these there may be.
    public static let maximumFrozen = 31

    /// The state of a request.
    struct Task: Sendable {
        fileprivate var request = BackendRequest(.flush)
        /// How much of it is done, and how much of it is under way below.
        fileprivate var doneBytes: UInt64 = 0
        fileprivate var partBytes: UInt64 = 0
    }

    /// How much memory the map of a disk takes.
    public static func mapBytes(sizeBytes: UInt64, blockSize: BlockSize) -> UInt64 {
        OverlayMap.memoryBytes(blocks: blockSize.blocks(holdingBytes: sizeBytes))
    }

    /// A disk that is like its image, or like what others have written above that.
    ///
    /// - Parameters:
    ///   - map: of ``mapBytes(sizeBytes:blockSize:)``, all zeroes.
    ///   - frozen: what is in files that nobody writes to, the newest first.
    public init(sizeBytes: UInt64, blockSize: BlockSize, map: LayerMemory, above frozen: [OverlayMap] = []) {
        precondition(
            UInt64(map.byteCount) >= Self.mapBytes(sizeBytes: sizeBytes, blockSize: blockSize), "the memory ends before"
        )
        self.sizeBytes = sizeBytes
        self.blockSize = blockSize
        self.map = OverlayMap(map, blocks: blockSize.blocks(holdingBytes: sizeBytes))
        precondition(frozen.count <= Self.maximumFrozen, "each of its files has a number")
        self.frozen = frozen
    }

    /// How many files it has; those of the image come behind them.
    var fileCount: UInt8 { UInt8(1 + frozen.count) }

    /// What is in the file that is written.
    public var ownMap: OverlayMap { map }

    /// How much of the disk is in the file that is written, in bytes.
    public var ownBytes: UInt64 { blockSize.bytes(ofBlocks: map.count) }

    /// These bytes, in whole blocks, are in the overlay's file from now on.
    private mutating func claim(offset: UInt64, length: UInt64) {
        map.insert(blocks(offset, length))
    }

    /// What was left in a write cache is in the overlay's file now.
    public mutating func claim(_ left: LeftInCache) {
        switch left {
        case .write(let offset, let bytes): claim(offset: offset, length: UInt64(bytes.count))
        case .zeroes(let range, _): claim(offset: range.lowerBound, length: UInt64(range.count))
        }
    }

    private func blocks(_ offset: UInt64, _ length: UInt64) -> Range<UInt64> {
        offset / UInt64(blockSize.bytes)..<(offset + length) / UInt64(blockSize.bytes)
    }
}

extension Overlay {
    mutating func begin(_ request: BackendRequest, _ task: inout Task) -> BlockStep {
        task = Task()
        task.request = request
        switch request.operation {
        case .read, .lookUp, .prefetch: return next(&task)
        case .write, .writeZeroes:
            task.partBytes = request.length
            return .io(request)
        case .discard:
            // What the image has there is not to be seen again.
            task.partBytes = request.length
            var zeroes = request
            zeroes.operation = .writeZeroes(mayDeallocate: true)
            return .io(zeroes)
        case .flush:
            // The file ends with the process.
            return .finished
        }
    }

    mutating func resume(_ outcome: BlockOutcome, _ task: inout Task) -> BlockStep {
        if case .failed(let failure, let bytes) = outcome {
            return .failed(failure, afterBytes: task.doneBytes + bytes)
        }
        switch task.request.operation {
        case .write, .writeZeroes, .discard:
            claim(offset: task.request.offset, length: task.request.length)
            return .finished
        case .read, .lookUp, .prefetch, .flush:
            task.doneBytes += task.partBytes
            return next(&task)
        }
    }

    mutating func resume(_ extent: BackendExtent, _ task: inout Task) -> BlockStep {
        .found(BackendExtent(isMapped: extent.isMapped, lengthBytes: min(extent.lengthBytes, task.partBytes)))
    }

    /// Asks for the next part of a request: as far as all of it is in one file, or in the image.
    private func next(_ task: inout Task) -> BlockStep {
        let left = task.request.length - task.doneBytes
        guard left > 0 else { return .finished }
        let range = blocks(task.request.offset + task.doneBytes, left)
        var run = map.run(in: range)
        var file = 0
        while !run.isThere, file < frozen.count {
            run = frozen[file].run(in: range.lowerBound..<range.lowerBound + run.count)
            file += 1
        }
        task.partBytes = blockSize.bytes(ofBlocks: run.count)
        var part = task.request.part(from: task.doneBytes, count: task.partBytes)
        part.file = run.isThere ? UInt8(file) : fileCount
        return .io(part)
    }
}
