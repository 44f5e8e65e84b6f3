// Keys and certificates for the tests, made by certtool and psktool (Debian's gnutls-bin).

import Foundation
import Support
import TLS

/// A folder of certificates: what a server loads, and clients of several kinds.
final class TestFiles: Sendable {
    let folder: TemporaryFolder
    /// ca-cert.pem, server-cert.pem and server-key.pem, and no ca-crl.pem.
    var directory: String { folder.path }

    /// Made once for all tests.
    static let shared = Result { try TestFiles() }

    private init() throws {
        folder = try TemporaryFolder.ofAllTests()
        try makeAuthority("ca")
        try makeAuthority("other-ca")
        let server = "cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\ntls_www_server\nsigning_key\n"
        let client = "tls_www_client\nsigning_key\n"
        try makeCertificate("server", server)
        try makeCertificate("old-server", server + Self.longAgo)
        try makeCertificate(
            "client",
            """
            cn = laptop.example.com
            organization = Example
            dns_name = laptop.example.com
            ip_address = 192.0.2.7
            ip_address = 2001:db8::7
            uri = urn:example:laptop
            email = ann@example.com

            """ + client)
        // Two dNSNames, of which the first has a NUL in it (RFC 5280, 4.2.1.6).
        try makeCertificate(
            "trickster", "cn = trickster\nadd_extension = \"2.5.29.17 0x300B82036100628204676F6F64\"\n" + client)
        try makeCertificate("expired", "cn = expired\n" + client + Self.longAgo)
        try makeCertificate("stranger", "cn = stranger\n" + client, authority: "other-ca")
        try makeCertificate("revoked", "cn = revoked\n" + client)
    }

    private static let longAgo =
        "activation_date = \"2020-01-01 00:00:00 UTC\"\nexpiration_date = \"2021-01-01 00:00:00 UTC\"\n"

    /// The path of a file.
    func path(_ name: String) -> String { folder.path + "/" + name }

    /// Certificate and key of a client.
    func pair(_ name: String) -> (certificate: String, key: String) {
        (path(name + "-cert.pem"), path(name + "-key.pem"))
    }

    /// A new folder with the files that a server loads, some of them taken from others.
    func serverFolder(_ replacements: [String: String] = [:]) throws -> TemporaryFolder {
        let copy = try TemporaryFolder()
        var sources = Dictionary(uniqueKeysWithValues: ["ca-cert", "server-cert", "server-key"].map { ($0, $0) })
        sources.merge(replacements) { $1 }
        for (name, source) in sources {
            try FileManager.default.copyItem(atPath: path(source + ".pem"), toPath: copy.path + "/\(name).pem")
        }
        return copy
    }

    /// Makes a list that revokes the client `revoked`, as `crl.pem`.
    func makeRevocationList() throws {
        try write("crl.cfg", "crl_next_update = 10\ncrl_number = 1\n")
        try certtool([
            "--generate-crl", "--load-ca-privkey", path("ca-key.pem"), "--load-ca-certificate", path("ca-cert.pem"),
            "--load-certificate", path("revoked-cert.pem"), "--template", path("crl.cfg"),
            "--outfile", path("crl.pem"),
        ])
    }

    private func makeAuthority(_ name: String) throws {
        try makeKey(name)
        try write(name + ".cfg", "cn = \(name)\nca\ncert_signing_key\ncrl_signing_key\n")
        try certtool([
            "--generate-self-signed", "--load-privkey", path(name + "-key.pem"), "--template", path(name + ".cfg"),
            "--outfile", path(name + "-cert.pem"),
        ])
    }

    private func makeCertificate(_ name: String, _ template: String, authority: String = "ca") throws {
        try makeKey(name)
        try write(name + ".cfg", template)
        try certtool([
            "--generate-certificate", "--load-privkey", path(name + "-key.pem"), "--template", path(name + ".cfg"),
            "--load-ca-certificate", path(authority + "-cert.pem"), "--load-ca-privkey", path(authority + "-key.pem"),
            "--outfile", path(name + "-cert.pem"),
        ])
    }

    private func makeKey(_ name: String) throws {
        try certtool([
            "--generate-privkey", "--key-type=ecdsa", "--curve=secp256r1", "--outfile", path(name + "-key.pem"),
        ])
    }

    private func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path(name)))
    }

    private func certtool(_ arguments: [String]) throws {
        let result = try Program.tool("certtool").run(arguments, in: folder)
        guard result.status == 0 else { throw ProgramFailure("certtool \(arguments): \(result.errors)") }
    }
}

extension TestKey {
    var credentials: TLSCredentials {
        get throws { try TLSCredentials(certificates: nil, preSharedKeyFile: path, verifyPeer: false) }
    }
}
