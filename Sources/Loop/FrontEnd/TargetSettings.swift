// The settings that all targets of a server share.

import ISCSI
import TLS

/// The names of a server's targets, and the secrets by which initiators and targets prove theirs.
public struct TargetSettings: Sendable {
    /// The prefix of targets' names; the name of an export follows it.
    public var prefix: TargetName
    /// The secrets of CHAP; nil: nobody is asked.
    public var secrets: CHAPSecrets?

    /// Targets that are open to everybody.
    public init(prefix: TargetName = .standardPrefix, secrets: CHAPSecrets? = nil) {
        self.prefix = prefix
        self.secrets = secrets
    }

    /// Judges the answer of an initiator to a challenge (RFC 7143, 12.1.3).
    func judge(_ answer: CHAPAnswer) -> CHAPJudgement {
        guard let secret = secrets?.initiators[answer.name],
            let expected = answer.algorithm.digest.of(answer.asked.message(secret: secret)),
            isSameSecret(expected, answer.response)
        else { return .refused }
        guard let question = answer.question else { return .accepted() }
        // An initiator that sends the target's own question back wants the answer to it.
        guard question.challenge != answer.asked.challenge, let own = secrets?.target,
            let response = answer.algorithm.digest.of(question.message(secret: own.secret))
        else { return .refused }
        return .accepted(name: own.name, response: response)
    }
}

extension CHAPAlgorithm {
    fileprivate var digest: Digest {
        switch self {
        case .md5: .md5
        case .sha1: .sha1
        case .sha256: .sha256
        }
    }
}

extension CHAPChallenge {
    /// A question that nobody can guess: the bytes come from the kernel (getrandom(2)).
    static func random() -> CHAPChallenge {
        var source = SystemRandomNumberGenerator()
        let bytes = (0..<24).map { _ in UInt8.random(in: 0...255, using: &source) }
        return CHAPChallenge(identifier: UInt8.random(in: 0...255, using: &source), challenge: bytes)
    }
}
