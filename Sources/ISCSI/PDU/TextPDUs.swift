// Text, and NOP, whose PDUs are almost alike (RFC 7143, 11.10, 11.11, 11.18, 11.19).

/// Text Request (11.10).
public struct TextRequestPDU: ProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .textRequest }
    /// I.
    public var isImmediate = false
    /// F: the initiator has nothing to add.
    public var isFinal = true
    /// C: the text goes on in the next request.
    public var continues = false
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// The logical unit, which qualifies the Target Transfer Tag.
    public var logicalUnit = LogicalUnitNumber(0)
    /// Initiator Task Tag.
    public var initiatorTaskTag: UInt32 = 0
    /// Target Transfer Tag: which response it goes on from; ``reservedTag`` for a new negotiation.
    public var targetTransferTag = reservedTag
    /// CmdSN.
    public var commandSN: UInt32 = 0
    /// ExpStatSN.
    public var expectedStatusSN: UInt32 = 0

    /// A negotiation in one request.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        isImmediate = header.load(0, as: UInt8.self) & 0x40 != 0
        let flags: UInt8 = header.load(1)
        isFinal = flags & 0x80 != 0
        continues = flags & 0x40 != 0
        dataSegmentLength = header.load24(5)
        logicalUnit = LogicalUnitNumber(rawValue: header.load(8))
        initiatorTaskTag = header.load(16)
        targetTransferTag = header.load(20)
        commandSN = header.load(24)
        expectedStatusSN = header.load(28)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(Self.opcode.rawValue | (isImmediate ? 0x40 : 0), 0)
        header.store(UInt8(isFinal ? 0x80 : 0) | UInt8(continues ? 0x40 : 0), 1)
        header.store(logicalUnit.rawValue, 8)
        header.store(initiatorTaskTag, 16)
        header.store(targetTransferTag, 20)
        header.store(commandSN, 24)
        header.store(expectedStatusSN, 28)
    }
}

/// Text Response (11.11).
public struct TextResponsePDU: TargetProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .textResponse }
    /// F: the negotiation is over.
    public var isFinal = true
    /// C: the text goes on in the next response.
    public var continues = false
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// The logical unit, which qualifies the Target Transfer Tag.
    public var logicalUnit = LogicalUnitNumber(0)
    /// Initiator Task Tag.
    public var initiatorTaskTag: UInt32 = 0
    /// Target Transfer Tag, without which the negotiation is over.
    public var targetTransferTag = reservedTag
    /// StatSN.
    public var statusSN: UInt32 = 0
    /// ExpCmdSN.
    public var expectedCommandSN: UInt32 = 0
    /// MaxCmdSN.
    public var maximumCommandSN: UInt32 = 0

    /// The only response.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        let flags: UInt8 = header.load(1)
        isFinal = flags & 0x80 != 0
        continues = flags & 0x40 != 0
        dataSegmentLength = header.load24(5)
        logicalUnit = LogicalUnitNumber(rawValue: header.load(8))
        initiatorTaskTag = header.load(16)
        targetTransferTag = header.load(20)
        loadSequenceNumbers(header)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(UInt8(isFinal ? 0x80 : 0) | UInt8(continues ? 0x40 : 0), 1)
        header.store(logicalUnit.rawValue, 8)
        header.store(initiatorTaskTag, 16)
        header.store(targetTransferTag, 20)
        storeSequenceNumbers(into: &header)
    }
}

/// NOP-Out (11.18).
public struct NOPOutPDU: ProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .nopOut }
    /// I.
    public var isImmediate = true
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// The logical unit of the NOP-In that it answers.
    public var logicalUnit = LogicalUnitNumber(0)
    /// Initiator Task Tag; ``reservedTag`` if no answer is wanted.
    public var initiatorTaskTag = reservedTag
    /// Target Transfer Tag of the NOP-In that it answers.
    public var targetTransferTag = reservedTag
    /// CmdSN.
    public var commandSN: UInt32 = 0
    /// ExpStatSN.
    public var expectedStatusSN: UInt32 = 0

    /// An acknowledgement of a StatSN.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        isImmediate = header.load(0, as: UInt8.self) & 0x40 != 0
        dataSegmentLength = header.load24(5)
        logicalUnit = LogicalUnitNumber(rawValue: header.load(8))
        initiatorTaskTag = header.load(16)
        targetTransferTag = header.load(20)
        commandSN = header.load(24)
        expectedStatusSN = header.load(28)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(Self.opcode.rawValue | (isImmediate ? 0x40 : 0), 0)
        header.store(UInt8(0x80), 1)
        header.store(logicalUnit.rawValue, 8)
        header.store(initiatorTaskTag, 16)
        header.store(targetTransferTag, 20)
        header.store(commandSN, 24)
        header.store(expectedStatusSN, 28)
    }
}

/// NOP-In (11.19).
public struct NOPInPDU: TargetProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .nopIn }
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// The logical unit, which qualifies the Target Transfer Tag.
    public var logicalUnit = LogicalUnitNumber(0)
    /// Initiator Task Tag of the NOP-Out that it answers.
    public var initiatorTaskTag = reservedTag
    /// Target Transfer Tag, if an answer is wanted.
    public var targetTransferTag = reservedTag
    /// StatSN; the next one, if it answers nothing.
    public var statusSN: UInt32 = 0
    /// ExpCmdSN.
    public var expectedCommandSN: UInt32 = 0
    /// MaxCmdSN.
    public var maximumCommandSN: UInt32 = 0

    /// News of the CmdSN window.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        dataSegmentLength = header.load24(5)
        logicalUnit = LogicalUnitNumber(rawValue: header.load(8))
        initiatorTaskTag = header.load(16)
        targetTransferTag = header.load(20)
        loadSequenceNumbers(header)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(UInt8(0x80), 1)
        header.store(logicalUnit.rawValue, 8)
        header.store(initiatorTaskTag, 16)
        header.store(targetTransferTag, 20)
        storeSequenceNumbers(into: &header)
    }
}
