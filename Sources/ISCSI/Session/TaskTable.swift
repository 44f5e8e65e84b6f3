// The tasks of a session, by number and by Initiator Task Tag (RFC 7143, 4.2.2.1, 11.2.1.8).

/// A task's place in its session.
public struct TaskNumber: Hashable, Sendable {
    /// From 0, below the number of places.
    public let index: Int

    /// The place at an index.
    @inlinable public init(_ index: Int) { self.index = index }
}

/// Mistakes in the data of a write (11.4.7.2; SPC-5, annex D).
public enum DataOutFailure: Equatable, Sendable {
    /// Unsolicited data that were not agreed on.
    case unexpectedUnsolicitedData
    /// A sequence that ends too early or too late.
    case incorrectAmountOfData
    /// A DataSN that is not the next one.
    case dataSequence
    /// A Buffer Offset that is not the next one.
    case bufferOffset
    /// A digest that does not fit its data.
    case digest

    /// In words.
    public var description: StaticString {
        switch self {
        case .unexpectedUnsolicitedData: "data came unsolicited that were not agreed on"
        case .incorrectAmountOfData: "a sequence of data is longer or shorter than was agreed on"
        case .dataSequence: "a DataSN is not the next one"
        case .bufferOffset: "data are not where the next ones belong"
        case .digest: "a data digest does not fit its data"
        }
    }
}

/// A task as its session knows it.
struct TaskEntry: Sendable {
    /// The data that are to come.
    enum Awaited {
        case nothing
        /// Data-Out PDUs up to one with F, without an R2T.
        case unsolicited
        /// Those that an R2T asked for.
        case solicited
    }

    var isActive = false
    var awaited = Awaited.nothing
    var isImmediate = false
    var reads = false
    var writes = false
    var failure: DataOutFailure?
    var logicalUnit = LogicalUnitNumber(rawValue: 0)
    /// Expected Data Transfer Length.
    var expectedBytes: UInt32 = 0
    /// The command wants so much of it.
    var wantedBytes: UInt32 = 0
    var receivedBytes: UInt32 = 0
    /// The awaited sequence ends here at the latest.
    var sequenceEnd: UInt32 = 0
    /// The next DataSN of that sequence.
    var dataSN: UInt32 = 0
    /// Counts the tasks at this place and their R2Ts, so that the session knows an old Target Transfer Tag.
    var transfers: UInt16 = 0
    /// How many R2T or Data-In PDUs the command has had.
    var sentPDUs: UInt32 = 0
    var sentBytes: UInt32 = 0
}

/// All tasks of a session. Nothing is allocated after the beginning.
struct TaskTable: ~Copyable, Sendable {
    private var entries: [TaskEntry]
    /// Initiator Task Tags beside them: a search looks at nothing else.
    private var tags: [UInt32]
    private var free: [Int]
    /// Tasks that count against the CmdSN window.
    private(set) var windowUse = 0
    private(set) var immediateUse = 0

    init(capacity: Int) {
        entries = [TaskEntry](repeating: TaskEntry(), count: capacity)
        tags = [UInt32](repeating: reservedTag, count: capacity)
        free = Array((0..<capacity).reversed())
    }

    subscript(_ number: TaskNumber) -> TaskEntry {
        _read { yield entries[number.index] }
        _modify { yield &entries[number.index] }
    }

    func tag(of number: TaskNumber) -> UInt32 { tags[number.index] }

    func find(_ initiatorTaskTag: UInt32) -> TaskNumber? {
        guard initiatorTaskTag != reservedTag else { return nil }
        return tags.firstIndex(of: initiatorTaskTag).map { TaskNumber($0) }
    }

    /// The task that an R2T with this tag was for, if that is its last one.
    func find(transfer tag: UInt32) -> TaskNumber? {
        let index = Int(tag & 0xFFFF)
        guard index < entries.count, entries[index].isActive, entries[index].transfers == UInt16(tag >> 16)
        else { return nil }
        return TaskNumber(index)
    }

    /// The Target Transfer Tag of the last R2T: never the reserved one, since no place has the number FFFFh.
    func transferTag(of number: TaskNumber) -> UInt32 {
        UInt32(entries[number.index].transfers) << 16 | UInt32(number.index)
    }

    /// Takes a place for a task. The caller knows that there is one.
    mutating func insert(_ initiatorTaskTag: UInt32, isImmediate: Bool) -> TaskNumber {
        guard let index = free.popLast() else { preconditionFailure("the window has as many commands as places") }
        let transfers = entries[index].transfers
        entries[index] = TaskEntry()
        entries[index].isActive = true
        entries[index].transfers = transfers &+ 1
        entries[index].isImmediate = isImmediate
        tags[index] = initiatorTaskTag
        if isImmediate { immediateUse += 1 } else { windowUse += 1 }
        return TaskNumber(index)
    }

    /// The task is over, and its place free.
    mutating func remove(_ number: TaskNumber) {
        if entries[number.index].isImmediate { immediateUse -= 1 } else { windowUse -= 1 }
        entries[number.index].isActive = false
        tags[number.index] = reservedTag
        free.append(number.index)
    }
}
