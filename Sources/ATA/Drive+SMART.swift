// SMART (ACS-3 and ATA8-ACS clause 7, by this name; thresholds ATA-3): subcommands and the state they change.

/// SMART's memory.
struct SMART {
    var enabled = true
    var autosave = true
    var selfTests = SelfTestLog()
}

extension Drive {
    /// SMART: the feature register is the subcommand; LBA mid and high hold 4Fh and C2h.
    mutating func smart(_ command: CommandInProgress) -> Step {
        let subcommand = command.taskfile.feature & 0x00FF
        guard command.taskfile.lba & 0xFF_FF00 == 0xC2_4F00, smart.enabled || subcommand == 0xD8 else {
            return aborted(command)
        }
        let low = UInt8(truncatingIfNeeded: command.taskfile.lba)
        switch subcommand {
        case 0xD0: return page(.smartData, command)
        case 0xD1: return page(.smartThresholds, command)
        case 0xD2: return enableAttributeAutosave(command, low)
        case 0xD4: return executeOffLine(command, low)
        case 0xD5: return readLog(command, low)
        case 0xD8: smart.enabled = true
        case 0xD9: smart.enabled = false
        case 0xDA: break  // RETURN STATUS: 4Fh and C2h as they are say that no threshold was exceeded.
        default: return aborted(command)
        }
        return done(command)
    }

    private mutating func page(_ page: DataPage, _ command: CommandInProgress) -> Step {
        .dataIn(page, result(command.taskfile, status: Status.done))
    }

    /// SMART ENABLE/DISABLE ATTRIBUTE AUTOSAVE. The standard has the choice in the count register, a QEMU drive in LBA
    /// low.
    private mutating func enableAttributeAutosave(_ command: CommandInProgress, _ low: UInt8) -> Step {
        guard low == 0x00 || low == 0xF1 else { return aborted(command) }
        smart.autosave = low == 0xF1
        return done(command)
    }

    /// SMART EXECUTE OFF-LINE IMMEDIATE: the off-line routine, the short and the extended self-test are done at once.
    private mutating func executeOffLine(_ command: CommandInProgress, _ low: UInt8) -> Step {
        guard low <= 2 else { return aborted(command) }
        smart.selfTests.append(low)
        return done(command)
    }

    /// SMART READ LOG: the summary error log and the self-test log; there is no directory.
    private mutating func readLog(_ command: CommandInProgress, _ low: UInt8) -> Step {
        switch low {
        case 0x01: page(.smartSummaryErrorLog, command)
        case 0x06: page(.smartSelfTestLog, command)
        default: aborted(command)
        }
    }
}
