// The remains of a volatile write cache when the power goes, and the account of it.

/// Which of the writes that no flush had asked for reach the image all the same. ACS-3 (4.16) promises nothing about
/// them: a drive writes them in any order, sector by sector.
public enum PowerCutKeeping: String, CaseIterable, Sendable {
    /// None of them.
    case none
    /// All of them.
    case all
    /// Those up to some write, and none behind it.
    case prefix
    /// Some writes as a whole.
    case subset
    /// Any sectors of any writes. Of a physical sector that was being written in part, the rest may be damaged.
    case torn
}

/// A cut of the power.
public struct PowerCut: Equatable, Sendable {
    /// The choice of kept data.
    public var keeping: PowerCutKeeping
    /// The seed decides where there is a choice: the same seed and the same writes give the same outcome.
    public var seed: UInt64
    /// Sectors that are lost in any case.
    public var lost: [ClosedRange<UInt64>]

    /// A cut.
    public init(keeping: PowerCutKeeping, seed: UInt64, lost: [ClosedRange<UInt64>] = []) {
        self.keeping = keeping
        self.seed = seed
        self.lost = lost
    }
}

/// The account of a write that had not reached the image for certain.
public struct CutWrite: Equatable, Sendable {
    /// The fates of a write.
    public enum Fate: String, Sendable {
        case kept
        case lost
        /// Some of its sectors are in the image, and others are not.
        case torn
    }

    /// Its number in the order of the writes.
    public var sequence: UInt64
    /// The operation that it was.
    public var operation: BackendOperation
    /// Its sectors; a write that had to wait for room is several.
    public var sectors: Range<UInt64>
    /// Those of them that are in the image, as far as nothing newer is there; in order.
    public var kept: [Range<UInt64>]
    /// Its writer.
    public var writer: BlockWriter
    /// How many flushes had ended before it came.
    public var flush: UInt64

    /// Its fate.
    public var fate: Fate {
        if kept.isEmpty { return .lost }
        return kept == [sectors] ? .kept : .torn
    }
}

/// The account of a power cut.
public struct PowerCutReport: Equatable, Sendable {
    /// The cut that was asked for.
    public var cut: PowerCut
    /// How many flushes had ended: earlier writes are in the image.
    public var flushCount: UInt64
    /// The writes that could have been lost, oldest first.
    public var writes: [CutWrite]
    /// Sectors that nobody was writing, of a physical sector that was being written: they have become noise.
    public var damaged: [Range<UInt64>] = []
}

/// Random numbers from a seed, the same on every machine (SplitMix64).
package struct Dice: RandomNumberGenerator {
    var state: UInt64

    package init(state: UInt64) { self.state = state }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }
}

/// A write that no flush had asked for.
struct UnflushedWrite {
    var write: CachedWrite
    /// Those of its sectors that may be lost; the rest has gone to the image with older sectors, or by a flush that did
    /// not end.
    var sectors: [Range<UInt64>]

    fileprivate var gone: [Range<UInt64>] {
        sectors.reduce([write.sectors]) { rest, open in
            rest.flatMap { $0.without(open.lowerBound...(open.upperBound - 1)) }
        }
    }
}

extension PowerCut {
    /// What it does to writes, oldest first. The medium has `mediumSectors`.
    func report(
        on writes: [UnflushedWrite], flushCount: UInt64, sectorsPerPhysical: UInt64, mediumSectors: UInt64
    ) -> PowerCutReport {
        var dice = Dice(state: seed)
        let limit = writes.isEmpty ? 0 : Int.random(in: 0...writes.count, using: &dice)
        var report = PowerCutReport(cut: self, flushCount: flushCount, writes: [])
        for (number, left) in writes.enumerated() {
            let isKept =
                switch keeping {
                case .none: false
                case .all, .torn: true
                case .prefix: number < limit
                case .subset: Bool.random(using: &dice)
                }
            var kept: [Range<UInt64>] = []
            if isKept, keeping == .torn {
                kept = torn(left, &dice)
            } else if isKept {
                kept = left.sectors
            }
            for lost in lost { kept = kept.flatMap { $0.without(lost) } }
            let write = left.write
            report.writes.append(
                CutWrite(
                    sequence: write.sequence, operation: write.operation, sectors: write.sectors,
                    kept: (kept + left.gone).joinedInOrder, writer: write.writer, flush: write.flush))
        }
        if keeping == .torn { report.damaged = neighbours(of: writes, sectorsPerPhysical, mediumSectors, &dice) }
        return report
    }

    /// Any sectors of a write. A range is one entry of the drive's cache, and goes as a whole.
    private func torn(_ left: UnflushedWrite, _ dice: inout Dice) -> [Range<UInt64>] {
        guard left.write.operation == .write else { return Bool.random(using: &dice) ? left.sectors : [] }
        var kept: [Range<UInt64>] = []
        for sector in left.sectors.joined() where Bool.random(using: &dice) { kept.append(sector) }
        return kept
    }

    /// The power may go while the medium writes a physical sector. It reads that, changes the written part, and writes
    /// it back: the rest is lost if it does not come to that. The dice say which one it was, if any.
    private func neighbours(
        of writes: [UnflushedWrite], _ sectorsPerPhysical: UInt64, _ mediumSectors: UInt64, _ dice: inout Dice
    ) -> [Range<UInt64>] {
        guard sectorsPerPhysical > 1 else { return [] }
        var physical: [UInt64] = []
        for left in writes where left.write.operation == .write {
            for edge in left.sectors.flatMap({ [$0.lowerBound, $0.upperBound] }) where edge % sectorsPerPhysical != 0 {
                physical.append(edge - edge % sectorsPerPhysical)
            }
        }
        let chosen = Int.random(in: 0...physical.count, using: &dice)
        guard chosen < physical.count else { return [] }
        var found: [Range<UInt64>] = []
        for sector in physical[chosen]..<min(physical[chosen] + sectorsPerPhysical, mediumSectors)
        where !writes.contains(where: { $0.write.sectors.contains(sector) }) { found.append(sector) }
        return found
    }

