// Rules about names in certificates, with certificates that openssl(1) made: what is special in a subject, and every
// type of text that its attributes have.

import Foundation
import Support
import Testing

/// A certificate authority of openssl's.
struct OpenSSLAuthority {
    let folder: TemporaryFolder
    private let configuration: String

    /// Makes ca-cert.pem and ca-key.pem in a folder.
    init(in folder: TemporaryFolder) throws {
        self.folder = folder
        configuration = folder.path + "/openssl.cnf"
        // B_ASN1_UTF8STRING, B_ASN1_BMPSTRING (ASN1_STRING_set_default_mask(3)).
        for (name, mask) in [("", 0x2000), ("BMP", 0x800)] {
            let text = "[req]\nutf8 = yes\ndistinguished_name = dn\nstring_mask = MASK:\(mask)\n[dn]\n"
            try Data(text.utf8).write(to: URL(fileURLWithPath: configuration + name))
        }
        try run(
            "openssl",
            ["req", "-x509", "-days", "30", "-subj", "/CN=ca", "-addext", "basicConstraints=critical,CA:TRUE"]
                + key("ca") + ["-config", configuration, "-out", folder.path + "/ca-cert.pem"], in: folder)
    }

    /// Makes NAME-cert.pem and NAME-key.pem.
    ///
    /// - Parameters:
    ///   - encoding: the type of texts in the subject; empty for UTF8String.
    ///   - authority: who signs it.
    func certify(
        _ name: String, subject: String, extensions: String, encoding: String = "", authority: String = "ca"
    ) throws {
        let path = folder.path + "/" + name
        try run(
            "openssl",
            ["req", "-new", "-subj", subject, "-config", configuration + encoding, "-out", path + ".csr"] + key(name),
            in: folder)
        try Data(extensions.utf8).write(to: URL(fileURLWithPath: path + ".ext"))
        try run(
            "openssl",
            [
                "x509", "-req", "-days", "30", "-in", path + ".csr", "-CA", "\(folder.path)/\(authority)-cert.pem",
                "-CAkey",
                "\(folder.path)/\(authority)-key.pem", "-CAcreateserial", "-extfile", path + ".ext", "-out",
                path + "-cert.pem",
            ], in: folder)
    }

    /// The extensions of a server on this machine.
    static let ofServer = "subjectAltName = DNS:localhost, IP:127.0.0.1\nextendedKeyUsage = serverAuth\n"

    /// A new folder as a client has it.
    func clientFolder(_ name: String) throws -> String {
        let path = "\(folder.path)/as-\(name)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        for (source, target) in [
            ("ca-cert", "ca-cert"), (name + "-cert", "client-cert"), (name + "-key", "client-key"),
        ] {
            try FileManager.default.copyItem(atPath: "\(folder.path)/\(source).pem", toPath: "\(path)/\(target).pem")
        }
        return path
    }

    private func key(_ name: String) -> [String] {
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "\(folder.path)/\(name)-key.pem"]
    }
}

@Suite("Names in certificates") struct CertificateNameTests {
    /// Who may open the export of a rule, by the names of the certificates below.
    private static let rules: [(name: String, clients: Set<String>)] = [
        ("laptop", []), ("mallory", ["mallory"]), (#"O=Org\,CN=laptop,CN=mallory"#, ["mallory"]),
        ("O=Org,CN=laptop,CN=mallory", []), ("O=Org,CN=laptop", []),
        ("Smith, John", ["comma"]), (#"Smith\, John"#, []), ("Smith", []), (#"O=Example,CN=Smith\, John"#, ["comma"]),
        (#"a+CN=b\c"quoted""#, ["special"]), ("b", []),
        ("several", ["plus"]), ("OU=several", []),
        ("büro", ["BMP"]), ("one", ["two"]), ("two", ["two"]),
        ("O=Example,CN=boss", ["boss"]), ("boss", ["boss"]), ("host.example", ["named"]),
    ]

    private static let clients: [(name: String, subject: String, encoding: String)] = [
        ("mallory", "/O=Org,CN=laptop/CN=mallory", ""), ("comma", "/O=Example/CN=Smith, John", ""),
        ("special", #"/CN=a\+CN=b\\c"quoted""#, ""), ("plus", "/O=Example/CN=several+OU=x", ""),
        ("BMP", "/CN=büro", "BMP"), ("two", "/CN=one/CN=two", ""),
        ("boss", "/O=Example/CN=boss", ""), ("impostor", "/CN=O=Example,CN=boss", ""),
        ("named", "/CN=somebody", ""),
    ]

    @Test("a rule lets in who has the name as an attribute, and nobody else")
    func names() throws {
        let folder = try TemporaryFolder()
        let authority = try OpenSSLAuthority(in: folder)
        try authority.certify("server", subject: "/CN=localhost", extensions: OpenSSLAuthority.ofServer)
        var configuration = """
            listen = "tcp:127.0.0.1:0"
            [tls]
            certificates = "\(folder.path)"
            verify-peer = true

            """
        for (number, rule) in Self.rules.enumerated() {
            configuration += "[[export]]\nname = \"\(number)\"\nimage = \"null:1M\"\n"
            configuration += "access = [{ certificate = '\(rule.name)' }]\n"
        }
        let file = folder.path + "/spindle.toml"
        try Data(configuration.utf8).write(to: URL(fileURLWithPath: file))
        try serving(["--config", file], in: folder) { server in
            let port = try #require(server.port)
            for client in Self.clients {
                try authority.certify(
                    client.name, subject: client.subject,
                    extensions: "extendedKeyUsage = clientAuth\n"
                        + (client.name == "named" ? "subjectAltName = DNS:host.example\n" : ""),
                    encoding: client.encoding)
                let keys = try authority.clientFolder(client.name)
                for (number, rule) in Self.rules.enumerated() {
                    let uri = "nbds://127.0.0.1:\(port)/\(number)?tls-certificates=\(keys)"
                    let result = try Program.tool("nbdinfo").run(["--size", uri], in: folder)
                    #expect(
                        (result.status == 0) == rule.clients.contains(client.name),
                        "\(client.name) and the rule \(rule.name): \(result.errors)")
                }
            }
        }
    }
}
