// Data between host and medium on a whole disk: READ, WRITE, READ VERIFY, FLUSH CACHE, DATA SET MANAGEMENT and their
// like (ACS-3 clause 7, by these names; ZERO EXT ACS-4). An address is checked before anything moves.

import Blocks

extension Drive {
    /// READ DMA and all that read as it does. Of a sector that cannot be read those before it are delivered.
    mutating func readMedium(_ command: inout CommandInProgress, _ layout: TaskfileLayout) -> Step {
        guard locate(&command, layout) else { return notThere(command) }
        if disk.isFlawed { lookForErrors(&command, .read) }
        guard command.transferred != 0 else { return ended(&command) }
        command.phase = .reading
        return .blocks(.read(lba: command.first, count: command.transferred))
    }

    /// WRITE DMA and all that write as it does.
    mutating func writeMedium(_ command: inout CommandInProgress, _ layout: TaskfileLayout) -> Step {
        guard locate(&command, layout) else { return notThere(command) }
        if !disk.faults.isEmpty {
            meetFaults(&command, .write)
            guard command.transferred != 0 else { return ended(&command) }
        }
        command.phase = .writing
        return .blocks(.write(lba: command.first, count: command.transferred))
    }

    /// READ VERIFY SECTOR(S) (EXT). It prefetches the sectors, and fails at one that is known to be unreadable.
    mutating func verifyMedium(_ command: inout CommandInProgress, _ layout: TaskfileLayout) -> Step {
        guard locate(&command, layout) else { return notThere(command) }
        if disk.isFlawed { lookForErrors(&command, .verify) }
        guard command.transferred == command.count else { return ended(&command, movesData: false) }
        command.phase = .verifying
        return .blocks(.prefetch(lba: command.first, count: command.count))
    }

    /// ZERO EXT: TRIM, bit 0 of the feature register, lets the sectors lose their space.
    mutating func zeroMedium(_ command: inout CommandInProgress) -> Step {
        guard locate(&command, .lba48) else { return notThere(command) }
        if !disk.faults.isEmpty {
            meetFaults(&command, .write)
            guard command.transferred != 0 else { return ended(&command) }
        }
        command.phase = .writing
        let mayDeallocate = command.taskfile.feature & 0x0001 != 0
        return .blocks(.zeroes(lba: command.first, count: command.transferred, mayDeallocate: mayDeallocate))
    }

    /// FLUSH CACHE (EXT).
    mutating func flushMedium(_ command: inout CommandInProgress) -> Step {
        disk.history.flushCommands += 1
        return flush(&command)
    }

    /// DATA SET MANAGEMENT with TRIM. A list with a range that is not on the medium is not begun.
    mutating func trimMedium(_ command: inout CommandInProgress, _ data: RawSpan) -> Step {
        let blocks = Int(command.taskfile.count)
        guard command.taskfile.feature == 0x0001, (1...Int(identifyData[word: 105])).contains(blocks),
            data.byteCount >= blocks * IdentifyData.byteCount
        else { return refused(command) }
        for entry in 0..<blocks * 64 {
            let range = TrimRange(data.quadWord(at: 8 * entry))
            guard range.count == 0 || range.end <= sectors else { return notThere(command) }
        }
        command.count = UInt32(blocks)
        disk.history.trimCommands += 1
        return haveTrimmed(&command, data)
    }

    /// The next ranges that follow each other, as one operation.
    mutating func haveTrimmed(_ command: inout CommandInProgress, _ data: RawSpan) -> Step {
        guard case .range(let range) = nextTrimRange(&command, data) else {
            return writeCacheEnabled ? done(command) : flush(&command)
        }
        disk.history.sectorsTrimmed += UInt64(range.count)
        disk.overwrite(range.first..<range.end)
        command.phase = .trimming
        return .blocks(.zeroes(lba: range.first, count: range.count, mayDeallocate: true))
    }

    /// Finds the sectors of a command, and sets the medium in motion.
    ///
    /// - Returns: false if they are not there, or not to be had.
    private mutating func locate(_ command: inout CommandInProgress, _ layout: TaskfileLayout) -> Bool {
        command.layout = layout
        command.first = chsTranslation.firstSector(of: command.taskfile, layout)
        command.count = layout.count(in: command.taskfile)
        command.transferred = command.count
        guard !disk.isBarred, command.first < sectors, UInt64(command.count) <= sectors - command.first else {
            return false
        }
        if disk.powerMode != .active || disk.timing.seconds != 0 { spinUp() }
        disk.timing.lastUse = disk.now
        return true
    }

    /// Ends a command before the first sector that cannot be read, or where a fault happens to it.
    private mutating func lookForErrors(_ command: inout CommandInProgress, _ group: FaultRule.Commands) {
        if let bad = disk.history.unreadable.first(in: command.first..<command.first + UInt64(command.count)) {
            command.transferred = UInt32(truncatingIfNeeded: bad - command.first)
        }
        if !disk.faults.isEmpty { meetFaults(&command, group) }
    }

