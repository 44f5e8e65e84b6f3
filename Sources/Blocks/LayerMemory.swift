// Memory that the layers of a unit have for themselves.

import struct Synchronization.Atomic

/// Zeroed memory of the layers of one unit, from their coming to the unit's end. Its size never changes.
///
/// The layers belong to one loop, and their memory with them: nobody else looks at it while they are in use, but for
/// words of maps.
@safe
public final class LayerMemory: Sendable {
    private nonisolated(unsafe) let start: UnsafeMutableRawPointer
    /// Its size.
    public let byteCount: Int
    private let giveBack: @Sendable (UnsafeMutableRawPointer, Int) -> Void

    /// Memory that somebody has mapped, and that is given back by `giveBack` in the end.
    @unsafe public init(
        _ start: UnsafeMutableRawPointer, byteCount: Int,
        giveBack: @escaping @Sendable (UnsafeMutableRawPointer, Int) -> Void
    ) {
        unsafe self.start = start
        self.byteCount = byteCount
        unsafe self.giveBack = giveBack
    }

    deinit {
        unsafe giveBack(start, byteCount)
    }

    /// A part of it. The caller promises that nobody uses it for longer than this value is there.
    @unsafe public subscript(range: Range<Int>) -> UnsafeMutableRawBufferPointer {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "the memory ends before")
        return unsafe UnsafeMutableRawBufferPointer(start: start + range.lowerBound, count: range.count)
    }

    /// Copies bytes of it into a request's data.
    func copy(_ range: Range<Int>, into data: inout MutableRawSpan, at offset: Int) {
        precondition(offset >= 0 && range.count <= data.byteCount - offset, "the data end before")
        unsafe data.withUnsafeMutableBytes {
            unsafe $0.baseAddress!.advanced(by: offset).copyMemory(
                from: self[range].baseAddress!, byteCount: range.count)
        }
    }

    /// A number of 8 bytes, the highest byte first.
    func bigEndian(at offset: Int) -> UInt64 {
        unsafe UInt64(bigEndian: self[offset..<offset + 8].loadUnaligned(as: UInt64.self))
    }

    /// Changes a number of 8 bytes.
    func setBigEndian(_ number: UInt64, at offset: Int) {
        unsafe self[offset..<offset + 8].storeBytes(of: number.bigEndian, as: UInt64.self)
    }

    /// One of its bytes.
    func byte(at offset: Int) -> UInt8 { unsafe self[offset..<offset + 1][0] }

    /// Changes one of its bytes.
    func setByte(_ byte: UInt8, at offset: Int) { unsafe self[offset..<offset + 1][0] = byte }

    /// Fills some of its bytes with zeroes.
    func clear(_ range: Range<Int>) { _ = unsafe self[range].initializeMemory(as: UInt8.self, repeating: 0) }

    /// One of its words of 8 bytes. Another thread may change it meanwhile.
    func word(at index: UInt64) -> UInt64 { unsafe cell(index).pointee.load(ordering: .relaxed) }

    /// Changes one of its words of 8 bytes, which other threads may look at.
    func setWord(_ word: UInt64, at index: UInt64) { unsafe cell(index).pointee.store(word, ordering: .relaxed) }

    private func cell(_ index: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
        let offset = Int(index) * 8
        return unsafe self[offset..<offset + 8].baseAddress!.assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Copies a request's data into it.
    func store(_ data: borrowing MutableRawSpan, _ range: Range<Int>, at offset: Int) {
        precondition(range.lowerBound >= 0 && range.upperBound <= data.byteCount, "the data end before")
        unsafe data.withUnsafeBytes {
            unsafe self[offset..<offset + range.count].baseAddress!.copyMemory(
                from: $0.baseAddress! + range.lowerBound, byteCount: range.count)
        }
    }

    /// Changes some of its bytes.
    public func put(_ bytes: [UInt8], at offset: Int) {
        unsafe self[offset..<offset + bytes.count].copyBytes(from: bytes)
    }

    /// Copies some of its bytes to another place.
    func move(_ range: Range<Int>, to offset: Int) {
        unsafe self[offset..<offset + range.count].baseAddress!.copyMemory(
            from: self[range].baseAddress!, byteCount: range.count)
    }
}

extension MutableRawSpan {
    /// Fills bytes with zeroes.
    mutating func clear(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "the data end before")
        unsafe withUnsafeMutableBytes {
            _ = unsafe UnsafeMutableRawBufferPointer(rebasing: $0[range]).initializeMemory(
                as: UInt8.self, repeating: 0)
        }
    }
}
