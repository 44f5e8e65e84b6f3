// TLS between the server and what others wrote: libnbd's tools, qemu-img and nbd-client, with the keys that `spindle
// tls-keys` makes.

import Foundation
import Support
import Testing

@Suite struct TLSTests {
    private let folder: TemporaryFolder
    /// What the server has.
    private var keys: String { folder.path + "/keys" }

    init() throws {
        folder = try TemporaryFolder()
        try makeKeys("keys")
    }

    private func makeKeys(_ name: String) throws {
        let result = try Program.spindle.run(["tls-keys", folder.path + "/" + name], in: folder)
        try #require(result.status == 0, "\(result.errors)")
    }

    /// A folder of a client with copies of some files.
    private func client(_ name: String, _ files: [String: String]) throws -> String {
        let path = folder.path + "/" + name
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        for (file, source) in files {
            try FileManager.default.copyItem(atPath: folder.path + "/" + source, toPath: path + "/" + file)
        }
        return path
    }

    /// The ways in which both sides know each other.
    enum Proof: CaseIterable {
        case preSharedKey
        case certificates
    }

    /// Options of the server.
    private func options(_ proof: Proof, _ mode: String = "require") -> [String] {
        let keys =
            proof == .preSharedKey
            ? ["--tls-psk", keys + "/keys.psk"] : ["--tls-certificates", keys, "--tls-verify-peer"]
        return Transport.listen + ["--tls", mode] + keys
    }

    /// The URI for a client that has its keys in a folder.
    private func uri(_ server: RunningServer, _ transport: Transport, _ proof: Proof, keys: String? = nil) throws
        -> String
    {
        let keys = keys ?? self.keys
        let user = proof == .preSharedKey ? "spindle@" : ""
        let parameter = proof == .preSharedKey ? "tls-psk-file=\(keys)/keys.psk" : "tls-certificates=\(keys)"
        switch transport {
        case .unix: return "nbds+unix://\(user)/?socket=\(server.socketPath)&\(parameter)"
        case .tcp: return "nbds://\(user)localhost:\(try #require(server.port))/?\(parameter)"
        }
    }

    @Test(arguments: Proof.allCases, Transport.allCases)
    func nbdinfo(proof: Proof, transport: Transport) throws {
        try serving(options(proof) + ["disk=memory:64M"], in: folder) { server in
            let text = try run("nbdinfo", [uri(server, transport, proof)], in: folder)
            #expect(text.contains("protocol: newstyle-fixed with TLS"), "\(text)")
            #expect(text.contains("export=\"disk\""))
            #expect(text.contains("export-size: 67108864 (64M)"))
            let list = try run("nbdinfo", ["--list", uri(server, transport, proof)], in: folder)
            #expect(list.contains("export=\"disk\""))
        }
    }

    /// The server says which kind of URI it needs.
    @Test func theAnnouncementNamesTheScheme() throws {
        for (mode, scheme) in [("on", "nbd"), ("require", "nbds")] {
            try serving(options(.preSharedKey, mode) + ["disk=memory:1M"], in: folder) { server in
                let port = try #require(server.port)
                #expect(server.announcement.contains("serving 'disk' at \(scheme)://127.0.0.1:\(port)/disk: "))
                #expect(server.announcement.contains("serving 'disk' at \(scheme)+unix:///disk?socket="))
            }
        }
    }

    /// Random data there and back, over several connections, and against the image.
    @Test(arguments: Proof.allCases, Transport.allCases)
    func nbdcopyBothWays(proof: Proof, transport: Transport) throws {
        let source = try folder.randomFile("source", sizeBytes: 48 << 20)
        let image = try folder.file("disk.img", sizeBytes: 48 << 20)
        try serving(options(proof) + ["--threads", "2", image], in: folder) { server in
            let uri = try uri(server, transport, proof)
            try run("nbdcopy", ["--connections=4", "--requests=32", source, uri], in: folder)
            try folder.expectSame(source, image)
            try run("nbdcopy", ["--connections=4", "--requests=32", uri, folder.path + "/copy"], in: folder)
        }
        try folder.expectSame(source, folder.path + "/copy")
    }

    /// One side with TLS, one without, at the same export.
    @Test func clientsWithAndWithoutTLS() throws {
        let source = try folder.randomFile("source", sizeBytes: 16 << 20)
        let image = try folder.file("disk.img", sizeBytes: 16 << 20)
        try serving(options(.preSharedKey, "on") + [image], in: folder) { server in
            try run("nbdcopy", [source, uri(server, .tcp, .preSharedKey)], in: folder)
            try run("nbdcopy", [server.uri, folder.path + "/copy"], in: folder)
        }
        try folder.expectSame(source, folder.path + "/copy")
    }

