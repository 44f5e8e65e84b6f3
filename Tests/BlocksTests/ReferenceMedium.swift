// Two media that perform requests: one through a stack, and one as the faults are described, byte by byte.

import Testing

@testable import Blocks

/// An array of bytes behind a stack. It performs what the stack asks for, and fails where it is told.
struct StackedMedium {
    var bytes: [UInt8]
    /// By block: whether the backend has something stored there.
    var stored: [Bool] = []
    var stack = BlockStack()
    /// The blocks that the backend itself cannot read or write.
    var broken: Range<UInt64>?
    var milliseconds = 0
    /// How often the backend was asked.
    var requestCount = 0

    /// Performs a request to its end; `data` are the request's.
    mutating func perform(_ request: BackendRequest, _ data: inout [UInt8]) -> BlockOutcome {
        switch lastStep(request, &data) {
        case .finished: return .done
        case .failed(let failure, let bytes): return .failed(failure, afterBytes: bytes)
        case let step:
            Issue.record("\(request) has come to \(step), alone in its stack")
            return .failed(.unrecovered)
        }
    }

    /// Looks an extent up; nil if that fails.
    mutating func lookUp(_ range: Range<UInt64>) -> BackendExtent? {
        var data: [UInt8] = []
        let request = BackendRequest(
            .lookUp, offset: range.lowerBound, length: range.upperBound - range.lowerBound)
        switch lastStep(request, &data) {
        case .found(let extent): return extent
        case .failed(_, afterBytes: 0): return nil
        case let step:
            Issue.record("\(request) has come to \(step), alone in its stack")
            return nil
        }
    }

    private mutating func lastStep(_ request: BackendRequest, _ data: inout [UInt8]) -> BlockStep {
        var task = BlockTask()
        var step = data.withMutableBytes { stack.begin(request, &task, &$0) }
        while true {
            switch step {
            case .finished, .failed, .found, .waitForOthers: return step
            case .wait(let time):
                milliseconds += Int(time)
                step = data.withMutableBytes { stack.resume(.done, &task, &$0) }
            case .io(let below) where below.operation == .lookUp:
                requestCount += 1
                let found = extent(below)
                step = data.withMutableBytes { stack.resume(found, &task, &$0) }
            case .io(let below):
                requestCount += 1
                let outcome = performNow(below, &data)
                step = data.withMutableBytes { stack.resume(outcome, &task, &$0) }
            }
        }
    }

    private func extent(_ request: BackendRequest) -> BackendExtent {
        let blocks = stored[Int(request.offset / 512)..<Int((request.offset + request.length) / 512)]
        let isMapped = blocks[blocks.startIndex]
        return BackendExtent(isMapped: isMapped, lengthBytes: UInt64(blocks.prefix { $0 == isMapped }.count) * 512)
    }

    private mutating func performNow(_ request: BackendRequest, _ data: inout [UInt8]) -> BlockOutcome {
        var count = request.length
        var outcome = BlockOutcome.done
        if let broken, request.operation != .flush, broken.overlaps(request.offset..<request.offset + request.length) {
            count = max(broken.lowerBound, request.offset) - request.offset
            outcome = .failed(.noSpace, afterBytes: count)
        }
        let place = Int(request.offset)..<Int(request.offset + count)
        let part = Int(request.dataOffset)..<Int(request.dataOffset + count)
        switch request.operation {
        case .read: data.replaceSubrange(part, with: bytes[place])
        case .write: bytes.replaceSubrange(place, with: data[part])
        case .writeZeroes: bytes.replaceSubrange(place, with: repeatElement(0, count: Int(count)))
        case .flush, .discard, .prefetch, .lookUp: break
        }
        return outcome
    }
}

extension [UInt8] {
    mutating func withMutableBytes<Result>(_ body: (inout MutableRawSpan) -> Result) -> Result {
        var span = mutableSpan
        var bytes = span.mutableBytes
        return body(&bytes)
    }
}

/// The same, as a call that ends when all is done, and moves one byte after the other.
struct ReferenceMedium {
    var bytes: [UInt8]
    var stored: [Bool] = []
    /// From the unit down.
    var levels: [[Fault]]
    var broken: Range<UInt64>?
    var milliseconds = 0
    static let blockBytes: UInt64 = 512

