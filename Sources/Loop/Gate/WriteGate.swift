// The gate that keeps a read-modify-write alone with its drive, without a lock on the way of every other write.

import IOUring
import Synchronization

/// All loops' writes to one drive: many may be under way together, or one that has to be alone.
///
/// A write of whole sectors enters shared; one that first has to read what surrounds it enters alone, because a write
/// that landed in between would be undone. Each loop counts its shared writers in a cell of its own, so that the usual
/// case touches no memory that others write. Nothing ever waits here: a writer that may not enter is told so,
/// and its loop is woken later.
///
/// A copy is the same gate, until ``close()``.
struct WriteGate: Sendable {
    private let cells: SharedCells<Int>
    private let loopCount: Int

    init(loopCount: Int) throws(RingError) {
        cells = try SharedCells(repeating: 0, count: 2 * (loopCount + 1), areApart: true)
        self.loopCount = loopCount
    }

    /// Nobody will enter any more.
    func close() {
        cells.unmap()
    }

    /// The loop (plus one) whose writer is, or wants to be, alone; 0 for none.
    private var holder: Int { 0 }

    /// How many shared writers a loop has.
    private func writers(of loop: Int) -> Int {
        precondition(loop >= 0 && loop < loopCount, "there is no such loop")
        return loop + 1
    }

    /// The number of the last ticket that was taken.
    private var lastTicket: Int { loopCount + 1 }

    /// Since when writers of a loop have been waiting; 0 when none are.
    private func ticket(of loop: Int) -> Int { loopCount + 2 + loop }

    /// The waiters to wake after a writer left.
    enum Wake: Equatable {
        case nobody
        /// The loop whose writer waits to be alone.
        case loop(Int)
        /// Every loop: the writer that was alone is done.
        case all
    }

    /// The outcome of trying to enter. In any case the wake has to be done.
    enum Entry: Equatable {
        case entered(Wake)
        case refused(Wake)
    }

    /// How many shared writers of a loop are inside. Only that loop changes it.
    func sharedWriters(of loop: Int) -> Int {
        cells[writers(of: loop)].load(ordering: .relaxed)
    }

    /// A write of whole sectors begins, unless a writer is or wants to be alone.
    func enterShared(loop: Int) -> Entry {
        // A writer that sees the gate held does not announce itself: many that try again and again would keep another
        // from ever being alone, and wake it each time. The holder wakes everybody when it leaves.
        guard cells[holder].load(ordering: .sequentiallyConsistent) == 0 else {
            takeTicket(loop)
            return .refused(.nobody)
        }
        // Announce first, look second, both sequentially consistent: of this and a writer that wants to be alone at the
        // same moment, at least one sees the other.
        cells[writers(of: loop)].add(1, ordering: .sequentiallyConsistent)
        guard cells[holder].load(ordering: .sequentiallyConsistent) != 0 else {
            return .entered(giveUpTicket(loop))
        }
        takeTicket(loop)
        return .refused(leaveShared(loop: loop))
    }

    /// A write of whole sectors has ended.
    func leaveShared(loop: Int) -> Wake {
        let left = cells[writers(of: loop)].subtract(1, ordering: .sequentiallyConsistent).newValue
        precondition(left >= 0, "who leaves has entered")
        let waiting = cells[holder].load(ordering: .sequentiallyConsistent)
        return left == 0 && waiting != 0 ? .loop(waiting - 1) : .nobody
    }

    /// A writer of `loop` wants to be alone: it claims the gate, then comes back until all others have left.
    func enterAlone(loop: Int, hasClaim: inout Bool) -> Entry {
        var wake = Wake.nobody
        if !hasClaim {
            guard !othersWaitLonger(than: loop), claim(loop) else {
                takeTicket(loop)
                return .refused(.nobody)
            }
            hasClaim = true
            wake = giveUpTicket(loop)
        }
        for other in 0..<loopCount {
            guard cells[writers(of: other)].load(ordering: .sequentiallyConsistent) == 0 else {
                return .refused(wake)
            }
        }
        return .entered(wake)
    }

    private func claim(_ loop: Int) -> Bool {
        cells[holder].compareExchange(expected: 0, desired: loop + 1, ordering: .sequentiallyConsistent)
            .exchanged
    }

    /// The writer of a loop that was alone, or was to be, is done.
    func leaveAlone(loop: Int) -> Wake {
        let former = cells[holder].exchange(0, ordering: .sequentiallyConsistent)
        precondition(former == loop + 1, "who leaves has claimed the gate")
        return .all
    }
}

/// Turns. A loop with many writers that want to be alone could claim the gate again as soon as it leaves it, before
/// those that it wakes have come. So a loop that is refused takes a ticket, and nobody claims the gate while another
/// loop has an older one.
extension WriteGate {
    private func takeTicket(_ loop: Int) {
        guard cells[ticket(of: loop)].load(ordering: .sequentiallyConsistent) == 0 else { return }
        let number = cells[lastTicket].add(1, ordering: .sequentiallyConsistent).newValue
        cells[ticket(of: loop)].store(number, ordering: .sequentiallyConsistent)
    }

    /// A writer of the loop got in: wakes the loops that waited for it.
    private func giveUpTicket(_ loop: Int) -> Wake {
        guard cells[ticket(of: loop)].load(ordering: .sequentiallyConsistent) != 0 else { return .nobody }
        cells[ticket(of: loop)].store(0, ordering: .sequentiallyConsistent)
        return .all
    }

    private func othersWaitLonger(than loop: Int) -> Bool {
        let own = cells[ticket(of: loop)].load(ordering: .sequentiallyConsistent)
        for other in 0..<loopCount where other != loop {
            let number = cells[ticket(of: other)].load(ordering: .sequentiallyConsistent)
            if number != 0 && (own == 0 || number < own) { return true }
        }
        return false
    }
}