    // MARK: Who is not let in

    @Test func withoutTheRightKeyNobodyEnters() throws {
        try makeKeys("others")
        let none = try client("none", ["keys.psk": "others/keys.psk"])
        try serving(options(.preSharedKey) + ["memory:1M"], in: folder) { server in
            for transport in Transport.allCases {
                try runFailing("nbdinfo", [uri(server, transport, .preSharedKey, keys: none)], in: folder)
            }
            #expect(server.log.contains("TLS failed"))
            try run("nbdinfo", [uri(server, .tcp, .preSharedKey)], in: folder)
        }
    }

    /// No certificate, and one that another authority has signed.
    @Test func withoutTheRightCertificateNobodyEnters() throws {
        try makeKeys("others")
        let bare = try client("bare", ["ca-cert.pem": "keys/ca-cert.pem"])
        let stranger = try client(
            "stranger",
            [
                "ca-cert.pem": "keys/ca-cert.pem", "client-cert.pem": "others/client-cert.pem",
                "client-key.pem": "others/client-key.pem",
            ])
        try serving(options(.certificates) + ["memory:1M"], in: folder) { server in
            for (keys, reason) in [
                (bare, "the client shows no certificate"), (stranger, "the client's certificate is not accepted"),
            ] {
                let errors = try runFailing("nbdinfo", [uri(server, .tcp, .certificates, keys: keys)], in: folder)
                #expect(errors.contains("TLS"), "\(errors)")
                #expect(server.log.contains(reason), "\(server.log)")
            }
            // The other way round: the client knows another authority than the server's.
            let errors = try runFailing(
                "nbdinfo", [uri(server, .tcp, .certificates, keys: folder.path + "/others")], in: folder)
            #expect(errors.contains("certificate verification"), "\(errors)")
            try run("nbdinfo", [uri(server, .tcp, .certificates)], in: folder)
        }
    }

    /// Without --tls-verify-peer a client needs the authority's certificate only.
    @Test func clientsNeedNoCertificateUnlessToldSo() throws {
        let bare = try client("bare", ["ca-cert.pem": "keys/ca-cert.pem"])
        try serving(Transport.listen + ["--tls-certificates", keys, "memory:1M"], in: folder) { server in
            try run("nbdinfo", [uri(server, .tcp, .certificates, keys: bare)], in: folder)
        }
    }

    /// Clients in the clear learn why they are refused, and the exports' names they do not.
    @Test func clientsInTheClearAreTold() throws {
        let message = "this server wants TLS: send STARTTLS first"
        try serving(options(.preSharedKey) + ["disk=memory:1M"], in: folder) { server in
            let port = try "\(#require(server.port))"
            let clear = "nbd://localhost:\(port)/"
            let qemu = try runFailing("qemu-img", ["info", clear], in: folder)
            #expect(qemu.contains(message), "\(qemu)")
            try runFailing("nbdinfo", [clear], in: folder)
            let list = try Program.tool("nbd-client").run(["-l", "localhost", port], in: folder)
            #expect(list.status != 0)
            #expect((list.errors + list.text).contains(message), "\(list.errors)")
            #expect(!list.text.contains("disk"))
        }
    }

    // MARK: qemu-img

    private func qemuObject(_ proof: Proof, keys: String? = nil) -> String {
        let kind = proof == .preSharedKey ? "tls-creds-psk,username=spindle" : "tls-creds-x509,verify-peer=on"
        return "\(kind),id=tls0,endpoint=client,dir=\(keys ?? self.keys)"
    }

    private func qemuImage(_ server: RunningServer, _ proof: Proof) throws -> String {
        "driver=raw,file.driver=nbd,file.host=localhost,file.port=\(try #require(server.port)),file.tls-creds=tls0,"
            + "file.export=disk"
    }

    @Test(arguments: Proof.allCases)
    func qemuImg(proof: Proof) throws {
        let source = try folder.randomFile("source", sizeBytes: 32 << 20)
        let image = try folder.file("disk.img", sizeBytes: 32 << 20)
        let copy = folder.path + "/copy"
        try serving(options(proof) + ["disk=" + image], in: folder) { server in
            let object = ["--object", qemuObject(proof)]
            let target = try qemuImage(server, proof)
            let text = try run("qemu-img", ["info"] + object + ["--image-opts", target], in: folder)
            #expect(text.contains("virtual size: 32 MiB"), "\(text)")
            try run(
                "qemu-img",
                ["convert", "-n", "-f", "raw"] + object + ["--target-image-opts", source, target], in: folder)
            try folder.expectSame(source, image)
            try run("qemu-img", ["convert", "-O", "raw"] + object + ["--image-opts", target, copy], in: folder)
            try folder.expectSame(source, copy)
            let map = try run(
                "qemu-img", ["map", "--output=json"] + object + ["--image-opts", target], in: folder)
            #expect(map.contains("\"data\": true"))
        }
    }