    /// What a damaged sector has become.
    public func noise(of sector: UInt64, byteCount: Int) -> [UInt8] {
        var dice = Dice(state: seed ^ sector)
        return (0..<byteCount).map { _ in UInt8.random(in: 0...255, using: &dice) }
    }
}

/// The content that goes to the image when nobody uses the unit.
public enum LeftInCache: Sendable {
    /// Data from the cache's memory.
    case write(offset: UInt64, bytes: Range<Int>)
    /// Zeroes for bytes of the image.
    case zeroes(Range<UInt64>, mayDeallocate: Bool)
}

extension WriteCache {
    /// Cuts the power: all that the cut does not keep is gone. Nobody has the unit open.
    ///
    /// The kept data are the content of the cache afterwards, and ``empty(_:)`` takes them to the image. The medium has
    /// `sectors`.
    public mutating func cut(_ cut: PowerCut, sectors: UInt64) -> PowerCutReport {
        var report = cut.report(
            on: writes, flushCount: flushCount, sectorsPerPhysical: sectorsPerPhysical, mediumSectors: sectors)
        keep(report.writes)
        report.damaged = damage(report.damaged, cut)
        restorePower()
        return report
    }

    /// Sectors become noise, as many as there is room for.
    private mutating func damage(_ neighbours: [Range<UInt64>], _ cut: PowerCut) -> [Range<UInt64>] {
        var damaged: [Range<UInt64>] = []
        for range in neighbours where !versions.isFull {
            let write = newWrite(.write, range, BlockWriter())
            let count = versions.add(write) { [memory, sectorBytes = Int(blockSize.bytes)] sector, slot in
                memory.put(cut.noise(of: sector, byteCount: sectorBytes), at: Int(slot) * sectorBytes)
            }
            damaged.append(range.lowerBound..<range.lowerBound + count)
        }
        return damaged
    }

    /// The writes that are here, oldest first.
    private var writes: [UnflushedWrite] {
        var found = ranges.map { UnflushedWrite(write: $0, sectors: [$0.sectors]) }
        var slot = versions.oldest
        while slot != CachedVersions.none {
            if found.last?.write.sequence != versions.sequence(slot) {
                found.append(UnflushedWrite(write: versions.write(of: slot), sectors: []))
            }
            found[found.count - 1].sectors.append(versions.sector(slot))
            slot = versions.newer(than: slot)
        }
        return found.sorted { $0.write.sequence < $1.write.sequence }
    }

    /// Forgets all that is not among the kept.
    private mutating func keep(_ writes: [CutWrite]) {
        var next = writes.startIndex
        var part = 0
        var slot = versions.oldest
        // The versions of a write follow each other, and so do their sectors.
        while slot != CachedVersions.none {
            let newer = versions.newer(than: slot)
            let sector = versions.sector(slot)
            while writes[next].sequence < versions.sequence(slot) { (next, part) = (next + 1, 0) }
            let kept = writes[next].kept
            while part < kept.count, kept[part].upperBound <= sector { part += 1 }
            if part == kept.count || sector < kept[part].lowerBound { versions.remove(slot) }
            slot = newer
        }
        ranges = writes.flatMap { write in
            guard write.operation != .write else { return [CachedWrite]() }
            return write.kept.map {
                CachedWrite(
                    sequence: write.sequence, operation: write.operation, sectors: $0, writer: write.writer,
                    flush: write.flush)
            }
        }
    }

    /// Takes all that is here to the image, oldest first, when nobody has the unit open. Sectors that could not be
    /// taken there are here still.
    public mutating func empty<Failure: Error>(_ body: (LeftInCache) throws(Failure) -> Void) throws(Failure) {
        while let range = ranges.first {
            let start = blockSize.bytes(ofBlocks: range.sectors.lowerBound)
            let end = blockSize.bytes(ofBlocks: range.sectors.upperBound)
            try body(.zeroes(start..<end, mayDeallocate: range.mayDeallocate))
            removeOldestRange()
        }
        while versions.oldest != CachedVersions.none {
            let sector = versions.sector(versions.oldest)
            let slot = versions.newest(of: sector)
            try body(.write(offset: blockSize.bytes(ofBlocks: sector), bytes: bytes(of: slot)))
            versions.remove(sector, upTo: versions.sequence(slot))
        }
    }
}

extension Range<UInt64> {
    /// The ranges that are left of it.
    func without(_ other: ClosedRange<UInt64>) -> [Range<UInt64>] {
        guard overlaps(other) else { return [self] }
        let parts = [
            lowerBound..<Swift.max(lowerBound, other.lowerBound),
            Swift.min(upperBound, other.upperBound + 1)..<upperBound,
        ]
        return parts.filter { !$0.isEmpty }
    }
}

extension [Range<UInt64>] {
    /// The same sectors, in order, and none of the ranges ends where another begins.
    fileprivate var joinedInOrder: [Range<UInt64>] {
        sorted { $0.lowerBound < $1.lowerBound }.reduce(into: []) { joined, range in
            if let last = joined.last, last.upperBound == range.lowerBound {
                joined[joined.count - 1] = last.lowerBound..<range.upperBound
            } else {
                joined.append(range)
            }
        }
    }

    /// One more sector, behind all others.
    fileprivate mutating func append(_ sector: UInt64) {
        if let last, last.upperBound == sector {
            self[count - 1] = last.lowerBound..<sector + 1
        } else {
            append(sector..<sector + 1)
        }
    }
}
