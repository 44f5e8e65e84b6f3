// Pieces of an image's tables that were read, and some that are still to be written, in memory of a fixed size,
// whatever an image says of its tables.

/// Which pieces are where. A piece may be in one of the slots of two sets, so that hardly a set is full before all are.
/// The one of these that was not used for longest goes for another; one that is to be written stays.
struct TableCache: Sendable {
    private static let slotsPerSet = 8
    private static let slotCounts = 256...2048
    /// The most that a piece has; a table that has less is one.
    private static let maximumPieceBits: UInt64 = 12

    /// The tables, in the order in which changes of them are written: what says that a cluster is used comes before
    /// what uses it.
    enum Table: Int, CaseIterable {
        case refcountBlock
        case refcountTable
        /// L1 and L2.
        case mapping
    }

    /// The outcomes of wanting a piece.
    enum Claim: Equatable {
        /// It is in this slot.
        case present(Int)
        /// It has to be read into this one.
        case missing(Int)
        /// It is being read, or all slots that it may have wait for others.
        case busy
        /// It is a piece of another kind of table, which cannot be.
        case overlap
    }

    private struct Slot {
        /// Where in the file its piece is.
        var place = UInt64.max
        /// Counted in claims. It begins anew after 2^32 of them, so ages are compared.
        var lastUse: UInt32 = 0
        var table = Table.mapping
        var isBeingRead = false
        /// It has changed, and the file does not know.
        var isChanged = false
    }

    private let pieceBits: UInt64
    private let setBits: UInt64
    private var slots: [Slot]
    private var useCount: UInt32 = 0
    /// How many pieces of each table have changed.
    private var changedCounts: InlineArray<3, Int> = [0, 0, 0]

    /// A cache of nothing.
    init(_ header: Qcow2Header) {
        pieceBits = Self.pieceBits(header)
        let slotCount = Self.slotCount(header)
        slots = Array(repeating: Slot(), count: slotCount)
        setBits = UInt64((slotCount / Self.slotsPerSet).trailingZeroBitCount)
    }

    private static func pieceBits(_ header: Qcow2Header) -> UInt64 { min(header.clusterBits, maximumPieceBits) }

    /// Room for twice the pieces that say where a disk is, within bounds.
    private static func slotCount(_ header: Qcow2Header) -> Int {
        let tables = header.sizeBytes >> (header.clusterBits + header.l2EntryBits) + 1
        let pieces = min(tables << (header.clusterBits - pieceBits(header)), UInt64(slotCounts.upperBound))
        var count = slotCounts.lowerBound
        while count < pieces * 2, count < slotCounts.upperBound { count *= 2 }
        return count
    }

    /// How much memory all pieces take.
    static func memoryBytes(_ header: Qcow2Header) -> Int { slotCount(header) << pieceBits(header) }

    /// The size of a piece.
    var pieceBytes: UInt64 { 1 << pieceBits }

    /// The slots of a set that a piece may be in.
    private func set(_ place: UInt64, _ factor: UInt64) -> Range<Int> {
        let first = Int(((place >> 9) &* factor) >> (64 - setBits)) * Self.slotsPerSet
        return first..<first + Self.slotsPerSet
    }

    /// The two sets of a piece, which may be one.
    private func sets(of place: UInt64) -> (Range<Int>, Range<Int>) {
        (set(place, 0x9E37_79B9_7F4A_7C15), set(place, 0xC2B2_AE3D_27D4_EB4F))
    }

    /// Wants the piece that has a byte of the file. One that is missing is being read until ``end(_:isRead:)``.
    mutating func claim(_ fileOffset: UInt64, of table: Table = .mapping) -> Claim {
        let place = fileOffset & ~(pieceBytes - 1)
        let (one, other) = sets(of: place)
        useCount &+= 1
        if let slot = slot(of: place, one) ?? slot(of: place, other) {
            guard !slots[slot].isBeingRead else { return .busy }
            guard slots[slot].table == table else { return .overlap }
            slots[slot].lastUse = useCount
            return .present(slot)
        }
        guard let slot = oldestOfEmptier(one, other) else { return .busy }
        slots[slot] = Slot(place: place, lastUse: useCount, table: table, isBeingRead: true)
        return .missing(slot)
    }

    private func slot(of place: UInt64, _ set: Range<Int>) -> Int? {
        set.first { slots[$0].place == place }
    }

    /// The slot for another piece: in the set where fewer have to stay, the one that was not used for longest.
    private func oldestOfEmptier(_ one: Range<Int>, _ other: Range<Int>) -> Int? {
        let (inOne, inOther) = (oldest(one), oldest(other))
        guard let inOther, inOther.kept <= inOne?.kept ?? Self.slotsPerSet else { return inOne?.slot }
        guard let inOne, inOne.kept == inOther.kept else { return inOther.slot }
        return age(inOne.slot) >= age(inOther.slot) ? inOne.slot : inOther.slot
    }

    /// The slot of a set that was not used for longest, of those that need not stay; and how many have to.
    private func oldest(_ set: Range<Int>) -> (slot: Int, kept: Int)? {
        var oldest: Int?
        var kept = 0
        for slot in set {
            if slots[slot].isBeingRead || slots[slot].isChanged {
                kept += 1
            } else if oldest.map({ age($0) < age(slot) }) ?? true {
                oldest = slot
            }
        }
        return oldest.map { ($0, kept) }
    }

    /// For how many claims a slot was not used; one that never was is the oldest.
    private func age(_ slot: Int) -> UInt32 {
        slots[slot].place == .max ? .max : useCount &- slots[slot].lastUse
    }

    /// A piece has been read, or could not be.
    mutating func end(_ slot: Int, isRead: Bool) {
        slots[slot].isBeingRead = false
        if !isRead { slots[slot] = Slot() }
    }
}

/// Changes.
extension TableCache {
    /// Whether a piece may change now: each set keeps a slot for pieces that are only read, so that nobody who reads
    /// waits for a change to be written.
    func mayChange(_ slot: Int) -> Bool {
        guard !slots[slot].isChanged else { return true }
        let first = slot / Self.slotsPerSet * Self.slotsPerSet
        return slots[first..<first + Self.slotsPerSet].count { $0.isChanged } < Self.slotsPerSet - 1
    }

    /// A piece has changed.
    mutating func change(_ slot: Int) {
        guard !slots[slot].isChanged else { return }
        precondition(mayChange(slot), "a set keeps a slot for reading")
        slots[slot].isChanged = true
        changedCounts[slots[slot].table.rawValue] += 1
    }

    /// Pieces of a table have changed.
    func hasChanges(of table: Table) -> Bool { changedCounts[table.rawValue] > 0 }

    /// The first changed piece of a table in a slot from this one on, and its place in the file.
    func changed(_ table: Table, from slot: Int) -> (slot: Int, place: UInt64)? {
        guard hasChanges(of: table) else { return nil }
        var slot = slot
        while slot < slots.count {
            if slots[slot].isChanged, slots[slot].table == table { return (slot, slots[slot].place) }
            slot += 1
        }
        return nil
    }

    /// The file has a piece as it is here.
    mutating func endWriting(_ slot: Int) {
        slots[slot].isChanged = false
        changedCounts[slots[slot].table.rawValue] -= 1
    }

    /// Whether bytes of the file are among those of a piece that is here.
    func holds(_ range: Range<UInt64>) -> Bool {
        var place = range.lowerBound & ~(pieceBytes - 1)
        while place < range.upperBound {
            let (one, other) = sets(of: place)
            if slot(of: place, one) != nil || slot(of: place, other) != nil { return true }
            place += pieceBytes
        }
        return false
    }
}
