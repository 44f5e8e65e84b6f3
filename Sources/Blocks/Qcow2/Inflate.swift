// The decompression of raw deflate data (RFC 1951), whole clusters from memory to memory. Whatever the data are: every
// step takes a bit or gives a byte, nothing is written behind the room for the bytes, and nothing is allocated.

/// The tables of a decompression, made once.
struct Inflate: Sendable {
    private static let maximumCodeBits = 15
    private static let literalCount = 288
    private static let distanceCount = 32
    private static let endOfBlock = 256

    private var literals = Code(symbolCount: literalCount)
    private var distances = Code(symbolCount: distanceCount)
    private var lengths = [UInt8](repeating: 0, count: literalCount + distanceCount)

    /// A canonical prefix code (RFC 1951 3.2.2): short words by one look into a table, long ones bit by bit.
    private struct Code: Sendable {
        private static let tableBits = 10
        /// By the next bits: the symbol << 4 and the word's length; 0: the word is longer, or there is none.
        private var table = [UInt16](repeating: 0, count: 1 << tableBits)
        /// How many words have each length, and the symbols in the order of their words.
        private var counts = [Int](repeating: 0, count: maximumCodeBits + 1)
        private var symbols: [UInt16]
        /// For each length: where its symbols begin.
        private var starts = [Int](repeating: 0, count: maximumCodeBits + 2)

        init(symbolCount: Int) {
            symbols = Array(repeating: 0, count: symbolCount)
        }

        /// Takes the lengths of the symbols' words.
        ///
        /// - Returns: false if there are more words than there can be.
        mutating func build(_ lengths: [UInt8], _ part: Range<Int>) -> Bool {
            for length in counts.indices { counts[length] = 0 }
            for place in part { counts[Int(lengths[place])] += 1 }
            counts[0] = 0
            starts[1] = 0
            var room = 1
            for length in 1...maximumCodeBits {
                room = room << 1 - counts[length]
                guard room >= 0 else { return false }
                starts[length + 1] = starts[length] + counts[length]
            }
            for place in part where lengths[place] != 0 {
                let length = Int(lengths[place])
                symbols[starts[length]] = UInt16(place - part.lowerBound)
                starts[length] += 1
            }
            fillTable()
            return true
        }

        /// Words come with their first bit in bit 0.
        private mutating func fillTable() {
            for word in table.indices { table[word] = 0 }
            var code = 0
            var index = 0
            for length in 1...Self.tableBits {
                for _ in 0..<counts[length] {
                    let entry = symbols[index] << 4 | UInt16(length)
                    var word = reversed(code, length)
                    while word < table.count {
                        table[word] = entry
                        word += 1 << length
                    }
                    code += 1
                    index += 1
                }
                code <<= 1
            }
        }

        private func reversed(_ code: Int, _ length: Int) -> Int {
            var (rest, word) = (code, 0)
            for _ in 0..<length {
                word = word << 1 | rest & 1
                rest >>= 1
            }
            return word
        }

        /// The symbol of the next word; nil if there is none.
        func next(_ bits: inout BitReader) -> Int? {
            bits.fill()
            return unsafe table.withUnsafeBufferPointer { unsafe next(&bits, $0) }
        }

        /// The same where enough bits are held, and with the table at hand.
        @inline(__always)
        func next(_ bits: inout BitReader, _ table: UnsafeBufferPointer<UInt16>) -> Int? {
            let entry = unsafe table[Int(truncatingIfNeeded: bits.held) & (1 << Self.tableBits - 1)]
            guard entry != 0 else { return nextLong(&bits) }
            return bits.skip(Int(entry & 15)) ? Int(entry >> 4) : nil
        }

        /// Does something with the table at hand.
        @inline(__always)
        func withTable<Result>(_ body: (UnsafeBufferPointer<UInt16>) -> Result) -> Result {
            unsafe table.withUnsafeBufferPointer { unsafe body($0) }
        }

        private func nextLong(_ bits: inout BitReader) -> Int? {
            var (code, first, index) = (0, 0, 0)
            for length in 1...maximumCodeBits {
                guard let bit = bits.take(1) else { return nil }
                code |= bit
                if code - first < counts[length] { return Int(symbols[index + code - first]) }
                index += counts[length]
                first = (first + counts[length]) << 1
                code <<= 1
            }
            return nil
        }
    }

