// A place for one request, from its header's arrival until its reply has been sent.

import Backends
import Blocks
import Counters
import Export
import IOUring
import Replies

/// The state of one request. It belongs to its connection's free list, to the request, or (with its buffer) to the
/// kernel, and goes back to the list when the reply has been sent.
struct RequestSlot: ~Copyable {
    private let inPlace = InPlace()
    /// The unit that the request is for.
    let unit: ExportNumber
    let facts: RequestFacts
    var task = BackendTask(.flush, offset: 0, length: 0)
    /// Which file of its image's chain that is about (``BackendRequest/file``).
    private(set) var file: UInt8 = 0
    /// An operation of it has a part of its export's share of the ring.
    var isInRing = false
    var measure: RequestMeasure
    /// How the medium has failed for it.
    var mediumFailure: BlockFailure?
    /// Where the request's data are. Empty for a request without.
    private(set) var bytes = MemoryRange.empty
    /// The kind of that place.
    var payload = Payload.none
    /// Its data could not be sent from the page cache: they are read into memory.
    var isReadAgain = false
    /// Part of its reply has been sent, and the rest is to be read again.
    var isInterrupted = false
    /// Its front end's number for it, if that has one.
    var taskNumber: UInt16 = 0
    /// Nobody waits for it any more: if it has several commands, it ends at the next one.
    var isAbandoned = false
    /// It is over when what was encoded for it has left.
    var endsWithReply = true
    /// How it is answered, once it is.
    var reply = ReplyLayout()
    /// The request has entered its drive's write gate, together with others or alone.
    var gate = GateState.outside
    /// It has not only arrived: its first command was sent.
    var hasBegun = false
    /// The mark of its connection when it began.
    var mark = false
    /// It began before the disc was taken out, and may still use it.
    var usesOldMedium = false
    /// The next request in the list in which this one waits.
    var next: RequestPlace?

    /// A request whose data are nowhere yet.
    @inline(__always)  // where it is to be
    init(_ unit: ExportNumber, _ facts: RequestFacts, _ kind: CommandKind) {
        self.unit = unit
        self.facts = facts
        measure = RequestMeasure(kind: kind)
    }

    /// Its data are here.
    mutating func use(_ memory: MemoryRange) {
        precondition(bytes.isEmpty || memory.isEmpty, "the request's last memory was not given back")
        bytes = memory
    }

    /// The data of a part of the reply.
    func data(of part: ReplyPart) -> MemoryRange {
        bytes[part.dataOffset..<part.dataOffset + part.dataBytes]
    }

    /// Where `count` bytes of its payload belong, of which others have come.
    func payload(from filled: Int, count: Int) -> MemoryRange {
        let start = facts.bufferNeeds.dataOffset + filled
        return bytes[start..<start + count]
    }

    /// The two pieces of a part of the reply: its header, which begins at `position` of all headers and ends there
    /// afterwards, and its data, where they are.
    func pieces(
        ofPart number: Int, _ headers: MemoryRange, _ position: inout Int
    ) -> (header: MemoryRange, data: MemoryRange) {
        let part = reply.parts[number]
        let start = position
        position += part.headerBytes
        // A hole has a place, but no data, and perhaps no buffer any more.
        return (headers[start..<position], part.dataBytes > 0 ? data(of: part) : .empty)
    }

    /// The backend's next step.
    ///
    /// - Parameter layers: their memory, which outlives the request.
    mutating func ask(_ asked: BackendRequest, layers: LayerMemory? = nil) {
        file = asked.file
        guard asked.operation == .read || asked.operation == .write else {
            task = BackendTask(asked.operation, offset: asked.offset, length: asked.length)
            if case .writeZeroes = asked.operation { task.hasToBeFast = facts.hasToBeFast }
            return
        }
        if asked.dataPlace != .request, let layers {
            let start = Int(asked.dataOffset)
            task = BackendTask(
                asked.operation, offset: asked.offset, data: layers.range(start..<start + Int(asked.length)))
            return
        }
        let room = UInt64(bytes.count)
        precondition(asked.length <= room && asked.dataOffset <= room - asked.length, "the data are in the buffer")
        let start = Int(asked.dataOffset)
        task = BackendTask(asked.operation, offset: asked.offset, data: bytes[start..<start + Int(asked.length)])
    }

    enum GateState {
        case outside
        case shared
        /// It has claimed the gate and waits for others to leave.
        case claiming
        case alone
    }
}
