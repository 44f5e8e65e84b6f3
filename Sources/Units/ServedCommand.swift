// One SCSI command of an initiator on its way through the drive: SCSI command -> SCSI commands of the translation layer
// -> ATA taskfiles -> media operations (SAM-5: a device server processes a command).

import ATA
import Blocks
import SAT
import SCSI

/// A command that an initiator has sent, as a state machine.
///
/// READ, WRITE and others of many blocks become one command of the translation layer after another; the rest is
/// answered from what the unit knows, or goes through as it is.
public struct ServedCommand: Sendable {
    /// The kind that a command is counted as, which also decides where its data are.
    public enum Kind: Sendable {
        /// Blocks go to the initiator as they are on the medium.
        case read
        /// Blocks of the initiator go to the medium as they are.
        case write
        /// Written data become stable.
        case flush
        /// Blocks may lose their content.
        case trim
        /// Blocks are written without data for each of them, and may lose their space.
        case writeZeroes
        /// Blocks are brought closer.
        case prefetch
        /// The initiator asks what is stored.
        case lbaStatus
        /// All others: their data are in the buffer.
        case other
    }

    /// The work on the next blocks.
    enum Work: Equatable, Sendable {
        case read
        case write
        case verify
        /// They are read, and compared with the initiator's.
        case compare
        case preFetch
        case zeroes
        case trim
        /// Copies of the initiator's block are written.
        case copies
    }

    /// MAXIMUM TRANSFER LENGTH of the Block Limits page, in bytes.
    public static let maximumTransferBytes: UInt64 = 32 << 20
    /// MAXIMUM WRITE SAME LENGTH: what one list of ranges of a TRIM names.
    static let maximumWriteSameBlocks: UInt64 = 64 * 65_535
    /// MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT.
    static let maximumUnmapDescriptors = 256
    /// MAXIMUM COMPARE AND WRITE LENGTH: what its field can say.
    static let maximumCompareAndWriteBlocks: UInt8 = 255

    /// The initiator's command; of ATA PASS-THROUGH (32) the same command of 16 bytes.
    public let cdb: CommandDescriptorBlock
    /// It is ATA PASS-THROUGH (32).
    let isPassThrough32: Bool
    /// The nexus that it belongs to.
    public let nexus: NexusNumber
    /// The unit, when the command came.
    let facts: UnitFacts
    /// Bytes that the initiator has for the command.
    let expectedOut: UInt32

    /// The server's duty for it.
    let duty: Duty
    let access: CommandAccess
    /// ALLOCATION LENGTH, or PARAMETER LIST LENGTH.
    let dataLength: UInt32
    /// How many bytes it moves if it succeeds and does not answer.
    let commandBytes: UInt64
    /// Why it is not done at all.
    let objection: Objection?
    /// The memory the command needs.
    public let bufferNeeds: BufferNeeds
    /// So many bytes it wants from the initiator, before it begins.
    public let dataOutBytes: Int
    /// The initiator's data go the other way than those of the command.
    let isContrary: Bool
    /// Where blocks are read to that are compared.
    let scratchOffset: Int
    /// The blocks that it is about: of READ and WRITE those that are moved, of others those that its CDB names.
    let blocks: Range<UInt64>

    /// Blocks for which no command has been sent to the translation layer; of UNMAP those of the present descriptor.
    var nextBlock: UInt64
    var endBlock: UInt64
    /// Descriptors of UNMAP that were done, or are being done.
    var descriptorsBegun = 0
    /// The blocks have a second pass: written ones are read again, or compared ones are written.
    var isSecondPass = false
    /// MODE SELECT sets SWP or clears it.
    var selectsWriteProtection: Bool?
    /// WRITE SAME of a block that is not all zeroes.
    var hasContent = false
    /// Commands that have been sent.
    var commandsSent: UInt32 = 0
    /// The one that runs, and where its data are in the buffer.
    var scsi: SCSICommandInProgress
    var commandOffset = 0

    /// How it has ended, once it has.
    public internal(set) var status = SCSIStatus.good
    /// Why, with CHECK CONDITION.
    public internal(set) var sense: SenseData?
    /// How many bytes it moves if its data go the way of the initiator's.
    var movedBytes: UInt64 = 0
    /// How many bytes it moves from or to the initiator, whatever that expected. Data for the initiator begin at
    /// ``BufferNeeds/dataOffset``.
    public var transferBytes: UInt64 { isContrary ? 0 : movedBytes }

