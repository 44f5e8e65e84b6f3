// Memory that a loop's connections share for requests which are too large for their own.

import IOUring

/// Where the pages of a request come from. Requests of very different sizes have memory apart from each other, so that
/// a small one never waits for a large one whose client is slow.
enum RequestMemory {
    /// The connection's own: up to half of that.
    case own
    /// The loop's for requests of up to 4 MiB.
    case middle
    /// The loop's for larger ones.
    case large
    /// Its own, for a reply that was interrupted. It holds up all replies behind it, and with them what they have.
    case extra
}

/// Pages, and the connections whose next request waits for some.
struct Stage: ~Copyable {
    private var arena: PageArena
    var line: WaitingLine

    init(pageCount: Int, connections: Int) throws(RingError) {
        arena = try PageArena(pageCount: pageCount)
        line = WaitingLine(capacity: connections)
    }

    var pagesInUse: Int { arena.pagesInUse }
    var touchedEnd: Int { arena.touchedEnd }
    var isFull: Bool { arena.pagesInUse == arena.pageCount }

    /// Takes contiguous pages, unless there are none or others have waited for longer.
    ///
    /// - Returns: the first page's number.
    mutating func allocate(_ pages: Int, _ slot: ConnectionSlot) -> Int? {
        guard line.mayTake(slot), let first = arena.allocate(pages) else { return nil }
        line.hasTaken()
        return first
    }

    /// Gives pages back.
    mutating func release(_ first: Int, _ pages: Int) {
        arena.release(first, pages)
        line.noteRoom()
    }

    /// The memory of pages that follow each other.
    func bytes(_ first: Int, _ count: Int) -> MemoryRange {
        arena.bytes(first, count)
    }

    /// Gives the memory back to the kernel, if nobody uses it.
    mutating func trim() {
        arena.trim()
    }
}
