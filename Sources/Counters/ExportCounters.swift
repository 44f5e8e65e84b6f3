// The counts of one export: by its loops, each in cells of its own, and summed when somebody asks.

import IOUring

/// All loops' counts of one export. They end with the export, and one that is added later under the same name begins
/// with zero.
public final class ExportCounters: Sendable {
    private let table: CellTable
    private let loopCount: Int

    /// All counts are zero.
    public init(loopCount: Int) throws(RingError) {
        table = try CellTable(rows: loopCount, cells: ExportCells.cellCount)
        self.loopCount = loopCount
    }

    deinit {
        table.unmap()
    }

    /// The counts of one loop, to be used for no longer than this object.
    public func cells(of loop: Int) -> ExportCells { ExportCells(table[loop]) }

    /// How much was written and answered since all of it was last made stable by a FLUSH.
    public var unflushedBytes: UInt64 {
        let stable = stableBytes
        let written = writtenBytes
        return written > stable ? written - stable : 0
    }

    /// A FLUSH that begins now covers so much: everything that any loop has answered.
    public var writtenBytes: UInt64 {
        var sum: UInt64 = 0
        for loop in 0..<loopCount { sum &+= cells(of: loop).written.value }
        return sum
    }

    /// All that was written is stable, or has gone with the drive's power. No loop serves the export meanwhile.
    public func forgetUnflushed() { cells(of: 0).stable.set(writtenBytes) }

    /// The most that any loop's FLUSH has covered.
    private var stableBytes: UInt64 {
        var most: UInt64 = 0
        for loop in 0..<loopCount { most = max(most, cells(of: loop).stable.value) }
        return most
    }

    /// Everything, summed over the loops.
    public func figures() -> ExportFigures {
        var figures = ExportFigures()
        for loop in 0..<loopCount {
            let cells = cells(of: loop)
            figures.inFlight &+= cells.inFlight.value
            figures.highestInFlight = max(figures.highestInFlight, cells.highestInFlight.value)
            for command in CommandKind.allCases { figures.commands[command.rawValue].add(cells, command) }
        }
        return figures
    }
}

/// One loop's counts of one export.
public struct ExportCells {
    @usableFromInline let row: CellRow

    fileprivate init(_ row: CellRow) {
        self.row = row
    }

    // Of each command: bytes, nanoseconds, errors, buckets. How many requests there were is the sum of the buckets. All
    // of these are constants to the compiler, as `allCases.count` would not be.
    @inlinable static var errorsStart: Int { 2 }
    @inlinable static var bucketsStart: Int { errorsStart + 13 }
    @inlinable static var commandCells: Int { bucketsStart + LatencyBuckets.count }
    @inlinable static var commonStart: Int { commandCells * 9 }
    /// How many cells there are.
    static var cellCount: Int { commonStart + 4 }

    /// Requests that have arrived completely and are not answered.
    @inlinable public var inFlight: CounterCell { row[Self.commonStart] }
    /// The most of them at a time.
    @inlinable public var highestInFlight: CounterCell { row[Self.commonStart + 1] }
    /// Bytes whose writing was answered, but for those with FUA.
    @inlinable public var written: CounterCell { row[Self.commonStart + 2] }
    /// All loops had written so much when the latest successful FLUSH began.
    @inlinable public var stable: CounterCell { row[Self.commonStart + 3] }

    /// Bytes that were read, written, or otherwise dealt with as asked.
    @inlinable public func bytes(_ command: CommandKind) -> CounterCell { cell(command, 0) }

    /// How long requests took, together.
    @inlinable public func nanoseconds(_ command: CommandKind) -> CounterCell { cell(command, 1) }

    /// Requests that were answered with an error.
    @inlinable public func errors(_ command: CommandKind, _ error: ErrorKind) -> CounterCell {
        cell(command, Self.errorsStart &+ error.rawValue)
    }

    /// Requests by how long they took.
    @inlinable public func bucket(_ command: CommandKind, _ number: Int) -> CounterCell {
        precondition(number >= 0 && number < LatencyBuckets.count, "there is no such bucket")
        return cell(command, Self.bucketsStart &+ number)
    }

    @inlinable func cell(_ command: CommandKind, _ number: Int) -> CounterCell {
        row[command.rawValue &* Self.commandCells &+ number]
    }
}

/// The counts of an export at one moment, over all loops.
public struct ExportFigures: Equatable, Sendable {
    /// By ``CommandKind``.
    public var commands = [CommandFigures](repeating: CommandFigures(), count: CommandKind.allCases.count)
    /// Requests that have arrived and are not answered.
    public var inFlight: UInt64 = 0
    /// The most at a time on one loop.
    public var highestInFlight: UInt64 = 0

    /// Nothing is counted.
    public init() {}
}

/// The counts of one command.
public struct CommandFigures: Equatable, Sendable {
    /// Those that successful requests were about.
    public var bytes: UInt64 = 0
    /// How long all of them took together.
    public var nanoseconds: UInt64 = 0
    /// In the order of ``ErrorKind``.
    public var errors = [UInt64](repeating: 0, count: ErrorKind.allCases.count)
    /// Not cumulative.
    public var buckets = [UInt64](repeating: 0, count: LatencyBuckets.count)

    /// Nothing is counted.
    public init() {}

    /// Requests that were answered.
    public var requests: UInt64 { buckets.reduce(0, &+) }

    fileprivate mutating func add(_ cells: ExportCells, _ command: CommandKind) {
        bytes &+= cells.bytes(command).value
        nanoseconds &+= cells.nanoseconds(command).value
        for error in ErrorKind.allCases { errors[error.rawValue] &+= cells.errors(command, error).value }
        for number in buckets.indices { buckets[number] &+= cells.bucket(command, number).value }
    }
}
