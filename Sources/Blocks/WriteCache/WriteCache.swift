// The volatile write cache of a drive (ACS-3 4.16, write cache): a write is answered at once, and reaches the
// image by FLUSH CACHE, or when there is no room for more. A power cut loses what has not.

/// The layer that keeps answered writes from the image.
public struct WriteCache: Sendable {
    /// The most that goes to the image at a time, in bytes.
    private static let destageBytes = 1 << 18
    /// Zeroes and trims that are kept at a time. Before more come, the oldest goes to the image.
    private static let rangeLimit = 16

    let blockSize: BlockSize
    /// Logical sectors in a physical one (IDENTIFY DEVICE data, word 106).
    let sectorsPerPhysical: UInt64
    /// The sectors, by slot, and behind them the place from which some go to the image.
    public let memory: LayerMemory
    var versions: CachedVersions
    /// In the order of their coming.
    var ranges: [CachedWrite] = []
    /// All that is here is in between.
    private var bounds: Range<UInt64> = 0..<0
    /// The number of the newest write.
    private var sequence: UInt64 = 0
    /// How often everything reached the image because somebody asked for that.
    private(set) var flushCount: UInt64 = 0
    /// The writes on their way to the image; one request after the other takes them there.
    private var destaging = Destage.nothing
    /// The numbers of the versions that are on their way, by sector from the first on.
    private var destaged: [UInt64] = []
    private var hasWoken = false
    /// When the power goes by itself; nil: nobody has ordered that.
    private var moment: CutMoment?
    /// Without power nothing is done, and nothing is answered any more.
    private(set) var hasPower = true
    /// The moment has come, and nobody has been told.
    private var hasJustLostPower = false

    private enum Destage {
        case nothing
        case sectors(first: UInt64)
        /// The oldest range.
        case range
    }

    /// The state of a request.
    struct Task: Sendable {
        fileprivate var request = BackendRequest(.flush)
        fileprivate var writer = BlockWriter()
        /// How much of it is done, and how much of it is under way below.
        fileprivate var doneBytes: UInt64 = 0
        fileprivate var partBytes: UInt64 = 0
        /// The write that it waits for: everything up to this one reaches the image.
        fileprivate var target: UInt64 = 0
        /// It takes something to the image.
        fileprivate var isDestaging = false
    }

    /// How much memory a cache of so many bytes needs.
    public static func memoryBytes(cacheBytes: Int) -> Int { cacheBytes + destageBytes }

    /// An empty cache.
    ///
    /// - Parameters:
    ///   - memory: of ``memoryBytes(cacheBytes:)``.
    ///   - sectorsPerPhysical: how many logical sectors the medium only writes together.
    public init(cacheBytes: Int, memory: LayerMemory, blockSize: BlockSize, sectorsPerPhysical: UInt64 = 1) {
        precondition(memory.byteCount >= Self.memoryBytes(cacheBytes: cacheBytes), "the memory ends before")
        self.blockSize = blockSize
        self.sectorsPerPhysical = sectorsPerPhysical
        self.memory = memory
        let slotCount = cacheBytes / Int(blockSize.bytes)
        precondition(slotCount > 0, "a cache has room for a sector")
        versions = CachedVersions(slotCount: slotCount)
        ranges.reserveCapacity(Self.rangeLimit)
        destaged.reserveCapacity(Self.destageBytes / Int(blockSize.bytes))
    }

    /// Everything has reached the image.
    var isClean: Bool { versions.count == 0 && ranges.isEmpty }

    mutating func takeWake() -> Bool {
        defer { hasWoken = false }
        return hasWoken
    }
}

/// Power.
extension WriteCache {
    /// Orders the power to go at a moment; nil: not by itself.
    mutating func order(_ moment: CutMoment?) { self.moment = moment }

    /// The power goes now. Those who wait are to be looked at: their clients may be gone.
    mutating func losePower() {
        moment = nil
        hasPower = false
        hasWoken = true
    }

    /// The power is back.
    mutating func restorePower() { hasPower = true }

    mutating func takePowerLoss() -> Bool {
        defer { hasJustLostPower = false }
        return hasJustLostPower
    }

    /// The moment that was ordered has come.
    private mutating func losePowerByOrder() {
        losePower()
        hasJustLostPower = true
    }
}

/// Requests.
extension WriteCache {
    mutating func begin(
        _ request: BackendRequest, _ task: inout Task, _ writer: BlockWriter, _ data: inout MutableRawSpan
    ) -> BlockStep {
        task = Task()
        task.request = request
        task.writer = writer
        if request.operation == .flush { task.target = sequence }
        guard hasPower else { return .waitForOthers }
        guard moment != nil else { return proceed(&task, &data) }
        return beginUnderOrder(&task, &data)
    }

