// Power cuts of a drive whose commands were recorded: at any entry, any outcome that the standard allows.

/// The commands of a drive, in the order of their ends.
public struct RecordedHistory: Sendable {
    /// What the recording begins with.
    public let header: RecordingHeader
    /// All entries; the first one has number 1.
    public let entries: [RecordingEntry]

    /// By cut point: how many of the first entries are stable then, and how many flushes have ended.
    private let stableCounts: [Int]
    private let flushCounts: [UInt64]

    /// A history.
    public init(_ header: RecordingHeader, _ entries: [RecordingEntry]) {
        self.header = header
        self.entries = entries
        var (stable, flushes) = ([0], [UInt64(0)])
        for entry in entries {
            stable.append(max(stable[stable.count - 1], Int(entry.covered)))
            flushes.append(flushes[flushes.count - 1] + (entry.kind == .flush ? 1 : 0))
        }
        (stableCounts, flushCounts) = (stable, flushes)
    }
}

/// A part of a recorded write that is lost in any case.
public struct LostPart: Equatable, Sendable {
    /// The number of its entry.
    public var write: UInt64
    /// Its sectors.
    public var sectors: ClosedRange<UInt64>

    /// A part of a write.
    public init(write: UInt64, sectors: ClosedRange<UInt64>) {
        self.write = write
        self.sectors = sectors
    }

    init(_ write: UInt64, _ sectors: Range<UInt64>) {
        self.init(write: write, sectors: sectors.lowerBound...sectors.upperBound - 1)
    }
}

/// A cut behind one of the entries.
public struct RecordedCut: Equatable, Sendable {
    /// So many entries had come to their ends.
    public var point: Int
    /// So many of them were stable.
    public var stableCount: Int
    /// What was lost, kept and torn.
    public var report: PowerCutReport
}

extension RecordedHistory {
    /// Cuts the power when so many entries have come to their ends.
    public func cut(_ cut: PowerCut, at point: Int, losing parts: [LostPart] = []) -> RecordedCut {
        let stableCount = stableCounts[point]
        let writes = unflushedWrites(from: stableCount, to: point)
        var report = cut.report(
            on: writes, flushCount: flushCounts[point], sectorsPerPhysical: header.sectorsPerPhysical,
            mediumSectors: header.sectors)
        for part in parts {
            guard let index = report.writes.firstIndex(where: { $0.sequence == part.write }) else { continue }
            report.writes[index].kept = report.writes[index].kept.flatMap { $0.without(part.sectors) }
        }
        return RecordedCut(point: point, stableCount: stableCount, report: report)
    }

    private func unflushedWrites(from start: Int, to end: Int) -> [UnflushedWrite] {
        var writes: [UnflushedWrite] = []
        for number in start..<end {
            let entry = entries[number]
            guard let operation = entry.kind.operation else { continue }
            let write = CachedWrite(
                sequence: entry.number, operation: operation, sectors: entry.sectors,
                writer: BlockWriter(client: entry.client, nanoseconds: entry.nanoseconds), flush: flushCounts[number])
            writes.append(UnflushedWrite(write: write, sectors: [entry.sectors]))
        }
        return writes
    }
}

extension RecordingEntry.Kind {
    /// What it was to the drive's cache; nil: no write.
    fileprivate var operation: BackendOperation? {
        switch self {
        case .write: .write
        case .zeroes: .writeZeroes(mayDeallocate: true)
        case .trim: .discard
        case .flush: nil
        }
    }
}

/// Sectors in a row that have their content from one place.
public struct DiskExtent: Hashable, Sendable {
    /// The places of content.
    public enum Source: Hashable, Sendable {
        /// The data of an entry, from so many sectors behind their beginning on.
        case entry(Int, skip: UInt64)
        /// Nothing is there.
        case zeroes
        /// Noise, of a seed of its own for each sector (``PowerCut/noise(of:seed:)``).
        case noise
    }

    /// The sectors.
    public var sectors: Range<UInt64>
    /// Their content.
    public var source: Source
}

