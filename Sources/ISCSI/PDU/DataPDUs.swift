// Data on their way, and the request for more (RFC 7143, 11.7, 11.8).

/// SCSI Data-Out (11.7).
public struct DataOutPDU: ProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .dataOut }
    /// F: the last one of a sequence.
    public var isFinal = true
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// The logical unit, which qualifies the Target Transfer Tag.
    public var logicalUnit = LogicalUnitNumber(0)
    /// Initiator Task Tag.
    public var initiatorTaskTag: UInt32 = 0
    /// Target Transfer Tag: which R2T it answers; ``reservedTag`` for unsolicited data.
    public var targetTransferTag = reservedTag
    /// ExpStatSN.
    public var expectedStatusSN: UInt32 = 0
    /// DataSN, which begins with 0 in each sequence.
    public var dataSN: UInt32 = 0
    /// Buffer Offset.
    public var bufferOffset: UInt32 = 0

    /// Unsolicited data of nothing.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        isFinal = header.load(1, as: UInt8.self) & 0x80 != 0
        dataSegmentLength = header.load24(5)
        logicalUnit = LogicalUnitNumber(rawValue: header.load(8))
        initiatorTaskTag = header.load(16)
        targetTransferTag = header.load(20)
        expectedStatusSN = header.load(28)
        dataSN = header.load(36)
        bufferOffset = header.load(40)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(UInt8(isFinal ? 0x80 : 0), 1)
        header.store(logicalUnit.rawValue, 8)
        header.store(initiatorTaskTag, 16)
        header.store(targetTransferTag, 20)
        header.store(expectedStatusSN, 28)
        header.store(dataSN, 36)
        header.store(bufferOffset, 40)
    }
}

/// SCSI Data-In (11.7). With S it is the response to its command as well.
public struct DataInPDU: TargetProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .dataIn }
    /// F: the last one of a sequence.
    public var isFinal = true
    /// A: the initiator shall acknowledge the data.
    public var asksForAcknowledge = false
    /// S: it carries the status.
    public var hasStatus = false
    /// O, U and the Residual Count, with S.
    public var residual = Residual.none
    /// Status, with S.
    public var status: UInt8 = 0
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// The logical unit, if A is set.
    public var logicalUnit = LogicalUnitNumber(0)
    /// Initiator Task Tag.
    public var initiatorTaskTag: UInt32 = 0
    /// Target Transfer Tag, if A is set.
    public var targetTransferTag = reservedTag
    /// StatSN, with S.
    public var statusSN: UInt32 = 0
    /// ExpCmdSN.
    public var expectedCommandSN: UInt32 = 0
    /// MaxCmdSN.
    public var maximumCommandSN: UInt32 = 0
    /// DataSN, which begins with 0 in each command.
    public var dataSN: UInt32 = 0
    /// Buffer Offset.
    public var bufferOffset: UInt32 = 0

    /// The first bytes of a command.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        let flags: UInt8 = header.load(1)
        isFinal = flags & 0x80 != 0
        asksForAcknowledge = flags & 0x40 != 0
        hasStatus = flags & 0x01 != 0
        residual = Residual(flags, header.load(44))
        status = header.load(3)
        dataSegmentLength = header.load24(5)
        logicalUnit = LogicalUnitNumber(rawValue: header.load(8))
        initiatorTaskTag = header.load(16)
        targetTransferTag = header.load(20)
        loadSequenceNumbers(header)
        dataSN = header.load(36)
        bufferOffset = header.load(40)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        let own: UInt8 = (isFinal ? 0x80 : 0) | (asksForAcknowledge ? 0x40 : 0) | (hasStatus ? 0x01 : 0)
        header.store(own | residual.flags, 1)
        header.store(status, 3)
        header.store(logicalUnit.rawValue, 8)
        header.store(initiatorTaskTag, 16)
        header.store(targetTransferTag, 20)
        storeSequenceNumbers(into: &header)
        header.store(dataSN, 36)
        header.store(bufferOffset, 40)
        header.store(residual.count, 44)
    }
}

/// Ready To Transfer (11.8).
public struct ReadyToTransferPDU: TargetProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .readyToTransfer }
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// The logical unit.
    public var logicalUnit = LogicalUnitNumber(0)
    /// Initiator Task Tag.
    public var initiatorTaskTag: UInt32 = 0
    /// Target Transfer Tag, which the Data-Out PDUs repeat.
    public var targetTransferTag: UInt32 = 0
    /// StatSN: the next one, which this PDU does not take.
    public var statusSN: UInt32 = 0
    /// ExpCmdSN.
    public var expectedCommandSN: UInt32 = 0
    /// MaxCmdSN.
    public var maximumCommandSN: UInt32 = 0
    /// R2TSN, which begins with 0 in each command.
    public var readyToTransferSN: UInt32 = 0
    /// Buffer Offset.
    public var bufferOffset: UInt32 = 0
    /// Desired Data Transfer Length.
    public var desiredDataTransferLength: UInt32 = 0

    /// The first one of a command.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        dataSegmentLength = header.load24(5)
        logicalUnit = LogicalUnitNumber(rawValue: header.load(8))
        initiatorTaskTag = header.load(16)
        targetTransferTag = header.load(20)
        loadSequenceNumbers(header)
        readyToTransferSN = header.load(36)
        bufferOffset = header.load(40)
        desiredDataTransferLength = header.load(44)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(UInt8(0x80), 1)
        header.store(logicalUnit.rawValue, 8)
        header.store(initiatorTaskTag, 16)
        header.store(targetTransferTag, 20)
        storeSequenceNumbers(into: &header)
        header.store(readyToTransferSN, 36)
        header.store(bufferOffset, 40)
        header.store(desiredDataTransferLength, 44)
    }
}
