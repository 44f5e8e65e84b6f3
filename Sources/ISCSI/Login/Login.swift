// The Login Phase from its first request to the last response (RFC 7143, 6.3, 11.12, 11.13, 12, 13).

/// A target as initiators may find it.
public struct TargetInformation: Equatable, Sendable {
    /// Its iSCSI name.
    public var name: String
    /// Its addresses, each with the tag of its portal group: "192.0.2.1:3260,1".
    public var addresses: [String]
    /// Initiators need CHAP.
    public var requiresCHAP: Bool
    /// It stands for all targets with such names that are not there yet; nil: for itself. No list has it.
    public var names: TargetNames?

    /// A target.
    public init(name: String, addresses: [String] = [], requiresCHAP: Bool = false) {
        self.name = name
        self.addresses = addresses
        self.requiresCHAP = requiresCHAP
    }
}

/// The names of targets that are alike.
public struct TargetNames: Equatable, Sendable {
    /// They begin so.
    public let prefix: String
    /// They end so.
    public let suffix: String

    /// Something is between the two.
    public init(prefix: String, suffix: String) {
        self.prefix = prefix
        self.suffix = suffix
    }

    func contain(_ name: String) -> Bool {
        name.utf8.count > prefix.utf8.count + suffix.utf8.count && name.hasPrefix(prefix) && name.hasSuffix(suffix)
    }
}

/// The two kinds of sessions (13.21).
public enum SessionType: String, Sendable {
    /// For SendTargets.
    case discovery = "Discovery"
    /// For SCSI.
    case normal = "Normal"
}

/// The initiator that logs in.
public struct Initiator: Equatable, Sendable {
    /// InitiatorName, as ``normalizedName(_:)`` gives it.
    public var name = ""
    /// ISID.
    public var isid = ISID(rawValue: 0)
    /// The name by which it was authenticated; nil if it was not.
    public var chapName: String?

    /// The name of an initiator as names are compared: with small letters (RFC 3722); nil if it is none (RFC 7143,
    /// 4.2.7). Initiators in use have characters that RFC 3722 does not allow, '_' above all, so Spindle only refuses
    /// spaces and what cannot be seen.
    public static func normalizedName(_ text: String) -> String? {
        let name = text.lowercased()
        guard TargetName.hasType(name), name.utf8.count <= TargetName.maximumBytes,
            name.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F })
        else { return nil }
        return name
    }
}

/// One login. It is given whole texts of one request or of several.
struct Login: Sendable {
    enum Outcome {
        /// Say this, and go on.
        case reply(LoginResponsePDU, [TextPair])
        /// Have ``answer`` judged, then call `judged`.
        case authenticate
        /// The login is complete but for the target, or nil for discovery; then call `finish`.
        case open(target: Int?)
        case fail(LoginStatus, String)
    }

    /// More requests than any login needs.
    static let maximumRequests = 32
    /// The longest text that is put together of several requests: more than all keys of the standard.
    static let maximumTextBytes = 16 << 10
    /// The only portal group.
    static let portalGroupTag = "1"

    /// No request has come yet.
    var isUntouched: Bool { requests == 0 }

    private(set) var parameters = SessionParameters()
    private(set) var initiator = Initiator()
    private(set) var sessionType = SessionType.normal
    private(set) var connectionID: UInt16 = 0
    /// TargetName of a normal session.
    private(set) var targetName = ""
    private(set) var answer: CHAPAnswer?
    private var stage: Stage?
    private var request = LoginRequestPDU()
    private var requests = 0
    private var text: [UInt8] = []
    private var target: Int?
    private var requiresCHAP: Bool
    private var exchange = CHAPExchange()
    private var pendingReply: [TextPair] = []
    private var settled: Set<Key> = []
    private var hasDeclared = false
    private let challenge: CHAPChallenge
    private let limits: TargetLimits

    /// - Parameters:
    ///   - requiresCHAP: for discovery.
    ///   - challenge: for this login alone.
    init(requiresCHAP: Bool, challenge: CHAPChallenge, limits: TargetLimits) {
        self.requiresCHAP = requiresCHAP
        self.challenge = challenge
        self.limits = limits
    }