    /// A command that has not begun.
    /// - Parameters:
    ///   - cdb: the command, or its first 16 bytes.
    ///   - rest: its bytes 16 to 31, if it has 32.
    ///   - expectedBytes: how many bytes the initiator expects to get or to send.
    ///   - reads: it expects to get them.
    ///   - writes: it has them.
    ///   - nexus: whose command it is.
    ///   - unit: what is known of the unit now.
    public init(
        _ cdb: CommandDescriptorBlock, rest: CommandDescriptorBlock? = nil, expectedBytes: UInt32, reads: Bool,
        writes: Bool, nexus: NexusNumber, unit: UnitFacts
    ) {
        isPassThrough32 = cdb.operationCode == PassThrough32.operationCode && unit.isPresent && !unit.kind.isDisc
        let (cdb, refusal) = isPassThrough32 ? PassThrough32.translate(cdb, rest) : (cdb, nil)
        let judgement = Judgement(
            cdb, expectedIn: reads ? expectedBytes : 0, expectedOut: writes ? expectedBytes : 0, unit: unit)
        self.cdb = cdb
        self.nexus = nexus
        facts = unit
        expectedOut = judgement.expectedOut
        duty = judgement.duty
        access = judgement.access
        dataLength = judgement.dataLength
        commandBytes = judgement.commandBytes
        objection = refusal ?? judgement.objection
        bufferNeeds = judgement.bufferNeeds
        dataOutBytes = judgement.dataOutBytes
        isContrary = judgement.isContrary
        scratchOffset = judgement.scratchOffset
        blocks = judgement.blocks
        nextBlock = blocks.lowerBound
        endBlock = blocks.upperBound
        // SAT answers initiators as it answers programs: their commands go through as a program's do.
        scsi = SCSICommandInProgress(cdb: cdb, transferLength: 0, origin: duty.isSentAsItIs ? .user : .kernel)
    }

    /// The same command once more, which has not begun.
    public mutating func renew() {
        nextBlock = blocks.lowerBound
        endBlock = blocks.upperBound
        descriptorsBegun = 0
        isSecondPass = false
        selectsWriteProtection = nil
        hasContent = false
        commandsSent = 0
        commandOffset = 0
        status = .good
        sense = nil
        movedBytes = 0
    }

    /// The kind that it is counted as.
    public var kind: Kind {
        switch duty {
        case .read: .read
        case .write: .write
        case .writeAndVerify: cdb.comparesBytes ? .other : .write
        case .synchronizeCache: .flush
        case .preFetch: .prefetch
        case .unmap: .trim
        case .writeSame: cdb.unmap && !cdb.noDataOutBuffer ? .trim : .writeZeroes
        case .lbaStatus: .lbaStatus
        default: .other
        }
    }

    /// The first byte that a READ or WRITE moves; else 0.
    public var offsetBytes: UInt64 { movesBlocks ? facts.blockSize.bytes(ofBlocks: blocks.lowerBound) : 0 }
    /// The bytes that a READ or WRITE moves; else 0.
    public var lengthBytes: UInt64 {
        movesBlocks && objection == nil ? facts.blockSize.bytes(ofBlocks: UInt64(blocks.count)) : 0
    }

    private var movesBlocks: Bool { kind == .read || kind == .write }

    /// The command may change what is on the medium.
    public var writes: Bool {
        guard objection == nil else { return false }
        return switch duty {
        case .write, .writeAndVerify, .compareAndWrite, .writeSame, .unmap: true
        case .passThrough: expectedOut > 0 || facts.kind.isWholeDisk && CommandRow.changesMedium(taskfileCommand)
        default: false
        }
    }

    /// The command register of ATA PASS-THROUGH.
    private var taskfileCommand: UInt8 { cdb.operationCode == OperationCode.ataPassThrough12 ? cdb[9] : cdb[14] }

    /// It may change what the unit is for all: the drive's settings.
    public var changesUnit: Bool {
        switch duty {
        case .modeSelect, .passThrough: true
        case .packet: cdb.movesTray
        default: false
        }
    }

    /// It may change who is registered and what is reserved, and end others' commands.
    public var changesReservations: Bool { duty == .reserveOut }

    /// It tells which logical units there are.
    public var readsInventory: Bool { duty == .reportLUNs }

    /// Its data are stable before it ends: FUA of WRITE (10), (12) and (16) and of COMPARE AND WRITE, which a QEMU
    /// HARDDISK does not have.
    public var forcesUnitAccess: Bool {
        (duty == .write || duty == .compareAndWrite) && cdb.operationCode >> 5 != 0 && cdb.forceUnitAccess
    }

    /// It fails rather than store zeroes no faster than they can be written.
    public var hasToBeFast: Bool { false }

    /// The first answer is enough: parameter data with one LBA status descriptor.
    public var asksForOneExtent: Bool { duty == .lbaStatus }

    /// No other write to the drive may be under way until the command is served or has come to
    /// ``UnitStep/commandEnded``: it writes what depends on what it has read, or a range that is no multiple of what
    /// the medium can write by itself, a power of two, or one that is not known yet.
    public func needsToBeAlone(granularityBytes: UInt64) -> Bool {
        guard writes else { return false }
        if duty == .compareAndWrite { return true }
        guard granularityBytes > facts.blockSize.bytes else { return false }
        let blockMask = facts.blockSize.blocks(inBytes: granularityBytes) &- 1
        return switch duty {
        case .write, .writeAndVerify: (blocks.lowerBound | blocks.upperBound) & blockMask != 0
        case .writeSame: (nextBlock | nextBlockCount) & blockMask != 0
        default: true
        }
    }
}

extension Duty {
    /// The translation layer gets the initiator's CDB, once.
    var isSentAsItIs: Bool {
        switch self {
        case .inquiry, .page, .translated, .modeSelect, .passThrough, .packet: true
        default: false
        }
    }
}
