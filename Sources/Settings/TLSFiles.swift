// Where the keys for TLS are, and what is done with them.

import Loop
import Server
import TLS

/// The keys of [tls], and `--tls` with its companions: files that nbdkit, QEMU and libnbd use, too.
public struct TLSFiles: Equatable, Sendable {
    /// Whether clients use TLS.
    public enum Mode: String, CaseIterable, Sendable {
        case off
        case on
        case require
    }

    /// Nil: on if there are keys.
    public var mode: Mode?
    /// A folder.
    public var certificates: String?
    /// Clients without a pre-shared key have to show a certificate.
    public var verifyPeer: Bool?
    /// A file.
    public var preSharedKeys: String?

    /// No TLS.
    public init() {}

    init(_ reader: inout TableReader) {
        mode = reader.parsed("mode", Self.parseMode)
        certificates = reader.path("certificates")
        verifyPeer = reader.boolean("verify-peer")
        preSharedKeys = reader.path("psk")
        if reader.errors.isEmpty, let problem = problem({ $0 }) { reader.add(problem) }
    }

    /// A mode by its name.
    public static func parseMode(_ text: String) throws(BadValue) -> Mode {
        guard let mode = Mode(rawValue: text) else {
            throw BadValue(text, "mode of TLS", allowed: Mode.allCases.map(\.rawValue))
        }
        return mode
    }

    /// These, with what the others say in its place.
    func overridden(by other: TLSFiles) -> TLSFiles {
        var both = self
        both.mode = other.mode ?? mode
        both.certificates = other.certificates ?? certificates
        both.verifyPeer = other.verifyPeer ?? verifyPeer
        both.preSharedKeys = other.preSharedKeys ?? preSharedKeys
        return both
    }

    /// A contradiction between the files, if there is one; `spell` makes the user's word of a key of [tls].
    public func problem(_ spell: (String) -> String) -> String? {
        let hasKeys = certificates != nil || preSharedKeys != nil
        if let mode, mode != .off, !hasKeys {
            return "\(spell("mode")) \(mode.rawValue) needs \(spell("certificates")) or \(spell("psk")); "
                + "'spindle tls-keys DIR' makes both"
        }
        if mode == .off, hasKeys { return "\(spell("mode")) is off, but keys are given; leave one of them out" }
        if verifyPeer == true, certificates == nil {
            return "\(spell("verify-peer")) needs \(spell("certificates")), whose ca-cert.pem clients are checked by"
        }
        return nil
    }

    /// The server has TLS.
    public var isUsed: Bool { mode != .off && (certificates != nil || preSharedKeys != nil) }

    /// Loads the keys; nil for no TLS.
    public func open() throws -> TLSSettings? {
        guard isUsed else { return nil }
        let credentials = try TLSCredentials(
            certificates: certificates, preSharedKeyFile: preSharedKeys, verifyPeer: verifyPeer ?? false)
        return TLSSettings(credentials: credentials, isRequired: mode == .require)
    }
}
