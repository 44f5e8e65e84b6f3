// The kinds of PDUs (RFC 7143, 11.2.1.2).

/// The opcodes of both sides; those of a target have bit 5 set.
public enum Opcode: UInt8, Sendable, CaseIterable {
    /// NOP-Out.
    case nopOut = 0x00
    /// SCSI Command.
    case scsiCommand = 0x01
    /// SCSI Task Management Function Request.
    case taskManagementRequest = 0x02
    /// Login Request.
    case loginRequest = 0x03
    /// Text Request.
    case textRequest = 0x04
    /// SCSI Data-Out.
    case dataOut = 0x05
    /// Logout Request.
    case logoutRequest = 0x06
    /// SNACK Request.
    case snackRequest = 0x10
    /// NOP-In.
    case nopIn = 0x20
    /// SCSI Response.
    case scsiResponse = 0x21
    /// SCSI Task Management Function Response.
    case taskManagementResponse = 0x22
    /// Login Response.
    case loginResponse = 0x23
    /// Text Response.
    case textResponse = 0x24
    /// SCSI Data-In.
    case dataIn = 0x25
    /// Logout Response.
    case logoutResponse = 0x26
    /// Ready To Transfer.
    case readyToTransfer = 0x31
    /// Asynchronous Message.
    case asynchronousMessage = 0x32
    /// Reject.
    case reject = 0x3F
}

/// The value of a task tag that names nothing (11.2.1.8, 11.5.1).
public let reservedTag: UInt32 = 0xFFFF_FFFF
