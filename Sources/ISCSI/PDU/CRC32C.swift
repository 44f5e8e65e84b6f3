// Digests of headers and data (RFC 7143, 13.1; RFC 3720, B.4).

import CCRC32C

/// CRC32C, by the processor's instruction where it has one.
public struct CRC32C: Sendable {
    /// The digest so far, without the inversion at its end.
    private var remainder: UInt32 = 0xFFFF_FFFF
    private let usesInstruction: Bool

    /// Whether this processor has the instruction. Asking it takes long in a virtual machine, so it is asked once.
    public static let hasInstruction = crc32c_is_there() != 0

    /// A digest of nothing yet; tests do without the instruction.
    @inline(__always)
    public init(usingInstruction: Bool = Self.hasInstruction) {
        usesInstruction = usingInstruction
    }

    /// More bytes.
    public mutating func update(_ bytes: RawSpan) {
        if usesInstruction {
            // As many bytes as the span has, which outlives the call.
            remainder = unsafe bytes.withUnsafeBytes {
                unsafe crc32c_update(remainder, $0.baseAddress, $0.count)
            }
        } else {
            updateByTable(bytes)
        }
    }

    /// Zeroes, which fill a segment up.
    mutating func update(zeroes count: Int) {
        let zeroes = InlineArray<4, UInt8>(repeating: 0)
        let span = zeroes.span
        // Every bit pattern is a byte.
        update(unsafe span.bytes.extracting(first: count))
    }

    /// The digest.
    public var value: UInt32 { ~remainder }

    /// The digest in its order on the wire: the least significant byte first, which is the order of its bits reflected.
    @inline(__always)
    public var wireValue: UInt32 { value.byteSwapped }

    /// The digest of some bytes.
    public static func of(_ bytes: RawSpan) -> CRC32C {
        var digest = CRC32C()
        digest.update(bytes)
        return digest
    }

    private mutating func updateByTable(_ bytes: RawSpan) {
        var remainder = remainder
        for offset in 0..<bytes.byteCount {
            let index = UInt8(truncatingIfNeeded: remainder) ^ bytes.load(offset, as: UInt8.self)
            remainder = remainder >> 8 ^ Self.table[Int(index)]
        }
        self.remainder = remainder
    }

    /// The change of the remainder by each byte; the polynomial is 1EDC6F41h, its bits reflected.
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { remainder, _ in remainder >> 1 ^ (remainder & 1 != 0 ? 0x82F6_3B78 : 0) }
    }
}
