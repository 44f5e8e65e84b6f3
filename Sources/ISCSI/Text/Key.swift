// The keys (RFC 7143, 13), and how each of them is negotiated (6.2).

/// Every key of the standard.
public enum Key: String, Sendable, CaseIterable {
    /// 12.1.
    case authMethod = "AuthMethod"
    /// 12.1.3, as are the next four: the algorithm.
    case chapAlgorithm = "CHAP_A"
    /// The identifier.
    case chapIdentifier = "CHAP_I"
    /// The challenge.
    case chapChallenge = "CHAP_C"
    /// The name of the side that answers.
    case chapName = "CHAP_N"
    /// The answer.
    case chapResponse = "CHAP_R"
    /// 13.1.
    case headerDigest = "HeaderDigest"
    /// 13.1.
    case dataDigest = "DataDigest"
    /// 13.2.
    case maxConnections = "MaxConnections"
    /// 13.3.
    case sendTargets = "SendTargets"
    /// 13.4.
    case targetName = "TargetName"
    /// 13.5.
    case initiatorName = "InitiatorName"
    /// 13.6.
    case targetAlias = "TargetAlias"
    /// 13.7.
    case initiatorAlias = "InitiatorAlias"
    /// 13.8.
    case targetAddress = "TargetAddress"
    /// 13.9.
    case targetPortalGroupTag = "TargetPortalGroupTag"
    /// 13.10.
    case initialR2T = "InitialR2T"
    /// 13.11.
    case immediateData = "ImmediateData"
    /// 13.12.
    case maxRecvDataSegmentLength = "MaxRecvDataSegmentLength"
    /// 13.13.
    case maxBurstLength = "MaxBurstLength"
    /// 13.14.
    case firstBurstLength = "FirstBurstLength"
    /// 13.15.
    case defaultTime2Wait = "DefaultTime2Wait"
    /// 13.16.
    case defaultTime2Retain = "DefaultTime2Retain"
    /// 13.17.
    case maxOutstandingR2T = "MaxOutstandingR2T"
    /// 13.18.
    case dataPDUInOrder = "DataPDUInOrder"
    /// 13.19.
    case dataSequenceInOrder = "DataSequenceInOrder"
    /// 13.20.
    case errorRecoveryLevel = "ErrorRecoveryLevel"
    /// 13.21.
    case sessionType = "SessionType"
    /// 13.23.
    case taskReporting = "TaskReporting"
    /// 13.24.
    case iSCSIProtocolLevel = "iSCSIProtocolLevel"
    /// 13.25, obsolete, as are the next three.
    case ifMarker = "IFMarker"
    /// See IFMarker.
    case ofMarker = "OFMarker"
    /// See IFMarker.
    case ifMarkInt = "IFMarkInt"
    /// See IFMarker.
    case ofMarkInt = "OFMarkInt"
    /// 13.26.
    case nodeArchitecture = "X#NodeArchitecture"
}

/// Results that are no value (6.2).
enum ReservedValue {
    static let reject = "Reject"
    static let notUnderstood = "NotUnderstood"
}

/// The limits of a target.
public struct TargetLimits: Equatable, Sendable {
    /// MaxRecvDataSegmentLength: the longest data segment that is received.
    public var maxRecvDataSegmentLength: UInt32 = 256 << 10
    /// MaxBurstLength: what one R2T asks for at most.
    public var maxBurstLength: UInt32 = 1 << 20
    /// FirstBurstLength: what may come unsolicited.
    public var firstBurstLength: UInt32 = 64 << 10
    /// Whether the target offers digests.
    public var allowsDigests = true

    /// As they stand above.
    public init() {}
}

/// The results of a login; until then, the defaults of section 13.
public struct SessionParameters: Equatable, Sendable {
    /// HeaderDigest is CRC32C.
    public var hasHeaderDigest = false
    /// DataDigest is CRC32C.
    public var hasDataDigest = false
    /// MaxConnections.
    public var maxConnections: UInt32 = 1
    /// InitialR2T.
    public var initialR2T = true
    /// ImmediateData.
    public var immediateData = true
    /// The initiator's MaxRecvDataSegmentLength.
    public var maxRecvDataSegmentLength: UInt32 = 8192
    /// MaxBurstLength.
    public var maxBurstLength: UInt32 = 262_144
    /// FirstBurstLength.
    public var firstBurstLength: UInt32 = 65_536
    /// DefaultTime2Wait in seconds.
    public var defaultTime2Wait: UInt32 = 2
    /// DefaultTime2Retain in seconds.
    public var defaultTime2Retain: UInt32 = 20
    /// MaxOutstandingR2T.
    public var maxOutstandingR2T: UInt32 = 1
    /// DataPDUInOrder.
    public var dataPDUInOrder = true
    /// DataSequenceInOrder.
    public var dataSequenceInOrder = true
    /// ErrorRecoveryLevel.
    public var errorRecoveryLevel: UInt32 = 0

    /// The defaults.
    public init() {}
}

