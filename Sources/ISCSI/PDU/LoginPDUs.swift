// The PDUs of the Login Phase (RFC 7143, 11.12, 11.13).

/// The stages of a login (11.12.3).
public enum Stage: UInt8, Sendable {
    /// SecurityNegotiation.
    case securityNegotiation = 0
    /// LoginOperationalNegotiation.
    case loginOperationalNegotiation = 1
    /// FullFeaturePhase.
    case fullFeaturePhase = 3
}

/// The session's name by its initiator: T, A, B, C and D, six bytes (11.12.5).
public struct ISID: Equatable, Hashable, Sendable {
    /// The six bytes in the low bits.
    public var rawValue: UInt64

    /// The low 48 bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue & 0xFFFF_FFFF_FFFF }
}

/// Login Request (11.12).
public struct LoginRequestPDU: ProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .loginRequest }
    /// T: the initiator is ready for the next stage.
    public var transits = false
    /// C: the text goes on in the next request.
    public var continues = false
    /// CSG, which may be no ``Stage``.
    public var currentStage: UInt8 = 0
    /// NSG, which may be no ``Stage``.
    public var nextStage: UInt8 = 0
    /// Version-max.
    public var versionMaximum: UInt8 = 0
    /// Version-min.
    public var versionMinimum: UInt8 = 0
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// ISID.
    public var isid = ISID(rawValue: 0)
    /// TSIH: 0 for a new session.
    public var tsih: UInt16 = 0
    /// Initiator Task Tag.
    public var initiatorTaskTag: UInt32 = 0
    /// CID.
    public var connectionID: UInt16 = 0
    /// CmdSN: the first one of the session.
    public var commandSN: UInt32 = 0
    /// ExpStatSN.
    public var expectedStatusSN: UInt32 = 0

    /// A request of a new session.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        let flags: UInt8 = header.load(1)
        transits = flags & 0x80 != 0
        continues = flags & 0x40 != 0
        currentStage = flags >> 2 & 0x03
        nextStage = flags & 0x03
        versionMaximum = header.load(2)
        versionMinimum = header.load(3)
        dataSegmentLength = header.load24(5)
        isid = ISID(rawValue: header.load(8, as: UInt64.self) >> 16)
        tsih = header.load(14)
        initiatorTaskTag = header.load(16)
        connectionID = header.load(20)
        commandSN = header.load(24)
        expectedStatusSN = header.load(28)
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        header.store(Self.opcode.rawValue | 0x40, 0)
        let stages = (currentStage & 0x03) << 2 | nextStage & 0x03
        header.store((transits ? 0x80 : 0) | (continues ? 0x40 : 0) | stages, 1)
        header.store(versionMaximum, 2)
        header.store(versionMinimum, 3)
        header.store(isid.rawValue << 16 | UInt64(tsih), 8)
        header.store(initiatorTaskTag, 16)
        header.store(connectionID, 20)
        header.store(commandSN, 24)
        header.store(expectedStatusSN, 28)
    }
}

/// Status-Class and Status-Detail (11.13.5).
public enum LoginStatus: UInt16, Sendable {
    /// The login goes on.
    case success = 0x0000
    /// The target has moved for a while; not sent here.
    case targetMovedTemporarily = 0x0101
    /// The target has moved; not sent here.
    case targetMovedPermanently = 0x0102
    /// Initiator error.
    case initiatorError = 0x0200
    /// The initiator could not be authenticated, or the target could not be authenticated to it.
    case authenticationFailure = 0x0201
    /// The initiator is not allowed access to the target.
    case authorizationFailure = 0x0202
    /// The target does not exist at this address.
    case notFound = 0x0203
    /// The target has been removed.
    case targetRemoved = 0x0204
    /// The iSCSI version range is not supported.
    case unsupportedVersion = 0x0205
    /// Too many connections on this session.
    case tooManyConnections = 0x0206
    /// A parameter is missing, such as InitiatorName.
    case missingParameter = 0x0207
    /// The connection cannot be included in this session.
    case cannotIncludeInSession = 0x0208
    /// The session type is not supported.
    case sessionTypeNotSupported = 0x0209
    /// The session does not exist.
    case sessionDoesNotExist = 0x020A
    /// An invalid request during login.
    case invalidDuringLogin = 0x020B
    /// Target error.
    case targetError = 0x0300
    /// The service is not available now.
    case serviceUnavailable = 0x0301
    /// The target has no more resources.
    case outOfResources = 0x0302
}

/// Login Response (11.13).
public struct LoginResponsePDU: TargetProtocolDataUnit {
    /// Its opcode.
    public static var opcode: Opcode { .loginResponse }
    /// T: the next stage begins.
    public var transits = false
    /// C: the text goes on in the next response.
    public var continues = false
    /// CSG.
    public var currentStage: UInt8 = 0
    /// NSG.
    public var nextStage: UInt8 = 0
    /// Version-max.
    public var versionMaximum: UInt8 = 0
    /// Version-active.
    public var versionActive: UInt8 = 0
    /// DataSegmentLength.
    public var dataSegmentLength: UInt32 = 0
    /// ISID.
    public var isid = ISID(rawValue: 0)
    /// TSIH: the session's name by its target, in the last response of a login.
    public var tsih: UInt16 = 0
    /// Initiator Task Tag.
    public var initiatorTaskTag: UInt32 = 0
    /// StatSN.
    public var statusSN: UInt32 = 0
    /// ExpCmdSN.
    public var expectedCommandSN: UInt32 = 0
    /// MaxCmdSN.
    public var maximumCommandSN: UInt32 = 0
    /// Status-Class and Status-Detail; any other value of a peer is an initiator error here.
    public var status = LoginStatus.success

    /// Success, so far.
    public init() {}

    /// Decodes it.
    public init(_ header: RawSpan) {
        let flags: UInt8 = header.load(1)
        transits = flags & 0x80 != 0
        continues = flags & 0x40 != 0
        currentStage = flags >> 2 & 0x03
        nextStage = flags & 0x03
        versionMaximum = header.load(2)
        versionActive = header.load(3)
        dataSegmentLength = header.load24(5)
        isid = ISID(rawValue: header.load(8, as: UInt64.self) >> 16)
        tsih = header.load(14)
        initiatorTaskTag = header.load(16)
        loadSequenceNumbers(header)
        status = LoginStatus(rawValue: header.load(36)) ?? .initiatorError
    }

    /// Encodes its own fields.
    public func encodeFields(into header: inout MutableRawSpan) {
        let stages = (currentStage & 0x03) << 2 | nextStage & 0x03
        header.store((transits ? 0x80 : 0) | (continues ? 0x40 : 0) | stages, 1)
        header.store(versionMaximum, 2)
        header.store(versionActive, 3)
        header.store(isid.rawValue << 16 | UInt64(tsih), 8)
        header.store(initiatorTaskTag, 16)
        storeSequenceNumbers(into: &header)
        header.store(status.rawValue, 36)
    }
}
