// IDENTIFY DEVICE data as it is stored and transferred (ACS-4 clause 7, IDENTIFY DEVICE): 256 words, little-endian.

/// The 512 bytes with which a drive says what it is.
public struct IdentifyData: Sendable {
    /// 256 words, ATA's data block. All pages that a drive supplies have this size, and a block of TRIM's ranges,
    /// whatever the size of a logical sector.
    public static let byteCount = 512

    @usableFromInline
    var words: InlineArray<256, UInt16>

    /// All words zero.
    public init() {
        words = InlineArray(repeating: 0)
    }

    /// Reads the data as they are transferred.
    /// - Parameter bytes: 512 bytes.
    public init(parsing bytes: RawSpan) {
        precondition(bytes.byteCount == Self.byteCount, "IDENTIFY DEVICE data are 512 bytes")
        words = InlineArray { bytes.word(at: 2 * $0) }
    }

    /// A word by its number in the standard, 0 to 255.
    @inlinable
    public subscript(word number: Int) -> UInt16 {
        get { words[number] }
        set { words[number] = newValue }
    }

    /// Writes the data as they are transferred into the first 512 bytes of a buffer, or as many as there are.
    public func copy(into bytes: inout MutableRawSpan) {
        for offset in 0..<min(bytes.byteCount, Self.byteCount) {
            let word = words[offset / 2]
            bytes.storeBytes(
                of: UInt8(truncatingIfNeeded: offset % 2 == 0 ? word : word >> 8), toByteOffset: offset, as: UInt8.self)
        }
    }

    /// A number of several words, the lowest word first.
    func number(_ numbers: ClosedRange<Int>) -> UInt64 {
        var value: UInt64 = 0
        for number in numbers.reversed() {
            value = value << 16 | UInt64(words[number])
        }
        return value
    }

    /// Stores a number in several words, the lowest word first, and cuts off the rest.
    mutating func store(_ value: UInt64, in numbers: ClosedRange<Int>) {
        var rest = value
        for number in numbers {
            words[number] = UInt16(truncatingIfNeeded: rest)
            rest >>= 16
        }
    }

    /// An ASCII field with its padding: the first character of a pair is in the high byte (ACS-4 clause 3,
    /// "ATA string convention").
    func text(_ numbers: ClosedRange<Int>) -> String {
        var bytes: [UInt8] = []
        for number in numbers {
            bytes.append(UInt8(truncatingIfNeeded: words[number] >> 8))
            bytes.append(UInt8(truncatingIfNeeded: words[number]))
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Stores an ASCII field, padded with spaces, and cuts off the rest.
    mutating func store(_ text: String, in numbers: ClosedRange<Int>) {
        let space = UInt8(ascii: " ")
        var characters = text.utf8.makeIterator()
        for number in numbers {
            let first = characters.next() ?? space
            let second = characters.next() ?? space
            words[number] = UInt16(first) << 8 | UInt16(second)
        }
    }
}

extension IdentifyData: Equatable {
    /// Whether all words are the same.
    public static func == (left: IdentifyData, right: IdentifyData) -> Bool {
        left.words.indices.allSatisfy { left.words[$0] == right.words[$0] }
    }
}
