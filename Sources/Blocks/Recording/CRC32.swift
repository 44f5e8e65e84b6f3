// CRC-32 as zlib and Ethernet have it (ISO 3309), so that anybody's tools can check a recording.

/// A checksum under way. Eight bytes are done at a time, each with a table of its own.
public struct CRC32: Sendable {
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var rest = UInt32(byte)
            for _ in 0..<8 { rest = rest >> 1 ^ (rest & 1 == 0 ? 0 : 0xEDB8_8320) }
            tables[byte] = rest
        }
        for index in 256..<tables.count {
            let before = tables[index - 256]
            tables[index] = before >> 8 ^ tables[Int(before & 0xFF)]
        }
        return tables
    }()

    private var rest = UInt32.max

    /// Of nothing.
    public init() {}

    /// The checksum of all that was added.
    public var value: UInt32 { ~rest }

    /// Adds bytes, whole words of eight.
    public mutating func add(_ bytes: ArraySlice<UInt8>) {
        unsafe bytes.withUnsafeBytes { unsafe add($0) }
    }

    mutating func add(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count % 8 == 0, "sectors and headers are whole words")
        var rest = rest
        unsafe Self.tables.withUnsafeBufferPointer { tables in
            var place = 0
            while place < bytes.count {
                let word = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self))
                unsafe rest = Self.step(rest, word, tables)
                place += 8
            }
        }
        self.rest = rest
    }

    private static func step(_ rest: UInt32, _ word: UInt64, _ tables: UnsafeBufferPointer<UInt32>) -> UInt32 {
        let word = word ^ UInt64(rest)
        var next: UInt32 = 0
        for byte in 0..<8 {
            next ^= unsafe tables[(7 - byte) << 8 | Int(word >> UInt64(byte * 8) & 0xFF)]
        }
        return next
    }
}
