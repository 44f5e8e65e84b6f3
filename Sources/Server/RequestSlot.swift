// A place for one request, from its header's arrival until its reply has been sent.

import Export
import Media

/// A reply is header bytes and data by turns: one turn.
struct ReplyPart {
    /// Bytes of the slot's header area, behind those of the parts before.
    var headerBytes: Int
    /// Where the data begin in the request's buffer.
    var dataOffset: Int = 0
    var dataBytes: Int = 0
}

/// The state of one request. It belongs to its connection's free list, to the request, or (with its buffer) to the kernel,
/// and goes back to the list when the reply has been sent.
@safe
struct RequestSlot {
    /// The most parts of a reply: data and holes by turns. Fewer when their headers are extended.
    static let maximumParts = 8
    /// Room for the headers of a reply: eight chunks of at most 32 bytes, or five extended ones of 44, or an error with its
    /// message.
    static let headerAreaBytes = 256

    var served: ServedRequest
    var task: MediumTask
    var measure: RequestMeasure
    /// Where the request's data are. Nil for a request without.
    var buffer: UnsafeMutableRawPointer?
    var bufferBytes = 0
    var firstPage = 0
    var pageCount = 0
    var source = DataSource.memory
    /// The buffer is where the payload was received, and is the request's until it is written.
    var isInPlace = false
    /// The pages are the loop's, not the connection's.
    var isStaged = false
    var parts = InlineArray<8, ReplyPart>(repeating: ReplyPart(headerBytes: 0))
    var partCount = 0
    /// The reply is headers only.
    var hasNoData: Bool { partCount == 1 && parts[0].dataBytes == 0 }
    /// The request has entered its drive's write gate, together with others or alone.
    var gate = GateState.outside
    /// The mark of its connection when it began.
    var mark = false
    /// The request's buffer, all of it.
    var bytes: UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(start: buffer, count: bufferBytes)
    }

    /// The next request in the list of those that the gate did not let in.
    var nextParked: Int32 = -1

    /// What the buffer is.
    enum DataSource: Equatable {
        /// Memory of the connection or the loop, or where the payload was received.
        case memory
        /// The page cache's memory: a READ that is sent without being read. Only the kernel may look at it.
        case mapping
        /// The same, and its pages are spliced into the socket: the kernel does not copy them either.
        case splice
        /// Memory as well, but what has arrived of the payload is in a pipe of the loop.
        case pipe(Int)

        /// The buffer is the page cache's.
        var isPageCache: Bool { self == .mapping || self == .splice }

        /// The number of the pipe.
        var pipe: Int? {
            guard case .pipe(let number) = self else { return nil }
            return number
        }
    }

    enum GateState {
        case outside
        case shared
        /// It has claimed the gate and waits for others to leave.
        case claiming
        case alone
    }
}
