// A medium with faults: errors, short and late transfers, and writes that are lost, torn or land somewhere else.

/// The layer that lets a medium fail.
public struct Faults: Sendable {
    private var list: [Fault]
    private let blockSize: BlockSize
    private let sizeBytes: UInt64

    /// What is kept of a request: its way was decided when it began.
    struct Task: Sendable {
        fileprivate var request = BackendRequest(.flush)
        /// Where it ends: after all of it, or before what fails.
        fileprivate var endBytes: UInt64 = 0
        fileprivate var failure: BlockFailure?
        /// So many of its first bytes are moved at all, at most so many at a time, and where the first of them is.
        fileprivate var movedBytes: UInt64 = 0
        fileprivate var pieceBytes = UInt64.max
        fileprivate var offset: UInt64 = 0
        fileprivate var delay: UInt32 = 0
        /// How much is done, and how much is under way below.
        fileprivate var doneBytes: UInt64 = 0
        fileprivate var partBytes: UInt64 = 0
    }

    /// The faults of a medium of some size.
    public init(_ faults: [Fault], sizeBytes: UInt64, blockSize: BlockSize) {
        list = faults
        self.sizeBytes = sizeBytes
        self.blockSize = blockSize
    }

    mutating func begin(_ request: BackendRequest, _ task: inout Task) -> BlockStep {
        task = Task()
        task.request = request
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
            task.doneBytes += task.partBytes
            return task.request.length == 0 ? .finished : proceed(&task)
        case .failed(let failure, let bytes):
            return .failed(failure, afterBytes: task.doneBytes + bytes)
        }
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
        case .lost: task.movedBytes = 0
        case .torn(let bytes): task.movedBytes = min(task.movedBytes, wholeBlocks(bytes))
        case .misdirected(let offset): task.offset = wholeBlocks(offset)
        }
    }

    private func wholeBlocks(_ bytes: UInt64) -> UInt64 { blockSize.bytes(ofBlocks: blockSize.blocks(inBytes: bytes)) }

    /// Asks for the next part, or ends.
    private func proceed(_ task: inout Task) -> BlockStep {
        guard task.request.length > 0 else { return .io(task.request) }
        if task.doneBytes < task.movedBytes {
            task.partBytes = min(task.pieceBytes, task.movedBytes - task.doneBytes)
            var part = task.request.part(from: task.doneBytes, count: task.partBytes)
            part.offset = task.offset + task.doneBytes
            return .io(part)
        }
        if let failure = task.failure { return .failed(failure, afterBytes: task.endBytes) }
        return .finished
    }
}
