// Finding what of a READ's data is zero, so that it need not be sent (NBD protocol, NBD_REPLY_TYPE_OFFSET_HOLE).

/// The data of a READ as runs of data and of zeroes, in their order and without a gap.
///
/// Holes of an image read as zeroes, and so does other data that nobody needs to send: looking at the bytes finds both,
/// costs no system call, and is over at the first byte of most blocks.
struct ZeroRuns {
    /// Zeroes are looked for in blocks of this size, aligned as in the image.
    static let blockBytes = 4096

    struct Run: Equatable {
        var start: Int
        var count: Int
        var isHole: Bool
    }

    private let count: Int
    private let firstBlockBytes: Int
    private let joinsAll: Bool
    private var position = 0

    /// - Parameters:
    ///   - count: how many bytes there are.
    ///   - offsetBytes: where in the image they begin.
    ///   - joinsAll: they are one run of data, which is not looked at.
    init(count: Int, offsetBytes: UInt64, joinsAll: Bool) {
        self.count = count
        firstBlockBytes = Self.blockBytes - Int(offsetBytes % UInt64(Self.blockBytes))
        self.joinsAll = joinsAll
    }

    /// The next run; nil at the end. With `isLastAllowed` everything that is left, as data.
    mutating func next(in data: RawSpan, isLastAllowed: Bool) -> Run? {
        guard position < count else { return nil }
        let start = position
        if joinsAll || isLastAllowed {
            position = count
            return Run(start: start, count: count - start, isHole: false)
        }
        let isHole = blockIsZero(at: start, data)
        position = blockEnd(after: start)
        while position < count, blockIsZero(at: position, data) == isHole { position = blockEnd(after: position) }
        return Run(start: start, count: position - start, isHole: isHole)
    }

    private func blockEnd(after start: Int) -> Int {
        let next = start < firstBlockBytes ? firstBlockBytes : start + Self.blockBytes
        return min(next, count)
    }

    private func blockIsZero(at start: Int, _ data: RawSpan) -> Bool {
        data.extracting(start..<blockEnd(after: start)).isZero
    }
}

extension RawSpan {
    /// All bytes are zero. Looked at in groups of vectors: the first byte that is not zero ends it soon enough.
    fileprivate var isZero: Bool {
        guard byteCount == 0 || loadBigEndian(at: 0, as: UInt8.self) == 0 else { return false }
        let groupBytes = 256
        var start = 0
        while start <= byteCount - groupBytes {
            var bits = SIMD8<UInt64>.zero
            for offset in stride(from: start, to: start + groupBytes, by: 64) {
                // The group ends inside of the span.
                bits |= unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: SIMD8<UInt64>.self)
            }
            guard bits == .zero else { return false }
            start += groupBytes
        }
        while start < byteCount {
            guard loadBigEndian(at: start, as: UInt8.self) == 0 else { return false }
            start += 1
        }
        return true
    }
}
