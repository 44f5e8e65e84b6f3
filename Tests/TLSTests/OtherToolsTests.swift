// Programs of others: gnutls-cli talks to a session of ours, and the files of `spindle tls-keys` serve nbdkit and its
// clients.

import Foundation
import Support
import Synchronization
import TLS
import Testing

/// A server for one client on a port of this machine: says a line, then repeats what it hears until the client is done.
final class EchoServer: Sendable {
    struct Report {
        var heard: [UInt8] = []
        var client: TLSClientIdentity?
        var agreement = ""
        var end = ""
    }

    let port: UInt16
    private let report = Mutex(Report())
    private let isDone = DispatchSemaphore(value: 0)

    init(_ credentials: TLSCredentials) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 1) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard result else { throw ProgramFailure("there is no port to listen on: \(errno)") }
        port = UInt16(bigEndian: address.sin_port)
        // Nobody may come at all.
        Self.limitWaiting(on: listener)
        Thread { [self] in
            let descriptor = accept(listener, nil, nil)
            Self.limitWaiting(on: descriptor)
            let result = Self.serve(descriptor, credentials)
            report.withLock { $0 = result }
            close(descriptor)
            close(listener)
            isDone.signal()
        }.start()
    }

    private static func limitWaiting(on descriptor: Int32) {
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// What happened, once it is over.
    func wait() -> Report {
        isDone.wait()
        return report.withLock { $0 }
    }

    private static func serve(_ descriptor: Int32, _ credentials: TLSCredentials) -> Report {
        var report = Report()
        var session = TLSSession(credentials)
        var isOpen = false
        var buffer = [UInt8](repeating: 0, count: 4096)
        var plaintext = buffer
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else {
                report.end = "no close_notify: \(count)"
                return report
            }
            var received = buffer[..<count]
            while !received.isEmpty, report.end.isEmpty {
                if !isOpen {
                    let (consumed, step) = session.handshake(received.span.bytes)
                    received = received.dropFirst(consumed)
                    if case .failed(let failure) = step { report.end = "\(failure)" }
                    guard step == .done else { continue }
                    isOpen = true
                    report.client = session.client
                    report.agreement = session.agreement
                    _ = session.encrypt(Array("welcome\n".utf8).span.bytes)
                } else {
                    var span = plaintext.mutableSpan
                    var target = span.mutableBytes
                    let result = session.decrypt(received.span.bytes, into: &target)
                    received = received.dropFirst(result.consumed)
                    report.heard += plaintext[..<result.count]
                    _ = session.encrypt(plaintext.span.bytes.extracting(0..<result.count))
                    if result.state == .closedByClient {
                        report.end = "closed"
                        session.close()
                    } else if case .failed(let failure) = result.state {
                        report.end = "\(failure)"
                    }
                }
            }
            session.endRecord()
            session.removeOutput(
                send(descriptor, session.output.baseAddress, session.output.count, Int32(MSG_NOSIGNAL)))
            if !report.end.isEmpty { return report }
        }
    }
}

@Suite struct GnuTLSClientTests {
    let files: TestFiles
    let folder: TemporaryFolder

    init() throws {
        files = try TestFiles.shared.get()
        folder = try TemporaryFolder()
    }

    @Test(arguments: [("VERS-TLS1.2", "(TLS1.2)"), ("VERS-TLS1.3", "(TLS1.3)")])
    func certificates(version: String, agreement: String) throws {
        let server = try EchoServer(
            TLSCredentials(certificates: files.directory, preSharedKeyFile: nil, verifyPeer: true))
        let (certificate, key) = files.pair("client")
        let result = try Program.tool("gnutls-cli").run(
            [
                "--port", "\(server.port)", "--x509cafile", files.path("ca-cert.pem"), "--x509certfile", certificate,
                "--x509keyfile", key, "--priority", "NORMAL:-VERS-ALL:+\(version)", "localhost",
            ], input: Array("a drive on a socket\n".utf8), in: folder)
        let report = server.wait()
        #expect(result.status == 0, "\(result.text) \(result.errors)")
        #expect(result.text.contains("Handshake was completed"))
        #expect(String(decoding: report.heard, as: UTF8.self) == "a drive on a socket\n")
        #expect(report.agreement.hasPrefix(agreement))
        #expect(report.client?.distinguishedName == "O=Example,CN=laptop.example.com")
        #expect(report.end == "closed")
    }

