// Refcounts in memory (qcow2.txt, "Host cluster management").

/// Refcounts one behind the other, as a refcount block has them: of less than a byte the first one is in the lowest
/// bits.
struct RefcountRow {
    private let memory: LayerMemory
    /// Where in the memory they begin.
    private let start: Int
    /// Each has 1 << order bits.
    private let order: UInt64

    init(_ memory: LayerMemory, from start: Int, order: UInt64) {
        self.memory = memory
        self.start = start
        self.order = order
    }

    /// The most that one can be.
    var maximum: UInt64 { order == 6 ? .max : 1 << (1 << order) - 1 }

    /// One of them. Of a number that is too large the lowest bits are kept.
    subscript(index: UInt64) -> UInt64 {
        get {
            let (place, shift) = place(of: index)
            let bits = 1 << order
            guard bits < 8 else {
                return (0..<bits / 8).reduce(0) { $0 << 8 | UInt64(memory.byte(at: place + $1)) }
            }
            return UInt64(memory.byte(at: place) >> shift) & (1 << UInt64(bits) - 1)
        }
        nonmutating set {
            let (place, shift) = place(of: index)
            let bits = 1 << order
            guard bits < 8 else {
                for byte in 0..<bits / 8 {
                    memory.setByte(
                        UInt8(truncatingIfNeeded: newValue >> UInt64(bits - 8 - byte * 8)), at: place + byte)
                }
                return
            }
            let mask = UInt8(1 << bits - 1) << shift
            memory.setByte(memory.byte(at: place) & ~mask | UInt8(truncatingIfNeeded: newValue) << shift, at: place)
        }
    }

    private func place(of index: UInt64) -> (Int, shift: UInt8) {
        let bit = index << order
        return (start + Int(bit >> 3), UInt8(bit & 7))
    }
}
