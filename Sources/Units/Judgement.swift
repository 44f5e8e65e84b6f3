// The judgement of a command before it begins: sound or not, about which blocks, with how much memory.

import ATA
import Blocks
import SCSI

/// The findings about a command.
struct Judgement {
    var duty = Duty.unknown
    var access = CommandAccess.reads
    let cdb: CommandDescriptorBlock
    let unit: UnitFacts
    let expectedIn: UInt32
    let expectedOut: UInt32
    var objection: Objection?
    /// ALLOCATION LENGTH, or PARAMETER LIST LENGTH.
    var dataLength: UInt32 = 0
    /// How many bytes the command moves if it succeeds, whatever the initiator expects; of answers, the most.
    var commandBytes: UInt64 = 0
    var blocks: Range<UInt64> = 0..<0
    var bufferNeeds = BufferNeeds(byteCount: 0, dataOffset: 0)
    var dataOutBytes = 0
    /// The initiator expects data of a command that takes some, or has some for one that takes none.
    var isContrary = false
    /// Where blocks are read to that nobody gets.
    var scratchOffset = 0

    /// The most that the translation layer answers, and that mode parameters have.
    static let longestPage = 576
    /// The most that INQUIRY answers: libata's page of that size, and three names of the target.
    static let longestInquiryData = longestPage + 3 * 264
    /// A DVD-ROM answers no more than this, but for commands that read blocks: READ DISC STRUCTURE has 2052 bytes.
    private static let longestPacketAnswer: UInt32 = 4 << 10
    /// Room for blocks that a DVD-ROM reads and of which the initiator expects less.
    private static let packetBlocksBytes: UInt32 = 64 << 10
    /// Parameters of PERSISTENT RESERVE OUT: 24 bytes, and a TransportID.
    private static let longestReservationParameters = 24 + 4 + PersistentReservations.portNameLimit + 4
    /// Room for the list of ranges of a TRIM, in front of the parameters of UNMAP.
    static let trimListBytes = 512
    /// The most bytes of a piece that is compared, or of copies of one block that are written at a time.
    static let pieceBytes = 256 << 10

    init(_ cdb: CommandDescriptorBlock, expectedIn: UInt32, expectedOut: UInt32, unit: UnitFacts) {
        self.cdb = cdb
        self.unit = unit
        self.expectedIn = expectedIn
        self.expectedOut = expectedOut
        guard unit.isPresent else {
            judgeAbsent()
            return
        }
        guard let description = CommandDescription(cdb, of: unit) else {
            objection = CommandDescription.hasOtherActions(cdb, of: unit) ? .invalidField(1, bit: 4) : .unknownCommand
            return
        }
        duty = description.duty
        access = description.access.refined(for: cdb)
        if !duty.isJudgedByDrive(unit.kind), let (byte, bit) = cdb.firstBit(outside: description.usage) {
            objection = .invalidField(byte, bit: bit)
            return
        }
        dataLength = description.dataLength(of: cdb)
        judge()
        judgeDirection()
        if objection == nil, bufferNeeds.byteCount > Self.largestBuffer { objection = .invalidField(0) }
        if objection != nil {
            bufferNeeds = BufferNeeds(byteCount: 0, dataOffset: 0)
            dataOutBytes = 0
        }
    }

    /// Data that go the other way than those of the command are none of it: the residual is all of them. A command
    /// that needs some of the initiator is not done then.
    private mutating func judgeDirection() {
        guard duty != .passThrough else { return }
        isContrary = takesData ? expectedIn > 0 : expectedOut > 0
        if isContrary, takesData, commandBytes > 0, objection == nil { objection = .wrongLength }
    }

    /// The command is for data of the initiator.
    private var takesData: Bool {
        switch duty {
        case .write, .writeAndVerify, .compareAndWrite, .writeSame, .unmap, .modeSelect, .reserveOut: true
        case .verify: cdb.comparesBytes
        case .packet: cdb.operationCode == OperationCode.modeSelect10
        default: false
        }
    }

    /// The data of the longest command, and room beside them.
    private static var largestBuffer: Int { Int(ServedCommand.maximumTransferBytes) + pieceBytes }

