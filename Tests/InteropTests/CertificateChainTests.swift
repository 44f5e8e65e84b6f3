// Certificates and keys that a server can load, and that are not what its operator believes: each is said when it
// begins.

import Foundation
import Support
import Testing

@Suite struct CertificateChainTests {
    /// A folder as a server has it, whose certificate comes from an intermediate authority.
    private static func folder() throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        let authority = try OpenSSLAuthority(in: folder)
        try authority.certify(
            "intermediate", subject: "/CN=intermediate", extensions: "basicConstraints = critical, CA:TRUE\n")
        try authority.certify(
            "server", subject: "/CN=localhost", extensions: OpenSSLAuthority.ofServer, authority: "intermediate")
        return folder
    }

    private static func configuration(in folder: TemporaryFolder) throws -> String {
        let file = folder.path + "/spindle.toml"
        let text = """
            listen = "tcp:127.0.0.1:0"
            [tls]
            mode = "require"
            certificates = "\(folder.path)"
            [[export]]
            name = ""
            image = "null:1M"

            """
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        return file
    }

    private static let warning = "put its certificate behind the server's"
    private static let hint = "client left during TLS"

    @Test func theIntermediateIsMissing() throws {
        let folder = try Self.folder()
        let file = try Self.configuration(in: folder)
        let checked = try Program.spindle.run(["check", file], in: folder)
        #expect(checked.status == 0 && checked.errors.contains("tls: warning: "), "\(checked.errors)")
        #expect(checked.errors.contains(Self.warning), "\(checked.errors)")
        try serving(["--config", file], in: folder) { server in
            #expect(server.log.contains(Self.warning))
            let port = try #require(server.port)
            let uri = "nbds://127.0.0.1:\(port)/?tls-certificates=\(folder.path)"
            try runFailing("nbdinfo", ["--size", uri], in: folder)
            try waitUntil("the log says '\(Self.hint)': \(server.log)") { server.log.contains(Self.hint) }
            let line = server.log.split(separator: "\n").last { $0.contains(Self.hint) }
            #expect(line?.contains("level=notice") == true && line?.contains("client=127.0.0.1:") == true)
        }
    }

    @Test func theChainIsWhole() throws {
        let folder = try Self.folder()
        let server = folder.path + "/server-cert.pem"
        let chain = try ["server", "intermediate"].map {
            try String(contentsOfFile: "\(folder.path)/\($0)-cert.pem", encoding: .utf8)
        }
        try chain.joined().write(toFile: server, atomically: true, encoding: .utf8)
        let file = try Self.configuration(in: folder)
        let checked = try Program.spindle.run(["check", file], in: folder)
        #expect(checked.status == 0 && checked.errors == "", "\(checked.errors)")
        try serving(["--config", file], in: folder) { server in
            let port = try #require(server.port)
            try expectSize(1 << 20, "nbds://127.0.0.1:\(port)/?tls-certificates=\(folder.path)", in: folder)
            #expect(server.log == "")
        }
    }

    @Test func anEncryptedKey() throws {
        let folder = try Self.folder()
        let key = folder.path + "/server-key.pem"
        try run("openssl", ["pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", key + ".new"], in: folder)
        #expect(rename(key + ".new", key) == 0)
        let checked = try Program.spindle.run(["check", Self.configuration(in: folder)], in: folder)
        #expect(checked.status == 1 && checked.errors.contains("the key in '\(key)' is encrypted"), "\(checked.errors)")
        #expect(checked.errors.contains("'openssl pkey -in \(key) -out FILE'"))
    }

    /// A file that has no end, in the place of a key.
    @Test(arguments: ["server-key.pem", "server-cert.pem", "ca-cert.pem", "keys.psk"]) func noFile(_ name: String)
        throws
    {
        let folder = try TemporaryFolder()
        let made = try Program.spindle.run(["tls-keys", folder.path + "/keys"], in: folder)
        #expect(made.status == 0)
        let path = "\(folder.path)/keys/\(name)"
        #expect(unlink(path) == 0 && mkfifo(path, 0o600) == 0)
        let options = name == "keys.psk" ? ["--tls-psk", path] : ["--tls-certificates", folder.path + "/keys"]
        let done = try Program.spindle.run(["serve"] + options + ["null:1M"], in: folder, limitSeconds: 20)
        #expect(done.status == 1 && done.errors.contains("'\(path)' is no regular file"), "\(done.errors)")
    }

    @Test(arguments: ["server-key.pem", "keys.psk"]) func keysThatEverybodyCanRead(_ name: String) throws {
        let folder = try TemporaryFolder()
        let keys = folder.path + "/keys"
        #expect(try Program.spindle.run(["tls-keys", keys], in: folder).status == 0)
        let options = ["--tls-certificates", keys, "--tls-psk", keys + "/keys.psk", "null:1M"]
        try serving(options, in: folder) { #expect($0.log == "") }
        #expect(chmod("\(keys)/\(name)", 0o604) == 0)
        try serving(options, in: folder) { server in
            #expect(server.log.contains("every user of this machine can read the keys in '\(keys)/\(name)'"))
        }
    }
}
