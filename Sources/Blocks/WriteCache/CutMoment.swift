// When the power goes: a moment in the order of a drive's commands.

/// A moment in the order of a drive's commands, counted from when it was ordered. Zeroes and trims are writes, too.
public enum CutMoment: Equatable, Sendable {
    /// So many writes have been answered.
    case afterWrites(UInt64)
    /// A write that touches one of these sectors has begun, and is not answered.
    case atWrite(ClosedRange<UInt64>)
    /// The flush of this number has come, and nothing of it is done.
    case atFlush(UInt64)
    /// So many flushes have reached the image, and the last of them is not answered.
    case atFlushEnd(UInt64)

    /// After one of so many writes, which a seed chooses.
    public static func random(writes limit: UInt64, seed: UInt64) -> CutMoment {
        // The moment is independent of the data that a cut with the same seed keeps.
        var dice = Dice(state: ~seed)
        return .afterWrites(UInt64.random(in: 1...max(limit, 1), using: &dice))
    }
}

/// It is told of each request, in their order, and says whether the moment is now.
extension CutMoment {
    /// A request has come.
    mutating func isNow(beforeBeginning request: BackendRequest) -> Bool {
        guard case .atFlush(let count) = self, request.operation == .flush else { return false }
        self = .atFlush(count &- 1)
        return count <= 1
    }

    /// A request has begun.
    func isNow(afterBeginning request: BackendRequest, _ blockSize: BlockSize) -> Bool {
        guard case .atWrite(let sectors) = self, request.operation.isWrite, request.length > 0 else { return false }
        let first = blockSize.blocks(inBytes: request.offset)
        return sectors.overlaps(first...blockSize.blocks(inBytes: request.offset + request.length - 1))
    }

    /// A request has been done, and is not answered.
    mutating func isNow(afterDoing operation: BackendOperation) -> Bool {
        switch self {
        case .afterWrites(let count) where operation.isWrite:
            self = .afterWrites(count &- 1)
            return count <= 1
        case .atFlushEnd(let count) where operation == .flush:
            self = .atFlushEnd(count &- 1)
            return count <= 1
        case .afterWrites, .atWrite, .atFlush, .atFlushEnd: return false
        }
    }

    /// The request that it was ends with an answer.
    var isAfterAnswer: Bool {
        if case .afterWrites = self { true } else { false }
    }
}

extension BackendOperation {
    /// It changes what is read.
    fileprivate var isWrite: Bool {
        switch self {
        case .write, .writeZeroes, .discard: true
        case .read, .flush, .lookUp, .prefetch: false
        }
    }
}
