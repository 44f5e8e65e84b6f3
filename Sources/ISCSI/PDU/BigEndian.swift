// Numbers on the wire: big-endian, at any alignment (RFC 7143, 11.1).

extension RawSpan {
    /// The big-endian integer at a byte offset, which must lie inside the span.
    @inline(__always)
    func load<T: FixedWidthInteger & BitwiseCopyable>(_ byteOffset: Int, as type: T.Type = T.self) -> T {
        // The load checks its bounds. It is unsafe because a type may have invalid bit patterns; an integer has none.
        T(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: byteOffset, as: type))
    }

    /// The three bytes of a DataSegmentLength.
    @inline(__always)
    func load24(_ byteOffset: Int) -> UInt32 {
        UInt32(load(byteOffset, as: UInt8.self)) << 16 | UInt32(load(byteOffset + 1, as: UInt16.self))
    }

    /// The bytes as an array.
    func bytes() -> [UInt8] {
        (0..<byteCount).map { load($0, as: UInt8.self) }
    }
}

extension MutableRawSpan {
    /// Stores an integer big-endian at a byte offset, where it must fit.
    @inline(__always)
    mutating func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, _ byteOffset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: byteOffset, as: T.self)
    }

    /// Stores the three bytes of a DataSegmentLength.
    @inline(__always)
    mutating func store24(_ value: UInt32, _ byteOffset: Int) {
        store(UInt8(truncatingIfNeeded: value >> 16), byteOffset)
        store(UInt16(truncatingIfNeeded: value), byteOffset + 1)
    }
}
