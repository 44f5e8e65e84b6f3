// Random numbers for tests, which a seed from a failure's message brings back.

/// SplitMix64: the same numbers for the same seed on every machine.
public struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    /// Begins a sequence.
    public init(seed: UInt64) {
        state = seed
    }

    /// The next number.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    /// So many random bytes.
    public mutating func bytes(_ count: Int) -> [UInt8] {
        // Eight of each number: tests ask for many, and debug builds take their time for each call.
        [UInt8](unsafeUninitializedCapacity: (count + 7) / 8 * 8) { buffer, filled in
            var place = 0
            while place < count {
                UnsafeMutableRawBufferPointer(buffer).storeBytes(
                    of: next().littleEndian, toByteOffset: place, as: UInt64.self)
                place += 8
            }
            filled = count
        }
    }
}
