// A command and its response (RFC 7143, 11.3, 11.4).

import SCSI

/// How a task stands among others (11.3.1; SAM-5 8.6).
public enum TaskAttribute: UInt8, Sendable {
    /// Untagged.
    case untagged = 0
    /// SIMPLE.
    case simple = 1
    /// ORDERED.
    case ordered = 2
    /// HEAD OF QUEUE.
    case headOfQueue = 3
    /// ACA.
    case aca = 4
}

/// SCSI Command (11.3).
public struct SCSICommandPDU: ProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .scsiCommand }
    /// I.
    public var isImmediate = false
    /// F: no unsolicited Data-Out PDUs follow.
    public var isFinal = true
    /// R: data are expected.
    public var reads = false
    /// W: data are sent.
    public var writes = false
    /// ATTR, which may be no ``TaskAttribute``.
    public var attribute = TaskAttribute.simple.rawValue
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// The logical unit.
    public var logicalUnit = LogicalUnitNumber(0)
    /// Initiator Task Tag.
    public var initiatorTaskTag: UInt32 = 0
    /// Expected Data Transfer Length.
    public var expectedDataTransferLength: UInt32 = 0
    /// CmdSN.
    public var commandSN: UInt32 = 0
    /// ExpStatSN.
    public var expectedStatusSN: UInt32 = 0
    /// The first 16 bytes of the CDB.
    public var cdb: CommandDescriptorBlock

    /// A command without data.
    public init(cdb: CommandDescriptorBlock) { self.cdb = cdb }

    /// Decodes it.
    public init(_ header: RawSpan) {
        isImmediate = header.load(0, as: UInt8.self) & 0x40 != 0
        let flags: UInt8 = header.load(1)
        isFinal = flags & 0x80 != 0
        reads = flags & 0x40 != 0
        writes = flags & 0x20 != 0
        attribute = flags & 0x07
        dataSegmentLength = header.load24(5)
        logicalUnit = LogicalUnitNumber(rawValue: header.load(8))
        initiatorTaskTag = header.load(16)
        expectedDataTransferLength = header.load(20)
        commandSN = header.load(24)
        expectedStatusSN = header.load(28)
        cdb = CommandDescriptorBlock(parsing: header.extracting(32..<48))
    }

    /// R, W and F say what they have to: data have a direction, and only data that are sent go on behind the command
    /// (11.3.1).
    var hasSoundFlags: Bool {
        (isFinal || writes) && (reads || writes || expectedDataTransferLength == 0)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(Self.opcode.rawValue | (isImmediate ? 0x40 : 0), 0)
        header.store((isFinal ? 0x80 : 0) | (reads ? 0x40 : 0) | (writes ? 0x20 : 0) | attribute & 0x07, 1)
        header.store(logicalUnit.rawValue, 8)
        header.store(initiatorTaskTag, 16)
        header.store(expectedDataTransferLength, 20)
        header.store(commandSN, 24)
        header.store(expectedStatusSN, 28)
        for index in 0..<16 { header.store(cdb[index], 32 + index) }
    }
}

/// The difference between the moved and the expected bytes (11.4.5).
public enum Residual: Equatable, Sendable {
    /// They are as many as were expected.
    case none
    /// U: so many fewer.
    case underflow(UInt32)
    /// O: so many more.
    case overflow(UInt32)

    /// A command that would move `actual` bytes where `expected` were expected.
    @inlinable
    public init(expected: UInt32, actual: UInt64) {
        if actual == UInt64(expected) {
            self = .none
        } else if actual < UInt64(expected) {
            self = .underflow(expected - UInt32(truncatingIfNeeded: actual))
        } else {
            self = .overflow(UInt32(clamping: actual - UInt64(expected)))
        }
    }

    /// From bits O and U of byte 1, at `shift`, and the count.
    init(_ flags: UInt8, _ count: UInt32) {
        self = flags & 0x04 != 0 ? .overflow(count) : flags & 0x02 != 0 ? .underflow(count) : .none
    }

    var flags: UInt8 {
        switch self {
        case .none: 0
        case .underflow: 0x02
        case .overflow: 0x04
        }
    }

    var count: UInt32 {
        switch self {
        case .none: 0
        case .underflow(let count), .overflow(let count): count
        }
    }
}

/// SCSI Response (11.4). Its data segment is the SenseLength and the sense data, if there are any.
public struct SCSIResponsePDU: TargetProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .scsiResponse }
    /// o, u and the Bidirectional Read Residual Count.
    public var bidirectionalReadResidual = Residual.none
    /// O, U and the Residual Count.
    public var residual = Residual.none
    /// Response: 0 if the command was completed at the target, 1 for a target failure.
    public var response: UInt8 = 0
    /// Status (SAM-5 5.3.1).
    public var status: UInt8 = 0
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// Initiator Task Tag.
    public var initiatorTaskTag: UInt32 = 0
    /// SNACK Tag.
    public var snackTag: UInt32 = 0
    /// StatSN.
    public var statusSN: UInt32 = 0
    /// ExpCmdSN.
    public var expectedCommandSN: UInt32 = 0
    /// MaxCmdSN.
    public var maximumCommandSN: UInt32 = 0
    /// ExpDataSN: the number of R2T and Data-In PDUs of the command.
    public var expectedDataSN: UInt32 = 0

    /// GOOD.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        let flags: UInt8 = header.load(1)
        bidirectionalReadResidual = Residual(flags >> 2, header.load(40))
        residual = Residual(flags, header.load(44))
        response = header.load(2)
        status = header.load(3)
        dataSegmentLength = header.load24(5)
        initiatorTaskTag = header.load(16)
        snackTag = header.load(20)
        loadSequenceNumbers(header)
        expectedDataSN = header.load(36)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(0x80 | bidirectionalReadResidual.flags << 2 | residual.flags, 1)
        header.store(response, 2)
        header.store(status, 3)
        header.store(initiatorTaskTag, 16)
        header.store(snackTag, 20)
        storeSequenceNumbers(into: &header)
        header.store(expectedDataSN, 36)
        header.store(bidirectionalReadResidual.count, 40)
        header.store(residual.count, 44)
    }
}
