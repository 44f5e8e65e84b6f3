// `spindle tls-keys`: keys and certificates to begin with, and what to type on the other side.

import ArgumentParser
import Backends
import Glibc
import Listening
import Server
import TLS

/// The subcommand.
struct TLSKeys: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tls-keys",
        abstract: "Make keys and certificates for TLS.",
        discussion: """
            Without --psk and --certificates both are made: a file of pre-shared keys, which suits a few clients that one \
            person looks after, and a small certificate authority with a certificate for the server and one for a client. \
            The files have the names that nbdkit, libnbd and QEMU look for. Nothing is overwritten.
            """)

    @Flag(help: "Make a file with a pre-shared key.")
    var psk = false

    @Flag(help: "Make a certificate authority, and certificates for a server and a client.")
    var certificates = false

    @Option(
        help: ArgumentHelp(
            """
            A name or address by which clients reach the server; may be repeated. If not given: localhost, its \
            addresses, and this machine's name.
            """, valueName: "name"))
    var host: [String] = []

    @Option(
        help: ArgumentHelp(
            "The user of the pre-shared key, and the name in the client's certificate.", valueName: "name"))
    var user = "spindle"

    @Option(help: "For how many days the certificates are valid.", transform: number(in: 1...36500))
    var days = 3650

    @Argument(
        help: ArgumentHelp("Where the files go; it is made if it is not there.", valueName: "dir"),
        completion: .directory)
    var directory: String

    func run() throws {
        var files = TLSKeyFiles(directory: directory)
        let hosts = host.isEmpty ? ["localhost", "127.0.0.1", "::1"] + machineName() : host
        let isBoth = psk == certificates
        do throws(TLSCredentialsError) {
            if psk || isBoth { try files.addPreSharedKey(user: user) }
            if certificates || isBoth { try files.addCertificates(hosts: hosts, client: user, days: days) }
        } catch {
            guard case .unsuitableName = error else { throw error }
            throw ValidationError("\(error)")
        }
        try files.write()
        let commands = ClientCommands(directory: realPath(directory) ?? directory, host: hosts[0], user: user)
        var text = ""
        if psk || isBoth { text += commands.forPreSharedKey }
        if certificates || isBoth { text += commands.forCertificates(hosts) }
        try writeToStandardOutput(Array(text.utf8))
    }
}

/// The commands to type, once the files are made. Each is a line of its own that begins with two spaces.
private struct ClientCommands {
    let directory: String
    let host: String
    let user: String

    var forPreSharedKey: String {
        let file = directory + "/" + TLSKeyFiles.preSharedKeyFile
        let uri = "nbds://\(Endpoint.percentEncoded(user))@\(uriHost)/?tls-psk-file=\(Endpoint.percentEncoded(file))"
        let object =
            "tls-creds-psk,id=tls0,endpoint=client,dir=\(commasDoubled(directory)),username=\(commasDoubled(user))"
        return """
            \(file): the key of user '\(user)'. Server and clients need this file.
              spindle serve --tls require --tls-psk \(quotedForShell(file)) IMAGE
              nbdinfo \(quotedForShell(uri))
              qemu-img info --object \(quotedForShell(object)) --image-opts \(imageOptions)
            nbd-client knows certificates only.

            """
    }

    func forCertificates(_ hosts: [String]) -> String {
        let uri = "nbds://\(uriHost)/?tls-certificates=\(Endpoint.percentEncoded(directory))"
        let object = "tls-creds-x509,id=tls0,endpoint=client,verify-peer=on,dir=\(commasDoubled(directory))"
        let files = ["-certfile", "client-cert.pem", "-keyfile", "client-key.pem", "-cacertfile", "ca-cert.pem"].map {
            $0.hasPrefix("-") ? $0 : quotedForShell(directory + "/" + $0)
        }
        return """
            \(directory): certificates for the server (\(hosts.joined(separator: ", "))) and the client '\(user)'.
            The server needs ca-cert.pem, server-cert.pem, server-key.pem; clients need ca-cert.pem, client-cert.pem, \
            client-key.pem.
            ca-key.pem signs further certificates: keep it where nobody else reads it.
              spindle serve --tls require --tls-certificates \(quotedForShell(directory)) --tls-verify-peer IMAGE
              nbdinfo \(quotedForShell(uri))
              qemu-img info --object \(quotedForShell(object)) --image-opts \(imageOptions)
              nbd-client \(quotedForShell(host)) /dev/nbd0 \(files.joined(separator: " "))

            """
    }

    private var uriHost: String { host.contains(":") ? "[\(host)]" : host }

    private var imageOptions: String {
        quotedForShell(
            "driver=raw,file.driver=nbd,file.host=\(commasDoubled(host)),file.port=\(Endpoint.standardPort),"
                + "file.tls-creds=tls0,file.export=")
    }

    /// QEMU's option lists end a value with a comma.
    private func commasDoubled(_ text: String) -> String {
        text.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
    }
}

private func machineName() -> [String] {
    var name = [CChar](repeating: 0, count: 65)
    guard unsafe gethostname(&name, name.count - 1) == 0 else { return [] }
    let text = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    return text.isEmpty || text == "localhost" ? [] : [text]
}