extension RecordedHistory {
    /// What a cut leaves on the disk above what it was in the beginning; in order.
    public func disk(after cut: RecordedCut) -> [DiskExtent] {
        var parts: [DiskPart] = []
        for entry in entries[..<cut.stableCount] where entry.kind != .flush {
            parts.append(DiskPart(entry, entry.sectors))
        }
        for write in cut.report.writes {
            let entry = entries[Int(write.sequence) - 1]
            for kept in write.kept { parts.append(DiskPart(entry, kept)) }
        }
        let last = UInt64(entries.count) + 1
        for range in cut.report.damaged { parts.append(DiskPart(sectors: range, order: last, source: .noise)) }
        return newest(of: &parts)
    }
}

/// What somebody has stored in sectors, and when.
struct DiskPart {
    var sectors: Range<UInt64>
    var order: UInt64
    /// Of its first sector.
    var source: DiskExtent.Source
}

extension DiskPart {
    fileprivate init(_ entry: RecordingEntry, _ sectors: Range<UInt64>) {
        self.sectors = sectors
        order = entry.number
        source =
            entry.kind == .write
            ? .entry(Int(entry.number) - 1, skip: sectors.lowerBound - entry.sectors.lowerBound) : .zeroes
    }

    fileprivate func extent(_ range: Range<UInt64>) -> DiskExtent {
        guard case .entry(let number, let skip) = source else { return DiskExtent(sectors: range, source: source) }
        return DiskExtent(sectors: range, source: .entry(number, skip: skip + range.lowerBound - sectors.lowerBound))
    }
}

/// The newest part of each sector. One walk over the disk, with those that have begun in a heap, the newest on top.
func newest(of parts: inout [DiskPart]) -> [DiskExtent] {
    parts.sort { $0.sectors.lowerBound < $1.sectors.lowerBound }
    var found: [DiskExtent] = []
    var begun = NewestFirst()
    var next = 0
    var place: UInt64 = 0
    while true {
        while let top = begun.first, parts[top].sectors.upperBound <= place { begun.removeFirst(parts) }
        if begun.first == nil {
            guard next < parts.count else { return found }
            place = max(place, parts[next].sectors.lowerBound)
        }
        while next < parts.count, parts[next].sectors.lowerBound <= place {
            begun.insert(next, parts)
            next += 1
        }
        guard let top = begun.first else { continue }
        guard parts[top].sectors.upperBound > place else { continue }
        var end = parts[top].sectors.upperBound
        if next < parts.count { end = min(end, parts[next].sectors.lowerBound) }
        found.join(parts[top].extent(place..<end))
        place = end
    }
}

/// Numbers of parts; the newest part is the first one.
private struct NewestFirst {
    private var heap: [Int] = []

    var first: Int? { heap.first }

    mutating func insert(_ number: Int, _ parts: [DiskPart]) {
        heap.append(number)
        var place = heap.count - 1
        while place > 0, parts[heap[(place - 1) / 2]].order < parts[heap[place]].order {
            heap.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    mutating func removeFirst(_ parts: [DiskPart]) {
        heap[0] = heap[heap.count - 1]
        heap.removeLast()
        var place = 0
        while true {
            var newest = place
            for child in [2 * place + 1, 2 * place + 2] where child < heap.count {
                if parts[heap[child]].order > parts[heap[newest]].order { newest = child }
            }
            guard newest != place else { return }
            heap.swapAt(place, newest)
            place = newest
        }
    }
}

extension [DiskExtent] {
    /// Adds an extent, as a part of the last one if it goes on with it.
    fileprivate mutating func join(_ extent: DiskExtent) {
        guard let last, last.sectors.upperBound == extent.sectors.lowerBound, last.isContinued(by: extent) else {
            return append(extent)
        }
        self[count - 1].sectors = last.sectors.lowerBound..<extent.sectors.upperBound
    }
}

extension DiskExtent {
    fileprivate func isContinued(by other: DiskExtent) -> Bool {
        switch (source, other.source) {
        case (.entry(let number, let skip), .entry(let other, let otherSkip)):
            number == other && skip + UInt64(sectors.count) == otherSkip
        case (.zeroes, .zeroes), (.noise, .noise): true
        default: false
        }
    }
}
