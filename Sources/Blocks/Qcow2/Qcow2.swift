// A qcow2 image (QEMU, docs/interop/qcow2.txt), read: where the sectors of the disk are in the file, or that they are
// zeroes.

/// The layer that finds the disk in a qcow2 image.
///
/// Nothing of the image is trusted: what its tables say is checked before it is used, the tables and the compressed
/// clusters have memory of a fixed size, and each step of a request brings it further.
public struct Qcow2: Sendable {
    let header: Qcow2Header
    /// The pieces of tables by slot, the data of the compressed cluster that is under way, and decompressed clusters by
    /// slot.
    public let memory: LayerMemory
    private let blockSize: BlockSize
    private var tables: TableCache
    private var clusters: ClusterCache
    private var inflate = Inflate()
    private var hasWoken = false
    /// The first thing that was wrong with the tables.
    private var damage: Qcow2Damage?
    private var isDamageTold = false

    /// What is kept of a request.
    struct Task: Sendable {
        fileprivate var request = BackendRequest(.flush)
        /// How much of it is done, and how much of it is under way below.
        fileprivate var doneBytes: UInt64 = 0
        fileprivate var partBytes: UInt64 = 0
        fileprivate var underWay = UnderWay.nothing
        /// The L2 table that was found last, and for which L1 entry: another request may take the L1 table's piece.
        fileprivate var l2Table: (index: UInt64, offset: UInt64)?
    }

    fileprivate enum UnderWay {
        case nothing
        /// A part of the request's data.
        case data
        /// A piece of a table, into this slot.
        case table(Int)
        /// Compressed data: where they are, and which slot their cluster gets.
        case compressed(UInt64, byteCount: UInt64, slot: Int)
    }

    /// How much memory an image needs.
    public static func memoryBytes(_ header: Qcow2Header) -> Int {
        let clusters = ClusterCache.slotCount(clusterBytes: header.clusterBytes) + compressedClusters
        return TableCache.slotCount * Int(TableCache(clusterBits: header.clusterBits).pieceBytes)
            + clusters * Int(header.clusterBytes)
    }

    /// Compressed data have up to so many clusters.
    private static let compressedClusters = 2

    /// A layer that has read nothing but the header.
    ///
    /// - Parameters:
    ///   - memory: of ``memoryBytes(_:)``.
    ///   - blockSize: the unit's.
    public init(_ header: Qcow2Header, memory: LayerMemory, blockSize: BlockSize) {
        precondition(memory.byteCount >= Self.memoryBytes(header), "the memory ends before")
        self.header = header
        self.memory = memory
        self.blockSize = blockSize
        tables = TableCache(clusterBits: header.clusterBits)
        clusters = ClusterCache(clusterBytes: header.clusterBytes)
    }

    mutating func takeWake() -> Bool {
        defer { hasWoken = false }
        return hasWoken
    }

