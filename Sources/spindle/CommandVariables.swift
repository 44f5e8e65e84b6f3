// The environment of the command of `--run`: the names are those of nbdkit-captive(1).

import Loop
import Server

/// How a server is reached, for a shell.
struct CommandVariables {
    /// By name.
    let environment: [String: String?]

    /// Describes a server that has opened its endpoints. The URI is that of its first export at its first endpoint.
    init(_ server: Server, tls: TLSSettings?) {
        let export =
            server.information.first { $0.pattern == nil }.map { String(decoding: $0.name, as: UTF8.self) } ?? ""
        let isEncrypted = tls?.isRequired ?? false
        let uri =
            server.endpoints.first.flatMap { server.uri(ofExport: export, at: $0, isEncrypted: isEncrypted) } ?? ""
        var port = ""
        var unixSocket = ""
        for endpoint in server.endpoints.reversed() {
            if case .tcp(_, let number) = endpoint { port = String(number) }
            if case .unix(let path, _) = endpoint { unixSocket = path }
        }
        environment = [
            "uri": uri, "nbd": uri, "unixsocket": unixSocket, "port": port, "exportname": export,
            "tls": tls.map { $0.isRequired ? "2" : "1" },
        ]
    }
}
