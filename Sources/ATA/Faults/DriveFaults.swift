// The faults of a drive: which of them happens to a command.

/// A fault that has happened to a command, as the command keeps it until it ends.
@usableFromInline struct MetFault: Sendable {
    let kind: FaultRule.Kind
    /// The rule's.
    let number: UInt8
}

/// All faults of a drive, and the last thing that they have done.
struct DriveFaults: Sendable {
    private(set) var planted: [PlantedFault] = []
    /// What has failed, until somebody takes note of it.
    var failure: DriveFailure?
    /// How much longer the running command takes.
    var delayMilliseconds: UInt32 = 0

    var isEmpty: Bool { planted.isEmpty }

    /// Sectors that the drive has found unreadable.
    var foundCount: UInt64 { planted.reduce(0) { $0 + $1.found.count } }

    /// Takes a rule in.
    mutating func plant(_ rule: FaultRule, at now: UInt64?) throws(FaultRuleError) {
        guard planted.count < FaultRule.limit else {
            throw FaultRuleError("the drive has \(FaultRule.limit) faults, and can have no more: clear one first")
        }
        let number = (1...UInt8(FaultRule.limit)).first { number in !planted.contains { $0.number == number } }
        planted.append(PlantedFault(rule, number: number ?? 0, beganAt: now))
    }

    /// Takes one out, or all.
    ///
    /// - Returns: false if there is none of that number.
    mutating func lift(_ number: Int?) -> Bool {
        let before = planted.count
        planted.removeAll { number == nil || Int($0.number) == number }
        return number == nil || planted.count != before
    }

    /// The power comes: what was planted before counts its time from now on.
    mutating func begin(at now: UInt64) {
        for index in planted.indices where planted[index].beganAt == nil { planted[index].beganAt = now }
    }

    /// Takes out what is over.
    mutating func advance(to now: UInt64) {
        guard planted.contains(where: { $0.isOver(at: now) }) else { return }
        planted.removeAll { $0.isOver(at: now) }
    }

    /// Lets all faults meet a command: of those that happen to it the one with the first sector counts.
    mutating func meet(
        _ group: FaultRule.Commands, _ range: Range<UInt64>?
    ) -> (fault: MetFault, sector: UInt64)? {
        var first: (fault: MetFault, sector: UInt64)?
        for index in planted.indices {
            guard let sector = planted[index].meet(group, range) else { continue }
            guard planted[index].rule.kind != .slow else {
                planted[index].failureCount &+= 1
                delayMilliseconds = min(
                    delayMilliseconds + planted[index].rule.delayMilliseconds, FaultRule.longestDelay)
                continue
            }
            guard sector < first?.sector ?? .max else { continue }
            first = (MetFault(kind: planted[index].rule.kind, number: planted[index].number), sector)
        }
        return first
    }

    /// The first sector that the drive has found unreadable, and whose fault that is.
    func firstFound(in range: Range<UInt64>) -> (fault: MetFault, sector: UInt64)? {
        var first: (fault: MetFault, sector: UInt64)?
        for fault in planted {
            guard let sector = fault.found.first(in: range), sector < first?.sector ?? .max else { continue }
            first = (MetFault(kind: fault.rule.kind, number: fault.number), sector)
        }
        return first
    }

    /// The first sector that cannot be read, found or not.
    func firstDefect(in range: Range<UInt64>) -> UInt64? {
        planted.compactMap { $0.firstDefect(in: range) }.min()
    }

    /// The drive itself has come upon a sector.
    mutating func find(_ sector: UInt64) {
        for index in planted.indices where planted[index].find(sector) { return }
    }

    /// Sectors were written.
    ///
    /// - Returns: how many of them the drive had found unreadable.
    mutating func overwrite(_ range: Range<UInt64>) -> UInt64 {
        var count: UInt64 = 0
        for index in planted.indices { count += planted[index].overwrite(range) }
        return count
    }

    /// A command has ended with the fault of a number.
    ///
    /// - Returns: its rule, in words; nil: it was lifted meanwhile.
    mutating func countFailure(_ number: UInt8) -> String? {
        guard let index = planted.firstIndex(where: { $0.number == number }) else { return nil }
        planted[index].failureCount &+= 1
        return planted[index].rule.description
    }
}

/// A fault of a drive as an operator sees it.
public struct FaultStatus: Equatable, Sendable {
    /// What to call it.
    public let number: Int
    /// The rule, in words.
    public let rule: String
    /// How many commands it could have happened to.
    public let commands: UInt64
    /// How many it has failed, or made slow.
    public let failures: UInt64
    /// Sectors that were found unreadable, and not written since.
    public let pendingSectors: UInt64
}
