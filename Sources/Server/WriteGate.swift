// What keeps a read-modify-write alone with its drive, without a lock on the way of every other write.

import IOUring
import Synchronization

/// All loops' writes to one drive: many may be under way together, or one that has to be alone.
///
/// A write of whole sectors enters shared; one that first has to read what surrounds it enters alone, because a write
/// that landed in between would be undone. Each loop counts its shared writers in a cell of its own, so that the usual
/// case touches no memory that others write. Nothing ever waits here: who may not enter is told so, and is woken.
///
/// A copy is the same gate, until ``close()``.
struct WriteGate: Sendable {
    /// The distance of two counters: no two share the pair of cache lines that a processor fetches together.
    private static let cellBytes = 128

    private let memory: SharedMemory
    private let loopCount: Int

    init(loopCount: Int) throws(RingError) {
        memory = try SharedMemory(byteCount: 2 * (loopCount + 1) * Self.cellBytes)
        self.loopCount = loopCount
        for number in 0..<2 * (loopCount + 1) { unsafe cell(number).initialize(to: Atomic(0)) }
    }

    /// Nobody will enter any more.
    func close() {
        memory.unmap()
    }

    private func cell(_ number: Int) -> UnsafeMutablePointer<Atomic<Int>> {
        unsafe (memory.base + number * Self.cellBytes).assumingMemoryBound(to: Atomic<Int>.self)
    }

    /// The loop (plus one) whose writer is, or wants to be, alone; 0 for none.
    private var holder: UnsafeMutablePointer<Atomic<Int>> { unsafe cell(0) }

    /// How many shared writers a loop has.
    private func writers(of loop: Int) -> UnsafeMutablePointer<Atomic<Int>> { unsafe cell(loop + 1) }

    /// The number of the last ticket that was taken.
    private var lastTicket: UnsafeMutablePointer<Atomic<Int>> { unsafe cell(loopCount + 1) }

    /// Since when writers of a loop have been waiting; 0 when none are.
    private func ticket(of loop: Int) -> UnsafeMutablePointer<Atomic<Int>> { unsafe cell(loopCount + 2 + loop) }

    /// Who has to be woken after a writer left.
    enum Wake: Equatable {
        case nobody
        /// The loop whose writer waits to be alone.
        case loop(Int)
        /// Every loop: the writer that was alone is done.
        case all
    }

    /// What came of trying to enter. In any case the wake has to be done.
    enum Entry: Equatable {
        case entered(Wake)
        case refused(Wake)
    }

    /// A write of whole sectors begins, unless a writer is or wants to be alone.
    func enterShared(loop: Int) -> Entry {
        // Who can see that it may not enter does not announce itself: many that try again and again would keep a writer
        // from ever being alone, and wake it each time. The holder wakes everybody when it leaves.
        guard unsafe holder.pointee.load(ordering: .sequentiallyConsistent) == 0 else {
            takeTicket(loop)
            return .refused(.nobody)
        }
        // Announce first, look second, both sequentially consistent: of this and a writer that wants to be alone at the
        // same moment, at least one sees the other.
        unsafe writers(of: loop).pointee.add(1, ordering: .sequentiallyConsistent)
        guard unsafe holder.pointee.load(ordering: .sequentiallyConsistent) != 0 else {
            return .entered(giveUpTicket(loop))
        }
        takeTicket(loop)
        return .refused(leaveShared(loop: loop))
    }

    /// A write of whole sectors has ended.
    func leaveShared(loop: Int) -> Wake {
        let left = unsafe writers(of: loop).pointee.subtract(1, ordering: .sequentiallyConsistent).newValue
        let waiting = unsafe holder.pointee.load(ordering: .sequentiallyConsistent)
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
            guard unsafe writers(of: other).pointee.load(ordering: .sequentiallyConsistent) == 0 else {
                return .refused(wake)
            }
        }
        return .entered(wake)
    }

    private func claim(_ loop: Int) -> Bool {
        unsafe holder.pointee.compareExchange(expected: 0, desired: loop + 1, ordering: .sequentiallyConsistent)
            .exchanged
    }

    /// The writer that was alone is done.
    func leaveAlone() -> Wake {
        unsafe holder.pointee.store(0, ordering: .sequentiallyConsistent)
        return .all
    }
}

/// Turns. A loop with many writers that want to be alone could claim the gate again as soon as it leaves it, before those
/// that it wakes have come. So a loop that is refused takes a ticket, and nobody claims the gate while another loop has
/// an older one.
extension WriteGate {
    private func takeTicket(_ loop: Int) {
        guard unsafe ticket(of: loop).pointee.load(ordering: .sequentiallyConsistent) == 0 else { return }
        let number = unsafe lastTicket.pointee.add(1, ordering: .sequentiallyConsistent).newValue
        unsafe ticket(of: loop).pointee.store(number, ordering: .sequentiallyConsistent)
    }

    /// A writer of the loop got in; who waited for that is woken.
    private func giveUpTicket(_ loop: Int) -> Wake {
        guard unsafe ticket(of: loop).pointee.load(ordering: .sequentiallyConsistent) != 0 else { return .nobody }
        unsafe ticket(of: loop).pointee.store(0, ordering: .sequentiallyConsistent)
        return .all
    }

    private func othersWaitLonger(than loop: Int) -> Bool {
        let own = unsafe ticket(of: loop).pointee.load(ordering: .sequentiallyConsistent)
        for other in 0..<loopCount where other != loop {
            let number = unsafe ticket(of: other).pointee.load(ordering: .sequentiallyConsistent)
            if number != 0 && (own == 0 || number < own) { return true }
        }
        return false
    }
}