    mutating func perform(_ request: BackendRequest, _ data: inout [UInt8], level: Int = 0) -> BlockOutcome {
        guard level < levels.count else { return performHere(request, &data) }
        let met = meet(request, level)
        for fault in met { if case .delay(let time) = fault.kind { milliseconds += Int(time) } }
        guard request.length > 0 else { return perform(request, &data, level: level + 1) }
        let end = request.offset + request.length
        // The first block that fails.
        var failing: (place: UInt64, failure: BlockFailure)?
        var most = request.length
        var stored = request.length
        var start = request.offset
        for fault in met {
            switch fault.kind {
            case .unreadable(let failure), .unwritable(let failure):
                let bad = stride(from: request.offset, to: end, by: Int(Self.blockBytes)).first {
                    fault.range.overlaps($0..<$0 + Self.blockBytes)
                }
                guard let bad, bad < failing?.place ?? .max else { continue }
                failing = (bad, failure)
            case .short(let bytes): most = min(most, max(bytes / Self.blockBytes * Self.blockBytes, Self.blockBytes))
            case .lost: stored = 0
            case .torn(let bytes): stored = min(stored, bytes / Self.blockBytes * Self.blockBytes)
            case .misdirected(let offset): start = offset / Self.blockBytes * Self.blockBytes
            case .delay, .inTurn, .extent: continue
            }
        }
        if let failing { stored = min(stored, failing.place - request.offset) }
        if start != request.offset {
            while stored > 0 && start + stored > UInt64(bytes.count) { stored -= Self.blockBytes }
        }
        for first in stride(from: 0, to: stored, by: Int(most)) {
            let part = BackendRequest(
                request.operation, offset: start + first, length: min(most, stored - first),
                dataOffset: request.dataOffset + first)
            if case .failed(let failure, let done) = perform(part, &data, level: level + 1) {
                return .failed(failure, afterBytes: first + done)
            }
        }
        if let failing { return .failed(failing.failure, afterBytes: failing.place - request.offset) }
        return .done
    }

    /// What is said of a range's beginning, found by looking at each block; nil if that fails.
    mutating func lookUp(_ range: Range<UInt64>, level: Int = 0) -> BackendExtent? {
        let blocks = range.lowerBound / Self.blockBytes..<range.upperBound / Self.blockBytes
        guard level < levels.count else {
            let isMapped = stored[Int(blocks.lowerBound)]
            let count = blocks.prefix { stored[Int($0)] == isMapped }.count
            return BackendExtent(isMapped: isMapped, lengthBytes: UInt64(count) * Self.blockBytes)
        }
        let length = range.upperBound - range.lowerBound
        let met = meet(BackendRequest(.lookUp, offset: range.lowerBound, length: length), level)
        var said: [(fault: Fault, isMapped: Bool?)] = []
        for fault in met {
            switch fault.kind {
            case .delay(let time): milliseconds += Int(time)
            case .unreadable: said.append((fault, nil))
            case .extent(let isMapped): said.append((fault, isMapped))
            default: continue
            }
        }
        func covers(_ fault: Fault, _ block: UInt64) -> Bool {
            fault.range.overlaps(block * Self.blockBytes..<(block + 1) * Self.blockBytes)
        }
        let here = said.filter { covers($0.fault, blocks.lowerBound) }
        if here.contains(where: { $0.isMapped == nil }) { return nil }
        // Another thing that is said ends what was.
        let others = said.filter { !covers($0.fault, blocks.lowerBound) }
        let end = blocks.first { block in others.contains { covers($0.fault, block) } } ?? blocks.upperBound
        guard let first = here.first, let isMapped = first.isMapped else {
            return lookUp(range.lowerBound..<end * Self.blockBytes, level: level + 1)
        }
        let count = (blocks.lowerBound..<end).prefix { covers(first.fault, $0) }.count
        return BackendExtent(isMapped: isMapped, lengthBytes: UInt64(count) * Self.blockBytes)
    }

    /// The faults that a request meets; each is met once more.
    private mutating func meet(_ request: BackendRequest, _ level: Int) -> [Fault] {
        var met: [Fault] = []
        for (index, fault) in levels[level].enumerated() {
            let touches = fault.range.overlaps(request.offset..<request.offset + request.length)
            let writes =
                switch request.operation {
                case .write, .writeZeroes: true
                default: false
                }
            let fits =
                switch fault.kind {
                case .unreadable: request.operation == .read || request.operation == .lookUp
                case .extent: request.operation == .lookUp
                case .unwritable, .lost, .torn, .misdirected: writes
                case .short: request.operation == .read || request.operation == .write
                case .delay, .inTurn: true
                }
            guard touches && fits && fault.count != 0 else { continue }
            levels[level][index].count = fault.count.map { $0 - 1 }
            met.append(fault)
        }
        return met
    }

    private mutating func performHere(_ request: BackendRequest, _ data: inout [UInt8]) -> BlockOutcome {
        for number in 0..<request.length {
            let place = request.offset + number
            if let broken, broken.contains(place) { return .failed(.noSpace, afterBytes: number) }
            switch request.operation {
            case .read: data[Int(request.dataOffset + number)] = bytes[Int(place)]
            case .write: bytes[Int(place)] = data[Int(request.dataOffset + number)]
            case .writeZeroes: bytes[Int(place)] = 0
            case .flush, .discard, .prefetch, .lookUp: continue
            }
        }
        return .done
    }
}
