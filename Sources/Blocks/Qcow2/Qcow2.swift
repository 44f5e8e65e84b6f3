// A qcow2 image (QEMU, docs/interop/qcow2.txt): where the sectors of the disk are in the file, or that they are zeroes.

/// The layer that finds the disk in a qcow2 image and its backing files.
///
/// Nothing of the images is trusted: entries of their tables are checked before use, the tables and the compressed
/// clusters have memory of a fixed size, and each step of a request brings it further.
public struct Qcow2: Sendable {
    /// The images, each with its backing file behind it.
    var images: [Qcow2Image]
    /// The size of the raw file behind them; nil: there is none.
    public let rawBytes: UInt64?
    /// What writers of the first image share.
    var ledger: Qcow2Ledger
    /// The memory of the images.
    public let memory: LayerMemory
    private let blockSize: BlockSize
    private var inflate = Inflate()
    var hasWoken = false
    /// The first thing that was wrong with the tables.
    private var damage: Qcow2Damage?
    private var isDamageTold = false

    /// The state of a request.
    struct Task: Sendable {
        var reading = Reading()
        var writing = Writing()
    }

    /// The state of a request that reads, or of a read that another one needs.
    struct Reading: Sendable {
        var request = BackendRequest(.flush)
        /// How much of it is done, and how much of it is under way below.
        fileprivate(set) var doneBytes: UInt64 = 0
        fileprivate var partBytes: UInt64 = 0
        fileprivate var underWay = UnderWay.nothing
        /// Which file its next part is looked for in, and where this file ends to be asked: images in front of it have
        /// nothing up to there.
        fileprivate(set) var file = 0
        fileprivate var end: UInt64 = 0
        fileprivate var l2Table: Qcow2Image.L2Table?
    }

    fileprivate enum UnderWay {
        case nothing
        /// A part of the request's data.
        case data
        /// A piece of a table, into this slot.
        case table(Int)
        /// Compressed data: where they are.
        case compressed(UInt64, byteCount: UInt64, slot: Int)
    }

    /// How much memory the images of a chain need.
    public static func memoryBytes(_ headers: [Qcow2Header], isWritable: Bool = false) -> Int {
        headers.reduce(isWritable ? Qcow2Ledger.memoryBytes(headers[0]) : 0) { $0 + Qcow2Image.memoryBytes($1) }
    }

    /// A layer that has read nothing but headers.
    ///
    /// - Parameters:
    ///   - headers: of the image, and of each backing file behind it that is a qcow2 image.
    ///   - rawBytes: the size of the last backing file, if that is a raw one.
    ///   - memory: of ``memoryBytes(_:isWritable:)``.
    ///   - blockSize: the unit's.
    ///   - isWritable: the first image is written, too; its header allows it (``Qcow2Header/checkWritable()``).
    public init(
        _ headers: [Qcow2Header], rawBytes: UInt64?, memory: LayerMemory, blockSize: BlockSize,
        isWritable: Bool = false
    ) {
        precondition(
            memory.byteCount >= Self.memoryBytes(headers, isWritable: isWritable), "the memory ends before")
        self.memory = memory
        self.rawBytes = rawBytes
        self.blockSize = blockSize
        images = []
        var start = 0
        for header in headers {
            images.append(Qcow2Image(header, memory: memory, from: start))
            start += Qcow2Image.memoryBytes(header)
        }
        ledger = Qcow2Ledger(headers[0], memoryFrom: start, isWritable: isWritable)
    }

    /// The headers of the images, each with that of its backing file behind it.
    public var headers: [Qcow2Header] { images.map(\.header) }

    /// The chain as it begins when the images in front of the last backing file are others.
    ///
    /// - Parameter memory: of ``memoryBytes(_:isWritable:)``, untouched.
    public func begun(with headers: [Qcow2Header], memory: LayerMemory) -> Qcow2 {
        Qcow2(headers, rawBytes: rawBytes, memory: memory, blockSize: blockSize, isWritable: isWritable)
    }

    /// The image is as it was made, and its disk like its backing file's: no cluster is behind its L1 table.
    public var isUntouched: Bool {
        let header = images[0].header
        return header.fileBytes <= (header.l1Table.upperBound + header.clusterBytes - 1) & ~(header.clusterBytes - 1)
    }

    /// The image is not in its file any more: nothing is written, and no flush succeeds.
    public mutating func endWriting() { ledger.failure = .unrecovered }

    /// The image is written: what its tables have changed is not in the file before a flush.
    public var isWritable: Bool { ledger.isWritable }

    /// The size of the disk.
    var sizeBytes: UInt64 { images[0].header.sizeBytes }

    mutating func takeWake() -> Bool {
        defer { hasWoken = false }
        return hasWoken
    }

    /// The damage that was found in the tables; told once.
    mutating func takeDamage() -> Qcow2Damage? {
        guard !isDamageTold, let damage else { return nil }
        isDamageTold = true
        return damage
    }
}

