// CHAP (RFC 1994; RFC 7143, 12.1.3). This room has no secrets and no hashes: it says what is to be hashed.

/// The hashes of CHAP by their numbers at IANA.
public enum CHAPAlgorithm: UInt8, Sendable {
    /// MD5, which everyone has to have.
    case md5 = 5
    /// SHA1.
    case sha1 = 6
    /// SHA-256.
    case sha256 = 7

    /// How long its hashes are.
    public var hashBytes: Int {
        switch self {
        case .md5: 16
        case .sha1: 20
        case .sha256: 32
        }
    }
}

/// A question of CHAP.
public struct CHAPChallenge: Equatable, Sendable {
    /// CHAP_I.
    public var identifier: UInt8
    /// CHAP_C.
    public var challenge: [UInt8]

    /// A question. A target takes the bytes from a source that nobody can guess.
    public init(identifier: UInt8, challenge: [UInt8]) {
        self.identifier = identifier
        self.challenge = challenge
    }

    /// The bytes that are hashed to answer it: identifier, secret, challenge (RFC 1994, 4.1).
    public func message(secret: [UInt8]) -> [UInt8] {
        [identifier] + secret + challenge
    }
}

/// An initiator's answer to a target's question. The caller judges it: it knows the secrets.
public struct CHAPAnswer: Equatable, Sendable {
    /// The hash that was agreed on.
    public var algorithm: CHAPAlgorithm
    /// The target's question.
    public var asked: CHAPChallenge
    /// CHAP_N: the name that the initiator gives.
    public var name: String
    /// CHAP_R: the hash.
    public var response: [UInt8]
    /// The question of the initiator to the target, if authentication shall be mutual.
    public var question: CHAPChallenge?
}

/// The judgement of a ``CHAPAnswer``.
public enum CHAPJudgement: Equatable, Sendable {
    /// The name is not known, or the hash is wrong.
    case refused
    /// Nobody has looked at the answer. The initiator may try again.
    case postponed
    /// The initiator has proved its name. If it has a question, the target answers with its own name and hash; without
    /// them the target cannot prove its name, and the login fails.
    case accepted(name: String = "", response: [UInt8] = [])
}

/// The state of an authentication.
struct CHAPExchange: Equatable, Sendable {
    enum State {
        /// AuthMethod has not been settled.
        case notBegun
        /// CHAP has been settled on; CHAP_A comes next.
        case chosen
        /// The question was asked.
        case asked
        /// The answer is being judged.
        case judging
        /// None was settled on, or CHAP is over.
        case done
    }

    var state = State.notBegun
    var algorithm = CHAPAlgorithm.md5
    var question: CHAPChallenge?
}
