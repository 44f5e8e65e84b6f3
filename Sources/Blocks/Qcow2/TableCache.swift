// Pieces of L1 and L2 tables that were read, in memory of a fixed size, whatever an image says of its tables.

/// Which pieces are where. A piece may be in one of a few slots only, its set. The one of these that was not used for
/// longest goes for another.
struct TableCache: Sendable {
    private static let slotsPerSet = 8
    private static let setBits = 7
    static let slotCount = slotsPerSet << setBits
    /// The most that a piece has; a table that has less is one.
    private static let maximumPieceBits: UInt64 = 12

    /// The outcomes of wanting a piece.
    enum Claim: Equatable {
        /// It is in this slot.
        case present(Int)
        /// It has to be read into this one.
        case missing(Int)
        /// It is being read, or all slots that it may have wait for others.
        case busy
    }

    private struct Slot {
        /// Where in the file its piece is.
        var place = UInt64.max
        var isBeingRead = false
        var lastUse: UInt64 = 0
    }

    private let pieceBits: UInt64
    private var slots = [Slot](repeating: Slot(), count: slotCount)
    private var useCount: UInt64 = 0

    /// A cache of nothing.
    init(clusterBits: UInt64) {
        pieceBits = min(clusterBits, Self.maximumPieceBits)
    }

    /// The size of a piece.
    var pieceBytes: UInt64 { 1 << pieceBits }

    /// Wants the piece that has a byte of the file. One that is missing is being read until ``end(_:isRead:)``.
    mutating func claim(_ fileOffset: UInt64) -> Claim {
        let place = fileOffset & ~(pieceBytes - 1)
        let first = Int(((place >> 9) &* 0x9E37_79B9_7F4A_7C15) >> UInt64(64 - Self.setBits)) * Self.slotsPerSet
        useCount += 1
        var oldest: Int?
        for slot in first..<first + Self.slotsPerSet {
            guard slots[slot].place != place else {
                guard !slots[slot].isBeingRead else { return .busy }
                slots[slot].lastUse = useCount
                return .present(slot)
            }
            guard !slots[slot].isBeingRead else { continue }
            if let other = oldest, slots[other].lastUse <= slots[slot].lastUse { continue }
            oldest = slot
        }
        guard let oldest else { return .busy }
        slots[oldest] = Slot(place: place, isBeingRead: true, lastUse: useCount)
        return .missing(oldest)
    }

    /// A piece has been read, or could not be.
    mutating func end(_ slot: Int, isRead: Bool) {
        slots[slot].isBeingRead = false
        if !isRead { slots[slot] = Slot() }
    }
}