/// Requests.
extension Qcow2 {
    mutating func begin(_ request: BackendRequest, _ task: inout Task, _ data: inout MutableRawSpan) -> BlockStep {
        task = Task()
        switch request.operation {
        case .read, .lookUp:
            task.reading.request = request
            return proceed(&task.reading, &data)
        // The place that it would be brought to is the file's, and not known without reading tables.
        case .prefetch: return .finished
        case .write, .writeZeroes, .discard, .flush: return beginWriting(request, &task, &data)
        }
    }

    mutating func resume(_ outcome: BlockOutcome, _ task: inout Task, _ data: inout MutableRawSpan) -> BlockStep {
        guard task.writing.isUnderWay else { return resume(outcome, &task.reading, &data) }
        return resumeWriting(outcome, &task, &data)
    }

    mutating func resume(
        _ outcome: BlockOutcome, _ task: inout Reading, _ data: inout MutableRawSpan
    ) -> BlockStep {
        let underWay = task.underWay
        task.underWay = .nothing
        switch underWay {
        case .nothing: return proceed(&task, &data)
        case .data:
            if case .failed(let failure, let bytes) = outcome {
                return .failed(failure, afterBytes: task.doneBytes + bytes)
            }
            advance(&task, task.partBytes)
        case .table(let slot):
            hasWoken = true
            images[task.file].endReading(slot, isRead: outcome == .done)
            if case .failed(let failure, _) = outcome { return .failed(failure, afterBytes: task.doneBytes) }
        case .compressed(let offset, let byteCount, let slot):
            hasWoken = true
            if case .failed(let failure, _) = outcome {
                images[task.file].clusters.giveUp()
                return .failed(failure, afterBytes: task.doneBytes)
            }
            guard decompress(offset, byteCount, slot, task) else { return fail(task) }
        }
        return proceed(&task, &data)
    }

    /// Goes on with a request that reads.
    mutating func proceed(_ task: inout Reading, _ data: inout MutableRawSpan) -> BlockStep {
        do throws(Qcow2Damage) {
            return task.request.operation == .lookUp ? try lookUp(&task) : try read(&task, &data)
        } catch {
            note(error, inFile: task.file)
            return fail(task)
        }
    }

    /// Where the tables make no sense nobody can say what is stored.
    private func fail(_ task: Reading) -> BlockStep { .failed(.unrecovered, afterBytes: task.doneBytes) }

    private mutating func read(
        _ task: inout Reading, _ data: inout MutableRawSpan
    ) throws(Qcow2Damage) -> BlockStep {
        while task.doneBytes < task.request.length {
            var run: Qcow2Image.Run
            switch try find(&task, { $0.continues($1, after: $2) }) {
            case .found(let found): run = found
            case .step(let step): return step
            }
            let place = Int(task.request.dataOffset + task.doneBytes)
            switch run.mapping {
            case .data(let fileOffset):
                task.partBytes = run.byteCount
                task.underWay = .data
                var part = task.request.part(from: task.doneBytes, count: run.byteCount)
                part.offset = fileOffset
                part.file = UInt8(task.file)
                return .io(part)
            case .zero, .unallocated:
                clear(place..<place + Int(run.byteCount), task, &data)
            case .compressed(let fileOffset, let byteCount):
                let offset = task.request.offset + task.doneBytes
                let clusterBytes = images[task.file].header.clusterBytes
                guard let slot = images[task.file].clusters.slot(of: offset / clusterBytes) else {
                    return readCompressed(fileOffset, byteCount, &task)
                }
                let inCluster = offset & (clusterBytes - 1)
                run.byteCount = min(run.byteCount, clusterBytes - inCluster)
                let start = images[task.file].bytes(ofCluster: slot).lowerBound + Int(inCluster)
                copy(start..<start + Int(run.byteCount), to: place, task, &data)
            }
            advance(&task, run.byteCount)
        }
        return .finished
    }

    private func clear(_ range: Range<Int>, _ task: Reading, _ data: inout MutableRawSpan) {
        if task.request.dataPlace == .tables { memory.clear(range) } else { data.clear(range) }
    }

    private func copy(_ range: Range<Int>, to place: Int, _ task: Reading, _ data: inout MutableRawSpan) {
        if task.request.dataPlace == .tables {
            memory.move(range, to: place)
        } else {
            memory.copy(range, into: &data, at: place)
        }
    }

    /// The extent that begins where the range does. One that ends inside of a block of the unit counts as stored to the
    /// block's end. Of a raw file, the file knows it.
    private mutating func lookUp(_ task: inout Reading) throws(Qcow2Damage) -> BlockStep {
        switch try find(&task, { first, next, _ in first.isOne(with: next) }) {
        case .step(let step): return step
        case .found(let run):
            let isAll = run.byteCount == task.request.length
            let whole = isAll ? run.byteCount : blockSize.bytes(ofBlocks: blockSize.blocks(inBytes: run.byteCount))
            if task.file == images.count, case .data = run.mapping, whole > 0 {
                var below = task.request.part(from: 0, count: whole)
                below.file = UInt8(task.file)
                return .io(below)
            }
            return .found(
                BackendExtent(
                    isMapped: run.mapping.isMapped || whole == 0, lengthBytes: max(whole, blockSize.bytes)))
        }
    }

