// The faults of a medium, and the requests that they meet.

/// One thing that is wrong with a range of bytes. It concerns requests that touch the range.
public struct Fault: Equatable, Sendable {
    /// The kinds of faults.
    public enum Kind: Equatable, Sendable {
        /// A read ends before the first block of the range, and what is stored there nobody can say.
        case unreadable(BlockFailure)
        /// So does a write, or a write of zeroes.
        case unwritable(BlockFailure)
        /// A read or a write moves at most so many bytes at a time, and goes on with the rest.
        case short(bytes: UInt64)
        /// A request begins this much later.
        case delay(milliseconds: UInt32)
        /// One request begins when the one before it has ended, in the order of their coming. Of several such faults a
        /// request meets the first.
        case inTurn
        /// Something is stored there, or nothing is, whatever the medium below says.
        case extent(isMapped: Bool)
        /// A write succeeds, and nothing is stored.
        case lost
        /// A write succeeds, and only so many of its first bytes are stored, in whole blocks.
        case torn(afterBytes: UInt64)
        /// A write succeeds, and is stored here, as far as there is a medium.
        case misdirected(toOffset: UInt64)
    }

    /// The kind of this fault.
    public var kind: Kind
    /// The bytes that it happens to.
    public var range: Range<UInt64>
    /// To how many requests it happens, the first ones that come; nil: to all.
    public var count: Int?

    /// Describes a fault.
    public init(_ kind: Kind, _ range: Range<UInt64>, count: Int? = nil) {
        self.kind = kind
        self.range = range
        self.count = count
    }

    /// Whether it happens to a request. A flush has no range, and passes.
    func concerns(_ request: BackendRequest) -> Bool {
        guard count != 0, request.length > 0, range.lowerBound < request.offset + request.length,
            request.offset < range.upperBound
        else { return false }
        switch (kind, request.operation) {
        case (.delay, _), (.inTurn, _), (.unreadable, .read), (.short, .read), (.short, .write): return true
        case (.unreadable, .lookUp), (.extent, .lookUp): return true
        case (.unwritable, .write), (.lost, .write), (.torn, .write), (.misdirected, .write): return true
        case (.unwritable, .writeZeroes), (.lost, .writeZeroes), (.torn, .writeZeroes), (.misdirected, .writeZeroes):
            return true
        default: return false
        }
    }
}
