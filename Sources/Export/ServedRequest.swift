// One NBD request on its way through the drive: NBD request -> SCSI commands -> ATA taskfiles -> media operations.

import ATA
import Blocks
import NBD
import SAT
import SCSI
import Units

/// A request that was judged sound, as a state machine.
///
/// It becomes one SCSI command after another. A part that is not on sector boundaries becomes a read-modify-write of
/// the sectors it touches: the caller keeps other writes to the drive away meanwhile (``needsToBeAlone``).
public struct ServedRequest: Sendable {
    /// The purpose of the running SCSI command.
    enum Phase {
        /// The sectors of the request itself.
        case whole
        /// The sector around the first byte, read to be completed.
        case head
        /// The sector around the last byte, read to be completed.
        case tail
        /// Such a sector, written back with zeroes in it.
        case edge
        /// All is done, and is made stable.
        case flushing
    }

    /// The request that the client sent.
    public let request: NBD.Request
    /// The drive's.
    public let blockSize: BlockSize
    /// The memory the request needs.
    public let bufferNeeds: BufferNeeds
    private var phase = Phase.whole
    /// Partial sectors at the beginning and the end that are still to be completed.
    @usableFromInline var headIsOpen: Bool
    @usableFromInline var tailIsOpen: Bool

    /// Sectors of the request that no SCSI command has been sent for.
    @usableFromInline var nextSector: UInt64
    @usableFromInline private(set) var endSector: UInt64
    /// The running SCSI command, and where its sectors are in the buffer.
    var scsi: SCSICommandInProgress
    private var commandOffset: UInt32 = 0
    /// SCSI commands sent for a BLOCK_STATUS.
    var statusCommands: UInt16 = 0
    /// Descriptors of a BLOCK_STATUS that are in the buffer.
    public internal(set) var descriptorCount: UInt16 = 0
    /// It has failed because an initiator has reserved the drive (SPC-4, RESERVATION CONFLICT) or write-protected it.
    public private(set) var meetsReservation = false
    /// Why it has failed; nil as long as it has not.
    public private(set) var error: NBDError?

    /// A request that has not begun. The sectors are all that it touches, but for TRIM all that it covers: the
    /// rest must keep its content.
    @inline(__always)  // into its own entry point: else that is a thunk, which copies the value once more
    public init(_ request: NBD.Request, blockSize: BlockSize) {
        self.request = request
        self.blockSize = blockSize
        let command = request.command
        let end = request.offsetBytes + request.lengthBytes
        let inset = blockSize.remainder(request.offsetBytes)
        let firstTouched = blockSize.blocks(inBytes: request.offsetBytes)
        let endTouched = blockSize.blocks(holdingBytes: end)
        switch command {
        case .trim, .writeZeroes:
            nextSector = blockSize.blocks(holdingBytes: request.offsetBytes)
            endSector = blockSize.blocks(inBytes: end)
        default:
            nextSector = firstTouched
            endSector = endTouched
        }
        let completes = command == .write || command == .writeZeroes
        headIsOpen = completes && inset != 0
        // Both ends in the same sector: completing the head completes it.
        tailIsOpen =
            completes && !blockSize.isWhole(end)
            && !(inset != 0 && blockSize.blocks(inBytes: request.offsetBytes ^ end) == 0)
        let touchedBytes = Int(truncatingIfNeeded: blockSize.bytes(ofBlocks: endTouched - firstTouched))
        bufferNeeds =
            switch command {
            case .read:
                BufferNeeds(byteCount: touchedBytes, dataOffset: Int(inset))
            case .write:
                // The sector that completes an end is read to behind the data.
                BufferNeeds(
                    byteCount: touchedBytes + (headIsOpen || tailIsOpen ? Int(blockSize.bytes) : 0),
                    dataOffset: Int(inset))
            case .trim, .writeZeroes:
                // The list of ranges, or the sector to complete.
                BufferNeeds(byteCount: Int(blockSize.bytes), dataOffset: 0)
            case .blockStatus:
                BufferNeeds(byteCount: Self.descriptorAreaBytes(isExtended: request.isExtended), dataOffset: 0)
            case .flush, .cache, .disconnect:
                BufferNeeds(byteCount: 0, dataOffset: 0)
            }
        scsi = SCSICommandInProgress(cdb: .synchronizeCache10(), transferLength: 0, origin: .kernel)
        error = nil
    }