    /// Takes a request with its text.
    mutating func advance(
        _ request: LoginRequestPDU, _ bytes: [UInt8], directory: [TargetInformation]
    ) -> Outcome {
        requests += 1
        guard requests <= Self.maximumRequests else {
            return .fail(.initiatorError, "the login takes more than \(Self.maximumRequests) requests")
        }
        if let failure = checkHeader(request) { return failure }
        self.request = request
        text += bytes
        guard text.count <= Self.maximumTextBytes else {
            return .fail(.initiatorError, "the text of the login is longer than \(Self.maximumTextBytes) bytes")
        }
        // The text goes on.
        guard !request.continues else { return .reply(response(), []) }
        let pairs: [TextPair]
        do {
            pairs = try Text.parse(text)
        } catch {
            return .fail(.initiatorError, "the initiator sent \(error)")
        }
        text = []
        let isFirst = initiator.name.isEmpty
        if isFirst, let failure = identify(pairs, directory) { return failure }
        var reply: [TextPair] = []
        if isFirst, sessionType == .normal {
            reply.append(TextPair(Key.targetPortalGroupTag.rawValue, Self.portalGroupTag))
        }
        if let failure = settle(pairs, &reply) { return failure }
        if exchange.state == .judging {
            pendingReply = reply
            return .authenticate
        }
        return transit(reply)
    }

    /// The answer to the question was judged.
    mutating func judged(_ judgement: CHAPJudgement) -> Outcome {
        precondition(exchange.state == .judging, "an answer is judged once")
        guard judgement != .postponed else {
            return .fail(.serviceUnavailable, "too many logins from its address have failed; it may try again soon")
        }
        guard case .accepted(let name, let response) = judgement, let answer else {
            return .fail(
                .authenticationFailure, "the answer of \(quoted(answer?.name ?? "")) to the challenge is wrong")
        }
        exchange.state = .done
        initiator.chapName = answer.name
        if answer.question != nil {
            guard !name.isEmpty, response.count == answer.algorithm.hashBytes else {
                return .fail(.authenticationFailure, "the initiator wants proof of who the target is; it has no secret")
            }
            pendingReply += [
                TextPair(Key.chapName.rawValue, name),
                TextPair(Key.chapResponse.rawValue, Text.hexadecimal(response)),
            ]
        }
        return transit(pendingReply)
    }

    /// The last response: the target is open.
    func finish(tsih: UInt16) -> (LoginResponsePDU, [TextPair]) {
        var response = response()
        response.transits = true
        response.nextStage = Stage.fullFeaturePhase.rawValue
        response.tsih = tsih
        return (response, pendingReply)
    }

    /// A response to the last request that ends nothing.
    func response(_ status: LoginStatus = .success) -> LoginResponsePDU {
        var response = LoginResponsePDU()
        response.currentStage = request.currentStage
        response.isid = request.isid
        response.tsih = request.tsih
        response.initiatorTaskTag = request.initiatorTaskTag
        response.status = status
        return response
    }

    /// 11.12.1 to 11.12.6. A failure here has this request's tags.
    private mutating func checkHeader(_ request: LoginRequestPDU) -> Outcome? {
        let previous = self.request
        self.request = request
        guard request.versionMinimum == 0 else {
            return .fail(
                .unsupportedVersion, "the initiator wants version \(request.versionMinimum) at least; this is 0")
        }
        guard !request.transits || !request.continues else {
            return .fail(.initiatorError, "a request that goes on is the last one of its stage as well")
        }
        guard let wanted = Stage(rawValue: request.currentStage), wanted != .fullFeaturePhase,
            wanted == stage ?? wanted
        else { return .fail(.initiatorError, "the request is of stage \(request.currentStage), which is another one") }
        if request.transits {
            guard let next = Stage(rawValue: request.nextStage), next.rawValue > wanted.rawValue else {
                return .fail(.initiatorError, "stage \(request.nextStage) does not follow stage \(wanted.rawValue)")
            }
        }
        if stage == nil {
            // A session has one connection, and a new one replaces it.
            guard request.tsih == 0 else {
                return .fail(.sessionDoesNotExist, "a session of one connection cannot have a second one")
            }
            initiator.isid = request.isid
            connectionID = request.connectionID
        } else {
            guard request.isid == previous.isid, request.tsih == previous.tsih,
                request.connectionID == previous.connectionID
            else { return .fail(.invalidDuringLogin, "ISID, TSIH or CID changed during the login") }
        }
        stage = wanted
        return nil
    }

