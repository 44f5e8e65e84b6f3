// The faults of a whole disk at work: how a command ends that one of them happens to (ACS-3 clause 6, "Error field" and
// "Status field"; clause 7, "Error outputs").

extension Drive {
    /// Breaks the drive.
    ///
    /// - Parameter isRunning: else the power has not come yet, and the time of the rule begins with it.
    public mutating func plant(_ rule: FaultRule, isRunning: Bool) throws(FaultRuleError) {
        guard kind.isWholeDisk else {
            throw FaultRuleError(
                "\(kind.rawValue) has no faults: it is what QEMU's is, or a disc's drive; spindle-hd and spindle-ssd have them"
            )
        }
        if let rule = rule.sectors, rule.upperBound > mediumSectors {
            throw FaultRuleError(
                "lba=\(rule.upperBound - 1) is behind the drive's end: it has \(mediumSectors) sectors")
        }
        disk.faults.advance(to: disk.now)
        try disk.faults.plant(rule, at: isRunning ? disk.now : nil)
    }

    /// Makes the drive whole again: nothing was lost, and data that were there before a fault are there.
    ///
    /// - Parameter number: of one fault; nil: of all.
    /// - Returns: false if there is none of that number.
    public mutating func liftFault(_ number: Int?) -> Bool {
        disk.faults.advance(to: disk.now)
        return disk.faults.lift(number)
    }

    /// Some of its sectors may be unreadable; others are only read to find that out.
    public var mayHaveUnreadableSectors: Bool { !disk.faults.isEmpty || !disk.history.unreadable.isEmpty }

    /// Its faults, in the order of their planting.
    public var faults: [FaultStatus] {
        disk.faults.planted.filter { !$0.isOver(at: disk.now) }.map {
            FaultStatus(
                number: Int($0.number), rule: $0.rule.description, commands: $0.metCount, failures: $0.failureCount,
                pendingSectors: $0.found.count)
        }
    }

    /// The command that a fault has failed last; each is told once.
    public mutating func takeFailure() -> DriveFailure? {
        guard disk.faults.failure != nil else { return nil }
        defer { disk.faults.failure = nil }
        return disk.faults.failure
    }

    /// How much longer the command that has just begun takes before it asks for the medium.
    public var delayMilliseconds: UInt32 { disk.faults.delayMilliseconds }

    /// Finds where a command that was located ends before its last sector, and why.
    mutating func meetFaults(_ command: inout CommandInProgress, _ group: FaultRule.Commands) {
        disk.faults.advance(to: disk.now)
        let end = command.first + UInt64(command.transferred)
        var earliest = group == .write ? nil : disk.faults.firstFound(in: command.first..<end)
        // What is behind a sector that ends the command is never come to.
        let reached = command.first..<(earliest.map { $0.sector + 1 } ?? end)
        if !reached.isEmpty, let struck = disk.faults.meet(group, reached) { earliest = struck }
        guard let earliest else { return }
        command.fault = earliest.fault
        command.transferred = UInt32(truncatingIfNeeded: earliest.sector - command.first)
    }

    /// The same for commands that name no sectors; nil: no fault happens to it.
    mutating func meetFaults(_ command: CommandInProgress, _ code: Command) -> Step? {
        guard let group = code.groupWithoutAddress, let struck = disk.faults.meet(group, nil) else { return nil }
        let result = result(command.taskfile, status: struck.fault.kind.status, error: struck.fault.kind.error)
        disk.history.errors.append(result, disk.recent, hours: disk.lifetimeHours)
        noteFailure(struck.fault, command, result, sector: nil)
        return .finished(result)
    }

    /// A command ends at the sector where a fault has happened to it.
    mutating func failed(_ command: CommandInProgress, by fault: MetFault, movesData: Bool) -> Step {
        switch fault.kind {
        case .unreadable:
            disk.history.uncorrectableErrors &+= 1
            disk.noteWorst()
        case .writeFault: disk.history.writeFaults &+= 1
        case .interfaceCRC: disk.history.interfaceErrors &+= 1
        case .idNotFound, .abort, .deviceFault, .slow: break
        }
        var result = result(command.taskfile, status: fault.kind.status, error: fault.kind.error)
        result.sectorsTransferred = movesData ? command.transferred : 0
        let sector = command.first &+ UInt64(command.transferred)
        note(&result, at: sector, command)
        noteFailure(fault, command, result, sector: sector)
        return .finished(result)
    }

    private mutating func noteFailure(
        _ fault: MetFault, _ command: CommandInProgress, _ result: TaskfileResult, sector: UInt64?
    ) {
        disk.faults.failure = DriveFailure(
            rule: disk.faults.countFailure(fault.number), taskfile: command.taskfile, result: result, sector: sector)
    }
}

extension FaultRule.Kind {
    fileprivate var status: UInt8 {
        switch self {
        case .writeFault, .deviceFault: Status.failedDisk | Status.deviceFault
        case .unreadable, .idNotFound, .interfaceCRC, .abort: Status.failedDisk
        case .slow: Status.done
        }
    }

    fileprivate var error: UInt8 {
        switch self {
        case .unreadable: ErrorRegister.uncorrectable
        case .idNotFound: ErrorRegister.idNotFound
        case .interfaceCRC: ErrorRegister.interfaceCRC | ErrorRegister.abort
        case .writeFault, .abort, .deviceFault: ErrorRegister.abort
        case .slow: 0
        }
    }
}

extension Command {
    /// The group of a command that names no sectors; nil: it names some.
    fileprivate var groupWithoutAddress: FaultRule.Commands? {
        switch self {
        case .flushCache, .flushCacheEXT: .flush
        case .dataSetManagement: .trim
        case .smart, .readLogEXT, .readLogDMAEXT, .writeLogEXT, .writeLogDMAEXT: .smart
        case .readMultiple, .readMultipleEXT, .readVerifySectors, .readVerifySectorsEXT, .writeMultiple,
            .writeMultipleEXT, .writeMultipleFUAEXT, .zeroEXT:
            nil
        default: .other
        }
    }
}
