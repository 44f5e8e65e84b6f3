// Power management of a whole disk (ACS-3 4.15 and clause 7: CHECK POWER MODE, IDLE, STANDBY, SLEEP). Modes follow
// from the clock when somebody asks: no timer runs.

/// The standby timer.
struct PowerTiming: Sendable {
    /// Seconds without a command for the medium after which the drive is in Standby; 0: never.
    private(set) var seconds: UInt64 = 0
    /// When the medium was used last.
    var lastUse: UInt64 = 0

    /// Standby timer periods (ACS-3, STANDBY, "Standby timer periods").
    mutating func set(_ count: UInt8) {
        switch count {
        case 1...240: seconds = UInt64(count) * 5
        case 241...251: seconds = UInt64(count - 240) * 30 * 60
        case 252: seconds = 21 * 60
        case 253: seconds = 8 * 3600
        case 255: seconds = 21 * 60 + 15
        default: seconds = 0
        }
    }

    func hasPassed(at now: UInt64) -> Bool {
        seconds != 0 && now > lastUse && (now - lastUse) / 1_000_000_000 >= seconds
    }
}

extension Drive {
    /// The power mode at a time.
    func powerMode(at now: UInt64) -> DiskState.PowerMode {
        switch disk.powerMode {
        case .active, .idle: disk.timing.hasPassed(at: now) ? .standby : disk.powerMode
        case .standby, .sleep: disk.powerMode
        }
    }

    /// The medium is used: it turns, and if it did not, it was set in motion.
    mutating func spinUp() {
        let mode = powerMode(at: disk.now)
        if mode == .standby || mode == .sleep { disk.history.spinUps += 1 }
        disk.powerMode = .active
    }

    /// A host that speaks to a sleeping drive resets it first.
    mutating func wakeFromSleep() {
        disk.powerMode = .standby
        disk.history.hardwareResets += 1
        refreshBar()
    }

    /// CHECK POWER MODE.
    mutating func tellPowerMode(_ command: CommandInProgress) -> Step {
        var result = result(command.taskfile, status: Status.done)
        result.count = result.count & 0xFF00 | UInt16(powerMode(at: disk.now).rawValue)
        return .finished(result)
    }

    /// IDLE: sets the standby timer.
    mutating func idle(_ command: CommandInProgress, timer: UInt16) -> Step {
        spinUp()
        disk.timing.set(UInt8(truncatingIfNeeded: timer))
        disk.timing.lastUse = disk.now
        disk.powerMode = .idle
        return done(command)
    }

    /// IDLE IMMEDIATE; with UNLOAD the heads are off the medium, which LBA low says (C4h).
    mutating func idleImmediately(_ command: CommandInProgress) -> Step {
        guard command.taskfile.feature & 0x00FF == 0x44 else {
            spinUp()
            disk.powerMode = .idle
            return done(command)
        }
        guard disk.features.contains(.unload), command.taskfile.lba & 0xFF_FFFF == 0x55_4E4C else {
            return refused(command)
        }
        var result = result(command.taskfile, status: Status.done)
        result.lba = result.lba & ~0xFF | 0xC4
        return .finished(result)
    }

    /// STANDBY (IMMEDIATE), SLEEP: what the write cache has is stable before the medium stops.
    mutating func standBy(_ command: inout CommandInProgress, timer: UInt16? = nil) -> Step {
        if let timer { disk.timing.set(UInt8(truncatingIfNeeded: timer)) }
        guard writeCacheEnabled else { return havingFlushed(&command) }
        command.phase = .spinningDown
        return .blocks(.flush)
    }

    /// The medium stops.
    mutating func havingFlushed(_ command: inout CommandInProgress) -> Step {
        disk.powerMode = command.taskfile.command == Command.sleep.rawValue ? .sleep : .standby
        refreshBar()
        return done(command)
    }
}