/// A target's answer to one key.
enum Answer: Equatable {
    /// The result, or a constant such as NotUnderstood.
    case value(String)
    /// The key is a declaration, which nobody answers.
    case declared
    /// The value is not allowed here, and why: that ends a login, and in a text it is `Reject`.
    case failure(String)
}

extension SessionParameters {
    /// Settles one operational key (6.2, 13).
    mutating func negotiate(_ key: Key, _ value: String, _ limits: TargetLimits) -> Answer {
        switch key {
        case .headerDigest: digest(key, value, limits, \.hasHeaderDigest)
        case .dataDigest: digest(key, value, limits, \.hasDataDigest)
        case .maxConnections: number(key, value, 1...65535, \.maxConnections) { min($0, 1) }
        case .initialR2T: boolean(key, value, \.initialR2T) { $0 }
        case .immediateData: boolean(key, value, \.immediateData) { $0 }
        case .maxRecvDataSegmentLength: declaredSegment(value)
        case .maxBurstLength: number(key, value, 512...0xFF_FFFF, \.maxBurstLength) { min($0, limits.maxBurstLength) }
        case .firstBurstLength:
            number(key, value, 512...0xFF_FFFF, \.firstBurstLength) { min($0, limits.firstBurstLength) }
        case .defaultTime2Wait: number(key, value, 0...3600, \.defaultTime2Wait) { max($0, 2) }
        // The target keeps nothing that a session leaves behind.
        case .defaultTime2Retain: number(key, value, 0...3600, \.defaultTime2Retain) { _ in 0 }
        case .maxOutstandingR2T: number(key, value, 1...65535, \.maxOutstandingR2T) { min($0, 1) }
        case .dataPDUInOrder: boolean(key, value, \.dataPDUInOrder) { _ in true }
        case .dataSequenceInOrder: boolean(key, value, \.dataSequenceInOrder) { _ in true }
        case .errorRecoveryLevel: number(key, value, 0...2, \.errorRecoveryLevel) { _ in 0 }
        case .taskReporting: chosen(key, value, "RFC3720")
        case .iSCSIProtocolLevel:
            Text.number(value).map { $0 <= 31 } == true ? .value(value == "0" ? "0" : "1") : failure(key, value)
        // Not "Reject", which would be as good: Linux's initiator takes nothing but its own "No" (13.25).
        case .ifMarker, .ofMarker: value == "Yes" || value == "No" ? .value("No") : .value(ReservedValue.reject)
        case .ifMarkInt, .ofMarkInt: .value(ReservedValue.reject)
        case .initiatorAlias, .nodeArchitecture: .declared
        case .authMethod, .chapAlgorithm, .chapIdentifier, .chapChallenge, .chapName, .chapResponse, .sendTargets,
            .targetName, .initiatorName, .targetAlias, .targetAddress, .targetPortalGroupTag, .sessionType:
            .failure("\(key.rawValue) does not belong here")
        }
    }

    private func failure(_ key: Key, _ value: String) -> Answer {
        .failure("\(key.rawValue) cannot be \(quoted(value))")
    }

    /// A list: the result is its first value that this side has.
    private func chosen(_ key: Key, _ value: String, _ had: String...) -> Answer {
        guard let choice = value.split(separator: ",").first(where: { had.contains(String($0)) }) else {
            return failure(key, value)
        }
        return .value(String(choice))
    }

    private mutating func digest(
        _ key: Key, _ value: String, _ limits: TargetLimits, _ place: WritableKeyPath<Self, Bool>
    ) -> Answer {
        let answer = limits.allowsDigests ? chosen(key, value, "None", "CRC32C") : chosen(key, value, "None")
        self[keyPath: place] = answer == .value("CRC32C")
        return answer
    }

    /// Yes or No; `result` makes this side's No or Yes of it. OR and AND both mean "as the other side wants" for a side
    /// that can do either: only an initiator that wants the default keeps it.
    private mutating func boolean(
        _ key: Key, _ value: String, _ place: WritableKeyPath<Self, Bool>, result: (Bool) -> Bool
    ) -> Answer {
        guard value == "Yes" || value == "No" else { return failure(key, value) }
        self[keyPath: place] = result(value == "Yes")
        return .value(self[keyPath: place] ? "Yes" : "No")
    }

    private mutating func number(
        _ key: Key, _ value: String, _ range: ClosedRange<UInt64>, _ place: WritableKeyPath<Self, UInt32>,
        result: (UInt32) -> UInt32
    ) -> Answer {
        guard let number = Text.number(value), range.contains(number) else { return failure(key, value) }
        self[keyPath: place] = result(UInt32(number))
        return .value(String(self[keyPath: place]))
    }

    /// Each side declares what it receives, and nobody answers.
    private mutating func declaredSegment(_ value: String) -> Answer {
        guard let number = Text.number(value), (512...0xFF_FFFF).contains(number) else {
            return failure(.maxRecvDataSegmentLength, value)
        }
        maxRecvDataSegmentLength = UInt32(number)
        return .declared
    }
}
