// The content of a volatile write cache: versions of sectors, in the order in which they came.

/// A write, or a part of one that had to wait for room, in the order of their coming.
struct CachedWrite: Equatable, Sendable {
    var sequence: UInt64
    var operation: BackendOperation
    var sectors: Range<UInt64>
    var writer: BlockWriter
    /// How many flushes had ended before.
    var flush: UInt64

    /// Its zeroes may give their space back. A trimmed range becomes zeroes, too, for it has to read the same from the
    /// answer on (ACS-3 7.10.3.2, DRAT).
    var mayDeallocate: Bool { operation != .writeZeroes(mayDeallocate: false) }
}

/// Versions of sectors in a fixed number of slots. Of one sector there may be several, for a cut may keep any of them.
///
/// A table of chains finds the newest version of a sector, which leads to the others. All slots are linked in the
/// order of their coming. Every link has its opposite, so that nothing takes longer the more versions a sector has.
/// All arrays have their size from the beginning.
struct CachedVersions: Sendable {
    /// No slot.
    static let none: Int32 = -1

    private struct Slot: Sendable {
        var sector: UInt64 = 0
        var sequence: UInt64 = 0
        /// The write that it belongs to, in ``writes``.
        var write = CachedVersions.none
        /// Of the newest version of a sector: its neighbours in the chain. Of a free slot: the next free one.
        var next = CachedVersions.none
        var previous = CachedVersions.none
        /// The versions of the same sector before and behind it.
        var earlier = CachedVersions.none
        var later = CachedVersions.none
        /// The neighbours in the order of coming.
        var older = CachedVersions.none
        var newer = CachedVersions.none
    }

    private struct Write: Sendable {
        var write: CachedWrite
        /// How many of its sectors are here still.
        var count = 0
        var nextFree = CachedVersions.none
    }

    private var slots: [Slot]
    /// There are as many as there are slots.
    private var writes: [Write]
    private var firstFreeWrite: Int32
    private var chains: [Int32]
    /// Nobody can choose sectors that share a chain.
    private let key = UInt64.random(in: 0...UInt64.max) | 1
    private var firstFree: Int32
    private(set) var oldest = Self.none
    private var newest = Self.none
    /// How many slots are in use.
    private(set) var count = 0

    init(slotCount: Int) {
        slots = Array(repeating: Slot(), count: slotCount)
        for number in slots.indices { slots[number].next = number + 1 < slotCount ? Int32(number + 1) : Self.none }
        firstFree = slotCount > 0 ? 0 : Self.none
        let nobody = CachedWrite(sequence: 0, operation: .write, sectors: 0..<0, writer: BlockWriter(), flush: 0)
        writes = (0..<slotCount).map { Write(write: nobody, nextFree: $0 + 1 < slotCount ? Int32($0 + 1) : Self.none) }
        firstFreeWrite = firstFree
        var chainCount = 1
        while chainCount < slotCount { chainCount *= 2 }
        chains = Array(repeating: Self.none, count: chainCount)
    }

    var isFull: Bool { firstFree == Self.none }

    func sector(_ slot: Int32) -> UInt64 { slots[Int(slot)].sector }
    func sequence(_ slot: Int32) -> UInt64 { slots[Int(slot)].sequence }
    /// The version that came next.
    func newer(than slot: Int32) -> Int32 { slots[Int(slot)].newer }

    private func chain(of sector: UInt64) -> Int {
        let product = (sector &+ 1).multipliedFullWidth(by: key)
        return Int(truncatingIfNeeded: product.high ^ product.low >> 32) & (chains.count - 1)
    }

    /// The newest version of a sector; ``none`` if there is none.
    func newest(of sector: UInt64) -> Int32 {
        var slot = chains[chain(of: sector)]
        while slot != Self.none, slots[Int(slot)].sector != sector { slot = slots[Int(slot)].next }
        return slot
    }

    /// The write that a version is of.
    func write(of slot: Int32) -> CachedWrite { writes[Int(slots[Int(slot)].write)].write }