    /// With TLS 1.2 gnutls-cli 3.7.9 crashes, whatever the server, when it says which key it has used.
    @Test func preSharedKey() throws {
        let key = try TestKey()
        let server = try EchoServer(key.credentials)
        let result = try Program.tool("gnutls-cli").run(
            [
                "--port", "\(server.port)", "--pskusername", key.user, "--pskkey",
                key.key.map { String(format: "%02x", $0) }.joined(),
                "--priority", "NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK", "localhost",
            ], input: Array("block 0\n".utf8), in: folder)
        let report = server.wait()
        #expect(result.status == 0, "\(result.text) \(result.errors)")
        #expect(String(decoding: report.heard, as: UTF8.self) == "block 0\n")
        #expect(report.client?.preSharedKeyUser == key.user)
        #expect(report.end == "closed")
    }

    @Test func wrongKey() throws {
        let key = try TestKey()
        let server = try EchoServer(key.credentials)
        let result = try Program.tool("gnutls-cli").run(
            [
                "--port", "\(server.port)", "--pskusername", key.user, "--pskkey", "00ff00ff",
                "--priority", "NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK", "localhost",
            ], in: folder)
        #expect(result.status != 0)
        #expect(server.wait().heard.isEmpty)
    }
}

/// `spindle tls-keys`, whose files and commands are tried with a server and clients that are not ours.
@Suite struct KeyFilesTests {
    let folder: TemporaryFolder
    var keys: String { folder.path + "/my keys, and 'certs'" }

    init() throws { folder = try TemporaryFolder() }

    func make(_ arguments: [String] = []) throws -> ProgramResult {
        try Program.spindle.run(["tls-keys", keys] + arguments, in: folder)
    }

