// Which blocks of a disk: a list of ranges that is never long.

/// Blocks of a disk, in ranges that do not touch. As long as there are few ranges they are exact. Where there would be
/// more than ``limit``, they are rounded to larger and larger units, and have some blocks too many, but none too few.
public struct BlockRanges: Equatable, Sendable {
    /// The most ranges.
    public static let limit = 1024

    /// The ranges begin and end at multiples of so many blocks, or at the end of the disk.
    public private(set) var unit: UInt64 = 1
    /// The ranges, in order.
    public private(set) var ranges: [Range<UInt64>] = []
    /// How many blocks the disk has.
    private let blockCount: UInt64

    /// No block of a disk.
    public init(ofBlocks blockCount: UInt64) {
        self.blockCount = blockCount
    }

    /// How many blocks these are.
    public var count: UInt64 { ranges.reduce(0) { $0 + ($1.upperBound - $1.lowerBound) } }

    /// Adds blocks, none of which is in front of those that were added last.
    public mutating func append(_ blocks: Range<UInt64>) {
        guard !blocks.isEmpty else { return }
        add(rounded(blocks))
        while ranges.count > Self.limit { coarsen() }
    }

    /// All blocks that are in one or the other.
    public func union(_ other: BlockRanges) -> BlockRanges {
        var both = BlockRanges(ofBlocks: blockCount)
        both.unit = max(unit, other.unit)
        var (mine, others) = (ranges[...], other.ranges[...])
        while let first = mine.first ?? others.first {
            if let next = others.first, next.lowerBound <= first.lowerBound {
                both.append(next)
                others.removeFirst()
            } else {
                both.append(first)
                mine.removeFirst()
            }
        }
        return both
    }

    private func rounded(_ blocks: Range<UInt64>) -> Range<UInt64> {
        let end = min(blockCount, (blocks.upperBound + unit - 1) / unit * unit)
        return blocks.lowerBound / unit * unit..<max(end, blocks.upperBound)
    }

    private mutating func add(_ blocks: Range<UInt64>) {
        guard let last = ranges.last, blocks.lowerBound <= last.upperBound else {
            ranges.append(blocks)
            return
        }
        ranges[ranges.count - 1] = last.lowerBound..<max(last.upperBound, blocks.upperBound)
    }

    private mutating func coarsen() {
        let all = ranges
        ranges.removeAll(keepingCapacity: true)
        unit *= 2
        for blocks in all { add(rounded(blocks)) }
    }
}
