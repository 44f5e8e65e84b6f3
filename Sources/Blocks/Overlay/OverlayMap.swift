// Which blocks of a disk an overlay has.

/// A bit for each logical block. Memory that was never touched says that none is there.
public struct OverlayMap: Sendable {
    private static let bitsPerWord: UInt64 = 64

    private var memory: LayerMemory
    /// How many bits are set.
    private(set) var count: UInt64 = 0

    /// How much memory a map of so many blocks takes.
    static func memoryBytes(blocks: UInt64) -> UInt64 { (blocks / bitsPerWord + 1) * 8 }

    /// A map without any block, in memory that is all zeroes.
    init(_ memory: LayerMemory) {
        self.memory = memory
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
            if mask & ~word != 0 { memory.setWord(word | mask, at: block / Self.bitsPerWord) }
            block += bits
        }
    }
}
