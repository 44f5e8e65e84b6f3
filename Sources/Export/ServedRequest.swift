// One NBD request on its way through the drive: NBD request -> SCSI commands -> ATA taskfiles -> media operations.

import ATA
import NBD
import SAT
import SCSI

/// A request that was judged sound (`RequestHeader.validate(for:)`), as a state machine.
///
/// It becomes one SCSI command after another. What is not on sector boundaries becomes a read-modify-write of the sectors
/// it touches: the caller keeps other writes to the drive away meanwhile (``needsToBeAlone``).
public struct ServedRequest: Sendable {
    /// What the running SCSI command is for.
    enum Phase {
        /// The sectors of the request itself.
        case whole
        /// The sector around the first byte, read to be completed.
        case head
        /// The sector around the last byte, read to be completed.
        case tail
        /// Such a sector, written back with zeroes in it.
        case edge
    }

    /// The command; never DISC.
    public let command: NBD.Command
    private var phase = Phase.whole
    /// Its flags.
    public let flags: CommandFlags
    /// Partial sectors at the beginning and the end that are still to be completed.
    private var headIsOpen: Bool
    private var tailIsOpen: Bool
    /// The request has an extended header, and so has its reply.
    public let isExtended: Bool
    /// The client's name for it.
    public let cookie: UInt64
    /// The first byte.
    public let offsetBytes: UInt64
    /// The number of bytes.
    public let lengthBytes: UInt64

    /// Sectors of the request that no SCSI command has been sent for.
    var nextSector: UInt64
    private(set) var endSector: UInt64
    /// The running SCSI command, and where its sectors are in the buffer.
    var scsi: SCSICommandInProgress
    private var commandOffset: UInt32 = 0
    /// SCSI commands sent for a BLOCK_STATUS.
    var statusCommands: UInt16 = 0
    /// Descriptors of a BLOCK_STATUS that are in the buffer.
    public internal(set) var descriptorCount: UInt16 = 0

    /// A request that is refused: it never begins, only its answer needs to know what it was.
    public init(refusing header: RequestHeader) {
        var header = header
        header.lengthBytes = 0
        self.init(header, as: .flush)
    }

    /// A request that has not begun. The sectors are all that it touches, but for TRIM all that it covers: what is not
    /// covered must keep its content.
    @inline(__always)  // into its own entry point: else that is a thunk, which copies the value once more
    public init(_ header: RequestHeader, as command: NBD.Command) {
        self.command = command
        flags = header.flags
        isExtended = header.isExtended
        cookie = header.cookie
        offsetBytes = header.offsetBytes
        lengthBytes = header.lengthBytes
        let end = header.offsetBytes + header.lengthBytes
        let size = ExportedDrive.sectorBytes
        let startsInside = header.offsetBytes % size != 0
        let endsInside = end % size != 0
        switch command {
        case .trim, .writeZeroes:
            nextSector = header.offsetBytes / size + (startsInside ? 1 : 0)
            endSector = end / size
        default:
            nextSector = header.offsetBytes / size
            endSector = end / size + (endsInside ? 1 : 0)
        }
        let completes = command == .write || command == .writeZeroes
        headIsOpen = completes && startsInside
        // Both ends in the same sector: completing the head completes it.
        tailIsOpen = completes && endsInside && !(startsInside && header.offsetBytes / size == end / size)
        scsi = SCSICommandInProgress(cdb: .synchronizeCache10(), transferLength: 0, origin: .kernel)
    }

    /// The request changes what is on the medium.
    public var writes: Bool {
        switch command {
        case .write, .writeZeroes, .trim: true
        default: false
        }
    }

    /// No other write to the drive may be under way while this request is: it reads sectors to write them back, or its
    /// range is no multiple of what the medium can write by itself.
    public func needsToBeAlone(granularityBytes: UInt64) -> Bool {
        writes && (headIsOpen || tailIsOpen || (offsetBytes | lengthBytes) % granularityBytes != 0)
    }

