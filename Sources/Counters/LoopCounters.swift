// The counters of a loop itself: connections, TLS, bytes on sockets, its ring.

import IOUring

/// The counts of a loop, one cell each.
public enum LoopCount: Int, CaseIterable, Sendable {
    /// Connections that it has now.
    case connections
    /// Connections that were accepted.
    case accepted
    /// Connections that were closed at once, because of a limit.
    case refused
    /// TLS handshakes that have succeeded.
    case tlsHandshakes
    /// TLS handshakes that have failed.
    case tlsFailures
    /// Bytes from clients.
    case receivedBytes
    /// Bytes to clients.
    case sentBytes
    /// Receives that ended because the connection's buffers were full.
    case buffersExhausted
    /// Turns of the loop.
    case turns
    /// Completions of its ring.
    case completions
    /// Operations submitted to it.
    case submissions
    /// Calls of io_uring_enter(2).
    case enters
    /// How often the submission queue was full before the end of a turn.
    case fullQueues
}

/// All loops' counts.
public final class LoopCounters: Sendable {
    private let table: CellTable
    let loopCount: Int

    /// All counts are zero.
    public init(loopCount: Int) throws(RingError) {
        table = try CellTable(rows: loopCount, cells: LoopCells.cellCount)
        self.loopCount = loopCount
    }

    deinit {
        table.unmap()
    }

    /// The counts of one loop, to be used for no longer than this object.
    public func cells(of loop: Int) -> LoopCells { LoopCells(table[loop]) }
}

/// One loop's counts.
public struct LoopCells {
    @usableFromInline let row: CellRow

    fileprivate init(_ row: CellRow) {
        self.row = row
    }

    /// How many cells there are.
    static var cellCount: Int { LoopCount.allCases.count + EndReason.allCases.count }

    /// The cell of a count.
    @inlinable public subscript(count: LoopCount) -> CounterCell { row[count.rawValue] }

    /// The cell of connections that have ended so.
    public subscript(reason: EndReason) -> CounterCell { row[LoopCount.allCases.count + reason.rawValue] }
}
