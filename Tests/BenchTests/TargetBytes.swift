// What a target says, byte by byte (RFC 7143, 11), and digests by a computation of their own.

@testable import Bench

/// A basic header segment of zeroes but for these bytes, with data and padding behind it.
func pdu(_ opcode: UInt8, flags: UInt8 = 0x80, fields: [Int: UInt32] = [:], data: [UInt8] = []) -> [UInt8] {
    var header = [UInt8](repeating: 0, count: 48)
    header[0] = opcode
    header[1] = flags
    header.replaceSubrange(5..<8, with: (0..<3).map { UInt8(truncatingIfNeeded: data.count >> (16 - 8 * $0)) })
    for (offset, value) in fields {
        header.replaceSubrange(
            offset..<offset + 4, with: (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) })
    }
    return header + data + [UInt8](repeating: 0, count: -data.count & 3)
}

/// CRC32C bit by bit (RFC 7143, 13.1), in the order of the wire.
func crc32c(_ bytes: [UInt8]) -> [UInt8] {
    var remainder: UInt32 = 0xFFFF_FFFF
    for byte in bytes {
        remainder ^= UInt32(byte)
        for _ in 0..<8 { remainder = remainder >> 1 ^ (remainder & 1 == 0 ? 0 : 0x82F6_3B78) }
    }
    remainder = ~remainder
    return (0..<4).map { UInt8(truncatingIfNeeded: remainder >> (8 * $0)) }
}

/// The same PDU with both digests.
func digested(_ pdu: [UInt8]) -> [UInt8] {
    let (header, data) = (Array(pdu[..<48]), Array(pdu[48...]))
    return header + crc32c(header) + (data.isEmpty ? [] : data + crc32c(data))
}

/// A login response; its text is pairs with a null byte behind each.
func loginResponse(flags: UInt8, statusSN: UInt32, status: UInt16 = 0, text: [String] = []) -> [UInt8] {
    pdu(
        0x23, flags: flags, fields: [24: statusSN, 28: 1, 32: 64, 36: UInt32(status) << 16],
        data: text.flatMap { Array($0.utf8) + [0] })
}

extension Outbox {
    /// What is to be sent; it counts as sent.
    mutating func take() -> [UInt8] {
        var bytes: [UInt8] = []
        while !isEmpty {
            let piece = pending[0]
            bytes += UnsafeRawBufferPointer(start: piece.iov_base, count: piece.iov_len)
            consume(piece.iov_len)
        }
        return bytes
    }
}

/// The PDUs in a stream without digests, and the number that is at an offset of one.
func parts(_ bytes: [UInt8], hasDigests: Bool = false) -> [(header: [UInt8], data: [UInt8])] {
    var parts: [(header: [UInt8], data: [UInt8])] = []
    var rest = bytes[...]
    while rest.count >= 48 {
        let header = Array(rest.prefix(48))
        rest = rest.dropFirst(hasDigests ? 52 : 48)
        let count = Int(header[5]) << 16 | Int(header[6]) << 8 | Int(header[7])
        parts.append((header, Array(rest.prefix(count))))
        rest = rest.dropFirst((count + 3) & ~3 + (hasDigests && count > 0 ? 4 : 0))
    }
    return parts
}

func word(_ header: [UInt8], _ offset: Int) -> UInt32 {
    header[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
}