    @Test func qemuImgWithoutCertificate() throws {
        let bare = try client("bare", ["ca-cert.pem": "keys/ca-cert.pem"])
        try serving(options(.certificates) + ["disk=memory:1M"], in: folder) { server in
            let object = qemuObject(.certificates, keys: bare)
            let errors = try runFailing(
                "qemu-img", ["info", "--object", object, "--image-opts", qemuImage(server, .certificates)], in: folder)
            #expect(errors.contains("TLS"), "\(errors)")
            #expect(server.log.contains("the client shows no certificate"))
        }
    }

    // MARK: nbd-client

    /// Without a kernel's device it can list exports, over the TLS that it would use for the rest.
    @Test func nbdClientLists() throws {
        try makeKeys("others")
        try serving(options(.certificates) + ["disk=memory:1M", "second=null:1M"], in: folder) { server in
            let port = try "\(#require(server.port))"
            func list(_ keys: String) throws -> ProgramResult {
                try Program.tool("nbd-client").run(
                    [
                        "localhost", port, "-l", "-certfile", keys + "/client-cert.pem", "-keyfile",
                        keys + "/client-key.pem", "-cacertfile", self.keys + "/ca-cert.pem",
                    ], in: folder)
            }
            let result = try list(keys)
            #expect(result.status == 0, "\(result.errors)")
            #expect(result.text.contains("disk: QEMU HARDDISK") && result.text.contains("second: QEMU HARDDISK"))
            #expect(try list(folder.path + "/others").status != 0)
        }
    }

    // MARK: Usage

    /// Runs a server that cannot begin.
    private func expectFailure(_ status: Int32, _ message: String, _ arguments: [String]) throws {
        let result = try Program.spindle.run(["serve", "--listen", "unix:\(folder.path)/s"] + arguments, in: folder)
        #expect(result.status == status, "\(arguments): \(result.errors)")
        let lines = result.errors.split(separator: "\n").filter { $0.hasPrefix("Error: ") }
        #expect(lines.count == 1 && lines[0].hasSuffix(message), "\(arguments): \(result.errors)")
    }

    @Test(arguments: [
        (["--tls", "on"], "--tls on needs --tls-certificates or --tls-psk; 'spindle tls-keys DIR' makes both"),
        (
            ["--tls", "require"],
            "--tls require needs --tls-certificates or --tls-psk; 'spindle tls-keys DIR' makes both"
        ),
        (["--tls", "off", "--tls-psk", "k"], "--tls is off, but keys are given; leave one of them out"),
        (["--tls", "off", "--tls-certificates", "k"], "--tls is off, but keys are given; leave one of them out"),
        (["--tls-verify-peer"], "--tls-verify-peer needs --tls-certificates, whose ca-cert.pem clients are checked by"),
        (
            ["--tls-verify-peer", "--tls-psk", "k"],
            "--tls-verify-peer needs --tls-certificates, whose ca-cert.pem clients are checked by"
        ),
        (
            ["--tls", "maybe", "--tls-psk", "k"],
            "The value 'maybe' is invalid for '--tls <tls>'. Please provide one of 'off', 'on' or 'require'."
        ),
    ])
    func wrongOptions(arguments: [String], message: String) throws {
        try expectFailure(64, message, arguments + ["memory:1M"])
    }

    @Test func filesThatAreMissingOrWrong() throws {
        let hint = "No such file or directory; 'spindle tls-keys DIR' makes a set of keys and certificates"
        let nowhere = folder.path + "/nowhere"
        try expectFailure(1, "cannot read '\(nowhere)': \(hint)", ["--tls-psk", nowhere, "memory:1M"])
        try expectFailure(
            1, "cannot read '\(nowhere)/ca-cert.pem': \(hint)", ["--tls-certificates", nowhere, "memory:1M"])
        let text = try folder.file("text", sizeBytes: 10, beginning: Array("alice:xyz\n".utf8))
        let result = try Program.spindle.run(["serve", "--tls-psk", text, "memory:1M"], in: folder)
        #expect(result.status == 1)
        #expect(result.errors.contains("line 1 of '\(text)' is not USER:HEXKEY"), "\(result.errors)")
        let mixed = try client(
            "mixed",
            [
                "ca-cert.pem": "keys/ca-cert.pem", "server-cert.pem": "keys/server-cert.pem",
                "server-key.pem": "keys/client-key.pem",
            ])
        try expectFailure(
            1, "the key in '\(mixed)/server-key.pem' is not that of server-cert.pem",
            ["--tls-certificates", mixed, "memory:1M"])
    }
}
