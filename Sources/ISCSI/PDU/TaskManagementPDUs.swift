// Task management (RFC 7143, 11.5, 11.6).

/// The functions that an initiator asks for (11.5.1).
public enum TaskManagementFunction: UInt8, Sendable {
    /// ABORT TASK.
    case abortTask = 1
    /// ABORT TASK SET.
    case abortTaskSet = 2
    /// CLEAR ACA.
    case clearACA = 3
    /// CLEAR TASK SET.
    case clearTaskSet = 4
    /// LOGICAL UNIT RESET.
    case logicalUnitReset = 5
    /// TARGET WARM RESET.
    case targetWarmReset = 6
    /// TARGET COLD RESET.
    case targetColdReset = 7
    /// TASK REASSIGN.
    case taskReassign = 8
}

/// Task Management Function Request (11.5).
public struct TaskManagementRequestPDU: ProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .taskManagementRequest }
    /// I.
    public var isImmediate = true
    /// Function, which may be no ``TaskManagementFunction``.
    public var function: UInt8 = 0
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// The logical unit.
    public var logicalUnit = LogicalUnitNumber(0)
    /// Initiator Task Tag.
    public var initiatorTaskTag: UInt32 = 0
    /// Referenced Task Tag: the Initiator Task Tag of the task to abort.
    public var referencedTaskTag = reservedTag
    /// CmdSN.
    public var commandSN: UInt32 = 0
    /// ExpStatSN.
    public var expectedStatusSN: UInt32 = 0
    /// RefCmdSN: the CmdSN of the task to abort.
    public var referencedCommandSN: UInt32 = 0
    /// ExpDataSN, for TASK REASSIGN.
    public var expectedDataSN: UInt32 = 0

    /// No function.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        isImmediate = header.load(0, as: UInt8.self) & 0x40 != 0
        function = header.load(1, as: UInt8.self) & 0x7F
        dataSegmentLength = header.load24(5)
        logicalUnit = LogicalUnitNumber(rawValue: header.load(8))
        initiatorTaskTag = header.load(16)
        referencedTaskTag = header.load(20)
        commandSN = header.load(24)
        expectedStatusSN = header.load(28)
        referencedCommandSN = header.load(32)
        expectedDataSN = header.load(36)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(Self.opcode.rawValue | (isImmediate ? 0x40 : 0), 0)
        header.store(0x80 | function, 1)
        header.store(logicalUnit.rawValue, 8)
        header.store(initiatorTaskTag, 16)
        header.store(referencedTaskTag, 20)
        header.store(commandSN, 24)
        header.store(expectedStatusSN, 28)
        header.store(referencedCommandSN, 32)
        header.store(expectedDataSN, 36)
    }
}

/// How a task management function ended (11.6.1).
public enum TaskManagementResponse: UInt8, Sendable {
    /// Function complete.
    case functionComplete = 0
    /// Task does not exist.
    case taskDoesNotExist = 1
    /// LUN does not exist.
    case logicalUnitDoesNotExist = 2
    /// Task still allegiant.
    case taskStillAllegiant = 3
    /// Task allegiance reassignment not supported.
    case reassignmentNotSupported = 4
    /// Task management function not supported.
    case functionNotSupported = 5
    /// Function authorization failed.
    case authorizationFailed = 6
    /// Function rejected.
    case functionRejected = 255
}

/// Task Management Function Response (11.6).
public struct TaskManagementResponsePDU: TargetProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .taskManagementResponse }
    /// Response.
    public var response = TaskManagementResponse.functionComplete
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

    /// Function complete.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        response = TaskManagementResponse(rawValue: header.load(2)) ?? .functionRejected
        dataSegmentLength = header.load24(5)
        initiatorTaskTag = header.load(16)
        loadSequenceNumbers(header)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(UInt8(0x80), 1)
        header.store(response.rawValue, 2)
        header.store(initiatorTaskTag, 16)
        storeSequenceNumbers(into: &header)
    }
}
