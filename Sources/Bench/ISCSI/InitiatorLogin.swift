// The Login Phase, an initiator's side (RFC 7143, 6.3, 11.12, 11.13, 12, 13), as a state machine.

import ISCSI
import TLS

/// The results of a login; until then, the defaults of section 13.
struct InitiatorParameters: Equatable, Sendable {
    /// The target's MaxRecvDataSegmentLength.
    var maxSendDataSegmentLength: UInt32 = 8192
    /// Our own.
    var maxReceiveDataSegmentLength: UInt32 = 256 << 10
    var maxBurstLength: UInt32 = 262_144
    var firstBurstLength: UInt32 = 65_536
    var immediateData = true
    var initialR2T = true
    var hasHeaderDigest = false
    var hasDataDigest = false
}

/// The wishes of an initiator at a login. Lengths and booleans are those of Linux's initiator.
struct InitiatorWishes: Sendable {
    static let initiatorName = "iqn.2026-11.org.spindle:bench"

    var targetName: String
    /// No two sessions of a client have the same one.
    var isid: ISID
    var usesDigests = false
    /// For CHAP.
    var credentials: CHAPCredentials?
    var maxReceiveDataSegmentLength: UInt32 = 256 << 10
    var maxBurstLength: UInt32 = 16_776_192
    var firstBurstLength: UInt32 = 262_144
    var immediateData = true
    var initialR2T = false
}

/// A name and its secret.
public struct CHAPCredentials: Equatable, Sendable {
    let name: String
    let secret: [UInt8]

    /// Reads a file with one line NAME:SECRET.
    public init(file: String) throws(TLSCredentialsError) {
        let initiators = try CHAPSecrets(initiators: file).initiators
        guard let only = initiators.first, initiators.count == 1 else {
            throw .secretLine(path: file, line: 2, reason: "a client has one name and one secret")
        }
        (name, secret) = only
    }

    init(name: String, secret: [UInt8]) {
        self.name = name
        self.secret = secret
    }
}

/// One login.
struct InitiatorLogin: Sendable {
    /// The caller's next task.
    enum Step: Equatable {
        /// The response is not there as a whole.
        case needMoreBytes
        /// Send this.
        case say([UInt8])
        /// The session is open.
        case open
        /// The login has failed.
        case failed(BenchError)
    }

    /// More than any login takes.
    private static let maximumResponses = 32
    private static let maximumTextBytes = 64 << 10
    private static let maximumSegmentBytes: UInt32 = 16 << 10

    private let wishes: InitiatorWishes
    private(set) var parameters = InitiatorParameters()
    let commandSN: UInt32 = 1
    private(set) var maximumCommandSN: UInt32 = 1
    private(set) var expectedStatusSN: UInt32 = 0
    private var stage = Stage.securityNegotiation
    private var responses = 0
    private var text: [UInt8] = []
    private var hasSaidOperationalKeys = false

    /// The target has said something.
    var isAnswered: Bool { responses > 0 }

    init(_ wishes: InitiatorWishes) {
        self.wishes = wishes
        parameters.maxReceiveDataSegmentLength = wishes.maxReceiveDataSegmentLength
    }

    /// The first request.
    func begin() -> [UInt8] {
        request(
            [
                TextPair("InitiatorName", InitiatorWishes.initiatorName), TextPair("TargetName", wishes.targetName),
                TextPair("SessionType", "Normal"),
                TextPair("AuthMethod", wishes.credentials == nil ? "None" : "CHAP,None"),
            ], transits: wishes.credentials == nil)
    }

    private func request(_ pairs: [TextPair], transits: Bool) -> [UInt8] {
        var pdu = LoginRequestPDU()
        pdu.transits = transits
        pdu.currentStage = stage.rawValue
        if transits {
            let next = stage == .securityNegotiation ? Stage.loginOperationalNegotiation : .fullFeaturePhase
            pdu.nextStage = next.rawValue
        }
        pdu.isid = wishes.isid
        pdu.commandSN = commandSN
        pdu.expectedStatusSN = expectedStatusSN
        let text = Text.compose(pairs)
        pdu.dataSegmentLength = UInt32(text.count)
        return pdu.bytes + text + [UInt8](repeating: 0, count: -text.count & 3)
    }

