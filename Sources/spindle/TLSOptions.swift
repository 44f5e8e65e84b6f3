// The options of `serve` that say whether and how it encrypts.

import ArgumentParser
import Settings

/// `--tls` and its companions, with the files that nbdkit, QEMU and libnbd use, too.
struct TLSOptions: ParsableArguments {
    @Option(help: "Whether clients may (on) or must (require) use TLS; on if keys are given, else off.")
    var tls: TLSFiles.Mode?

    @Option(help: "A folder with ca-cert.pem, server-cert.pem and server-key.pem.", completion: .directory)
    var tlsCertificates: String?

    @Flag(help: "Clients have to show a certificate that the CA has signed.")
    var tlsVerifyPeer = false

    @Option(help: "A file of pre-shared keys, lines of USER:HEXKEY.", completion: .file())
    var tlsPsk: String?

    /// The given files.
    var files: TLSFiles {
        var files = TLSFiles()
        files.mode = tls
        files.certificates = tlsCertificates
        files.verifyPeer = tlsVerifyPeer ? true : nil
        files.preSharedKeys = tlsPsk
        return files
    }

    /// Contradictions between the command line and a file, in the words of the command line.
    static func check(_ files: TLSFiles) throws {
        if let problem = files.problem({ $0 == "mode" ? "--tls" : "--tls-\($0)" }) { throw ValidationError(problem) }
    }
}

extension TLSFiles.Mode: ExpressibleByArgument {}
