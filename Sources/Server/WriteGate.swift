// What keeps a read-modify-write alone with its drive, without a lock on the way of every other write.

import Synchronization

/// All loops' writes to one drive: many may be under way together, or one that has to be alone.
///
/// A write of whole sectors enters shared; one that first has to read what surrounds it enters alone, because a write
/// that landed in between would be undone. Each loop counts its shared writers in a cell of its own, so that the usual
/// case touches no memory that others write. Nothing ever waits here: who may not enter is told so, and is woken.
final class WriteGate: Sendable {
    /// The loop (plus one) whose writer is, or wants to be, alone; 0 for none.
    private let holder = Atomic<Int>(0)
    private let writers: [Cell]

    /// One loop's count of shared writers, on a cache line that nothing else uses.
    private final class Cell: Sendable {
        let count = Atomic<Int>(0)
        // Two cells never share the lines that a processor fetches as a pair.
        private let padding: (Int, Int, Int, Int, Int, Int, Int, Int) = (0, 0, 0, 0, 0, 0, 0, 0)
        private let morePadding: (Int, Int, Int, Int, Int, Int, Int, Int) = (0, 0, 0, 0, 0, 0, 0, 0)
    }

    init(loopCount: Int) {
        writers = (0..<loopCount).map { _ in Cell() }
    }

    /// Who has to be woken after a writer left.
    enum Wake: Equatable {
        case nobody
        /// The loop whose writer waits to be alone.
        case loop(Int)
        /// Every loop: the writer that was alone is done.
        case all
    }

    /// A write of whole sectors begins, unless a writer is or wants to be alone.
    ///
    /// - Returns: nil when it may go on; else it may not, and the wake has to be done.
    func enterShared(loop: Int) -> Wake? {
        // Announce first, look second, both sequentially consistent: of this and a writer that wants to be alone at the
        // same moment, at least one sees the other.
        writers[loop].count.add(1, ordering: .sequentiallyConsistent)
        guard holder.load(ordering: .sequentiallyConsistent) != 0 else { return nil }
        return leaveShared(loop: loop)
    }

    /// A write of whole sectors has ended.
    func leaveShared(loop: Int) -> Wake {
        let left = writers[loop].count.subtract(1, ordering: .sequentiallyConsistent).newValue
        let holder = holder.load(ordering: .sequentiallyConsistent)
        return left == 0 && holder != 0 ? .loop(holder - 1) : .nobody
    }

    /// A writer of `loop` wants to be alone: it claims the gate, then comes back until all others have left.
    ///
    /// - Returns: whether it is alone now.
    func enterAlone(loop: Int, hasClaim: inout Bool) -> Bool {
        if !hasClaim {
            hasClaim =
                holder.compareExchange(
                    expected: 0, desired: loop + 1, ordering: .sequentiallyConsistent
                ).exchanged
        }
        return hasClaim && writers.allSatisfy { $0.count.load(ordering: .sequentiallyConsistent) == 0 }
    }

    /// The writer that was alone (or gave up waiting to be) is done.
    func leaveAlone() -> Wake {
        holder.store(0, ordering: .sequentiallyConsistent)
        return .all
    }
}
