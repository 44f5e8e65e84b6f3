// Pieces of an image's tables that were read, and some that are still to be written, in memory of a fixed size,
// whatever an image says of its tables.

/// Which pieces are where. A piece may be in one of a few slots only, its set. The one of these that was not used for
/// longest goes for another; one that is to be written stays.
struct TableCache: Sendable {
    private static let slotsPerSet = 8
    private static let setBits = 7
    static let slotCount = slotsPerSet << setBits
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
        var table = Table.mapping
        var isBeingRead = false
        /// It has changed, and the file does not know.
        var isChanged = false
        var lastUse: UInt64 = 0
    }

    private let pieceBits: UInt64
    private var slots = [Slot](repeating: Slot(), count: slotCount)
    private var useCount: UInt64 = 0
    /// How many pieces of each table have changed.
    private var changedCounts: InlineArray<3, Int> = [0, 0, 0]

    /// A cache of nothing.
    init(clusterBits: UInt64) {
        pieceBits = min(clusterBits, Self.maximumPieceBits)
    }

    /// The size of a piece.
    var pieceBytes: UInt64 { 1 << pieceBits }

    private static func firstSlot(of place: UInt64) -> Int {
        Int(((place >> 9) &* 0x9E37_79B9_7F4A_7C15) >> UInt64(64 - setBits)) * slotsPerSet
    }

    /// Wants the piece that has a byte of the file. One that is missing is being read until ``end(_:isRead:)``.
    mutating func claim(_ fileOffset: UInt64, of table: Table = .mapping) -> Claim {
        let place = fileOffset & ~(pieceBytes - 1)
        let first = Self.firstSlot(of: place)
        useCount += 1
        var oldest: Int?
        for slot in first..<first + Self.slotsPerSet {
            guard slots[slot].place != place else {
                guard !slots[slot].isBeingRead else { return .busy }
                guard slots[slot].table == table else { return .overlap }
                slots[slot].lastUse = useCount
                return .present(slot)
            }
            guard !slots[slot].isBeingRead, !slots[slot].isChanged else { continue }
            if let other = oldest, slots[other].lastUse <= slots[slot].lastUse { continue }
            oldest = slot
        }
        guard let oldest else { return .busy }
        slots[oldest] = Slot(place: place, table: table, isBeingRead: true, lastUse: useCount)
        return .missing(oldest)
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
        while slot < Self.slotCount {
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
            let first = Self.firstSlot(of: place)
            if slots[first..<first + Self.slotsPerSet].contains(where: { $0.place == place }) { return true }
            place += pieceBytes
        }
        return false
    }
}
