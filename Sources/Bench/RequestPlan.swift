// Which request comes next on a connection.

import NBD

/// A request that is to be sent.
struct PlannedRequest: Equatable {
    var command: Command
    var offsetBytes: UInt64
    var lengthBytes: UInt32

    static let flush = PlannedRequest(command: .flush, offsetBytes: 0, lengthBytes: 0)
}

/// The endless sequence of one connection's requests.
struct RequestPlan {
    private let operation: Load.Operation
    private let pattern: Load.Pattern
    private let readPercent: UInt64
    private let blockBytes: UInt32
    private let blockCount: UInt64
    private let flushEvery: UInt64
    private var nextBlock: UInt64
    private var changesSinceFlush: UInt64 = 0
    private var random: Xorshift

    /// - Parameter connection: the number of the connection, from 0 on.
    init(_ load: Load, sizeBytes: UInt64, connection: Int, seed: UInt64) {
        operation = load.operation
        pattern = load.pattern
        readPercent = UInt64(load.readPercent)
        blockBytes = load.blockBytes
        blockCount = sizeBytes / UInt64(load.blockBytes)
        flushEvery = load.flushEvery ?? .max
        nextBlock = blockCount / UInt64(load.connections) * UInt64(connection)
        random = Xorshift(seed: seed &+ UInt64(connection))
    }

    mutating func next() -> PlannedRequest {
        if operation == .flush { return .flush }
        if changesSinceFlush >= flushEvery {
            changesSinceFlush = 0
            return .flush
        }
        let command = nextCommand()
        if command != .read { changesSinceFlush += 1 }
        return PlannedRequest(
            command: command, offsetBytes: chooseBlock() * UInt64(blockBytes), lengthBytes: blockBytes)
    }

    private mutating func nextCommand() -> Command {
        switch operation {
        case .read, .connect: .read
        case .write: .write
        case .readWrite: random.below(100) < readPercent ? .read : .write
        case .trim: .trim
        case .writeZeroes: .writeZeroes
        case .flush: .flush
        }
    }

    private mutating func chooseBlock() -> UInt64 {
        switch pattern {
        case .random:
            return random.below(blockCount)
        case .sequential:
            let block = nextBlock
            nextBlock = block + 1 < blockCount ? block + 1 : 0
            return block
        }
    }
}
