// Numbers on the wire: big-endian, at any alignment (NBD protocol, "Conventions").

extension RawSpan {
    /// The big-endian integer at a byte offset, which must lie inside the span.
    @inlinable
    func loadBigEndian<T: FixedWidthInteger & BitwiseCopyable>(at byteOffset: Int, as type: T.Type) -> T {
        // The load checks its bounds; it is unsafe since a type may have invalid bit patterns, and an
        // integer has none.
        T(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: byteOffset, as: type))
    }

    /// The bytes as an array.
    func bytes() -> [UInt8] {
        (0..<byteCount).map { loadBigEndian(at: $0, as: UInt8.self) }
    }
}

extension MutableRawSpan {
    /// Stores an integer big-endian at a byte offset, where it must fit.
    @inlinable
    mutating func storeBigEndian<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at byteOffset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: byteOffset, as: T.self)
    }
}

extension [UInt8] {
    /// Appends an integer, most significant byte first.
    mutating func append<T: FixedWidthInteger>(bigEndian value: T) {
        for shift in stride(from: T.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: value >> T(shift)))
        }
    }
}
