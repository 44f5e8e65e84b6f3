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
    private var random: UInt64

    /// - Parameter connection: the number of the connection, from 0 on.
    init(_ load: Load, sizeBytes: UInt64, connection: Int, seed: UInt64) {
        operation = load.operation
        pattern = load.pattern
        readPercent = UInt64(load.readPercent)
        blockBytes = load.blockBytes
        blockCount = sizeBytes / UInt64(load.blockBytes)
        flushEvery = load.flushEvery ?? .max
        nextBlock = blockCount / UInt64(load.connections) * UInt64(connection)
        // Xorshift stays at zero for ever.
        random = (seed &+ UInt64(connection)) &* 0x9E37_79B9_7F4A_7C15 | 1
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
        case .readWrite: below(100) < readPercent ? .read : .write
        case .trim: .trim
        case .writeZeroes: .writeZeroes
        case .flush: .flush
        }
    }

    private mutating func chooseBlock() -> UInt64 {
        switch pattern {
        case .random:
            return below(blockCount)
        case .sequential:
            let block = nextBlock
            nextBlock = block + 1 < blockCount ? block + 1 : 0
            return block
        }
    }

    /// A random number below a limit (Marsaglia's xorshift; the high half of a product instead of a division).
    private mutating func below(_ limit: UInt64) -> UInt64 {
        random ^= random << 13
        random ^= random >> 7
        random ^= random << 17
        return (random &* 0x2545_F491_4F6C_DD1D).multipliedFullWidth(by: limit).high
    }
}
