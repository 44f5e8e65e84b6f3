// Which blocks of a disk an overlay has.

/// A bit for each logical block, and behind these a bit for each part of the map that has any: most of a large disk is
/// never written, and nobody has to look there. Memory that was never touched says that none is there.
///
/// One loop changes it. Others may look at it meanwhile, and find what was there when they began.
public struct OverlayMap: Sendable {
    private static let bitsPerWord: UInt64 = 64
    /// So many words are a part: a page of memory.
    private static let wordsPerPart: UInt64 = 512

    private let memory: LayerMemory
    private let blockCount: UInt64
    /// How many bits are set.
    private(set) var count: UInt64 = 0

    private static func wordCount(_ blocks: UInt64) -> UInt64 { blocks / bitsPerWord + 1 }

    /// How much memory a map of so many blocks takes.
    static func memoryBytes(blocks: UInt64) -> UInt64 {
        let words = wordCount(blocks)
        return (words + wordCount(words / wordsPerPart)) * 8
    }

    /// A map without any block, in memory that is all zeroes.
    init(_ memory: LayerMemory, blocks: UInt64) {
        self.memory = memory
        blockCount = blocks
    }

    /// How many blocks from the first of a range on are like it, and whether they are there.
    func run(in blocks: Range<UInt64>) -> (isThere: Bool, count: UInt64) {
        let isThere =
            memory.word(at: blocks.lowerBound / Self.bitsPerWord) >> (blocks.lowerBound % Self.bitsPerWord) & 1 == 1
        var block = blocks.lowerBound
        while block < blocks.upperBound {
            let word = memory.word(at: block / Self.bitsPerWord)
            let rest = (isThere ? ~word : word) >> (block % Self.bitsPerWord)
            if rest != 0 {
                block += UInt64(rest.trailingZeroBitCount)
                break
            }
            block += Self.bitsPerWord - block % Self.bitsPerWord
        }
        return (isThere, min(block, blocks.upperBound) - blocks.lowerBound)
    }

    /// Blocks are there from now on.
    mutating func insert(_ blocks: Range<UInt64>) {
        var block = blocks.lowerBound
        while block < blocks.upperBound {
            let first = block % Self.bitsPerWord
            let bits = min(Self.bitsPerWord - first, blocks.upperBound - block)
            let mask = (bits == Self.bitsPerWord ? UInt64.max : 1 << bits - 1) << first
            let word = memory.word(at: block / Self.bitsPerWord)
            count += UInt64((mask & ~word).nonzeroBitCount)
            if mask & ~word != 0 {
                memory.setWord(word | mask, at: block / Self.bitsPerWord)
                note(block / Self.bitsPerWord / Self.wordsPerPart)
            }
            block += bits
        }
    }

    /// A part has blocks.
    private func note(_ part: UInt64) {
        let place = Self.wordCount(blockCount) + part / Self.bitsPerWord
        let (word, bit) = (memory.word(at: place), UInt64(1) << (part % Self.bitsPerWord))
        if word & bit == 0 { memory.setWord(word | bit, at: place) }
    }

    /// The blocks that are there.
    public var ranges: BlockRanges { ranges(in: 0..<blockCount) }

    /// The blocks of a part of the disk that are there.
    public func ranges(in asked: Range<UInt64>) -> BlockRanges {
        var ranges = BlockRanges(ofBlocks: blockCount)
        let blocksPerPart = Self.wordsPerPart * Self.bitsPerWord
        guard !asked.isEmpty else { return ranges }
        let blocksPerGroup = blocksPerPart * Self.bitsPerWord
        for group in asked.lowerBound / blocksPerGroup...(asked.upperBound - 1) / blocksPerGroup {
            var word = memory.word(at: Self.wordCount(blockCount) + group)
            while word != 0 {
                let part = group * Self.bitsPerWord + UInt64(word.trailingZeroBitCount)
                word &= word - 1
                var block = max(part * blocksPerPart, asked.lowerBound)
                let end = min((part + 1) * blocksPerPart, asked.upperBound)
                while block < end {
                    let run = run(in: block..<end)
                    if run.isThere { ranges.append(block..<block + run.count) }
                    block += run.count
                }
            }
        }
        return ranges
    }
}