    /// Decompresses until the room for bytes is full. The rest does not matter: it may be the beginning of
    /// another cluster's data.
    ///
    /// - Returns: false if the data are no deflate data, or end before the room is full.
    @unsafe mutating func decompress(_ data: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Bool
    {
        var bits = unsafe BitReader(data)
        var place = 0
        while place < output.count {
            guard let isLast = bits.take(1), let type = bits.take(2) else { return false }
            let isGood =
                switch type {
                case 0: unsafe copyStored(&bits, output, &place)
                case 1: unsafe buildFixed() && expand(&bits, output, &place)
                case 2: unsafe buildDynamic(&bits) && expand(&bits, output, &place)
                default: false
                }
            guard isGood else { return false }
            if isLast == 1 { break }
        }
        return place == output.count
    }

    /// Non-compressed blocks (RFC 1951 3.2.4).
    private func copyStored(
        _ bits: inout BitReader, _ output: UnsafeMutableRawBufferPointer, _ place: inout Int
    ) -> Bool {
        bits.skipToByte()
        guard let count = bits.take(16), let check = bits.take(16), count == ~check & 0xFFFF else { return false }
        for _ in 0..<min(count, output.count - place) {
            guard let byte = bits.take(8) else { return false }
            unsafe output[place] = UInt8(truncatingIfNeeded: byte)
            place += 1
        }
        return true
    }

    /// The codes of RFC 1951 3.2.6.
    private mutating func buildFixed() -> Bool {
        for symbol in 0..<Self.literalCount {
            lengths[symbol] = symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8
        }
        for symbol in 0..<Self.distanceCount { lengths[Self.literalCount + symbol] = 5 }
        return build(literalCount: Self.literalCount, distanceCount: Self.distanceCount)
    }

    private mutating func build(literalCount: Int, distanceCount: Int) -> Bool {
        literals.build(lengths, 0..<literalCount)
            && distances.build(lengths, literalCount..<literalCount + distanceCount)
    }

    /// The codes that a block brings with it (RFC 1951 3.2.7).
    private mutating func buildDynamic(_ bits: inout BitReader) -> Bool {
        guard let extraLiterals = bits.take(5), let extraDistances = bits.take(5), let extraLengths = bits.take(4)
        else { return false }
        let (literalCount, distanceCount) = (257 + extraLiterals, 1 + extraDistances)
        guard literalCount <= Self.literalCount, distanceCount <= Self.distanceCount else { return false }
        let order: InlineArray<19, Int> = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
        for place in 0..<19 {
            guard let length = place < 4 + extraLengths ? bits.take(3) : 0 else { return false }
            lengths[order[place]] = UInt8(truncatingIfNeeded: length)
        }
        // The code of the lengths is of use only here.
        guard distances.build(lengths, 0..<19) else { return false }
        var place = 0
        while place < literalCount + distanceCount {
            guard let symbol = distances.next(&bits) else { return false }
            let repeated: Int?
            var length: UInt8 = 0
            switch symbol {
            case 16:
                guard place > 0 else { return false }
                length = lengths[place - 1]
                repeated = bits.take(2).map { $0 + 3 }
            case 17: repeated = bits.take(3).map { $0 + 3 }
            case 18: repeated = bits.take(7).map { $0 + 11 }
            default:
                length = UInt8(truncatingIfNeeded: symbol)
                repeated = 1
            }
            guard let repeated, repeated <= literalCount + distanceCount - place else { return false }
            for _ in 0..<repeated {
                lengths[place] = length
                place += 1
            }
        }
        return build(literalCount: literalCount, distanceCount: distanceCount)
    }

    /// Lengths and distances (RFC 1951 3.2.5): the base of each symbol, and how many bits are added to it.
    private static func length(_ symbol: Int) -> (base: Int, bits: Int)? {
        switch symbol {
        case 257...264: return (symbol - 254, 0)
        case 265...284:
            let bits = (symbol - 261) >> 2
            return (((symbol - 261) & 3 | 4) << bits + 3, bits)
        case 285: return (258, 0)
        default: return nil
        }
    }

    private static func distance(_ symbol: Int) -> (base: Int, bits: Int)? {
        switch symbol {
        case 0...3: return (symbol + 1, 0)
        case 4...29:
            let bits = symbol >> 1 - 1
            return ((symbol & 1 | 2) << bits + 1, bits)
        default: return nil
        }
    }

    /// The bytes of a block, to its end or until the room is full.
    private func expand(
        _ bits: inout BitReader, _ output: UnsafeMutableRawBufferPointer, _ place: inout Int
    ) -> Bool {
        // Values that change with each byte are in registers for that long.
        var (reader, next) = (bits, place)
        let isGood = unsafe literals.withTable { literalTable in
            unsafe distances.withTable { distanceTable in
                unsafe expand(&reader, literalTable, distanceTable, output, &next)
            }
        }
        (bits, place) = (reader, next)
        return isGood
    }

    @inline(__always)
    private func expand(
        _ bits: inout BitReader, _ literalTable: UnsafeBufferPointer<UInt16>,
        _ distanceTable: UnsafeBufferPointer<UInt16>, _ output: UnsafeMutableRawBufferPointer, _ place: inout Int
    ) -> Bool {
        while true {
            // Enough for a length and a distance: 15 and 5 bits, 15 and 13.
            bits.fill()
            guard let symbol = unsafe literals.next(&bits, literalTable) else { return false }
            if symbol < Self.endOfBlock {
                guard place < output.count else { return true }
                unsafe output[place] = UInt8(truncatingIfNeeded: symbol)
                place += 1
                continue
            }
            guard symbol != Self.endOfBlock else { return true }
            guard let length = Self.length(symbol), let moreLength = bits.take(length.bits),
                let symbol = unsafe distances.next(&bits, distanceTable), let distance = Self.distance(symbol),
                let moreDistance = bits.take(distance.bits)
            else { return false }
            let back = distance.base + moreDistance
            guard back <= place else { return false }
            let end = min(place + length.base + moreLength, output.count)
            unsafe Self.repeatBytes(output, from: back, &place, to: end)
            guard place < output.count else { return true }
        }
    }

    /// Copies what is so many bytes before, which may be among those that are being written.
    @inline(__always)
    private static func repeatBytes(
        _ output: UnsafeMutableRawBufferPointer, from back: Int, _ place: inout Int, to end: Int
    ) {
        while back >= 8, end - place >= 8 {
            let word = unsafe output.loadUnaligned(fromByteOffset: place - back, as: UInt64.self)
            unsafe output.storeBytes(of: word, toByteOffset: place, as: UInt64.self)
            place += 8
        }
        while place < end {
            unsafe output[place] = output[place - back]
            place += 1
        }
    }
}

/// Bits of bytes, the lowest first (RFC 1951 3.1.1).
@safe
struct BitReader {
    private let bytes: UnsafeRawBufferPointer
    private var place = 0
    /// Bits that were taken from the bytes, the next one in bit 0.
    fileprivate private(set) var held: UInt64 = 0
    private var count = 0

    init(_ bytes: UnsafeRawBufferPointer) {
        unsafe self.bytes = bytes
    }

    /// Holds at least 56 bits, or all that there are.
    @inline(__always)
    mutating func fill() {
        if unsafe bytes.count - place >= 8 {
            let next = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self))
            held |= next << UInt64(count)
            let taken = (63 - count) >> 3
            place += taken
            count += taken << 3
            // The bits above those come again with the next ones.
            return
        }
        while unsafe count <= 56 && place < bytes.count {
            held |= unsafe UInt64(bytes[place]) << UInt64(count)
            place += 1
            count += 8
        }
    }

    /// Leaves bits out; false if there are not so many.
    @inline(__always)
    mutating func skip(_ bits: Int) -> Bool {
        guard bits <= count else { return false }
        held >>= UInt64(bits)
        count -= bits
        return true
    }

    /// The next bits as a number; at most 16.
    @inline(__always)
    mutating func take(_ bits: Int) -> Int? {
        if count < bits { fill() }
        let number = Int(truncatingIfNeeded: held & (1 << UInt64(bits) - 1))
        return skip(bits) ? number : nil
    }

    /// Goes on at the beginning of a byte.
    mutating func skipToByte() {
        _ = skip(count & 7)
    }
}
