// What the loop counts: requests as they arrive and as they are answered, and at its end the turn itself.

import Export
import Glibc
import NBD

extension Loop {
    /// A request has arrived completely and begins.
    mutating func countArrival(_ place: Int, _ slot: Int) {
        let export = unsafe exports + connections[slot].export
        unsafe requests[place].measure.arrival = clock.turnStart
        if unsafe requests[place].served.command == .flush {
            unsafe requests[place].measure.writtenBefore = export.pointee.entry.counters.writtenBytes
        }
        let cells = unsafe export.pointee.cells
        cells.inFlight.add()
        if cells.inFlight.value > cells.highestInFlight.value { cells.highestInFlight.set(cells.inFlight.value) }
    }

    /// A request has its answer. One that never began, because it is refused, was never in flight either.
    mutating func countAnswer(_ place: Int, _ slot: Int) {
        let measure = unsafe requests[place].measure
        let bytes = unsafe requests[place].served.lengthBytes
        let cells = unsafe exports[connections[slot].export].cells
        if measure.arrival != 0 { cells.inFlight.subtract(1) }
        if measure.error == nil {
            switch unsafe requests[place].served.command {
            case .write, .writeZeroes:
                if unsafe !requests[place].served.flags.contains(.fua) { cells.written.add(bytes) }
            case .flush:
                // One that began later may have ended earlier.
                if measure.writtenBefore > cells.stable.value { cells.stable.set(measure.writtenBefore) }
            default:
                break
            }
        }
        // Of a connection that is lost what was left to do is given up, which is no error, and nobody reads the answer.
        guard unsafe connections[slot].phase != .closing else { return }
        clock.answer(measure, bytes: bytes, cells)
    }

    /// A receive has brought bytes, or has ended for want of room for them.
    func countReceived(_ result: Int32) {
        if result > 0 {
            counters[.receivedBytes].add(UInt64(result))
        } else if result == -ENOBUFS {
            counters[.buffersExhausted].add()
        }
    }

    /// A connection has ended.
    func countEnd(_ slot: Int) {
        guard let reason = unsafe connections[slot].endReason else { preconditionFailure("it ends without a reason") }
        counters[reason].add()
        counters[.connections].subtract(1)
    }

    /// A turn is over.
    mutating func countTurn(completions: UInt32) {
        clock.settle()
        let cells = counters
        cells[.turns].add()
        cells[.completions].add(UInt64(completions))
        let figures = ring.figures
        cells[.submissions].set(figures.submissions)
        cells[.enters].set(figures.enters)
        cells[.fullQueues].set(figures.fullQueues)
    }
}