    /// The same request once more, which has not begun.
    public mutating func renew() {
        self = ServedRequest(request, blockSize: blockSize)
    }

    /// The command; never DISC.
    @inlinable public var command: NBD.Command { request.command }
    /// Its flags.
    @inlinable public var flags: CommandFlags { request.flags }
    /// The first byte.
    @inlinable public var offsetBytes: UInt64 { request.offsetBytes }
    /// The number of bytes.
    @inlinable public var lengthBytes: UInt64 { request.lengthBytes }
    var isExtended: Bool { request.isExtended }

    /// The request changes what is on the medium.
    @inlinable public var writes: Bool {
        switch command {
        case .write, .writeZeroes, .trim: true
        default: false
        }
    }

    /// Its data are stable before it ends.
    @inlinable public var forcesUnitAccess: Bool { flags.contains(.fua) }

    /// It fails rather than store zeroes no faster than they can be written.
    @inlinable public var hasToBeFast: Bool { flags.contains(.fastZero) }

    /// The first answer is enough of a BLOCK_STATUS.
    @inlinable public var asksForOneExtent: Bool { flags.contains(.reqOne) }

    /// No other write to the drive may be under way until the request is served or has come to
    /// ``UnitStep/commandEnded``: it reads sectors to write them back, or writes a range that is no multiple of what
    /// the medium can write by itself. That is a power of two.
    @inlinable @inline(__always)  // who calls it would copy the request
    public func needsToBeAlone(granularityBytes: UInt64) -> Bool {
        guard writes else { return false }
        if headIsOpen || tailIsOpen { return true }
        let range = command == .write ? offsetBytes | lengthBytes : rangeOfNextCommand
        return range & (granularityBytes &- 1) != 0
    }

    /// Where the next command begins and how many bytes it is for, as bits that one of them has.
    @inlinable var rangeOfNextCommand: UInt64 {
        blockSize.bytes(ofBlocks: nextSector | sectorsOfNextCommand)
    }

    /// Begins to serve the request.
    public mutating func begin(on export: inout ExportedDrive, buffer: inout MutableRawSpan) -> UnitStep {
        export.requestsServed &+= 1
        guard writes ? export.strangers.mayWrite : export.strangers.mayRead else {
            meetsReservation = true
            error = .notPermitted
            return .finished
        }
        return proceed(export: &export, buffer: &buffer)
    }

    /// Goes on after the medium has done, or failed to do, what the last step asked for.
    public mutating func resume(
        _ outcome: BlockOutcome, on export: inout ExportedDrive, buffer: inout MutableRawSpan
    ) -> UnitStep {
        let step = export.translation.resume(&scsi, drive: &export.drive, outcome: outcome, data: &buffer)
        return follow(step, export: &export, buffer: &buffer)
    }

    /// Goes on where ``UnitStep/commandEnded`` was the answer.
    public mutating func goOn(on export: inout ExportedDrive, buffer: inout MutableRawSpan) -> UnitStep {
        proceed(export: &export, buffer: &buffer)
    }

    /// Ends the request where ``UnitStep/commandEnded`` was the answer: nobody waits for the rest of it.
    public mutating func giveUp() -> UnitStep {
        error = .inputOutput
        return .finished
    }

    /// The state of the drive that it has changed could not be kept.
    public mutating func failKeeping() { error = .inputOutput }

    /// Sends the next SCSI command, or ends the request when there is none.
    private mutating func proceed(export: inout ExportedDrive, buffer: inout MutableRawSpan) -> UnitStep {
        if headIsOpen { return readEdge(.head, export: &export, buffer: &buffer) }
        if tailIsOpen { return readEdge(.tail, export: &export, buffer: &buffer) }
        if command == .blockStatus, statusIsComplete { return .finished }
        guard let cdb = nextCommand(for: export.drive.kind) else { return .finished }
        return send(cdb, export: &export, buffer: &buffer)
    }

