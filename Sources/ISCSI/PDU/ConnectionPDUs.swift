// PDUs of the connection: logout, SNACK, asynchronous messages, Reject (RFC 7143, 11.9, 11.14 to 11.17).

/// Why an initiator logs out (11.14.1).
public enum LogoutReason: UInt8, Sendable {
    /// Close the session.
    case closeSession = 0
    /// Close the connection.
    case closeConnection = 1
    /// Remove the connection for recovery.
    case removeConnectionForRecovery = 2
}

/// Logout Request (11.14).
public struct LogoutRequestPDU: ProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .logoutRequest }
    /// I.
    public var isImmediate = true
    /// Reason Code, which may be no ``LogoutReason``.
    public var reason: UInt8 = 0
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// Initiator Task Tag.
    public var initiatorTaskTag: UInt32 = 0
    /// CID of the connection to close.
    public var connectionID: UInt16 = 0
    /// CmdSN.
    public var commandSN: UInt32 = 0
    /// ExpStatSN.
    public var expectedStatusSN: UInt32 = 0

    /// Close the session.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        isImmediate = header.load(0, as: UInt8.self) & 0x40 != 0
        reason = header.load(1, as: UInt8.self) & 0x7F
        dataSegmentLength = header.load24(5)
        initiatorTaskTag = header.load(16)
        connectionID = header.load(20)
        commandSN = header.load(24)
        expectedStatusSN = header.load(28)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(Self.opcode.rawValue | (isImmediate ? 0x40 : 0), 0)
        header.store(0x80 | reason, 1)
        header.store(initiatorTaskTag, 16)
        header.store(connectionID, 20)
        header.store(commandSN, 24)
        header.store(expectedStatusSN, 28)
    }
}

/// How a logout ended (11.15.1).
public enum LogoutResponse: UInt8, Sendable {
    /// The connection or session is closed.
    case closed = 0
    /// CID not found.
    case connectionIDNotFound = 1
    /// Connection recovery is not supported.
    case recoveryNotSupported = 2
    /// Cleanup failed.
    case cleanupFailed = 3
}

/// Logout Response (11.15).
public struct LogoutResponsePDU: TargetProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .logoutResponse }
    /// Response.
    public var response = LogoutResponse.closed
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// Initiator Task Tag.
    public var initiatorTaskTag: UInt32 = 0
    /// StatSN.
    public var statusSN: UInt32 = 0
    /// ExpCmdSN.
    public var expectedCommandSN: UInt32 = 0
    /// MaxCmdSN.
    public var maximumCommandSN: UInt32 = 0
    /// Time2Wait, in seconds.
    public var time2Wait: UInt16 = 0
    /// Time2Retain, in seconds.
    public var time2Retain: UInt16 = 0

    /// Closed.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        response = LogoutResponse(rawValue: header.load(2)) ?? .cleanupFailed
        dataSegmentLength = header.load24(5)
        initiatorTaskTag = header.load(16)
        loadSequenceNumbers(header)
        time2Wait = header.load(40)
        time2Retain = header.load(42)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(UInt8(0x80), 1)
        header.store(response.rawValue, 2)
        header.store(initiatorTaskTag, 16)
        storeSequenceNumbers(into: &header)
        header.store(time2Wait, 40)
        header.store(time2Retain, 42)
    }
}

/// SNACK Request (11.16), which no session with ErrorRecoveryLevel 0 has.
public struct SNACKRequestPDU: ProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .snackRequest }
    /// Type: 0 Data/R2T, 1 Status, 2 DataACK, 3 R-Data.
    public var type: UInt8 = 0
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// The logical unit, which qualifies the Target Transfer Tag.
    public var logicalUnit = LogicalUnitNumber(0)
    /// Initiator Task Tag.
    public var initiatorTaskTag = reservedTag
    /// Target Transfer Tag, or SNACK Tag.
    public var targetTransferTag = reservedTag
    /// ExpStatSN.
    public var expectedStatusSN: UInt32 = 0
    /// BegRun.
    public var beginRun: UInt32 = 0
    /// RunLength.
    public var runLength: UInt32 = 0

    /// All data.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        type = header.load(1, as: UInt8.self) & 0x0F
        dataSegmentLength = header.load24(5)
        logicalUnit = LogicalUnitNumber(rawValue: header.load(8))
        initiatorTaskTag = header.load(16)
        targetTransferTag = header.load(20)
        expectedStatusSN = header.load(28)
        beginRun = header.load(40)
        runLength = header.load(44)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(0x80 | type & 0x0F, 1)
        header.store(logicalUnit.rawValue, 8)
        header.store(initiatorTaskTag, 16)
        header.store(targetTransferTag, 20)
        header.store(expectedStatusSN, 28)
        header.store(beginRun, 40)
        header.store(runLength, 44)
    }
}