    /// Reads on at `position`, and moves it behind what was read.
    mutating func next(_ bytes: RawSpan, at position: inout Int) -> Step {
        let headerBytes = BasicHeaderSegment.byteCount
        guard bytes.byteCount - position >= headerBytes else { return .needMoreBytes }
        let header = bytes.extracting(position..<position + headerBytes)
        let fields = BasicHeaderSegment(header)
        guard fields.opcode == Opcode.loginResponse.rawValue, fields.totalAHSBytes == 0,
            fields.dataSegmentLength <= Self.maximumSegmentBytes
        else {
            let reason = "the answer to a Login Request does not begin as one"
            return .failed(isAnswered ? .violation(reason) : .noServer(.iscsi, reason: reason))
        }
        let length = Int(fields.dataSegmentLength)
        let end = position + headerBytes + length + (-length & 3)
        guard end <= bytes.byteCount else { return .needMoreBytes }
        for index in 0..<length {
            text.append(bytes.bigEndian(at: position + headerBytes + index, as: UInt8.self))
        }
        position = end
        // A status that RFC 7143 does not have is none of ``LoginStatus``.
        return respond(LoginResponsePDU(header), status: header.bigEndian(at: 36, as: UInt16.self))
    }

    private mutating func respond(_ pdu: LoginResponsePDU, status: UInt16) -> Step {
        responses += 1
        guard status == 0 else { return .failed(.refusedLogin(status: status)) }
        guard responses <= Self.maximumResponses, text.count <= Self.maximumTextBytes else {
            return .failed(.violation("the login does not come to an end"))
        }
        expectedStatusSN = pdu.statusSN &+ 1
        maximumCommandSN = pdu.maximumCommandSN
        guard !pdu.continues else { return .say(request([], transits: false)) }
        let pairs: [TextPair]
        do {
            pairs = try Text.parse(text)
        } catch {
            return .failed(.violation("\(error)"))
        }
        text = []
        switch stage {
        case .securityNegotiation: return authenticate(pairs, transits: pdu.transits, next: pdu.nextStage)
        default: return settle(pairs, transits: pdu.transits)
        }
    }

    /// 12.1: without CHAP there is nothing to prove.
    private mutating func authenticate(_ pairs: [TextPair], transits: Bool, next: UInt8) -> Step {
        func value(_ key: Key) -> String? { pairs.first { $0.key == key.rawValue }?.value }
        if transits {
            if next == Stage.fullFeaturePhase.rawValue { return .open }
            stage = .loginOperationalNegotiation
            return .say(request(operationalKeys, transits: true))
        }
        guard let credentials = wishes.credentials else {
            guard value(.authMethod) == "None" else {
                return .failed(.unsuitable("the target wants CHAP; give --chap FILE"))
            }
            return .say(request([], transits: true))
        }
        switch value(.authMethod) {
        // MD5 comes first: tgt takes SHA-256's number, 7, for SHA1's.
        case "CHAP": return .say(request([TextPair("CHAP_A", "5,6,7")], transits: false))
        case "None": return .say(request([], transits: true))
        case .some(let method): return .failed(.violation("the target wants the AuthMethod \(method)"))
        case nil: break
        }
        guard let algorithm = value(.chapAlgorithm).flatMap({ UInt8($0) }).flatMap({ CHAPAlgorithm(rawValue: $0) }),
            let identifier = value(.chapIdentifier).flatMap({ Text.number($0) }).flatMap({ UInt8(exactly: $0) }),
            let challenge = value(.chapChallenge).flatMap({ Text.binary($0) })
        else { return .failed(.violation("the target asks nothing where CHAP's question belongs")) }
        let question = CHAPChallenge(identifier: identifier, challenge: challenge)
        let digest: Digest =
            switch algorithm {
            case .md5: .md5
            case .sha1: .sha1
            case .sha256: .sha256
            }
        guard let response = digest.of(question.message(secret: credentials.secret)) else {
            return .failed(.unsuitable("this system does not have the hash that the target wants for CHAP"))
        }
        return .say(
            request(
                [TextPair("CHAP_N", credentials.name), TextPair("CHAP_R", Text.hexadecimal(response))],
                transits: true))
    }

