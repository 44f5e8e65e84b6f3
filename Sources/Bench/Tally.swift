// Counts.

import NBD

/// The requests of one kind.
public struct OperationTally: Equatable, Sendable {
    /// Those that were answered without an error, and how long that took from being sent to being read.
    public internal(set) var latencies = LatencyHistogram()
    /// Bytes that they read or wrote.
    public internal(set) var byteCount: UInt64 = 0
    /// How many were answered with an error.
    public internal(set) var errorCount: UInt64 = 0

    mutating func add(_ other: OperationTally) {
        latencies.add(other.latencies)
        byteCount += other.byteCount
        errorCount += other.errorCount
    }

    mutating func removeAll() {
        latencies.removeAll()
        byteCount = 0
        errorCount = 0
    }
}

/// All requests, by command.
public struct Tally: Equatable, Sendable {
    /// By the command's number.
    private var operations = [OperationTally](repeating: OperationTally(), count: Command.allCases.count)
    /// How often each error number was the answer.
    public private(set) var errors: [UInt32: UInt64] = [:]
    /// Requests that were answered during the warm-up.
    public private(set) var warmUpCount: UInt64 = 0

    /// Nothing counted.
    public init() {}

    /// The counts of a command.
    public subscript(command: Command) -> OperationTally {
        operations[Int(command.rawValue)]
    }

    /// All of them together.
    public var total: OperationTally {
        operations.reduce(into: OperationTally()) { $0.add($1) }
    }

    /// Counts an answer.
    mutating func record(_ command: UInt8, byteCount: UInt32, nanoseconds: UInt64, error: UInt32) {
        if error == 0 {
            operations[Int(command)].latencies.record(nanoseconds)
            operations[Int(command)].byteCount += UInt64(byteCount)
        } else {
            operations[Int(command)].errorCount += 1
            errors[error, default: 0] += 1
        }
    }

    /// Counts an answer that came too early to count.
    mutating func recordWarmUp() {
        warmUpCount += 1
    }

    mutating func add(_ other: Tally) {
        for index in operations.indices { operations[index].add(other.operations[index]) }
        errors.merge(other.errors, uniquingKeysWith: +)
        warmUpCount += other.warmUpCount
    }

    mutating func removeAll() {
        for index in operations.indices { operations[index].removeAll() }
        errors = [:]
        warmUpCount = 0
    }
}