    /// The first text has the names of both sides and the type of the session (6.3).
    private mutating func identify(_ pairs: [TextPair], _ directory: [TargetInformation]) -> Outcome? {
        func value(_ key: Key) -> String? { pairs.first { $0.key == key.rawValue }?.value }
        guard let name = value(.initiatorName) else {
            return .fail(.missingParameter, "there is no InitiatorName")
        }
        guard let initiatorName = Initiator.normalizedName(name) else {
            let rule = "one is iqn., eui. or naa. and more, of up to \(TargetName.maximumBytes) bytes without spaces"
            return .fail(.initiatorError, "InitiatorName \(quoted(name)) is no name of an initiator: \(rule)")
        }
        initiator.name = initiatorName
        guard let type = SessionType(rawValue: value(.sessionType) ?? SessionType.normal.rawValue) else {
            return .fail(.sessionTypeNotSupported, "there is no session of type \(quoted(value(.sessionType) ?? ""))")
        }
        sessionType = type
        if type == .normal {
            guard let targetName = value(.targetName)?.lowercased() else {
                return .fail(.missingParameter, "there is no TargetName")
            }
            let present = directory.firstIndex { $0.names == nil && $0.name == targetName }
            guard let found = present ?? directory.firstIndex(where: { $0.names?.contain(targetName) == true }) else {
                return .fail(.notFound, "there is no target \(quoted(targetName))")
            }
            target = found
            self.targetName = targetName
            requiresCHAP = directory[found].requiresCHAP
        }
        guard stage == .securityNegotiation || !requiresCHAP else {
            return .fail(.authenticationFailure, "the initiator skips the security stage, and has to say who it is")
        }
        return nil
    }

    private mutating func settle(_ pairs: [TextPair], _ reply: inout [TextPair]) -> Outcome? {
        for pair in pairs {
            guard let key = Key(rawValue: pair.key) else {
                reply.append(TextPair(pair.key, ReservedValue.notUnderstood))
                continue
            }
            guard settled.insert(key).inserted || isSaidAgain(key, pair.value) else {
                return .fail(.initiatorError, "\(key.rawValue) is negotiated twice")
            }
            switch answer(key, pair.value) {
            case .value(let value): reply.append(TextPair(key.rawValue, value))
            case .declared: break
            case .failure(let reason): return .fail(.initiatorError, reason)
            }
        }
        settleFirstBurst(&reply)
        if exchange.state == .chosen || exchange.state == .asked {
            let values = Dictionary(pairs.map { ($0.key, $0.value) }) { first, _ in first }
            return authenticate(values, &reply)
        }
        return nil
    }

    /// FirstBurstLength must not exceed MaxBurstLength (13.14), whichever of the two keys comes first. The initiator
    /// has to hear of it: if it does not ask, or has its answer already, FirstBurstLength stays as it was.
    private mutating func settleFirstBurst(_ reply: inout [TextPair]) {
        guard parameters.firstBurstLength > parameters.maxBurstLength,
            let place = reply.firstIndex(where: { $0.key == Key.firstBurstLength.rawValue })
        else { return }
        parameters.firstBurstLength = parameters.maxBurstLength
        reply[place].value = String(parameters.firstBurstLength)
    }

    /// libiscsi repeats its name in the second stage. The same name changes nothing.
    private func isSaidAgain(_ key: Key, _ value: String) -> Bool {
        switch key {
        case .initiatorName: value.lowercased() == initiator.name
        case .targetName: value.lowercased() == targetName
        case .sessionType: value == sessionType.rawValue
        default: false
        }
    }

    private mutating func answer(_ key: Key, _ value: String) -> Answer {
        switch key {
        case .initiatorName, .targetName, .sessionType, .initiatorAlias, .nodeArchitecture: return .declared
        case .authMethod:
            guard stage == .securityNegotiation else { return .failure("AuthMethod after the security stage") }
            return chooseMethod(value)
        case .chapAlgorithm, .chapIdentifier, .chapChallenge, .chapName, .chapResponse:
            let isExpected = exchange.state == .chosen || exchange.state == .asked
            return isExpected ? .declared : .failure("\(key.rawValue) where CHAP was not agreed on")
        default:
            guard stage == .loginOperationalNegotiation else {
                return .failure("\(key.rawValue) in the security stage")
            }
            return parameters.negotiate(key, value, limits)
        }
    }

