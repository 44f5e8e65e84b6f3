// What a command is found to be before it begins: sound or not, about which blocks, with how much memory.

import ATA
import Blocks
import SCSI

/// Why a command is not done, in sense data.
struct Objection: Equatable, Sendable {
    let senseKey: SenseKey
    let code: AdditionalSenseCode
    /// The first bit of the CDB that is wrong.
    var field: SenseFieldPointer?

    init(_ senseKey: SenseKey, _ code: AdditionalSenseCode, field: SenseFieldPointer? = nil) {
        self.senseKey = senseKey
        self.code = code
        self.field = field
    }

    /// INVALID FIELD IN CDB, at this byte.
    static func invalidField(_ byte: UInt16, bit: UInt8? = nil) -> Self {
        Self(
            .illegalRequest, .invalidFieldInCDB,
            field: SenseFieldPointer(isInCommand: true, byte: byte, bit: bit))
    }

    /// INVALID COMMAND OPERATION CODE.
    static let unknownCommand = Self(.illegalRequest, .invalidCommandOperationCode)
    /// LOGICAL BLOCK ADDRESS OUT OF RANGE.
    static let outOfRange = Self(.illegalRequest, .logicalBlockAddressOutOfRange)
    /// INVALID FIELD IN COMMAND INFORMATION UNIT: the initiator's data end in a block.
    static let incompleteBlock = Self(.illegalRequest, .invalidFieldInCommandInformationUnit)
    /// WRITE PROTECTED.
    static let writeProtected = Self(.dataProtect, .writeProtected)

    /// As sense data.
    func sense(_ format: SenseData.Format) -> SenseData {
        var sense = SenseData(senseKey, code, format: format)
        sense.fieldPointer = field
        return sense
    }
}

/// What is found.
struct Judgement {
    var duty: Duty
    let expectedIn: UInt32
    let expectedOut: UInt32
    var objection: Objection?
    var dataLength: UInt32 = 0
    var blocks: Range<UInt64> = 0..<0
    var bufferNeeds = BufferNeeds(byteCount: 0, dataOffset: 0)
    var dataOutBytes = 0

    /// The most that the translation layer answers, and that mode parameters have.
    static let longestPage = 576
    /// A DVD-ROM answers no more than this, but for READ CD.
    private static let longestPacketAnswer: UInt32 = 64 << 10

    init(_ cdb: CommandDescriptorBlock, expectedIn: UInt32, expectedOut: UInt32, unit: UnitFacts) {
        duty = .unknown
        self.expectedIn = expectedIn
        self.expectedOut = expectedOut
        let description =
            unit.kind == .disk ? CommandDescription(disk: cdb) : CommandDescription(dvdROM: cdb)
        guard let description else {
            objection = Self.hasServiceActions(cdb.operationCode) ? .invalidField(1, bit: 4) : .unknownCommand
            return
        }
        duty = description.duty
        if let (byte, bit) = cdb.firstBit(outside: description.usage) {
            objection = .invalidField(byte, bit: bit)
            return
        }
        dataLength = description.dataLength(of: cdb)
        switch duty {
        case .read, .write: judgeTransfer(cdb, unit)
        case .verify: judgeBlocks(cdb, unit, upToEnd: false)
        case .preFetch, .synchronizeCache: judgeBlocks(cdb, unit, upToEnd: true)
        case .writeSame: judgeWriteSame(cdb, unit)
        case .lbaStatus:
            let first = cdb.logicalBlockAddress16
            if first >= unit.sectors {
                objection = .outOfRange
                return
            }
            blocks = first..<unit.sectors
            needs(min(Int(dataLength), LBAStatusData.byteCount))
        case .page: needs(min(Int(dataLength), Self.longestPage))
        case .modeSelect: takes(min(Int(dataLength), Int(expectedOut), Self.longestPage))
        case .passThrough: judgePassThrough()
        case .packet: judgePacket()
        case .translated, .unknown: break
        }
        if objection == nil, bufferNeeds.byteCount > Int(ServedCommand.maximumTransferBytes) {
            objection = .invalidField(0)
        }
        if objection != nil {
            bufferNeeds = BufferNeeds(byteCount: 0, dataOffset: 0)
            dataOutBytes = 0
        }
    }

