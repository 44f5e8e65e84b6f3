// SMART of a whole disk (ACS-3 clause 7, SMART; what ACS-3 leaves out, ATA8-ACS clause 7): subcommands and what they
// change.

extension Drive {
    /// SMART: the feature register is the subcommand; LBA mid and high hold 4Fh and C2h.
    mutating func smartOnDisk(_ command: CommandInProgress, _ data: RawSpan) -> Step {
        let subcommand = command.taskfile.feature & 0x00FF
        guard command.taskfile.lba & 0xFF_FF00 == 0xC2_4F00, disk.history.smartIsEnabled || subcommand == 0xD8 else {
            return refused(command)
        }
        let count = UInt8(truncatingIfNeeded: command.taskfile.count)
        switch subcommand {
        case 0xD0:
            disk.noteWorst()
            return .dataIn(.smartData, result(command.taskfile, status: Status.done))
        case 0xD1: return .dataIn(.smartThresholds, result(command.taskfile, status: Status.done))
        case 0xD2:  // Attribute autosave.
            guard count == 0x00 || count == 0xF1 else { return refused(command) }
            disk.history.savesAttributes = count == 0xF1
        case 0xD3: break  // Save attribute values: they are where they stay.
        case 0xD4: return executeSelfTest(command)
        case 0xD5: return readSMARTLog(command)
        case 0xD6: return writeSMARTLog(command, data)
        case 0xD8: return enableSMART(command, true)
        case 0xD9: return enableSMART(command, false)
        case 0xDA: return tellSMARTStatus(command)
        case 0xDB:  // Automatic off-line data collection.
            guard count == 0x00 || count == 0xF8 else { return refused(command) }
            disk.history.collectsOffLine = count == 0xF8
        default: return refused(command)
        }
        return done(command)
    }

    private mutating func enableSMART(_ command: CommandInProgress, _ isEnabled: Bool) -> Step {
        disk.history.smartIsEnabled = isEnabled
        refreshIdentity()
        return done(command)
    }

    /// SMART RETURN STATUS: 4Fh and C2h as they are, or F4h and 2Ch if an attribute is at its threshold.
    private mutating func tellSMARTStatus(_ command: CommandInProgress) -> Step {
        var result = result(command.taskfile, status: Status.done)
        if attributes.contains(where: \.isFailing) { result.lba = result.lba & ~0xFF_FF00 | 0x2C_F400 }
        return .finished(result)
    }

    /// SMART EXECUTE OFF-LINE IMMEDIATE. In captive mode the command ends with the test, which takes no time then.
    private mutating func executeSelfTest(_ command: CommandInProgress) -> Step {
        let subcommand = UInt8(truncatingIfNeeded: command.taskfile.lba)
        if subcommand == 0x7F {
            if let test = disk.selfTest { finishSelfTest(test, .aborted) }
            return done(command)
        }
        guard let kind = SelfTest.Kind(rawValue: subcommand & 0x7F), subcommand != 0x80 else { return refused(command) }
        let spans = kind == .selective ? disk.history.selective.ranges(of: sectors) : [0..<sectors]
        guard spans.contains(where: { !$0.isEmpty }) else { return refused(command) }
        if let test = disk.selfTest { finishSelfTest(test, .aborted) }
        spinUp()
        let test = newTest(subcommand, kind, spans)
        guard subcommand & 0x80 == 0 else { return finishCaptive(test, command) }
        disk.selfTest = test
        if kind == .offLine { disk.history.offLineStatus = 0x03 }
        return done(command)
    }

    private mutating func newTest(_ subcommand: UInt8, _ kind: SelfTest.Kind, _ spans: [Range<UInt64>]) -> SelfTest {
        let nanoseconds =
            kind == .selective
            ? SelfTest.nanoseconds(toRead: spans.reduce(0) { $0 + ($1.upperBound - $1.lowerBound) }, disk: self)
            : SelfTest.nanoseconds(kind, disk: self)
        var before: UInt64 = 0
        var failure: (sector: UInt64, after: UInt64)?
        for span in spans where kind != .offLine {
            if let bad = disk.firstUnreadable(in: span) {
                failure = (bad, before + (bad - span.lowerBound))
                break
            }
            before += span.upperBound - span.lowerBound
        }
        return SelfTest(
            subcommand: subcommand, kind: kind, startedAt: disk.now, durationNanoseconds: nanoseconds, spans: spans,
            failure: failure)
    }

    /// F4h and 2Ch say that the test has failed.
    private mutating func finishCaptive(_ test: SelfTest, _ command: CommandInProgress) -> Step {
        finishSelfTest(test, test.failure == nil ? .completed : .readFailure)
        var result = result(command.taskfile, status: Status.done)
        guard test.failure != nil else { return .finished(result) }
        result.lba = result.lba & ~0xFF_FF00 | 0x2C_F400
        result.status = Status.failedDisk
        result.error = ErrorRegister.abort
        return .finished(result)
    }

    /// A self-test or the off-line routine has ended.
    mutating func finishSelfTest(_ test: SelfTest, _ outcome: SelfTest.Outcome) {
        disk.selfTest = nil
        guard test.kind != .offLine else {
            disk.history.offLineStatus = outcome == .completed ? 0x02 : 0x05
            return
        }
        disk.history.selfTests.append(test.entry(outcome, at: disk))
        if outcome == .readFailure, let failure = test.failure { disk.faults.find(failure.sector) }
    }

    /// SMART READ LOG: LBA low is the address, the count is in sectors.
    private mutating func readSMARTLog(_ command: CommandInProgress) -> Step {
        let address = UInt8(truncatingIfNeeded: command.taskfile.lba)
        let count = command.taskfile.count & 0x00FF
        guard let log = Log(address, bySMART: true), count != 0, count <= log.pageCount else { return refused(command) }
        return .dataIn(
            .log(LogPages(log: log, bySMART: true, first: 0, count: count)),
            result(command.taskfile, status: Status.done))
    }

    /// SMART WRITE LOG.
    private mutating func writeSMARTLog(_ command: CommandInProgress, _ data: RawSpan) -> Step {
        let address = UInt8(truncatingIfNeeded: command.taskfile.lba)
        let count = Int(command.taskfile.count & 0x00FF)
        guard let log = Log(address, bySMART: true), log.isWritable, count != 0, count <= Int(log.pageCount),
            data.byteCount >= count * IdentifyData.byteCount
        else { return refused(command) }
        return write(log, first: 0, count: count, command, data)
    }
}