    /// The SCSI command for the next sectors of the request.
    private mutating func nextCommand(for kind: DriveKind) -> CommandDescriptorBlock? {
        if command == .flush {
            guard phase == .whole, nextSector == 0 else { return nil }
            nextSector = 1
            endSector = 1
            return .synchronizeCache10()
        }
        guard nextSector < endSector else { return flushAtEnd() }
        phase = .whole
        let first = nextSector
        let count = UInt32(sectorsOfNextCommand)
        nextSector += UInt64(count)
        if command == .read || command == .write {
            commandOffset = UInt32(blockSize.bytes(ofBlocks: first - blockSize.blocks(inBytes: offsetBytes)))
        }
        switch command {
        case .read where kind.isDisc:
            // Neither the address nor the length of a command for a disc is larger.
            return .read10(
                logicalBlockAddress: UInt32(truncatingIfNeeded: first),
                transferLength: UInt16(truncatingIfNeeded: count))
        case .read:
            return .read16(logicalBlockAddress: first, transferLength: count)
        case .write:
            return .write16(
                logicalBlockAddress: first, transferLength: count, forceUnitAccess: flags.contains(.fua))
        case .writeZeroes:
            return .writeSame16(
                logicalBlockAddress: first, numberOfLogicalBlocks: count, unmap: !flags.contains(.noHole),
                noDataOutBuffer: true)
        case .trim:
            return .writeSame16(
                logicalBlockAddress: first, numberOfLogicalBlocks: count, unmap: true, noDataOutBuffer: false)
        case .cache:
            return .preFetch16(logicalBlockAddress: first, prefetchLength: count)
        case .blockStatus:
            // How far its answer goes is not known yet.
            nextSector = first
            statusCommands += 1
            return .getLBAStatus16(
                startingLogicalBlockAddress: first, allocationLength: UInt32(LBAStatusData.byteCount))
        case .flush, .disconnect:
            preconditionFailure("this command has no sectors")
        }
    }

    /// What makes zeroes stable: WRITE SAME has no FUA.
    private mutating func flushAtEnd() -> CommandDescriptorBlock? {
        guard forcesUnitAccess, command == .writeZeroes || command == .trim, phase != .flushing else { return nil }
        phase = .flushing
        return .synchronizeCache10()
    }

    /// The most sectors that one SCSI command is sent for: what one taskfile carries, in whole 4 KiB, and for TRIM what
    /// one list of ranges does (the MAXIMUM WRITE SAME LENGTH of the Block Limits page).
    @inlinable var commandLimit: UInt64 {
        command == .trim ? 64 * 65_535 : 65_528
    }

    /// How many sectors the next command is for. One that others follow ends where 4 KiB do, so that these begin there:
    /// on most media they need not be alone.
    @inlinable var sectorsOfNextCommand: UInt64 {
        let left = endSector - min(nextSector, endSector)
        return left > commandLimit ? commandLimit - nextSector % 8 : left
    }
}

/// SCSI commands and their ends.
extension ServedRequest {
    private mutating func send(
        _ cdb: CommandDescriptorBlock, export: inout ExportedDrive, buffer: inout MutableRawSpan
    ) -> UnitStep {
        export.commandsSent &+= 1
        scsi.start(cdb, transferLength: Self.transferLength(of: cdb, blockSize))
        let step = export.translation.begin(&scsi, drive: &export.drive, data: &buffer)
        return follow(step, export: &export, buffer: &buffer)
    }

    /// Passes the translation layer's wish on, in terms of the request's buffer; at the end of a command, the next one
    /// begins.
    mutating func follow(
        _ step: TranslationLayer.Step, export: inout ExportedDrive, buffer: inout MutableRawSpan
    ) -> UnitStep {
        switch step {
        case .blocks(.write(let lba, let count), _, zeroes: true, let mayDeallocate):
            return .performZeroes(lba: lba, count: count, mayDeallocate: mayDeallocate)
        case .blocks(let operation, let dataOffset, _, _):
            return .perform(operation, bufferOffset: commandOffset + dataOffset)
        case .lbaStatus(let lba):
            return .lbaStatus(lba: lba, limit: UInt32(clamping: endSector - lba))
        case .finished(.good, _):
            return finishCommand(export: &export, buffer: &buffer)
        case .finished:
            error = NBDError(
                scsi.sense, from: export.drive.kind, for: command, isBeyondEnd: endSector > export.sectorCount)
            return .finished
        }
    }

    /// The byte at which a READ has failed; all data before it are good. Nil if it has not, or if nobody knows.
    ///
    /// It is the INFORMATION of the sense data (SBC-4, "Error reporting": the first block with an error), if that is
    /// one of the blocks that the command was for.
    public var failedOffsetBytes: UInt64? {
        guard command == .read, let block = scsi.sense?.information, block < nextSector,
            block >= nextSector - blockSize.blocks(inBytes: UInt64(scsi.transferLength))
        else { return nil }
        return max(blockSize.bytes(ofBlocks: block), offsetBytes)
    }

