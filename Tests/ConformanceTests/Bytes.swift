// Bytes as these tests need them: big-endian numbers, patterns, comparisons that stay quick with megabytes.

import Glibc

extension Array<UInt8> {
    /// Appends a number in network byte order.
    mutating func append(number: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
    }

    /// The number in network byte order that begins at `offset`.
    func number<Number: FixedWidthInteger>(at offset: Int, as type: Number.Type) -> Number {
        withUnsafeBytes { Number(bigEndian: $0.loadUnaligned(fromByteOffset: offset, as: Number.self)) }
    }

    /// A copy of `count` bytes from `offset` on.
    func bytes(_ offset: Int, _ count: Int) -> [UInt8] {
        [UInt8](self[offset..<offset + count])
    }

    /// Overwrites the bytes from `offset` on.
    mutating func overwrite(_ offset: Int, with bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        withUnsafeMutableBytes { target in
            bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: target[offset...]).copyMemory(from: $0) }
        }
    }

    /// Where two arrays first differ, in words; nil when they are the same.
    func difference(from other: [UInt8]) -> String? {
        guard count == other.count else { return "\(count) bytes instead of \(other.count)" }
        guard count > 0, memcmp(self, other, count) != 0 else { return nil }
        let first = indices.first { self[$0] != other[$0] } ?? 0
        return "byte \(first) of \(count) is \(self[first]) instead of \(other[first])"
    }

    static func zeroes(_ count: Int) -> [UInt8] {
        [UInt8](repeating: 0, count: count)
    }
}

/// Random numbers that are the same for the same seed (xorshift64*).
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed | 1
    }

    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 0x2545_F491_4F6C_DD1D
    }

    /// So many random bytes.
    mutating func bytes(_ count: Int) -> [UInt8] {
        var numbers = [UInt64](repeating: 0, count: (count + 7) / 8)
        for index in numbers.indices { numbers[index] = next() }
        return numbers.withUnsafeBytes { [UInt8]($0.prefix(count)) }
    }
}

/// Random bytes without a zero among them, so that zeroes and holes cannot be mistaken for data.
func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var numbers = SeededNumbers(seed: seed)
    var words = [UInt64](repeating: 0, count: (count + 7) / 8)
    for index in words.indices { words[index] = numbers.next() | 0x0101_0101_0101_0101 }
    return words.withUnsafeBytes { [UInt8]($0.prefix(count)) }
}