    /// The command has come to a sector where it cannot go on.
    private mutating func ended(_ command: inout CommandInProgress, movesData: Bool = true) -> Step {
        guard let fault = command.fault else { return unreadable(&command, movesData: movesData) }
        return failed(command, by: fault, movesData: movesData)
    }

    /// Data have come from the medium.
    mutating func haveRead(_ command: inout CommandInProgress) -> Step {
        disk.history.readCommands &+= 1
        disk.history.sectorsRead &+= UInt64(command.transferred)
        guard command.transferred == command.count else { return ended(&command) }
        return moved(command)
    }

    /// Data are on the medium, or in the write cache.
    mutating func haveWritten(_ command: inout CommandInProgress) -> Step {
        disk.history.writeCommands &+= 1
        disk.history.sectorsWritten &+= UInt64(command.transferred)
        if disk.isFlawed { disk.overwrite(command.first..<command.first + UInt64(command.transferred)) }
        guard command.transferred == command.count else { return ended(&command) }
        return moved(command)
    }

    /// What was written is stable: by a command that has written some, or has erased everything, or has asked for it.
    mutating func haveFlushed(_ command: inout CommandInProgress) -> Step {
        switch command.taskfile.command {
        case Command.sanitizeDevice.rawValue: haveSanitized(command)
        case Command.securityEraseUnit.rawValue: haveErased(command)
        default: command.transferred == 0 ? done(command) : haveWritten(&command)
        }
    }

    /// A write has to be stable before it ends.
    mutating func mustFlush(_ command: CommandInProgress) -> Bool {
        guard writeCacheEnabled else { return true }
        switch command.taskfile.command {
        case Command.writeDMAFUAEXT.rawValue, Command.writeMultipleFUAEXT.rawValue: return true
        // FUA, bit 7 of the device register.
        case Command.writeFPDMAQueued.rawValue: return command.taskfile.device & 0x80 != 0
        default: return false
        }
    }

    private mutating func moved(_ command: CommandInProgress) -> Step {
        var result = result(command.taskfile, status: Status.done)
        result.sectorsTransferred = command.transferred
        return .finished(result)
    }

    /// IDNF for an address that does not exist; ABRT while the drive keeps user data to itself.
    mutating func notThere(_ command: CommandInProgress) -> Step {
        guard !disk.isBarred else { return refused(command) }
        let result = result(command.taskfile, status: Status.failedDisk, error: ErrorRegister.idNotFound)
        noteQueuedError(command, result)
        return .finished(result)
    }

    /// UNC, at the first sector that was not transferred.
    private mutating func unreadable(
        _ command: inout CommandInProgress, _ failure: BlockFailure? = nil, movesData: Bool = true
    ) -> Step {
        disk.history.uncorrectableErrors &+= 1
        disk.noteWorst()
        var result = result(command.taskfile, status: Status.failedDisk, error: ErrorRegister.uncorrectable)
        result.sectorsTransferred = movesData ? command.transferred : 0
        result.blockFailure = failure
        note(&result, at: command.first &+ UInt64(command.transferred), command)
        return .finished(result)
    }

    /// The medium has failed at a sector, which the address names.
    mutating func mediumFailed(
        _ command: inout CommandInProgress, _ failure: BlockFailure, after done: UInt32,
        in phase: CommandInProgress.Phase
    ) -> Step {
        command.transferred = min(done, command.transferred)
        switch phase {
        case .reading:
            disk.history.readCommands &+= 1
            disk.history.sectorsRead &+= UInt64(command.transferred)
            return unreadable(&command, failure)
        case .verifying: return unreadable(&command, failure, movesData: false)
        case .writing:
            if failure == .unrecovered { disk.history.writeFaults &+= 1 }
            var result = result(command.taskfile, status: Status.failedDisk, error: ErrorRegister.abort)
            result.sectorsTransferred = command.transferred
            result.blockFailure = failure
            note(&result, at: command.first &+ UInt64(command.transferred), command)
            return .finished(result)
        default:
            return refused(command, failure)
        }
    }

    /// An error of the medium goes to the logs, with its sector in the address.
    mutating func note(_ result: inout TaskfileResult, at sector: UInt64, _ command: CommandInProgress) {
        chsTranslation.store(sector, command.layout, in: &result)
        if command.layout == .queued { result.lba = sector & 0xFFFF_FFFF_FFFF }
        disk.history.errors.append(result, disk.recent, hours: disk.lifetimeHours)
        noteQueuedError(command, result)
    }

    private mutating func noteQueuedError(_ command: CommandInProgress, _ result: TaskfileResult) {
        guard command.layout == .queued else { return }
        disk.queuedError = QueuedCommandError(
            result, tag: UInt8(truncatingIfNeeded: command.taskfile.count >> 3) & 0x1F)
    }
}
