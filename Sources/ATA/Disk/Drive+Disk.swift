// A whole disk: its commands, and what becomes of them (ACS-3 clause 7). What a QEMU HARDDISK does otherwise stays
// its own.

import Blocks

extension Drive {
    /// Time goes on: the caller says what its clock shows, before each command.
    public mutating func noteTime(_ nanoseconds: UInt64) {
        disk.now = nanoseconds
        disk.faults.delayMilliseconds = 0
    }

    /// The power comes, at this time of the caller's clock.
    public mutating func powerOn(at nanoseconds: UInt64) {
        disk.poweredOnAt = nanoseconds
        disk.now = nanoseconds
        disk.temperature.powerOn(at: nanoseconds)
        disk.faults.begin(at: nanoseconds)
        disk.timing.lastUse = nanoseconds
    }

    /// Begins a command of a whole disk. Reads and writes come first: they are most of them.
    mutating func beginOnDisk(_ command: inout CommandInProgress, _ code: Command, _ data: RawSpan) -> Step {
        disk.recent.append(command.taskfile, at: disk.uptime)
        if disk.isBarred { lookAgain() }
        switch code {
        case .readFPDMAQueued where controller == .ich9AHCI: return readMedium(&command, .queued)
        case .writeFPDMAQueued where controller == .ich9AHCI: return writeMedium(&command, .queued)
        case .readDMA, .readDMAWithoutRetry, .readSectors, .readSectorsWithoutRetry:
            return readMedium(&command, .lba28)
        case .readDMAEXT, .readSectorsEXT: return readMedium(&command, .lba48)
        case .writeDMA, .writeDMAWithoutRetry, .writeSectors, .writeSectorsWithoutRetry:
            return writeMedium(&command, .lba28)
        case .writeDMAEXT, .writeSectorsEXT, .writeDMAFUAEXT: return writeMedium(&command, .lba48)
        default: break
        }
        advanceDisk()
        guard let row = CommandRow.row(of: code.rawValue), disk.features.contains(row.feature),
            allows(row, command.taskfile)
        else { return refused(command) }
        if row.command != .securityEraseUnit { disk.security.isErasePrepared = false }
        if !disk.faults.isEmpty, let step = meetFaults(command, code) { return step }
        if !row.command.isReadNativeMaxAddress, !row.command.isSetMaxAddress { disk.maxAddress.hasAsked = false }
        return beginRarely(&command, code, data)
    }

    private mutating func beginRarely(_ command: inout CommandInProgress, _ code: Command, _ data: RawSpan) -> Step {
        switch code {
        case .accessibleMaxAddressConfiguration: configureMaxAddress(command)
        case .checkPowerMode: tellPowerMode(command)
        case .dataSetManagement: trimMedium(&command, data)
        case .executeDeviceDiagnostic: diagnose(command)
        case .flushCache, .flushCacheEXT: flushMedium(&command)
        case .identifyDevice: identify(command)
        case .idle: idle(command, timer: command.taskfile.count)
        case .idleImmediate: idleImmediately(command)
        case .nop: refused(command)
        case .readBuffer, .readBufferDMA: .dataIn(.buffer, result(command.taskfile, status: Status.done))
        case .readLogEXT, .readLogDMAEXT: readGeneralLog(command)
        case .readMultiple: multiple == 0 ? refused(command) : readMedium(&command, .lba28)
        case .readMultipleEXT: multiple == 0 ? refused(command) : readMedium(&command, .lba48)
        case .readNativeMaxAddress: tellNativeMaxAddress(command, .lba28)
        case .readNativeMaxAddressEXT: tellNativeMaxAddress(command, .lba48)
        case .readVerifySectors: verifyMedium(&command, .lba28)
        case .readVerifySectorsEXT: verifyMedium(&command, .lba48)
        case .sanitizeDevice: sanitize(&command)
        case .securityDisablePassword: disablePassword(command, data)
        case .securityErasePrepare: prepareErase(command)
        case .securityEraseUnit: eraseUnit(&command, data)
        case .securityFreezeLock: freezeLock(command)
        case .securitySetPassword: setPassword(command, data)
        case .securityUnlock: unlock(command, data)
        case .setFeatures: setDiskFeatures(&command)
        case .setMaxAddress: setMaxAddress(command, .lba28)
        case .setMaxAddressEXT: setMaxAddress(command, .lba48)
        case .setMultipleMode: setDiskMultiple(command)
        case .sleep: standBy(&command)
        case .smart: smartOnDisk(command, data)
        case .standby: standBy(&command, timer: command.taskfile.count)
        case .standbyImmediate: standBy(&command)
        case .writeBuffer, .writeBufferDMA: storeBuffer(command, data)
        case .writeLogEXT, .writeLogDMAEXT: writeGeneralLog(&command, data)
        case .writeMultiple: multiple == 0 ? refused(command) : writeMedium(&command, .lba28)
        case .writeMultipleEXT, .writeMultipleFUAEXT: multiple == 0 ? refused(command) : writeMedium(&command, .lba48)
        case .writeUncorrectableEXT: makeUnreadable(command)
        case .zeroEXT: zeroMedium(&command)
        default: refused(command)
        }
    }

    /// Goes on with a command of a whole disk whose medium operation has ended.
    mutating func resumeOnDisk(_ command: inout CommandInProgress, _ outcome: BlockOutcome, data: RawSpan) -> Step {
        let phase = command.phase
        command.phase = .none
        if case .failed(let failure, let done) = outcome {
            let count = UInt32(clamping: blockSize.blocks(inBytes: done))
            return mediumFailed(&command, failure, after: count, in: phase)
        }
        switch phase {
        case .none, .readingRaw: preconditionFailure("no medium operation of this command was under way")
        case .reading: return haveRead(&command)
        case .writing: return mustFlush(command) ? flush(&command) : haveWritten(&command)
        case .flushing: return haveFlushed(&command)
        case .spinningDown: return havingFlushed(&command)
        case .trimming: return haveTrimmed(&command, data)
        case .verifying: return done(command)
        case .zeroing: return haveZeroed(&command)
        }
    }

    /// The command was aborted, and changed no register.
    mutating func refused(_ command: CommandInProgress, _ failure: BlockFailure? = nil) -> Step {
        var result = result(command.taskfile, status: Status.failedDisk, error: ErrorRegister.abort)
        result.blockFailure = failure
        return .finished(result)
    }

    /// What keeps user data from hosts may have passed.
    private mutating func lookAgain() {
        if disk.powerMode == .sleep { wakeFromSleep() }
        advanceDisk()
    }

    /// A host has to wait, or to prove itself, before it has this.
    private mutating func allows(_ row: CommandRow, _ taskfile: Taskfile) -> Bool {
        guard disk.isBarred else { return true }
        if disk.sanitizing.isActive(at: disk.now) { return row.isAllowedDuringSanitize(taskfile) }
        return row.access == .drive
    }
}

extension Status {
    /// The status of a whole disk after a failed command: DRDY, bit 4 and ERR.
    static var failedDisk: UInt8 { deviceReady | deviceSeekComplete | error }
}