    /// The memory the request needs.
    public var bufferNeeds: BufferNeeds {
        let size = Int(ExportedDrive.sectorBytes)
        let inset = Int(offsetBytes % ExportedDrive.sectorBytes)
        switch command {
        case .read:
            return BufferNeeds(byteCount: touchedBytes, dataOffset: inset)
        case .write:
            // The sector that completes an end is read to behind the data.
            return BufferNeeds(byteCount: touchedBytes + (headIsOpen || tailIsOpen ? size : 0), dataOffset: inset)
        case .trim, .writeZeroes:
            // The list of ranges, or the sector to complete.
            return BufferNeeds(byteCount: size, dataOffset: 0)
        case .blockStatus:
            return BufferNeeds(byteCount: Self.descriptorAreaBytes(isExtended: isExtended), dataOffset: 0)
        default:
            return BufferNeeds(byteCount: 0, dataOffset: 0)
        }
    }

    /// The bytes of all sectors that the request touches.
    private var touchedBytes: Int {
        let size = ExportedDrive.sectorBytes
        let first = offsetBytes / size
        let last = (offsetBytes + lengthBytes + size - 1) / size
        return Int((last - first) * size)
    }

    /// Begins to serve the request.
    public mutating func begin(on export: inout ExportedDrive, buffer: inout MutableRawSpan) -> Effect {
        export.requestsServed &+= 1
        return proceed(export: &export, buffer: &buffer)
    }

    /// Goes on after the medium has done, or failed to do, what the last effect asked for.
    public mutating func resume(
        _ outcome: MediaOutcome, on export: inout ExportedDrive, buffer: inout MutableRawSpan
    ) -> Effect {
        let step = export.translation.resume(&scsi, drive: &export.drive, outcome: outcome, data: &buffer)
        return follow(step, export: &export, buffer: &buffer)
    }

    /// Sends the next SCSI command, or ends the request when there is none.
    private mutating func proceed(export: inout ExportedDrive, buffer: inout MutableRawSpan) -> Effect {
        if headIsOpen { return readEdge(.head, export: &export, buffer: &buffer) }
        if tailIsOpen { return readEdge(.tail, export: &export, buffer: &buffer) }
        if command == .blockStatus, statusIsComplete { return .reply(nil) }
        guard let cdb = nextCommand() else { return .reply(nil) }
        return send(cdb, export: &export, buffer: &buffer)
    }

