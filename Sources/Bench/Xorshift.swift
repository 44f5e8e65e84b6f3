// Random numbers without a system call for each.

/// Marsaglia's xorshift, 64 bits ("Xorshift RNGs", 2003), with a product to hide its pattern.
struct Xorshift {
    private var state: UInt64

    init(seed: UInt64) {
        // At zero it stays zero for ever.
        state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    }

    /// A random number below a limit. (The high half of a product takes less than a division.)
    mutating func below(_ limit: UInt64) -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return (state &* 0x2545_F491_4F6C_DD1D).multipliedFullWidth(by: limit).high
    }
}