    func mode(_ path: String) throws -> Int {
        try #require(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }

    @Test func filesAndTheirModes() throws {
        let result = try make()
        #expect(result.status == 0, "\(result.errors)")
        let names = [
            "ca-cert.pem", "ca-key.pem", "client-cert.pem", "client-key.pem", "keys.psk", "server-cert.pem",
            "server-key.pem",
        ]
        #expect(try FileManager.default.contentsOfDirectory(atPath: keys).sorted() == names)
        #expect(try mode(keys) == 0o700)
        for name in names { #expect(try mode(keys + "/" + name) == 0o600, "\(name)") }
    }

    /// A second time nothing is made, not even what is missing.
    @Test func nothingIsOverwritten() throws {
        #expect(try make(["--certificates"]).status == 0)
        let key = try Data(contentsOf: URL(fileURLWithPath: keys + "/ca-key.pem"))
        let again = try make()
        #expect(again.status == 1)
        #expect(again.errors.contains("exists and is not overwritten"))
        #expect(try Data(contentsOf: URL(fileURLWithPath: keys + "/ca-key.pem")) == key)
        #expect(!FileManager.default.fileExists(atPath: keys + "/keys.psk"))
        #expect(try make(["--psk"]).status == 0)
    }

    @Test(arguments: [["--days", "0"], ["--days", "x"]]) func badUsage(arguments: [String]) throws {
        #expect(try make(arguments).status == 64)
        #expect(!FileManager.default.fileExists(atPath: keys))
    }

    @Test(arguments: [["--user", "a:b"], ["--user", ""], ["--host", String(repeating: "h", count: 65)]])
    func unsuitableNames(arguments: [String]) throws {
        let result = try make(arguments)
        #expect(result.status == 64)
        #expect(result.errors.contains("cannot be used"), "\(result.errors)")
        #expect(!FileManager.default.fileExists(atPath: keys))
    }

    /// certtool reads the certificates: names, purposes and the chain.
    @Test func certificates() throws {
        #expect(try make(["--host", "disk.example.com", "--host", "::1", "--user", "ann", "--days", "5"]).status == 0)
        let certtool = try Program.tool("certtool")
        let server = try certtool.run(["-i", "--infile", keys + "/server-cert.pem"], in: folder).text
        for words in [
            "Subject: CN=disk.example.com", "DNSname: disk.example.com", "IPAddress: ::1", "TLS WWW Server",
            "Certificate Authority (CA): FALSE",
        ] {
            #expect(server.contains(words), "\(words)")
        }
        let client = try certtool.run(["-i", "--infile", keys + "/client-cert.pem"], in: folder).text
        for words in ["Subject: CN=ann", "TLS WWW Client"] { #expect(client.contains(words), "\(words)") }
        for name in ["server", "client"] {
            let chain = try certtool.run(
                ["--verify", "--load-ca-certificate", keys + "/ca-cert.pem", "--infile", keys + "/\(name)-cert.pem"],
                in: folder)
            #expect(chain.status == 0, "\(chain.text)")
        }
    }

    /// The commands that were printed, as they would be pasted into a shell, with nbdkit in the place of our server.
    @Test(arguments: ["psk", "certificates"])
    func printedCommands(kind: String) throws {
        let made = try make(["--" + kind])
        #expect(made.status == 0, "\(made.errors)")
        let option =
            kind == "psk" ? ["--tls-psk", keys + "/keys.psk"] : ["--tls-certificates", keys, "--tls-verify-peer"]
        let server = try NBDKit(["--tls", "require"] + option, in: folder)
        let commands = made.text.split(separator: "\n").filter { $0.hasPrefix("  ") }.map(String.init)
        #expect(commands.count == (kind == "psk" ? 3 : 4))
        for command in commands where !command.contains("spindle serve") && !command.contains("nbd-client") {
            // The port that nbdkit could have.
            let line = command.replacing("file.port=10809", with: "file.port=\(server.port)")
                .replacing("localhost/?", with: "localhost:\(server.port)/?")
            #expect(line != command)
            let result = try Program.tool("sh").run(["-c", line], in: folder)
            #expect(result.status == 0, "\(line): \(result.errors)")
            #expect(result.text.contains("1048576"), "\(result.text)")
        }
        if let command = commands.first(where: { $0.contains("nbd-client") }) {
            // It is not given a device here: it lists the exports, with the same certificates.
            let line = command.replacing(" /dev/nbd0", with: " \(server.port) -l")
            #expect(line != command)
            let result = try Program.tool("sh").run(["-c", line], in: folder)
            #expect(result.status == 0, "\(line): \(result.text) \(result.errors)")
        }
        server.stop()
    }
}

/// nbdkit with a megabyte of memory on a port of its own.
final class NBDKit {
    let port: UInt16
    private let process: BoundProcess
    private let pidFile: String

    init(_ arguments: [String], in folder: TemporaryFolder) throws {
        port = try freePort()
        pidFile = folder.path + "/nbdkit.pid"
        let nothing = FileHandle.nullDevice.fileDescriptor
        process = try BoundProcess(
            Program.tool("nbdkit").path,
            ["-f", "--exit-with-parent", "-i", "127.0.0.1", "-p", "\(port)", "-P", pidFile] + arguments
                + ["memory", "1M"],
            input: nothing, output: nothing, errors: STDERR_FILENO)
        // The file appears when clients may connect.
        try waitUntil("nbdkit \(arguments) serves") {
            try #require(process.isRunning)
            return FileManager.default.fileExists(atPath: pidFile)
        }
    }

    /// It holds nothing that it would have to put away; and other signals may be blocked in it, as they are in the
    /// thread that started it.
    func stop() { process.end() }

    deinit { stop() }
}