    /// The SCSI command for the next sectors of the request.
    private mutating func nextCommand() -> CommandDescriptorBlock? {
        if command == .flush {
            guard phase == .whole, nextSector == 0 else { return nil }
            nextSector = 1
            endSector = 1
            return .synchronizeCache10()
        }
        guard nextSector < endSector else { return nil }
        phase = .whole
        let first = nextSector
        let count = UInt32(min(endSector - first, UInt64(commandLimit)))
        nextSector += UInt64(count)
        if command == .read || command == .write {
            commandOffset = UInt32((first - offsetBytes / ExportedDrive.sectorBytes) * ExportedDrive.sectorBytes)
        }
        switch command {
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

    /// The most sectors that one SCSI command is sent for: what one taskfile carries, in whole 4 KiB, and for TRIM what
    /// one list of ranges does (the MAXIMUM WRITE SAME LENGTH of the Block Limits page).
    private var commandLimit: UInt32 {
        command == .trim ? 64 * 65_535 : 65_528
    }
}

/// SCSI commands and their ends.
extension ServedRequest {
    private mutating func send(
        _ cdb: CommandDescriptorBlock, export: inout ExportedDrive, buffer: inout MutableRawSpan
    ) -> Effect {
        export.commandsSent &+= 1
        scsi.start(cdb, transferLength: transferLength(of: cdb))
        let step = export.translation.begin(&scsi, drive: &export.drive, data: &buffer)
        return follow(step, export: &export, buffer: &buffer)
    }

    /// What the translation layer wants, in terms of the request's buffer; at the end of a command, what comes next.
    mutating func follow(
        _ step: SATStep, export: inout ExportedDrive, buffer: inout MutableRawSpan
    ) -> Effect {
        switch step {
        case .medium(.write(let lba, let count), _, zeroes: true, let mayDeallocate):
            return .performZeroes(lba: lba, count: count, mayDeallocate: mayDeallocate)
        case .medium(let operation, let dataOffset, _, _):
            return .perform(operation, bufferOffset: commandOffset + dataOffset)
        case .lbaStatus(let lba):
            return .lbaStatus(lba: lba, limit: UInt32(clamping: endSector - lba))
        case .finished(.good, _):
            return finishCommand(export: &export, buffer: &buffer)
        case .finished:
            return .reply(NBDError(scsi.sense))
        }
    }

    /// The byte at which a READ has failed; all data before it are good. Nil if it has not, or if nobody knows.
    ///
    /// It is the INFORMATION of the sense data (SBC-4, "Error reporting": the first block with an error), if that is one of
    /// the blocks that the command was for.
    public var failedOffsetBytes: UInt64? {
        guard command == .read, let block = scsi.sense?.information, block < nextSector,
            block >= nextSector - UInt64(scsi.cdb.transferLength16)
        else { return nil }
        return max(block * ExportedDrive.sectorBytes, offsetBytes)
    }

    private mutating func finishCommand(export: inout ExportedDrive, buffer: inout MutableRawSpan) -> Effect {
        switch phase {
        case .whole, .edge:
            return proceed(export: &export, buffer: &buffer)
        case .head, .tail:
            return completeEdge(export: &export, buffer: &buffer)
        }
    }

    /// The data that belong to a command: for READ and WRITE its blocks, for a TRIM the list of ranges.
    private func transferLength(of cdb: CommandDescriptorBlock) -> UInt32 {
        switch cdb.operationCode {
        case OperationCode.read16, OperationCode.write16: cdb.transferLength16 * UInt32(ExportedDrive.sectorBytes)
        case OperationCode.writeSame16 where !cdb.noDataOutBuffer: UInt32(ExportedDrive.sectorBytes)
        case OperationCode.serviceActionIn16: UInt32(LBAStatusData.byteCount)
        default: 0
        }
    }
}

/// Partial sectors.
extension ServedRequest {
    /// Where in the buffer the sector that completes an end is read to.
    private var scratchOffset: Int {
        command == .write ? touchedBytes : 0
    }

    private mutating func readEdge(
        _ edge: Phase, export: inout ExportedDrive, buffer: inout MutableRawSpan
    ) -> Effect {
        phase = edge
        commandOffset = UInt32(scratchOffset)
        return send(.read16(logicalBlockAddress: sector(of: edge), transferLength: 1), export: &export, buffer: &buffer)
    }

    private func sector(of edge: Phase) -> UInt64 {
        let byte = edge == .head ? offsetBytes : offsetBytes + lengthBytes - 1
        return byte / ExportedDrive.sectorBytes
    }

    /// The sector around an end has been read: takes from it what the request does not cover.
    private mutating func completeEdge(export: inout ExportedDrive, buffer: inout MutableRawSpan) -> Effect {
        let edge = phase
        let first = sector(of: edge) * ExportedDrive.sectorBytes
        // The bytes of this sector that the request covers.
        let covered =
            Int(
                max(offsetBytes, first) - first)..<Int(
                min(offsetBytes + lengthBytes, first + ExportedDrive.sectorBytes) - first)
        if edge == .head { headIsOpen = false } else { tailIsOpen = false }
        if command == .write {
            let place = Int(first - offsetBytes / ExportedDrive.sectorBytes * ExportedDrive.sectorBytes)
            buffer.copy(covered.lowerBound, from: scratchOffset, to: place)
            buffer.copy(
                Int(ExportedDrive.sectorBytes) - covered.upperBound, from: scratchOffset + covered.upperBound,
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
