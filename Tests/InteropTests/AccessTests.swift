// Who may open which export, as a configuration file says, with the clients that people use.

import Foundation
import Support
import Testing

@Suite("Access to exports")
struct AccessTests {
    private static func configuration(keys: String) -> String {
        let rules = [
            "all": "", "secret": "tls-only = true",
            "me": "access = [{ user = \(geteuid()) }]", "others": "access = [{ user = \(geteuid() + 1) }]",
            "near": "access = [{ address = \"127.0.0.0/8\" }]", "far": "access = [{ address = \"192.0.2.0/24\" }]",
            "alice": "access = [{ psk-user = \"alice\" }]", "bob": "access = [{ psk-user = \"bob\" }]",
            "card": "access = [{ certificate = \"alice\" }]", "other-card": "access = [{ certificate = \"bob\" }]",
            "both": "access = [{ psk-user = \"alice\", address = \"127.0.0.1\" }]",
            "either": "access = [{ psk-user = \"alice\" }, { address = \"127.0.0.1\" }]",
        ]
        let exports = rules.map { "[[export]]\nname = \"\($0)\"\nimage = \"null:1M\"\n\($1)\n" }.sorted()
        return """
            listen = "tcp:127.0.0.1:0"
            [tls]
            certificates = "\(keys)"
            verify-peer = true
            psk = "\(keys)/keys.psk"
            [[export]]
            name = "first"
            image = "memory:1M"
            connections = 1
            \(exports.joined())
            """
    }

    @Test("each rule lets in whom it should, and nobody else")
    func rules() throws {
        let folder = try TemporaryFolder()
        let keys = folder.path + "/keys"
        let made = try Program.spindle.run(["tls-keys", "--user", "alice", keys], in: folder)
        #expect(made.status == 0, "\(made.errors)")
        let file = folder.path + "/spindle.toml"
        try Data(Self.configuration(keys: keys).utf8).write(to: URL(fileURLWithPath: file))
        try serving(["--config", file], in: folder) { server in
            let port = try #require(server.port)
            let ways: [String: (String) -> String] = [
                "unix": { "nbd+unix:///\($0)?socket=\(server.socketPath)" },
                "tcp": { "nbd://127.0.0.1:\(port)/\($0)" },
                "key": { "nbds+unix://alice@/\($0)?socket=\(server.socketPath)&tls-psk-file=\(keys)/keys.psk" },
                "key over tcp": { "nbds://alice@127.0.0.1:\(port)/\($0)?tls-psk-file=\(keys)/keys.psk" },
                "card": { "nbds://127.0.0.1:\(port)/\($0)?tls-certificates=\(keys)" },
            ]
            let allowed: [String: Set<String>] = [
                "all": Set(ways.keys), "secret": ["key", "key over tcp", "card"], "me": ["unix", "key"], "others": [],
                "near": ["tcp", "key over tcp", "card"], "far": [], "alice": ["key", "key over tcp"], "bob": [],
                "card": ["card"], "other-card": [], "both": ["key over tcp"],
                "either": ["key", "key over tcp", "tcp", "card"],
            ]
            for (export, those) in allowed {
                for (way, uri) in ways {
                    let result = try Program.tool("nbdinfo").run(["--size", uri(export)], in: folder)
                    #expect(
                        (result.status == 0) == those.contains(way),
                        "\(export) by \(way): \(result.errors)\(server.log)")
                }
            }
            try nbdsh(
                [server.uri],
                """
                h.connect_uri(uri[0])
                try: nbd.NBD().connect_uri(uri[0])
                except nbd.Error as error: assert 'policy' in error.string, error.string
                else: raise AssertionError('a second connection')
                """, in: folder)
        }
    }
}