/// The events of asynchronous messages (11.9.1).
public enum AsynchronousEvent: UInt8, Sendable {
    /// A SCSI asynchronous event, with sense data.
    case scsi = 0
    /// The target requests logout within Parameter3 seconds.
    case requestLogout = 1
    /// The target will drop the connection.
    case dropConnection = 2
    /// The target will drop all connections of the session.
    case dropSession = 3
    /// The target requests parameter negotiation within Parameter3 seconds.
    case requestNegotiation = 4
    /// All tasks of a logical unit are being terminated.
    case tasksTerminated = 5
    /// Vendor-specific.
    case vendorSpecific = 255
}

/// Asynchronous Message (11.9).
public struct AsynchronousMessagePDU: TargetProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .asynchronousMessage }
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// The logical unit, of a SCSI event.
    public var logicalUnit = LogicalUnitNumber(0)
    /// StatSN.
    public var statusSN: UInt32 = 0
    /// ExpCmdSN.
    public var expectedCommandSN: UInt32 = 0
    /// MaxCmdSN.
    public var maximumCommandSN: UInt32 = 0
    /// AsyncEvent.
    public var event = AsynchronousEvent.requestLogout
    /// AsyncVCode.
    public var vendorCode: UInt8 = 0
    /// Parameter1: a CID.
    public var parameter1: UInt16 = 0
    /// Parameter2: Time2Wait.
    public var parameter2: UInt16 = 0
    /// Parameter3: Time2Retain, or seconds.
    public var parameter3: UInt16 = 0

    /// A request to log out.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        dataSegmentLength = header.load24(5)
        logicalUnit = LogicalUnitNumber(rawValue: header.load(8))
        loadSequenceNumbers(header)
        event = AsynchronousEvent(rawValue: header.load(36)) ?? .vendorSpecific
        vendorCode = header.load(37)
        parameter1 = header.load(38)
        parameter2 = header.load(40)
        parameter3 = header.load(42)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(UInt8(0x80), 1)
        header.store(logicalUnit.rawValue, 8)
        header.store(reservedTag, 16)
        storeSequenceNumbers(into: &header)
        header.store(event.rawValue, 36)
        header.store(vendorCode, 37)
        header.store(parameter1, 38)
        header.store(parameter2, 40)
        header.store(parameter3, 42)
    }
}

/// Why a PDU was rejected (11.17.1).
public enum RejectReason: UInt8, Sendable {
    /// Data (payload) digest error.
    case dataDigestError = 0x02
    /// SNACK Reject.
    case snackReject = 0x03
    /// Protocol error.
    case protocolError = 0x04
    /// Command not supported.
    case commandNotSupported = 0x05
    /// Too many immediate commands.
    case tooManyImmediateCommands = 0x06
    /// Task in progress.
    case taskInProgress = 0x07
    /// Invalid data ACK.
    case invalidDataACK = 0x08
    /// Invalid PDU field.
    case invalidPDUField = 0x09
    /// No Target Transfer Tag could be made: out of resources.
    case longOperationReject = 0x0A
    /// Waiting for logout.
    case waitingForLogout = 0x0C
}

/// Reject (11.17). Its data segment is the header of the PDU that was rejected.
public struct RejectPDU: TargetProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .reject }
    /// Reason.
    public var reason = RejectReason.protocolError
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// StatSN.
    public var statusSN: UInt32 = 0
    /// ExpCmdSN.
    public var expectedCommandSN: UInt32 = 0
    /// MaxCmdSN.
    public var maximumCommandSN: UInt32 = 0
    /// DataSN or R2TSN, of a rejected SNACK.
    public var dataSN: UInt32 = 0

    /// A protocol error.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        reason = RejectReason(rawValue: header.load(2)) ?? .protocolError
        dataSegmentLength = header.load24(5)
        loadSequenceNumbers(header)
        dataSN = header.load(36)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(UInt8(0x80), 1)
        header.store(reason.rawValue, 2)
        header.store(reservedTag, 16)
        storeSequenceNumbers(into: &header)
        header.store(dataSN, 36)
    }
}