    mutating func resume(_ outcome: BlockOutcome, _ task: inout Task, _ data: inout MutableRawSpan) -> BlockStep {
        if task.isDestaging {
            task.isDestaging = false
            endDestaging(outcome)
            guard hasPower else { return .waitForOthers }
            if case .failed(let failure, _) = outcome { return .failed(failure, afterBytes: task.doneBytes) }
            return proceed(&task, &data)
        }
        guard hasPower else { return .waitForOthers }
        switch outcome {
        case .done where task.request.operation == .flush && task.partBytes > 0:
            flushCount += 1
            return end(task)
        case .done:
            task.doneBytes += task.partBytes
            task.partBytes = 0
            return proceed(&task, &data)
        case .failed(let failure, let bytes):
            return .failed(failure, afterBytes: task.doneBytes + bytes)
        }
    }

    /// The image was asked for an extent, and has said it.
    func resume(_ extent: BackendExtent) -> BlockStep { hasPower ? .found(extent) : .waitForOthers }

    /// The power is to go at some moment, which may be before this request or at its beginning.
    private mutating func beginUnderOrder(_ task: inout Task, _ data: inout MutableRawSpan) -> BlockStep {
        guard moment?.isNow(beforeBeginning: task.request) == false else {
            losePowerByOrder()
            return .waitForOthers
        }
        guard moment?.isNow(afterBeginning: task.request, blockSize) == true else { return proceed(&task, &data) }
        let step = proceed(&task, &data)
        losePowerByOrder()
        // A write on its way to the image comes back, and waits then.
        guard case .io = step else { return .waitForOthers }
        return step
    }

    private mutating func proceed(_ task: inout Task, _ data: inout MutableRawSpan) -> BlockStep {
        let step =
            switch task.request.operation {
            case .read: read(&task, &data)
            case .write: write(&task, data)
            case .writeZeroes, .discard: addRange(&task)
            case .flush: flush(&task)
            case .lookUp: lookUp(task)
            case .prefetch: pass(&task)
            }
        return step == .finished ? end(task) : step
    }

    /// A request is done.
    private mutating func end(_ task: Task) -> BlockStep {
        guard let moment, self.moment?.isNow(afterDoing: task.request.operation) == true else { return .finished }
        losePowerByOrder()
        return moment.isAfterAnswer ? .finished : .waitForOthers
    }

    /// Brings something closer that may be here already: that costs nothing but time.
    private func pass(_ task: inout Task) -> BlockStep {
        guard task.doneBytes == 0 else { return .finished }
        task.partBytes = task.request.length
        return .io(task.request)
    }

    private mutating func read(_ task: inout Task, _ data: inout MutableRawSpan) -> BlockStep {
        while task.doneBytes < task.request.length {
            let place = Int(task.request.dataOffset + task.doneBytes)
            switch content(of: sector(of: task)) {
            case .version(let slot): memory.copy(bytes(of: slot), into: &data, at: place)
            case .zeroes: data.clear(place..<place + Int(blockSize.bytes))
            case .image:
                task.partBytes = runBytes(task) { $0 == .image }
                return .io(task.request.part(from: task.doneBytes, count: task.partBytes))
            }
            task.doneBytes += blockSize.bytes
        }
        return .finished
    }

    private mutating func write(_ task: inout Task, _ data: borrowing MutableRawSpan) -> BlockStep {
        while task.doneBytes < task.request.length {
            guard !versions.isFull else { return destage(&task) }
            let write = newWrite(task)
            let start = Int(task.request.dataOffset + task.doneBytes)
            let stored = versions.add(write) { [memory, sectorBytes = Int(blockSize.bytes)] sector, slot in
                let place = start + Int(sector - write.sectors.lowerBound) * sectorBytes
                memory.store(data, place..<place + sectorBytes, at: Int(slot) * sectorBytes)
            }
            task.doneBytes += blockSize.bytes(ofBlocks: stored)
        }
        return .finished
    }

    /// The part of a request that is not here yet, as the newest write.
    private mutating func newWrite(_ task: Task) -> CachedWrite {
        newWrite(
            task.request.operation,
            sector(of: task)..<blockSize.blocks(inBytes: task.request.offset + task.request.length), task.writer)
    }

    mutating func newWrite(
        _ operation: BackendOperation, _ sectors: Range<UInt64>, _ writer: BlockWriter
    ) -> CachedWrite {
        sequence += 1
        bounds =
            isClean
            ? sectors
            : min(bounds.lowerBound, sectors.lowerBound)..<max(bounds.upperBound, sectors.upperBound)
        return CachedWrite(
            sequence: sequence, operation: operation, sectors: sectors, writer: writer, flush: flushCount)
    }

    private mutating func addRange(_ task: inout Task) -> BlockStep {
        guard ranges.count < Self.rangeLimit else { return destage(&task) }
        ranges.append(newWrite(task))
        return .finished
    }