    /// 12.1: CHAP if the target wants it, else None. Without one in common the login fails below, for its own reason.
    private mutating func chooseMethod(_ value: String) -> Answer {
        let method = requiresCHAP ? "CHAP" : "None"
        guard value.split(separator: ",").contains(Substring(method)) else { return .value(ReservedValue.reject) }
        exchange.state = requiresCHAP ? .chosen : .done
        return .value(method)
    }

    /// 12.1.3: CHAP_A, then CHAP_N and CHAP_R, and with them CHAP_I and CHAP_C if it shall be mutual.
    private mutating func authenticate(_ values: [String: String], _ reply: inout [TextPair]) -> Outcome? {
        func value(_ key: Key) -> String? { values[key.rawValue] }
        if exchange.state == .chosen {
            guard let offered = value(.chapAlgorithm) else {
                return value(.chapResponse) == nil ? nil : .fail(.authenticationFailure, "CHAP_R comes before CHAP_A")
            }
            let numbers = offered.split(separator: ",").compactMap { Text.number($0) }
            guard let algorithm = numbers.lazy.compactMap({ CHAPAlgorithm(rawValue: UInt8(clamping: $0)) }).first else {
                return .fail(.authenticationFailure, "none of the algorithms \(quoted(offered)) is had here")
            }
            exchange.algorithm = algorithm
            exchange.state = .asked
            reply += [
                TextPair(Key.chapAlgorithm.rawValue, String(algorithm.rawValue)),
                TextPair(Key.chapIdentifier.rawValue, String(challenge.identifier)),
                TextPair(Key.chapChallenge.rawValue, Text.hexadecimal(challenge.challenge)),
            ]
            return nil
        }
        guard let name = value(.chapName), let response = value(.chapResponse).flatMap({ Text.binary($0) }),
            !name.isEmpty, response.count == exchange.algorithm.hashBytes
        else { return .fail(.authenticationFailure, "CHAP_N or CHAP_R is missing, or has a wrong length") }
        var question: CHAPChallenge?
        if let identifier = value(.chapIdentifier) {
            guard let number = Text.number(identifier).flatMap({ UInt8(exactly: $0) }),
                let bytes = value(.chapChallenge).flatMap({ Text.binary($0) }), !bytes.isEmpty
            else { return .fail(.authenticationFailure, "CHAP_I or CHAP_C of the initiator is not sound") }
            // An initiator that sends the target's own question back wants the target to answer it.
            guard bytes != challenge.challenge else {
                return .fail(.authenticationFailure, "the initiator sent the target's own challenge back")
            }
            question = CHAPChallenge(identifier: number, challenge: bytes)
        }
        answer = CHAPAnswer(
            algorithm: exchange.algorithm, asked: challenge, name: name, response: response, question: question)
        exchange.state = .judging
        return nil
    }

    /// Whether the next stage begins (6.3.1, 6.3.2).
    private mutating func transit(_ reply: [TextPair]) -> Outcome {
        var reply = reply
        if reply.contains(where: { $0.key == Key.authMethod.rawValue && $0.value == ReservedValue.reject }) {
            let wanted = requiresCHAP ? "CHAP, which is wanted" : "None, which is all that is wanted"
            return .fail(.authenticationFailure, "the initiator does not offer \(wanted)")
        }
        if stage == .loginOperationalNegotiation, !hasDeclared {
            hasDeclared = true
            reply.append(TextPair(Key.maxRecvDataSegmentLength.rawValue, String(limits.maxRecvDataSegmentLength)))
        }
        var response = response()
        let isDone = stage != .securityNegotiation || exchange.state == .done || !requiresCHAP
        guard request.transits, let next = Stage(rawValue: request.nextStage) else { return .reply(response, reply) }
        guard isDone else {
            // CHAP goes on. An initiator that has not begun it and is ready for the next stage does not want it.
            guard exchange.state != .notBegun else {
                return .fail(.authenticationFailure, "the initiator offers no AuthMethod, and has to say who it is")
            }
            return .reply(response, reply)
        }
        stage = next
        guard next == .fullFeaturePhase else {
            response.transits = true
            response.nextStage = next.rawValue
            return .reply(response, reply)
        }
        pendingReply = reply
        return .open(target: target)
    }
}
