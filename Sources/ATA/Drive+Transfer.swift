// Data between host and medium: READ and WRITE SECTORS, MULTIPLE, DMA, FPDMA QUEUED; READ VERIFY; FLUSH CACHE
// (ACS-4 clause 7, by these names; the obsolete ones ATA/ATAPI-5 clause 8).

import Blocks

extension Drive {
    /// Reads.
    /// - Parameter block: sectors whose range the drive checks at once; 0 if the command cannot be.
    mutating func read(_ command: inout CommandInProgress, _ layout: TaskfileLayout, block: UInt32) -> Step {
        guard prepare(&command, layout, block: block) else { return aborted(command) }
        command.phase = .reading
        return .blocks(.read(lba: command.first, count: command.transferred))
    }

    /// Writes.
    /// - Parameter block: as for reads.
    mutating func write(_ command: inout CommandInProgress, _ layout: TaskfileLayout, block: UInt32) -> Step {
        guard prepare(&command, layout, block: block) else { return aborted(command) }
        command.phase = .writing
        return .blocks(.write(lba: command.first, count: command.transferred))
    }

    /// Finds what a command can transfer.
    ///
    /// DMA commands are checked as a whole. PIO commands go on block by block until one is not wholly on the medium;
    /// all blocks before it are one operation here, and ``transferred(_:)`` lets the command end at that block.
    /// - Returns: false if there is nothing to transfer before the command is aborted.
    private mutating func prepare(_ command: inout CommandInProgress, _ layout: TaskfileLayout, block: UInt32) -> Bool {
        guard block != 0 else { return false }
        command.layout = layout
        command.first = chsTranslation.firstSector(of: command.taskfile, layout)
        command.count = layout.count(in: command.taskfile)
        let available = available(from: command.first)
        command.transferred =
            available >= UInt64(command.count)
            ? command.count : UInt32(truncatingIfNeeded: available) / block * block
        return command.transferred != 0
    }

    /// Sectors from one on to the end of the medium.
    private mutating func available(from first: UInt64) -> UInt64 {
        first < sectors ? sectors - first : 0
    }

    /// The medium has done its part: the registers have moved on by the sectors transferred, and if those are not all
    /// that the command asked for, it is aborted there.
    mutating func transferred(_ command: inout CommandInProgress) -> Step {
        let complete = command.transferred == command.count
        var result = result(
            command.taskfile, status: complete ? Status.done : Status.failed, error: complete ? 0 : ErrorRegister.abort)
        result.sectorsTransferred = command.transferred
        if command.transferred != 0 { moveOn(&result, &command) }
        return .finished(result)
    }

    /// The medium has failed at a sector, which the address names (ACS-4 clause 6, "LBA of first error"). The outputs
    /// of a queued command have no address; that of the NCQ Command Error log stands for it.
    mutating func failed(_ command: inout CommandInProgress, _ error: BlockFailure, after done: UInt32) -> Step {
        var result = result(command.taskfile, status: Status.failed, error: ErrorRegister.abort)
        result.blockFailure = error
        result.sectorsTransferred = min(done, command.transferred)
        if result.sectorsTransferred != 0 { moveOn(&result, &command) }
        if command.layout == .queued { result.lba = command.first &+ UInt64(result.sectorsTransferred) }
        return .finished(result)
    }

    /// Lets address and count say what is left.
    @inline(__always)
    private mutating func moveOn(_ result: inout TaskfileResult, _ command: inout CommandInProgress) {
        chsTranslation.store(command.first &+ UInt64(result.sectorsTransferred), command.layout, in: &result)
        guard command.layout != .queued else { return }
        // A QEMU drive counts down in the current content only.
        let left = UInt16(truncatingIfNeeded: command.count &- result.sectorsTransferred)
        result.count = result.count & 0xFF00 | left & 0x00FF
    }

    /// READ VERIFY SECTORS (EXT). A QEMU drive looks at nothing and succeeds; the medium is told so that it can bring
    /// the sectors closer, as far as they exist.
    mutating func readVerify(_ command: inout CommandInProgress, _ layout: TaskfileLayout) -> Step {
        let first = chsTranslation.firstSector(of: command.taskfile, layout)
        let count = min(UInt64(layout.count(in: command.taskfile)), available(from: first))
        guard count != 0 else { return done(command) }
        command.phase = .verifying
        return .blocks(.prefetch(lba: first, count: UInt32(truncatingIfNeeded: count)))
    }

    /// FLUSH CACHE (EXT), and the flush that makes a command's effect stable before it ends.
    mutating func flush(_ command: inout CommandInProgress) -> Step {
        command.phase = .flushing
        return .blocks(.flush)
    }
}