    /// What was found to be wrong with the tables; told once.
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
        task.request = request
        switch request.operation {
        case .read, .lookUp: return proceed(&task, &data)
        case .flush: return .io(request)
        // The place that it would be brought to is the file's, and not known without reading tables.
        case .prefetch: return .finished
        // The unit is read-only, and asks for none of these.
        case .write, .writeZeroes, .discard: return .failed(.writeProtected, afterBytes: 0)
        }
    }

    mutating func resume(_ outcome: BlockOutcome, _ task: inout Task, _ data: inout MutableRawSpan) -> BlockStep {
        let underWay = task.underWay
        task.underWay = .nothing
        switch underWay {
        case .nothing where task.request.operation == .flush: return outcome.step
        case .nothing: return proceed(&task, &data)
        case .data:
            if case .failed(let failure, let bytes) = outcome {
                return .failed(failure, afterBytes: task.doneBytes + bytes)
            }
            task.doneBytes += task.partBytes
        case .table(let slot):
            hasWoken = true
            tables.end(slot, isRead: outcome == .done)
            if case .failed(let failure, _) = outcome { return .failed(failure, afterBytes: task.doneBytes) }
        case .compressed(let offset, let byteCount, let slot):
            hasWoken = true
            if case .failed(let failure, _) = outcome {
                clusters.giveUp()
                return .failed(failure, afterBytes: task.doneBytes)
            }
            guard decompress(offset, byteCount, slot, task) else { return fail(task) }
        }
        return proceed(&task, &data)
    }

    private mutating func proceed(_ task: inout Task, _ data: inout MutableRawSpan) -> BlockStep {
        do throws(Qcow2Damage) {
            return task.request.operation == .lookUp ? try lookUp(&task) : try read(&task, &data)
        } catch {
            damage = damage ?? error
            return fail(task)
        }
    }

    /// Where the tables make no sense nobody can say what is stored.
    private func fail(_ task: Task) -> BlockStep { .failed(.unrecovered, afterBytes: task.doneBytes) }

    private mutating func read(
        _ task: inout Task, _ data: inout MutableRawSpan
    ) throws(Qcow2Damage) -> BlockStep {
        while task.doneBytes < task.request.length {
            var run: Run
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
                return .io(part)
            case .zero, .unallocated:
                data.clear(place..<place + Int(run.byteCount))
            case .compressed(let fileOffset, let byteCount):
                let offset = task.request.offset + task.doneBytes
                guard let slot = clusters.slot(of: offset >> header.clusterBits) else {
                    return readCompressed(fileOffset, byteCount, &task)
                }
                let inCluster = offset & (header.clusterBytes - 1)
                run.byteCount = min(run.byteCount, header.clusterBytes - inCluster)
                let start = bytes(ofCluster: slot).lowerBound + Int(inCluster)
                memory.copy(start..<start + Int(run.byteCount), into: &data, at: place)
            }
            task.doneBytes += run.byteCount
        }
        return .finished
    }

    /// The extent that begins where the range does. One that ends inside of a block of the unit counts as stored to the
    /// block's end.
    private mutating func lookUp(_ task: inout Task) throws(Qcow2Damage) -> BlockStep {
        switch try find(&task, { first, next, _ in first.isMapped == next.isMapped }) {
        case .step(let step): return step
        case .found(let run):
            guard run.byteCount < task.request.length else {
                return .found(BackendExtent(isMapped: run.mapping.isMapped, lengthBytes: task.request.length))
            }
            let whole = blockSize.bytes(ofBlocks: blockSize.blocks(inBytes: run.byteCount))
            return .found(
                BackendExtent(
                    isMapped: run.mapping.isMapped || whole == 0, lengthBytes: max(whole, blockSize.bytes)))
        }
    }
}

/// Where the sectors are.
extension Qcow2 {
    /// A part of the disk that is in one place.
    private struct Run {
        var mapping: Qcow2Mapping
        var byteCount: UInt64
    }

    private enum Finding {
        case found(Run)
        /// A table has to be read first.
        case step(BlockStep)
    }

    /// Finds what the next bytes of a request are, as far as one piece of a table says it.
    ///
    /// - Parameter isMore: whether the second of two mappings goes on with the first, so many bytes behind its
    ///   beginning.
    private mutating func find(
        _ task: inout Task, _ isMore: (Qcow2Mapping, Qcow2Mapping, UInt64) -> Bool
    ) throws(Qcow2Damage) -> Finding {
        let offset = task.request.offset + task.doneBytes
        let limit = task.request.length - task.doneBytes
        // The last sector may have more than the image.
        guard offset < header.sizeBytes else { return .found(Run(mapping: .zero, byteCount: limit)) }
        let end = offset + min(limit, header.sizeBytes - offset)
        let spanBits = header.clusterBits + header.l2EntryBits
        let index = offset >> spanBits
        if task.l2Table?.index != index {
            let place = header.l1TableOffset + index * 8
            let claim = tables.claim(place)
            guard case .present(let slot) = claim else { return .step(readTable(claim, place, &task)) }
            guard let table = try L2Entry.tableOffset(number(at: place, slot), header, at: offset) else {
                return .found(emptyRun(offset..<end, place, slot))
            }
            task.l2Table = (index, table)
        }
        guard let table = task.l2Table?.offset else { preconditionFailure("the table has just been found") }
        let number = offset >> header.clusterBits & (1 << header.l2EntryBits - 1)
        let place = table + number * header.l2EntryBytes
        let claim = tables.claim(place)
        guard case .present(let slot) = claim else { return .step(readTable(claim, place, &task)) }
        return .found(try run(offset..<end, place, slot, isMore))
    }

    /// What an L1 entry without a table has, and those behind it that have none either.
    private func emptyRun(_ range: Range<UInt64>, _ place: UInt64, _ slot: Int) -> Run {
        let spanBits = header.clusterBits + header.l2EntryBits
        var place = place
        var end = range.lowerBound
        while true {
            end = (end >> spanBits + 1) << spanBits
            place += 8
            guard end < range.upperBound, place & (tables.pieceBytes - 1) != 0,
                L2Entry.hasNoTable(number(at: place, slot))
            else { break }
        }
        return Run(mapping: .unallocated, byteCount: min(end, range.upperBound) - range.lowerBound)
    }

