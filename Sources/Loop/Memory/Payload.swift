// Where a request's data are, from its arrival until its reply has been sent.

/// Pages of memory that a request has.
struct PageRun: Equatable {
    /// The owner's memory.
    var memory: RequestMemory
    var first: Int
    var count: Int

    /// How many pages so many bytes take.
    static func count(of byteCount: Int) -> Int { (byteCount + PageArena.pageBytes - 1) / PageArena.pageBytes }
}

/// Where the data of a request are. ``PayloadTable`` chooses; `Loop+Payload` takes, stores and releases;
/// `Loop+Reply` sends.
enum Payload: Equatable {
    /// Nowhere: the request has no data, or does not need them any more.
    case none
    /// In memory.
    case pages(PageRun)
    /// Those of a READ are in the page cache, and are sent from the image's mapping: so many bytes. Only the kernel
    /// may look at them.
    case mapped(Int)
    /// The same, and their pages go into the socket: the kernel does not copy them either. It said in the turn that
    /// began then that they are there.
    case spliced(UInt64)
    /// Those of a WRITE that have arrived are in a pipe of the loop. They have memory, too, if the pipe is no good.
    case piped(Int, PageRun)

    /// The kinds, by which tests force one.
    enum Kind: CaseIterable, Sendable {
        case none
        case pages
        case mapped
        case spliced
        case piped
    }

    /// The data are where only the kernel may look.
    var isPageCache: Bool {
        switch self {
        case .mapped, .spliced: true
        case .none, .pages, .piped: false
        }
    }

    /// The kind of its memory that others may wait for, if it is of one.
    var awaitedMemory: AwaitedMemory? {
        switch self {
        case .pages(let run), .piped(_, let run): run.memory.awaited
        case .none, .mapped, .spliced: nil
        }
    }

    /// Pages of memory.
    var pageCount: Int {
        switch self {
        case .pages(let run), .piped(_, let run): run.count
        case .none, .mapped, .spliced: 0
        }
    }
}