    private mutating func judge() {
        switch duty {
        case .read, .write: judgeTransfer()
        case .writeAndVerify:
            judgeTransfer()
            if cdb.comparesBytes { needsScratch() }
        case .verify where cdb.comparesBytes:
            judgeTransfer()
            needsScratch()
        case .verify: judgeBlocks(upToEnd: false)
        case .compareAndWrite: judgeCompareAndWrite()
        case .preFetch, .synchronizeCache: judgeBlocks(upToEnd: true)
        case .writeSame: judgeWriteSame()
        case .unmap: judgeUnmap()
        case .lbaStatus:
            let first = cdb.logicalBlockAddress16
            if first >= unit.sectors {
                objection = .outOfRange
                return
            }
            blocks = first..<unit.sectors
            needs(min(Int(dataLength), LBAStatusData.byteCount))
        case .inquiry: needs(Self.longestInquiryData)
        case .page, .requestSense, .reportLUNs: needs(min(Int(dataLength), Self.longestPage))
        case .supportedOperationCodes: needs(min(Int(dataLength), SupportedOperationCodes.longestAnswer))
        case .reserveIn: needs(min(Int(dataLength), PersistentReservations.longestAnswer))
        case .reserveOut: takes(min(Int(dataLength), Int(expectedOut), Self.longestReservationParameters))
        case .modeSelect: takes(min(Int(dataLength), Int(expectedOut), Self.longestPage))
        case .passThrough: if expectedIn > 0 { needs(Int(expectedIn)) } else { takes(Int(expectedOut)) }
        case .packet: judgePacket()
        case .reserve, .release, .nothing, .translated, .unknown, .absentInquiry: break
        }
        switch duty {
        case .modeSelect, .reserveOut, .unmap: commandBytes = UInt64(dataLength)
        default: break
        }
    }

    /// A logical unit that is not there (SPC-4, "incorrect logical unit selection").
    private mutating func judgeAbsent() {
        access = .free
        switch cdb.operationCode {
        case OperationCode.inquiry:
            duty = .absentInquiry
            dataLength = UInt32(cdb[3]) << 8 | UInt32(cdb[4])
        case OperationCode.reportLUNs:
            duty = .reportLUNs
            dataLength = cdb.transferLength12
        case OperationCode.requestSense:
            duty = .requestSense
            dataLength = UInt32(cdb[4])
        default:
            objection = .noLogicalUnit
        }
        needs(min(Int(dataLength), Self.longestPage))
    }

    private mutating func needs(_ byteCount: Int) {
        bufferNeeds = BufferNeeds(byteCount: byteCount, dataOffset: 0)
    }

    private mutating func takes(_ byteCount: Int) {
        needs(byteCount)
        dataOutBytes = byteCount
    }

    /// A piece of the blocks is read behind the data.
    private mutating func needsScratch() {
        scratchOffset = bufferNeeds.byteCount
        needs(scratchOffset + min(Int(unit.blockSize.bytes(ofBlocks: UInt64(blocks.count))), Self.pieceBytes))
    }

    /// Commands with data for each block (SBC-3): no more blocks are read than those with bytes that the initiator
    /// expects, and no more written than it has. Part of a block is not written (FCP-4: one of the ways to end
    /// such a command).
    private mutating func judgeTransfer() {
        judgeBlocks(upToEnd: false)
        if objection != nil, unit.kind.isDisc { return judgePacket() }
        guard objection == nil else { return }
        if duty != .read, duty != .verify, unit.isReadOnly {
            objection = .writeProtected
            return
        }
        let count = UInt64(blocks.count)
        guard count <= unit.blockSize.blocks(inBytes: ServedCommand.maximumTransferBytes) else {
            objection = .invalidField(cdb.operationCode >> 5 == 4 ? 10 : 6)
            return
        }
        commandBytes = unit.blockSize.bytes(ofBlocks: count)
        let moved = min(
            count, unit.blockSize.blocks(holdingBytes: UInt64(duty == .read ? expectedIn : expectedOut)))
        let byteCount = unit.blockSize.bytes(ofBlocks: moved)
        if duty != .read, byteCount > UInt64(expectedOut) {
            objection = .wrongLength
            return
        }
        blocks = blocks.lowerBound..<blocks.lowerBound + moved
        if duty == .read { needs(Int(byteCount)) } else { takes(Int(byteCount)) }
    }

