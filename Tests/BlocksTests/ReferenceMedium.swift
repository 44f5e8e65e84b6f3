// Two media that perform requests: one through a stack, and one as the faults are described, byte by byte.

import Testing

@testable import Blocks

/// An array of bytes behind a stack. It performs what the stack asks for, and fails where it is told.
struct StackedMedium {
    var bytes: [UInt8]
    var stack = BlockStack()
    /// The blocks that the backend itself cannot read or write.
    var broken: Range<UInt64>?
    var milliseconds = 0
    /// How often the backend was asked.
    var requestCount = 0

    /// Performs a request to its end; `data` are the request's.
    mutating func perform(_ request: BackendRequest, _ data: inout [UInt8]) -> BlockOutcome {
        var task = BlockTask()
        var step = stack.begin(request, &task)
        while true {
            switch step {
            case .finished: return .done
            case .failed(let failure, let bytes): return .failed(failure, afterBytes: bytes)
            case .wait(let time):
                milliseconds += Int(time)
                step = stack.resume(.done, &task)
            case .io(let below):
                requestCount += 1
                step = stack.resume(performNow(below, &data), &task)
            }
        }
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
        case .flush, .discard, .prefetch: break
        }
        return outcome
    }
}

/// The same, as a call that ends when all is done, and moves one byte after the other.
struct ReferenceMedium {
    var bytes: [UInt8]
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
            case .delay: continue
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
                case .unreadable: request.operation == .read
                case .unwritable, .lost, .torn, .misdirected: writes
                case .short: request.operation == .read || request.operation == .write
                case .delay: true
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
            case .flush, .discard, .prefetch: continue
            }
        }
        return .done
    }
}
