// What is counted of a loop itself: connections, TLS, bytes on sockets, its ring.

import IOUring

/// What a loop counts, one cell each.
enum LoopCount: Int, CaseIterable {
    /// Connections that it has now.
    case connections
    case accepted
    /// Connections that were closed at once, because of a limit.
    case refused
    case tlsHandshakes
    case tlsFailures
    case receivedBytes
    case sentBytes
    /// Receives that ended because the connection's buffers were full.
    case buffersExhausted
    case turns
    case completions
    case submissions
    /// Calls of io_uring_enter(2).
    case enters
    /// How often the submission queue was full before the end of a turn.
    case fullQueues
}

/// Why a connection has ended, as it is counted.
enum EndReason: Int, CaseIterable {
    /// DISC, or ABORT in the handshake: as the document has it.
    case disconnect
    /// The client closed without saying so.
    case closed
    /// The socket failed.
    case lost
    /// The handshake broke off, by what the client sent.
    case handshakeFailed
    case handshakeTimeout
    case tlsFailed
    /// What should have been a request was none.
    case violation
    /// The client took or sent nothing for too long while others waited, or at its end.
    case stalled
    /// Its client has come back on another connection.
    case replaced
    /// The server stops, or was told to end this connection.
    case stopped
}

/// All loops' counts.
final class LoopCounters: Sendable {
    private let memory: SharedMemory
    let loopCount: Int
    private static let loopBytes = cellStride(cells: LoopCells.cellCount)

    init(loopCount: Int) throws(RingError) {
        memory = try SharedMemory(byteCount: loopCount * Self.loopBytes)
        self.loopCount = loopCount
    }

    deinit {
        memory.unmap()
    }

    /// The counts of one loop, to be used for no longer than this object.
    func cells(of loop: Int) -> LoopCells {
        unsafe LoopCells(memory.base + loop * Self.loopBytes)
    }
}

/// One loop's counts.
@safe
struct LoopCells {
    private let base: UnsafeMutableRawPointer

    fileprivate init(_ base: UnsafeMutableRawPointer) {
        unsafe self.base = unsafe base
    }

    /// How many cells there are.
    static var cellCount: Int { LoopCount.allCases.count + EndReason.allCases.count }

    /// The cell of a count.
    subscript(count: LoopCount) -> CounterCell {
        unsafe CounterCell(base, count.rawValue)
    }

    /// The cell of connections that have ended so.
    subscript(reason: EndReason) -> CounterCell {
        unsafe CounterCell(base, LoopCount.allCases.count + reason.rawValue)
    }
}
