// Little-endian numbers in bytes, as ATA data structures have them (ACS-4 clause 3, "byte, word, DWord
// and QWord relationships").

extension RawSpan {
    /// The byte at an offset; traps outside the span.
    @inline(__always)
    func byte(at offset: Int) -> UInt8 {
        // Any bit pattern is a UInt8, so the load cannot make an invalid value; the offset is checked by the span.
        unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    /// The 16-bit number at an offset; traps if it is not wholly in the span.
    @inline(__always)
    func word(at offset: Int) -> UInt16 {
        UInt16(byte(at: offset)) | UInt16(byte(at: offset + 1)) << 8
    }

    /// The 32-bit number at an offset; traps if it is not wholly in the span.
    @inline(__always)
    func doubleWord(at offset: Int) -> UInt32 {
        UInt32(word(at: offset)) | UInt32(word(at: offset + 2)) << 16
    }

    /// The 64-bit number at an offset; traps if it is not wholly in the span.
    @inline(__always)
    func quadWord(at offset: Int) -> UInt64 {
        UInt64(doubleWord(at: offset)) | UInt64(doubleWord(at: offset + 4)) << 32
    }
}