    /// Adds the newest versions of a write's first sectors, as many as there is room for, at least one.
    ///
    /// - Parameter body: stores what the write has for a sector in a slot.
    /// - Returns: how many.
    mutating func add(_ write: CachedWrite, _ body: (_ sector: UInt64, _ slot: Int32) -> Void) -> UInt64 {
        precondition(!isFull, "all slots are in use")
        // Each write that is here has a slot at least.
        let number = firstFreeWrite
        firstFreeWrite = writes[Int(number)].nextFree
        let stored = write.sectors.prefix(slots.count - count)
        writes[Int(number)] = Write(write: write, count: stored.count)
        writes[Int(number)].write.sectors = stored.startIndex..<stored.endIndex
        for sector in stored { body(sector, add(sector, write.sequence, number)) }
        return UInt64(stored.count)
    }

    private mutating func add(_ sector: UInt64, _ sequence: UInt64, _ write: Int32) -> Int32 {
        let last = newest(of: sector)
        let slot = firstFree
        firstFree = slots[Int(slot)].next
        slots[Int(slot)] = Slot(sector: sector, sequence: sequence, write: write, earlier: last, older: newest)
        if last == Self.none {
            putInChain(slot)
        } else {
            replaceInChain(last, by: slot)
            slots[Int(last)].later = slot
        }
        if newest == Self.none { oldest = slot } else { slots[Int(newest)].newer = slot }
        newest = slot
        count += 1
        return slot
    }

    private mutating func putInChain(_ slot: Int32) {
        let chain = chain(of: slots[Int(slot)].sector)
        slots[Int(slot)].next = chains[chain]
        if chains[chain] != Self.none { slots[Int(chains[chain])].previous = slot }
        chains[chain] = slot
    }

    private mutating func replaceInChain(_ slot: Int32, by other: Int32) {
        let (next, previous) = (slots[Int(slot)].next, slots[Int(slot)].previous)
        (slots[Int(other)].next, slots[Int(other)].previous) = (next, previous)
        if next != Self.none { slots[Int(next)].previous = other }
        setNext(of: previous, other, slots[Int(slot)].sector)
    }

    private mutating func takeFromChain(_ slot: Int32) {
        let (next, previous) = (slots[Int(slot)].next, slots[Int(slot)].previous)
        if next != Self.none { slots[Int(next)].previous = previous }
        setNext(of: previous, next, slots[Int(slot)].sector)
    }

    /// Sets the next slot of a chain; behind ``none`` is the first one.
    private mutating func setNext(of slot: Int32, _ next: Int32, _ sector: UInt64) {
        if slot == Self.none { chains[chain(of: sector)] = next } else { slots[Int(slot)].next = next }
    }

    /// Forgets a version.
    mutating func remove(_ slot: Int32) {
        let removed = slots[Int(slot)]
        if removed.later != Self.none {
            slots[Int(removed.later)].earlier = removed.earlier
        } else if removed.earlier != Self.none {
            replaceInChain(slot, by: removed.earlier)
        } else {
            takeFromChain(slot)
        }
        if removed.earlier != Self.none { slots[Int(removed.earlier)].later = removed.later }
        if removed.older == Self.none {
            oldest = removed.newer
        } else {
            slots[Int(removed.older)].newer = removed.newer
        }
        if removed.newer == Self.none {
            newest = removed.older
        } else {
            slots[Int(removed.newer)].older = removed.older
        }
        slots[Int(slot)].next = firstFree
        firstFree = slot
        count -= 1
        let write = Int(removed.write)
        writes[write].count -= 1
        guard writes[write].count == 0 else { return }
        writes[write].nextFree = firstFreeWrite
        firstFreeWrite = removed.write
    }

    /// Forgets all versions of a sector that came with this number or before.
    mutating func remove(_ sector: UInt64, upTo sequence: UInt64) {
        var slot = newest(of: sector)
        while slot != Self.none {
            let before = slots[Int(slot)].earlier
            if self.sequence(slot) <= sequence { remove(slot) }
            slot = before
        }
    }
}