    private mutating func finishCommand(export: inout ExportedDrive, buffer: inout MutableRawSpan) -> UnitStep {
        switch phase {
        case .whole, .edge, .flushing:
            guard !mayPause else { return .commandEnded }
            return proceed(export: &export, buffer: &buffer)
        case .head, .tail:
            return completeEdge(export: &export, buffer: &buffer)
        }
    }

    /// There is more to do, and nothing depends on its being done now.
    private var mayPause: Bool {
        guard command != .write, command != .flush else { return false }
        return tailIsOpen || nextSector < endSector && !(command == .blockStatus && statusIsComplete)
    }

    /// The data that belong to a command: for READ and WRITE its blocks, for a TRIM the list of ranges.
    private static func transferLength(of cdb: CommandDescriptorBlock, _ blockSize: BlockSize) -> UInt32 {
        switch cdb.operationCode {
        case OperationCode.read16, OperationCode.write16: cdb.transferLength16 * UInt32(blockSize.bytes)
        case OperationCode.read10: cdb.transferLength10 * UInt32(blockSize.bytes)
        case OperationCode.writeSame16 where !cdb.noDataOutBuffer: UInt32(blockSize.bytes)
        case OperationCode.serviceActionIn16: UInt32(LBAStatusData.byteCount)
        default: 0
        }
    }
}

/// Partial sectors.
extension ServedRequest {
    /// Where in the buffer the sector that completes an end is read to.
    private var scratchOffset: Int {
        command == .write ? bufferNeeds.byteCount - Int(blockSize.bytes) : 0
    }

    private mutating func readEdge(
        _ edge: Phase, export: inout ExportedDrive, buffer: inout MutableRawSpan
    ) -> UnitStep {
        phase = edge
        commandOffset = UInt32(scratchOffset)
        return send(.read16(logicalBlockAddress: sector(of: edge), transferLength: 1), export: &export, buffer: &buffer)
    }

    private func sector(of edge: Phase) -> UInt64 {
        let byte = edge == .head ? offsetBytes : offsetBytes + lengthBytes - 1
        return blockSize.blocks(inBytes: byte)
    }

    /// The sector around an end has been read: takes from it what the request does not cover.
    private mutating func completeEdge(export: inout ExportedDrive, buffer: inout MutableRawSpan) -> UnitStep {
        let edge = phase
        let first = blockSize.bytes(ofBlocks: sector(of: edge))
        // The bytes of this sector that the request covers.
        let covered =
            Int(
                max(offsetBytes, first) - first)..<Int(
                min(offsetBytes + lengthBytes, first + blockSize.bytes) - first)
        if edge == .head { headIsOpen = false } else { tailIsOpen = false }
        if command == .write {
            let place = Int(first - (offsetBytes - blockSize.remainder(offsetBytes)))
            buffer.copy(covered.lowerBound, from: scratchOffset, to: place)
            buffer.copy(
                Int(blockSize.bytes) - covered.upperBound, from: scratchOffset + covered.upperBound,
                to: place + covered.upperBound)
            // With both ends in one sector, the bytes behind the request were taken here as well.
            return proceed(export: &export, buffer: &buffer)
        }
        buffer.clear(covered.count, at: scratchOffset + covered.lowerBound)
        phase = .edge
        return send(
            .write16(logicalBlockAddress: sector(of: edge), transferLength: 1), export: &export, buffer: &buffer)
    }
}

extension MutableRawSpan {
    /// Copies `count` bytes to another place; the places do not overlap.
    fileprivate mutating func copy(_ count: Int, from source: Int, to target: Int) {
        precondition(count >= 0 && (0...byteCount - count).contains(source), "outside the buffer")
        precondition((0...byteCount - count).contains(target), "outside the buffer")
        unsafe withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            unsafe (base + target).copyMemory(from: base + source, byteCount: count)
        }
    }

    /// Makes `count` bytes zero.
    fileprivate mutating func clear(_ count: Int, at target: Int) {
        precondition(count >= 0 && (0...byteCount - count).contains(target), "outside the buffer")
        unsafe withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            unsafe (base + target).initializeMemory(as: UInt8.self, repeating: 0, count: count)
        }
    }
}