    /// The blocks of a command, which have to exist, whether or not there are any. With `upToEnd` a number of 0 is
    /// everything up to the end.
    private mutating func judgeBlocks(upToEnd: Bool) {
        let (first, count) = cdb.blocks
        guard unit.contains(first, count) else {
            objection = .outOfRange
            return
        }
        blocks = first..<(upToEnd && count == 0 ? unit.sectors : first + count)
    }

    /// COMPARE AND WRITE (SBC-3): what is expected, and what is written then. It is done whole or not at all.
    private mutating func judgeCompareAndWrite() {
        judgeBlocks(upToEnd: false)
        guard objection == nil else { return }
        if unit.isReadOnly {
            objection = .writeProtected
            return
        }
        commandBytes = 2 * unit.blockSize.bytes(ofBlocks: UInt64(blocks.count))
        // Data for more blocks than the field can say are as wrong as the field.
        guard UInt64(expectedOut) == commandBytes else {
            objection = .invalidField(13)
            return
        }
        takes(Int(commandBytes))
        needsScratch()
    }

    /// WRITE SAME (SBC-3). The block's copies, or the list of ranges of a TRIM, are written over it.
    private mutating func judgeWriteSame() {
        judgeBlocks(upToEnd: true)
        guard objection == nil else { return }
        if unit.isReadOnly {
            objection = .writeProtected
            return
        }
        guard !unit.supportsTrim || UInt64(blocks.count) <= ServedCommand.maximumWriteSameBlocks else {
            objection = .invalidField(cdb.operationCode >> 5 == 4 ? 10 : 7)
            return
        }
        guard !cdb.noDataOutBuffer else { return }
        commandBytes = unit.blockSize.bytes
        guard UInt64(expectedOut) == commandBytes else {
            objection = .wrongLength
            return
        }
        let copies = unit.blockSize.bytes(ofBlocks: max(1, UInt64(blocks.count)))
        needs(Int(min(copies, UInt64(Self.pieceBytes))))
        dataOutBytes = Int(commandBytes)
    }

    /// UNMAP (SBC-3).
    private mutating func judgeUnmap() {
        if unit.isReadOnly {
            objection = .writeProtected
            return
        }
        let byteCount = min(Int(dataLength), Int(expectedOut), 8 + 16 * ServedCommand.maximumUnmapDescriptors)
        bufferNeeds = BufferNeeds(byteCount: Self.trimListBytes + byteCount, dataOffset: Self.trimListBytes)
        dataOutBytes = byteCount
    }

    /// A DVD-ROM says itself what is wrong with a command: there may be no disc, or another one.
    private mutating func judgePacket() {
        duty = .packet
        objection = nil
        needs(Int(packetBytes))
        guard cdb.operationCode == OperationCode.modeSelect10 else { return }
        commandBytes = UInt64(cdb.transferLength10)
        if UInt64(expectedOut) < commandBytes { objection = .wrongLength }
        dataOutBytes = Int(commandBytes)
    }

    /// How many bytes a command of a DVD-ROM can have. An answer goes by DMA, which moves multiples of 16 (SAT), even
    /// if nothing is allocated for it.
    private var packetBytes: UInt32 {
        switch PacketCommand(rawValue: cdb.operationCode) {
        case .testUnitReady, .startStopUnit, .preventAllowMediumRemoval, .seek10, .setCDSpeed: return 0
        case .read10, .read12, .readCD, .readCDMSF:
            return min(max(expectedIn, Self.packetBlocksBytes), UInt32(ServedCommand.maximumTransferBytes))
        case .modeSelect10: return max(16, (dataLength + 15) & ~15)
        // MODE SENSE (6) is asked as MODE SENSE (10).
        case nil: return cdb.asModeSense10.transferLength10
        default: return min(max(16, (dataLength + 15) & ~15), Self.longestPacketAnswer)
        }
    }
}