    /// The next part of a request is looked for in the image itself.
    private func advance(_ task: inout Reading, _ byteCount: UInt64) {
        task.doneBytes += byteCount
        guard task.file > 0 else { return }
        task.file = 0
        task.l2Table = nil
    }

    mutating func note(_ damage: Qcow2Damage, inFile file: Int) {
        guard self.damage == nil else { return }
        self.damage = damage
        self.damage?.backingFile = file
    }
}

/// Where the sectors are.
extension Qcow2 {
    enum Finding {
        case found(Qcow2Image.Run)
        /// A table has to be read first.
        case step(BlockStep)
    }

    /// Finds what the next bytes of a request are: in the image, or where it has nothing, in its backing file.
    mutating func find(
        _ task: inout Reading, _ isMore: (Qcow2Mapping, Qcow2Mapping, UInt64) -> Bool
    ) throws(Qcow2Damage) -> Finding {
        let offset = task.request.offset + task.doneBytes
        if task.file == 0 { task.end = task.request.offset + task.request.length }
        while task.file < images.count {
            // A disk may end inside of its last sector, and a backing file before the disk.
            let sizeBytes = images[task.file].header.sizeBytes
            guard offset < sizeBytes else { return .found(.init(mapping: .zero, byteCount: task.end - offset)) }
            task.end = min(task.end, sizeBytes)
            switch try images[task.file].find(offset..<task.end, &task.l2Table, isMore) {
            case .lacks(let place, let claim): return .step(readTable(claim, place, &task))
            case .found(let run):
                guard run.mapping == .unallocated, task.file < images.count - (rawBytes == nil ? 1 : 0) else {
                    return .found(run)
                }
                task.end = offset + run.byteCount
                task.file += 1
                task.l2Table = nil
            }
        }
        guard let rawBytes, offset < rawBytes else {
            return .found(.init(mapping: .zero, byteCount: task.end - offset))
        }
        return .found(.init(mapping: .data(offset), byteCount: min(task.end, rawBytes) - offset))
    }

    /// Reads a piece of a table, or waits until another request has done that.
    private func readTable(_ claim: TableCache.Claim, _ place: UInt64, _ task: inout Reading) -> BlockStep {
        guard case .missing(let slot) = claim else { return .waitForOthers }
        task.underWay = .table(slot)
        return ask(images[task.file].reading(place, into: slot), task)
    }

    private func ask(_ request: BackendRequest, _ task: Reading) -> BlockStep {
        var request = request
        request.file = UInt8(task.file)
        return .io(request)
    }
}

/// Compressed clusters.
extension Qcow2 {
    /// Reads the data of a compressed cluster, or waits until another cluster is done.
    private mutating func readCompressed(_ offset: UInt64, _ byteCount: UInt64, _ task: inout Reading) -> BlockStep {
        guard let slot = images[task.file].clusters.begin() else { return .waitForOthers }
        task.underWay = .compressed(offset, byteCount: byteCount, slot: slot)
        return ask(images[task.file].reading(compressed: offset, byteCount), task)
    }

    /// Makes a cluster of the data that have been read.
    ///
    /// - Returns: false if they are not those of a cluster.
    private mutating func decompress(_ offset: UInt64, _ byteCount: UInt64, _ slot: Int, _ task: Reading) -> Bool {
        let (data, cluster) = (
            images[task.file].compressedBytes(offset, byteCount), images[task.file].bytes(ofCluster: slot)
        )
        let diskOffset = task.request.offset + task.doneBytes
        let isGood = unsafe inflate.decompress(
            UnsafeRawBufferPointer(memory[data]), into: memory[cluster])
        if isGood {
            images[task.file].clusters.end(diskOffset / images[task.file].header.clusterBytes)
        } else {
            images[task.file].clusters.giveUp()
            note(Qcow2Damage(kind: .compressedData, diskOffset: diskOffset, fileOffset: offset), inFile: task.file)
        }
        return isGood
    }
}

extension Qcow2Mapping {
    /// Whether another mapping, so many bytes behind this one's beginning, is in the same place or the next one.
    fileprivate func continues(_ next: Qcow2Mapping, after byteCount: UInt64) -> Bool {
        if case .data(let offset) = self { return next == .data(offset + byteCount) }
        return next == self
    }

    /// Whether two are the same for a look-up. Unallocated clusters may be in a backing file.
    fileprivate func isOne(with next: Qcow2Mapping) -> Bool {
        isMapped == next.isMapped && (self == .unallocated) == (next == .unallocated)
    }
}

extension BlockOutcome {
    /// The end of a request that had nothing but this under way.
    fileprivate var step: BlockStep {
        switch self {
        case .done: .finished
        case .failed(let failure, let bytes): .failed(failure, afterBytes: bytes)
        }
    }
}
