// Finding what of a READ's data is zero, so that it need not be sent (NBD protocol, NBD_REPLY_TYPE_OFFSET_HOLE).

import Glibc

/// The data of a READ as runs of data and of zeroes, in their order and without a gap.
///
/// Holes of an image read as zeroes, and so does other data that nobody needs to send: looking at the bytes finds both,
/// costs no system call, and is over at the first byte of most blocks.
@safe
struct ZeroRuns {
    /// Zeroes are looked for in blocks of this size, aligned as in the image.
    static let blockBytes = 4096

    struct Run: Equatable {
        var start: Int
        var count: Int
        var isHole: Bool
    }

    private let data: UnsafeRawBufferPointer
    private let count: Int
    private let firstBlockBytes: Int
    private let joinsAll: Bool
    private var position = 0

    /// - Parameters:
    ///   - data: the bytes, which outlive this value.
    ///   - offsetBytes: where in the image they begin.
    ///   - joinsAll: they are one run of data, which is not looked at.
    init(_ data: UnsafeRawBufferPointer, offsetBytes: UInt64, joinsAll: Bool) {
        unsafe self.data = unsafe data
        count = data.count
        firstBlockBytes = Self.blockBytes - Int(offsetBytes % UInt64(Self.blockBytes))
        self.joinsAll = joinsAll
    }

    /// The next run; nil at the end. With `isLastAllowed` everything that is left, as data.
    mutating func next(isLastAllowed: Bool) -> Run? {
        guard position < count else { return nil }
        let start = position
        if joinsAll || isLastAllowed {
            position = count
            return Run(start: start, count: count - start, isHole: false)
        }
        let isHole = blockIsZero(at: start)
        position = blockEnd(after: start)
        while position < count, blockIsZero(at: position) == isHole { position = blockEnd(after: position) }
        return Run(start: start, count: position - start, isHole: isHole)
    }

    private func blockEnd(after start: Int) -> Int {
        let next = start < firstBlockBytes ? firstBlockBytes : start + Self.blockBytes
        return min(next, count)
    }

    /// Whether the block that begins at `start` is all zeroes.
    private func blockIsZero(at start: Int) -> Bool {
        let length = blockEnd(after: start) - start
        guard unsafe data[start] == 0, let base = unsafe data.baseAddress else { return false }
        // Zero if its first byte is, and each byte is like the one before it: what memcmp compares quickly.
        return unsafe length == 1 || memcmp(base + start, base + start + 1, length - 1) == 0
    }
}
