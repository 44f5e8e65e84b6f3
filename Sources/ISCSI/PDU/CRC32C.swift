// Digests of headers and data (RFC 7143, 13.1; RFC 3720, B.4).

import CCRC32C

/// CRC32C, by the processor's instructions where it has them.
public struct CRC32C: Sendable {
    /// A way to compute it. A processor that has one has those before it.
    public enum Way: Int32, CaseIterable, Sendable {
        /// Byte by byte.
        case byTable
        /// CRC32, three pieces at once.
        case byInstruction
        /// Multiplications without carries, sixteen lanes at once.
        case inLanes
    }

    /// The digest so far, without the inversion at its end.
    private var remainder: UInt32 = 0xFFFF_FFFF
    private let way: Way

    /// The fastest way of this processor. Asking it takes long in a virtual machine, so it is asked once.
    public static let fastestWay = Way(rawValue: crc32c_way()) ?? .byTable

    /// A digest of nothing yet; tests try each way.
    @inline(__always)
    public init(_ way: Way = Self.fastestWay) {
        self.way = way
    }

    /// More bytes.
    public mutating func update(_ bytes: RawSpan) {
        // As many bytes as the span has, which outlives the call.
        switch way {
        case .byTable: updateByTable(bytes)
        case .byInstruction:
            remainder = unsafe bytes.withUnsafeBytes { unsafe crc32c_update(remainder, $0.baseAddress, $0.count) }
        case .inLanes:
            remainder = unsafe bytes.withUnsafeBytes {
                unsafe crc32c_update_in_lanes(remainder, $0.baseAddress, $0.count)
            }
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