    /// Commands of these operation codes are told apart by their service action; the operation code alone is known.
    private static func hasServiceActions(_ operationCode: UInt8) -> Bool {
        operationCode == OperationCode.maintenanceIn || operationCode == OperationCode.serviceActionIn16
    }

    private mutating func needs(_ byteCount: Int) {
        bufferNeeds = BufferNeeds(byteCount: byteCount, dataOffset: 0)
    }

    private mutating func takes(_ byteCount: Int) {
        needs(byteCount)
        dataOutBytes = byteCount
    }

    /// READ and WRITE (SBC-3): no more blocks are read than those with bytes that the initiator expects, and no more
    /// written than it has. Part of a block is not written (FCP-4 9.4.2: one of the ways to end such a command).
    private mutating func judgeTransfer(_ cdb: CommandDescriptorBlock, _ unit: UnitFacts) {
        judgeBlocks(cdb, unit, upToEnd: false)
        if objection != nil, unit.kind == .dvdROM { return judgePacket() }
        guard objection == nil else { return }
        if duty == .write, unit.isReadOnly {
            objection = .writeProtected
            return
        }
        let count = UInt64(blocks.count)
        guard count <= unit.blockSize.blocks(inBytes: ServedCommand.maximumTransferBytes) else {
            objection = .invalidField(cdb.operationCode >> 5 == 4 ? 10 : 6)
            return
        }
        let moved = min(
            count, unit.blockSize.blocks(holdingBytes: UInt64(duty == .read ? expectedIn : expectedOut)))
        if duty == .write, unit.blockSize.bytes(ofBlocks: moved) > UInt64(expectedOut) {
            objection = .incompleteBlock
            return
        }
        blocks = blocks.lowerBound..<blocks.lowerBound + moved
        let byteCount = Int(unit.blockSize.bytes(ofBlocks: moved))
        if duty == .read { needs(byteCount) } else { takes(byteCount) }
    }

    /// The blocks of a command, which have to exist, whether or not there are any. With `upToEnd` a number of 0 is
    /// everything up to the end.
    private mutating func judgeBlocks(_ cdb: CommandDescriptorBlock, _ unit: UnitFacts, upToEnd: Bool) {
        let (first, count) = cdb.blocks
        guard unit.contains(first, count) else {
            objection = .outOfRange
            return
        }
        blocks = first..<(upToEnd && count == 0 ? unit.sectors : first + count)
    }

    /// WRITE SAME (SBC-3). The list of ranges of a TRIM is written over the block.
    private mutating func judgeWriteSame(_ cdb: CommandDescriptorBlock, _ unit: UnitFacts) {
        judgeBlocks(cdb, unit, upToEnd: true)
        guard objection == nil else { return }
        if unit.isReadOnly {
            objection = .writeProtected
            return
        }
        guard !cdb.noDataOutBuffer else { return }
        let blockBytes = Int(unit.blockSize.bytes)
        guard expectedOut >= UInt32(blockBytes) else {
            objection = .invalidField(0)
            return
        }
        takes(blockBytes)
    }

    /// A DVD-ROM says itself what is wrong with a command: there may be no disc, or another one.
    private mutating func judgePacket() {
        duty = .packet
        objection = nil
        needs(Int(min(max(expectedIn, Self.longestPacketAnswer), UInt32(ServedCommand.maximumTransferBytes))))
    }

    private mutating func judgePassThrough() {
        if expectedIn > 0 { needs(Int(expectedIn)) } else { takes(Int(expectedOut)) }
    }
}
