// What is counted of one export: by its loops, each in cells of its own, and summed when somebody asks.

import IOUring
import NBD

/// All loops' counts of one export. They end with the export, and one that is added later under the same name begins
/// with zero.
final class ExportCounters: Sendable {
    private let memory: SharedMemory
    private let loopCount: Int
    private static let loopBytes = cellStride(cells: ExportCells.cellCount)

    init(loopCount: Int) throws(RingError) {
        memory = try SharedMemory(byteCount: loopCount * Self.loopBytes)
        self.loopCount = loopCount
    }

    deinit {
        memory.unmap()
    }

    /// The counts of one loop, to be used for no longer than this object.
    func cells(of loop: Int) -> ExportCells {
        unsafe ExportCells(memory.base + loop * Self.loopBytes)
    }

    /// How much was written and answered since all of it was last made stable by a FLUSH.
    var unflushedBytes: UInt64 {
        let stable = stableBytes
        let written = writtenBytes
        return written > stable ? written - stable : 0
    }

    /// What a FLUSH that begins now covers: everything that any loop has answered.
    var writtenBytes: UInt64 {
        var sum: UInt64 = 0
        for loop in 0..<loopCount { sum &+= cells(of: loop).written.value }
        return sum
    }

    /// The most that any loop's FLUSH has covered.
    private var stableBytes: UInt64 {
        var most: UInt64 = 0
        for loop in 0..<loopCount { most = max(most, cells(of: loop).stable.value) }
        return most
    }

    /// Everything, summed over the loops.
    func figures() -> ExportFigures {
        var figures = ExportFigures()
        for loop in 0..<loopCount {
            let cells = cells(of: loop)
            figures.inFlight &+= cells.inFlight.value
            figures.highestInFlight = max(figures.highestInFlight, cells.highestInFlight.value)
            for command in CommandKind.all { figures.commands[command.index].add(cells, command) }
        }
        return figures
    }
}

/// What requests are counted as: by the values of NBD's commands. DISC is no request that is answered; in its place are
/// those whose command is unknown.
struct CommandKind: Equatable {
    let index: Int

    /// The kind of a command that is served.
    init(_ command: Command) {
        index = Int(command.rawValue)
    }

    /// The kind of a request by its type, which may be anything.
    init(type: UInt16) {
        self.init(Command(rawValue: type) ?? .disconnect)
    }

    static let all = Command.allCases.map(CommandKind.init)
}

/// One loop's counts of one export.
@safe
struct ExportCells {
    private let base: UnsafeMutableRawPointer

    fileprivate init(_ base: UnsafeMutableRawPointer) {
        unsafe self.base = unsafe base
    }

    // Of each command: bytes, nanoseconds, errors, buckets. How many requests there were is the sum of the buckets. All
    // of these are constants to the compiler, as `allCases.count` would not be.
    private static var errorsStart: Int { 2 }
    private static var bucketsStart: Int { errorsStart + 8 }
    private static var commandCells: Int { bucketsStart + LatencyBuckets.count }
    private static var commonStart: Int { commandCells * 8 }
    /// How many cells there are.
    static var cellCount: Int { commonStart + 4 }

    /// Requests that have arrived completely and are not answered.
    var inFlight: CounterCell { unsafe CounterCell(base, Self.commonStart) }
    /// The most of them at a time.
    var highestInFlight: CounterCell { unsafe CounterCell(base, Self.commonStart + 1) }
    /// Bytes whose writing was answered, but for those with FUA.
    var written: CounterCell { unsafe CounterCell(base, Self.commonStart + 2) }
    /// What all loops had written when the latest FLUSH began that has succeeded.
    var stable: CounterCell { unsafe CounterCell(base, Self.commonStart + 3) }

    /// Bytes that were read, written, or otherwise dealt with as asked.
    func bytes(_ command: CommandKind) -> CounterCell { cell(command, 0) }

    /// How long requests took, together.
    func nanoseconds(_ command: CommandKind) -> CounterCell { cell(command, 1) }

    /// Requests that were answered with an error.
    func errors(_ command: CommandKind, _ error: NBDError) -> CounterCell {
        cell(command, Self.errorsStart + error.number)
    }

    /// Requests by how long they took.
    func bucket(_ command: CommandKind, _ number: Int) -> CounterCell { cell(command, Self.bucketsStart + number) }

    private func cell(_ command: CommandKind, _ number: Int) -> CounterCell {
        unsafe CounterCell(base, command.index &* Self.commandCells &+ number)
    }
}

extension NBDError {
    /// Its place in ``NBD/NBDError/allCases``.
    fileprivate var number: Int {
        switch self {
        case .notPermitted: 0
        case .inputOutput: 1
        case .noMemory: 2
        case .invalidArgument: 3
        case .noSpace: 4
        case .overflow: 5
        case .notSupported: 6
        case .shutdown: 7
        }
    }
}

/// The counts of an export at one moment, over all loops.
struct ExportFigures: Equatable {
    /// By ``CommandKind``.
    var commands = [CommandFigures](repeating: CommandFigures(), count: Command.allCases.count)
    var inFlight: UInt64 = 0
    /// The most at a time on one loop.
    var highestInFlight: UInt64 = 0
}

/// The counts of one command.
struct CommandFigures: Equatable {
    var bytes: UInt64 = 0
    var nanoseconds: UInt64 = 0
    /// In the order of ``NBD/NBDError/allCases``.
    var errors = [UInt64](repeating: 0, count: NBDError.allCases.count)
    /// Not cumulative.
    var buckets = [UInt64](repeating: 0, count: LatencyBuckets.count)

    /// Requests that were answered.
    var requests: UInt64 { buckets.reduce(0, &+) }

    fileprivate mutating func add(_ cells: ExportCells, _ command: CommandKind) {
        bytes &+= cells.bytes(command).value
        nanoseconds &+= cells.nanoseconds(command).value
        for error in NBDError.allCases { errors[error.number] &+= cells.errors(command, error).value }
        for number in buckets.indices { buckets[number] &+= cells.bucket(command, number).value }
    }
}
