// Parameter data that the device server itself makes, for the initiator.

/// Bytes of an answer, most significant first.
struct Answer: Sendable {
    private(set) var bytes: [UInt8] = []

    mutating func append<Value: FixedWidthInteger>(_ value: Value) {
        for shift in stride(from: Value.bitWidth - 8, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }

    mutating func append(bytes more: [UInt8]) { bytes += more }

    /// Writes the bytes to the start of a buffer, as many as fit.
    func copy(to buffer: inout MutableRawSpan, from start: Int = 0) {
        guard start < buffer.byteCount else { return }
        for (offset, byte) in bytes.prefix(buffer.byteCount - start).enumerated() { buffer[start + offset] = byte }
    }
}

extension RawSpan {
    /// A byte.
    subscript(offset: Int) -> UInt8 {
        precondition(offset >= 0 && offset < byteCount, "outside the buffer")
        // The check keeps the offset inside, and every bit pattern is a UInt8.
        return unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    /// An integer, most significant byte first.
    func load<Value: FixedWidthInteger>(_ offset: Int, as type: Value.Type = Value.self) -> Value {
        (0..<Value.bitWidth / 8).reduce(0) { $0 << 8 | Value(self[offset + $1]) }
    }

    /// Eight bytes as they are.
    func loadWord(_ offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset <= byteCount - 8, "outside the buffer")
        // The check keeps them inside, and every bit pattern is an integer.
        return unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }

    /// The first byte of a range that is not zero; nil if all are.
    func firstNonZero(_ range: Range<Int>) -> Int? { range.first { self[$0] != 0 } }

    /// Where in the range that begins at `first` bytes differ from those of the one at `second`; nil if nowhere.
    func firstDifference(_ first: Int, _ second: Int, count: Int) -> Int? {
        precondition(count >= 0 && first >= 0 && first <= byteCount - count, "outside the buffer")
        precondition(second >= 0 && second <= byteCount - count, "outside the buffer")
        var offset = 0
        while offset + 8 <= count, loadWord(first + offset) == loadWord(second + offset) { offset += 8 }
        return (offset..<count).first { self[first + $0] != self[second + $0] }
    }
}

extension MutableRawSpan {
    /// A byte.
    subscript(offset: Int) -> UInt8 {
        get { bytes[offset] }
        set { storeBytes(of: newValue, toByteOffset: offset, as: UInt8.self) }
    }
}