    /// What the L2 entry at a place of the file has, and those behind it that go on with it.
    private func run(
        _ range: Range<UInt64>, _ place: UInt64, _ slot: Int, _ isMore: (Qcow2Mapping, Qcow2Mapping, UInt64) -> Bool
    ) throws(Qcow2Damage) -> Run {
        let start = range.lowerBound & ~(header.unitBytes - 1)
        let first = try mapping(place, slot, at: start)
        var place = place
        var next = start + header.unitBytes
        while next < range.upperBound {
            if next & (header.clusterBytes - 1) == 0 {
                place += header.l2EntryBytes
                guard place & (tables.pieceBytes - 1) != 0 else { break }
            }
            // What is wrong there is met when it is its turn.
            guard let mapping = try? mapping(place, slot, at: next), isMore(first, mapping, next - start) else { break }
            next += header.unitBytes
        }
        let byteCount = min(next, range.upperBound) - range.lowerBound
        guard case .data(let fileOffset) = first else { return Run(mapping: first, byteCount: byteCount) }
        return Run(mapping: .data(fileOffset + range.lowerBound - start), byteCount: byteCount)
    }

    private func mapping(_ place: UInt64, _ slot: Int, at diskOffset: UInt64) throws(Qcow2Damage) -> Qcow2Mapping {
        let entry = L2Entry(
            descriptor: number(at: place, slot), bitmap: header.hasSubclusters ? number(at: place + 8, slot) : 0)
        let unit = diskOffset & (header.clusterBytes - 1) / header.unitBytes
        return try entry.mapping(ofUnit: unit, header, at: diskOffset)
    }

    /// A number of a table, a piece of which is in a slot.
    private func number(at place: UInt64, _ slot: Int) -> UInt64 {
        memory.bigEndian(at: slot * Int(tables.pieceBytes) + Int(place & (tables.pieceBytes - 1)))
    }

    /// Reads a piece of a table, or waits until another request has done that.
    private func readTable(_ claim: TableCache.Claim, _ place: UInt64, _ task: inout Task) -> BlockStep {
        guard case .missing(let slot) = claim else { return .waitForOthers }
        task.underWay = .table(slot)
        return .io(
            BackendRequest(
                .read, offset: place & ~(tables.pieceBytes - 1), length: tables.pieceBytes, dataPlace: .layers,
                dataOffset: UInt64(slot) * tables.pieceBytes))
    }
}

/// Compressed clusters.
extension Qcow2 {
    private static let sectorBytes: UInt64 = 512

    private var compressedStart: Int { TableCache.slotCount * Int(tables.pieceBytes) }

    private func bytes(ofCluster slot: Int) -> Range<Int> {
        let start = compressedStart + (Self.compressedClusters + slot) * Int(header.clusterBytes)
        return start..<start + Int(header.clusterBytes)
    }

    /// Reads the data of a compressed cluster, in whole sectors, or waits until another cluster is done.
    private mutating func readCompressed(_ offset: UInt64, _ byteCount: UInt64, _ task: inout Task) -> BlockStep {
        guard let slot = clusters.begin() else { return .waitForOthers }
        task.underWay = .compressed(offset, byteCount: byteCount, slot: slot)
        let inSector = offset & (Self.sectorBytes - 1)
        return .io(
            BackendRequest(
                .read, offset: offset - inSector, length: inSector + byteCount, dataPlace: .layers,
                dataOffset: UInt64(compressedStart)))
    }

    /// Makes a cluster of the data that have been read.
    ///
    /// - Returns: false if they are not those of a cluster.
    private mutating func decompress(_ offset: UInt64, _ byteCount: UInt64, _ slot: Int, _ task: Task) -> Bool {
        let start = compressedStart + Int(offset & (Self.sectorBytes - 1))
        let diskOffset = task.request.offset + task.doneBytes
        let isGood = unsafe inflate.decompress(
            UnsafeRawBufferPointer(memory[start..<start + Int(byteCount)]), into: memory[bytes(ofCluster: slot)])
        if isGood {
            clusters.end(diskOffset >> header.clusterBits)
        } else {
            clusters.giveUp()
            damage = damage ?? Qcow2Damage(kind: .compressedData, diskOffset: diskOffset, fileOffset: offset)
        }
        return isGood
    }
}

extension Qcow2Mapping {
    /// Whether another mapping, so many bytes behind this one's beginning, is in the same place or the next one.
    fileprivate func continues(_ next: Qcow2Mapping, after byteCount: UInt64) -> Bool {
        if case .data(let offset) = self { return next == .data(offset + byteCount) }
        return next == self || !isMapped && !next.isMapped
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
