// A medium with faults: errors, short and late transfers, requests that wait for each other, extents of its own, and
// writes that are lost, torn or land somewhere else.

/// The layer that lets a medium fail.
public struct Faults: Sendable {
    private var list: [Fault]
    /// By fault: a request has its turn (``Fault/Kind/inTurn``).
    private var isTaken: [Bool]
    /// A turn is over, and others may wait for it.
    private var hasWoken = false
    private let blockSize: BlockSize
    private let sizeBytes: UInt64

    /// The state of a request: its way was decided when it began.
    struct Task: Sendable {
        fileprivate var request = BackendRequest(.flush)
        /// Its way is decided; before that it waits for its turn.
        fileprivate var hasBegun = false
        /// The fault in whose turn it is.
        fileprivate var turn: Int?
        /// Where it ends: after all of it, or before what fails.
        fileprivate var endBytes: UInt64 = 0
        fileprivate var failure: BlockFailure?
        /// So many of its first bytes are moved at all, at most so many at a time, and where the first of them is.
        fileprivate var movedBytes: UInt64 = 0
        fileprivate var pieceBytes = UInt64.max
        fileprivate var offset: UInt64 = 0
        fileprivate var delay: UInt32 = 0
        /// The extent that a look-up finds here.
        fileprivate var extent: BackendExtent?
        /// How much is done, and how much is under way below.
        fileprivate var doneBytes: UInt64 = 0
        fileprivate var partBytes: UInt64 = 0
    }

    /// The faults of a medium of some size.
    public init(_ faults: [Fault], sizeBytes: UInt64, blockSize: BlockSize) {
        list = faults
        isTaken = Array(repeating: false, count: faults.count)
        self.sizeBytes = sizeBytes
        self.blockSize = blockSize
    }

    mutating func begin(_ request: BackendRequest, _ task: inout Task) -> BlockStep {
        task = Task()
        task.request = request
        return enter(&task)
    }

    /// Decides a request's way, unless it has to wait for its turn.
    private mutating func enter(_ task: inout Task) -> BlockStep {
        let request = task.request
        if let turn = list.firstIndex(where: { $0.kind == .inTurn && $0.concerns(request) }) {
            guard !isTaken[turn] else { return .waitForOthers }
            isTaken[turn] = true
            task.turn = turn
        }
        task.hasBegun = true
        task.endBytes = request.length
        task.movedBytes = request.length
        task.offset = request.offset
        for index in list.indices where list[index].concerns(request) {
            if let count = list[index].count { list[index].count = count - 1 }
            apply(list[index], &task)
        }
        if task.offset != request.offset {
            task.movedBytes = min(task.movedBytes, sizeBytes - min(task.offset, sizeBytes))
        }
        task.movedBytes = min(task.movedBytes, task.endBytes)
        if task.delay > 0 { return .wait(milliseconds: task.delay) }
        return proceed(&task)
    }

    mutating func resume(_ outcome: BlockOutcome, _ task: inout Task) -> BlockStep {
        switch outcome {
        // After a delay, no part is under way yet.
        case .done:
            guard task.hasBegun else { return enter(&task) }
            task.doneBytes += task.partBytes
            return task.request.length == 0 ? .finished : proceed(&task)
        case .failed(let failure, let bytes):
            return end(task, .failed(failure, afterBytes: task.doneBytes + bytes))
        }
    }

    mutating func resume(_ extent: BackendExtent, _ task: inout Task) -> BlockStep {
        end(task, .found(extent))
    }

    mutating func takeWake() -> Bool {
        defer { hasWoken = false }
        return hasWoken
    }

    /// A request leaves, and its turn is over.
    private mutating func end(_ task: Task, _ step: BlockStep) -> BlockStep {
        if let turn = task.turn {
            isTaken[turn] = false
            hasWoken = true
        }
        return step
    }

    private func apply(_ fault: Fault, _ task: inout Task) {
        switch fault.kind {
        case .unreadable(let failure), .unwritable(let failure):
            let first = max(fault.range.lowerBound, task.request.offset)
            let good = max(wholeBlocks(first), task.request.offset) - task.request.offset
            if good < task.endBytes {
                task.endBytes = good
                task.failure = failure
            }
        case .short(let bytes): task.pieceBytes = min(task.pieceBytes, max(wholeBlocks(bytes), blockSize.bytes))
        case .delay(let milliseconds):
            task.delay = UInt32(clamping: UInt64(task.delay) + UInt64(milliseconds))
        case .inTurn: break
        case .extent(let isMapped): applyExtent(isMapped, fault.range, &task)
        case .lost: task.movedBytes = 0
        case .torn(let bytes): task.movedBytes = min(task.movedBytes, wholeBlocks(bytes))
        case .misdirected(let offset): task.offset = wholeBlocks(offset)
        }
    }

    /// A look-up ends before what is known, or inside of it.
    private func applyExtent(_ isMapped: Bool, _ range: Range<UInt64>, _ task: inout Task) {
        let first = max(wholeBlocks(range.lowerBound), task.request.offset) - task.request.offset
        guard first == 0 else {
            task.endBytes = min(task.endBytes, first)
            return
        }
        let end = blockSize.bytes(ofBlocks: blockSize.blocks(holdingBytes: range.upperBound))
        task.extent = task.extent ?? BackendExtent(isMapped: isMapped, lengthBytes: end - task.request.offset)
    }

    private func wholeBlocks(_ bytes: UInt64) -> UInt64 { blockSize.bytes(ofBlocks: blockSize.blocks(inBytes: bytes)) }

    /// Asks for the next part, or ends.
    private mutating func proceed(_ task: inout Task) -> BlockStep {
        guard task.request.length > 0 else { return .io(task.request) }
        if task.request.operation == .lookUp { return lookUp(task) }
        if task.doneBytes < task.movedBytes {
            task.partBytes = min(task.pieceBytes, task.movedBytes - task.doneBytes)
            var part = task.request.part(from: task.doneBytes, count: task.partBytes)
            part.offset = task.offset + task.doneBytes
            return .io(part)
        }
        if let failure = task.failure { return end(task, .failed(failure, afterBytes: task.endBytes)) }
        return end(task, .finished)
    }

    /// Says what is known of the range's beginning, or asks below about what comes before anything else that is known.
    private mutating func lookUp(_ task: Task) -> BlockStep {
        if task.endBytes == 0, let failure = task.failure { return end(task, .failed(failure, afterBytes: 0)) }
        guard var extent = task.extent else { return .io(task.request.part(from: 0, count: task.endBytes)) }
        extent.lengthBytes = min(extent.lengthBytes, task.endBytes)
        return end(task, .found(extent))
    }
}