    private mutating func flush(_ task: inout Task) -> BlockStep {
        if let range = ranges.first, range.sequence <= task.target { return destage(&task) }
        if versions.oldest != CachedVersions.none, versions.sequence(versions.oldest) <= task.target {
            return destage(&task)
        }
        task.partBytes = 1
        return .io(task.request)
    }

    /// Of what lies before and behind everything that is here the image knows. In between all counts as stored: to look
    /// at each sector could take very long.
    private func lookUp(_ task: Task) -> BlockStep {
        let first = sector(of: task)
        let length = blockSize.blocks(inBytes: task.request.length)
        guard !isClean, first < bounds.upperBound, bounds.lowerBound < first + length else { return .io(task.request) }
        guard first >= bounds.lowerBound else {
            return .io(task.request.part(from: 0, count: blockSize.bytes(ofBlocks: bounds.lowerBound - first)))
        }
        let end = min(bounds.upperBound, first + length)
        return .found(BackendExtent(isMapped: true, lengthBytes: blockSize.bytes(ofBlocks: end - first)))
    }
}

/// The content of each sector.
extension WriteCache {
    enum Content: Equatable {
        case version(Int32)
        case zeroes
        case image
    }

    func content(of sector: UInt64) -> Content {
        let slot = versions.newest(of: sector)
        let sequence = slot == CachedVersions.none ? 0 : versions.sequence(slot)
        if let range = ranges.last(where: { $0.sectors.contains(sector) }), range.sequence > sequence {
            return .zeroes
        }
        return slot == CachedVersions.none ? .image : .version(slot)
    }

    /// Where the data of a slot are in ``memory``.
    func bytes(of slot: Int32) -> Range<Int> {
        let start = Int(slot) * Int(blockSize.bytes)
        return start..<start + Int(blockSize.bytes)
    }

    private func sector(of task: Task) -> UInt64 { blockSize.blocks(inBytes: task.request.offset + task.doneBytes) }

    /// How many bytes from the request's next sector on are alike.
    private func runBytes(_ task: Task, _ isAlike: (Content) -> Bool) -> UInt64 {
        let first = sector(of: task)
        let end = blockSize.blocks(inBytes: task.request.offset + task.request.length)
        var next = first
        while next < end, isAlike(content(of: next)) { next += 1 }
        return blockSize.bytes(ofBlocks: next - first)
    }
}

/// From here to the image.
extension WriteCache {
    /// Takes the oldest there is to the image: ranges before sectors, since a range would wipe out what is written
    /// there later.
    private mutating func destage(_ task: inout Task) -> BlockStep {
        guard case .nothing = destaging else { return .waitForOthers }
        task.isDestaging = true
        if let range = ranges.first {
            destaging = .range
            return .io(
                BackendRequest(
                    .writeZeroes(mayDeallocate: range.mayDeallocate),
                    offset: blockSize.bytes(ofBlocks: range.sectors.lowerBound),
                    length: blockSize.bytes(ofBlocks: UInt64(range.sectors.count))))
        }
        let first = versions.sector(versions.oldest)
        destaging = .sectors(first: first)
        destaged.removeAll(keepingCapacity: true)
        let place = memory.byteCount - Self.destageBytes
        var slot = versions.newest(of: first)
        while slot != CachedVersions.none, destaged.count < Self.destageBytes / Int(blockSize.bytes) {
            memory.move(bytes(of: slot), to: place + destaged.count * Int(blockSize.bytes))
            destaged.append(versions.sequence(slot))
            slot = versions.newest(of: first + UInt64(destaged.count))
        }
        return .io(
            BackendRequest(
                .write, offset: blockSize.bytes(ofBlocks: first),
                length: blockSize.bytes(ofBlocks: UInt64(destaged.count)), dataPlace: .writeCache,
                dataOffset: UInt64(place)))
    }

    /// The write on its way has reached the image, or not.
    private mutating func endDestaging(_ outcome: BlockOutcome) {
        hasWoken = true
        defer { destaging = .nothing }
        guard outcome == .done else { return }
        switch destaging {
        case .nothing: preconditionFailure("nothing was on its way to the image")
        case .sectors(let first):
            for (number, sequence) in destaged.enumerated() { versions.remove(first + UInt64(number), upTo: sequence) }
        case .range: removeOldestRange()
        }
    }

    /// A range is in the image, and what was written there before is nothing any more.
    mutating func removeOldestRange() {
        let range = ranges.removeFirst()
        var slot = versions.oldest
        while slot != CachedVersions.none, versions.sequence(slot) < range.sequence {
            let next = versions.newer(than: slot)
            if range.sectors.contains(versions.sector(slot)) { versions.remove(slot) }
            slot = next
        }
    }
}
