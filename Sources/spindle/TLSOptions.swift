// The options of `serve` that say whether and how it encrypts.

import ArgumentParser
import Server
import TLS

/// `--tls` and its companions, with the files that nbdkit, QEMU and libnbd use, too.
struct TLSOptions: ParsableArguments {
    /// A value of `--tls`.
    enum Mode: String, CaseIterable, ExpressibleByArgument {
        case off
        case on
        case require
    }

    @Option(help: "Whether clients may (on) or must (require) use TLS; on if keys are given, else off.")
    var tls: Mode?

    @Option(help: "A folder with ca-cert.pem, server-cert.pem and server-key.pem.")
    var tlsCertificates: String?

    @Flag(help: "Clients have to show a certificate that the CA has signed.")
    var tlsVerifyPeer = false

    @Option(help: "A file of pre-shared keys, lines of USER:HEXKEY.")
    var tlsPsk: String?

    func validate() throws {
        let hasKeys = tlsCertificates != nil || tlsPsk != nil
        if tls == .on || tls == .require, !hasKeys {
            throw ValidationError(
                "--tls \(tls?.rawValue ?? "") needs --tls-certificates or --tls-psk; 'spindle tls-keys DIR' makes both")
        }
        if tls == .off, hasKeys { throw ValidationError("--tls is off, but keys are given; leave one of them out") }
        if tlsVerifyPeer, tlsCertificates == nil {
            throw ValidationError(
                "--tls-verify-peer needs --tls-certificates, whose ca-cert.pem clients are checked by")
        }
    }

    /// What the server is to do; nil for no TLS.
    func settings() throws -> TLSSettings? {
        guard tlsCertificates != nil || tlsPsk != nil else { return nil }
        let credentials = try TLSCredentials(
            certificates: tlsCertificates, preSharedKeyFile: tlsPsk, verifyPeer: tlsVerifyPeer)
        return TLSSettings(credentials: credentials, isRequired: tls == .require)
    }
}