    private var operationalKeys: [TextPair] {
        func word(_ value: Bool) -> String { value ? "Yes" : "No" }
        let digest = wishes.usesDigests ? "CRC32C,None" : "None"
        return [
            TextPair("HeaderDigest", digest), TextPair("DataDigest", digest),
            TextPair("MaxRecvDataSegmentLength", String(wishes.maxReceiveDataSegmentLength)),
            TextPair("MaxBurstLength", String(wishes.maxBurstLength)),
            TextPair("FirstBurstLength", String(wishes.firstBurstLength)),
            TextPair("ImmediateData", word(wishes.immediateData)), TextPair("InitialR2T", word(wishes.initialR2T)),
            TextPair("MaxOutstandingR2T", "1"), TextPair("MaxConnections", "1"),
            TextPair("ErrorRecoveryLevel", "0"), TextPair("DataPDUInOrder", "Yes"),
            TextPair("DataSequenceInOrder", "Yes"), TextPair("DefaultTime2Wait", "2"),
            TextPair("DefaultTime2Retain", "0"),
        ]
    }

    private mutating func settle(_ pairs: [TextPair], transits: Bool) -> Step {
        for pair in pairs {
            guard let key = Key(rawValue: pair.key) else { continue }
            guard settle(key, pair.value) else {
                return .failed(.violation("\(pair.key)=\(pair.value) is no answer to what was offered"))
            }
        }
        guard transits else { return .say(request([], transits: true)) }
        if wishes.usesDigests, !parameters.hasHeaderDigest || !parameters.hasDataDigest {
            return .failed(.unsuitable("the target has no digests; leave out --digests"))
        }
        return .open
    }

    /// Takes a result; the target may choose within what was offered (6.2, 13).
    private mutating func settle(_ key: Key, _ value: String) -> Bool {
        func length(upTo limit: UInt32) -> UInt32? {
            Text.number(value).flatMap { (512...UInt64(limit)).contains($0) ? UInt32($0) : nil }
        }
        switch key {
        case .headerDigest: return settleDigest(\.hasHeaderDigest, value)
        case .dataDigest: return settleDigest(\.hasDataDigest, value)
        case .maxRecvDataSegmentLength:
            guard let length = length(upTo: 0xFF_FFFF) else { return false }
            parameters.maxSendDataSegmentLength = length
        case .maxBurstLength:
            guard let length = length(upTo: wishes.maxBurstLength) else { return false }
            parameters.maxBurstLength = length
        case .firstBurstLength:
            guard let length = length(upTo: wishes.firstBurstLength) else { return false }
            parameters.firstBurstLength = length
        case .immediateData:
            guard value == "No" || value == "Yes" && wishes.immediateData else { return false }
            parameters.immediateData = value == "Yes"
        case .initialR2T:
            guard value == "Yes" || value == "No" && !wishes.initialR2T else { return false }
            parameters.initialR2T = value == "Yes"
        case .dataPDUInOrder, .dataSequenceInOrder: return value == "Yes"
        case .errorRecoveryLevel: return value == "0"
        default: break
        }
        return true
    }

    private mutating func settleDigest(_ place: WritableKeyPath<InitiatorParameters, Bool>, _ value: String) -> Bool {
        guard value == "None" || value == "CRC32C" && wishes.usesDigests else { return false }
        parameters[keyPath: place] = value == "CRC32C"
        return true
    }
}
