// Exports that a client may not open: whichever option asks, by name or as the default, in the clear or inside of TLS.

import Foundation
import Support
import Testing

@Suite struct ForbiddenExportTests {
    private let key: TestKey
    private let server: RunningServer

    /// The default export and `other` are somebody else's, `tls` wants TLS, `free` is everybody's.
    init() throws {
        key = try TestKey()
        let folder = try TemporaryFolder()
        let file = folder.path + "/spindle.toml"
        func export(_ name: String, _ rule: String) -> String {
            "[[export]]\nname = \"\(name)\"\nimage = \"memory:1M\"\n\(rule)\n"
        }
        let others = "access = [{ user = \(geteuid() + 1) }, { address = \"192.0.2.0/24\" }]"
        let text =
            "tls = { psk = \"\(key.path)\", mode = \"on\" }\n" + export("first", others) + export("other", others)
            + export("tls", "tls-only = true") + export("free", "")
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        server = try RunningServer(["--config", file, "--listen", "tcp:127.0.0.1:0"], in: folder)
    }

    private func client(tcp: Bool, tls: Bool) throws -> Client {
        let client = try server.negotiate(tcp: tcp)
        if tls { try client.startTLS(key.settings) }
        return client
    }

    @Test(arguments: [false, true], [false, true]) func everyOptionRefuses(tcp: Bool, tls: Bool) throws {
        for name in ["", "first", "other"] {
            let client = try client(tcp: tcp, tls: tls)
            try client.negotiateStructuredReplies()
            for number in [OptionNumber.info, OptionNumber.go] {
                #expect(try client.askOnce(number, informationRequest(name)).type == ReplyType.errorPolicy, "\(name)")
            }
            for number in [OptionNumber.listMetaContext, OptionNumber.setMetaContext] {
                let reply = try client.askOnce(number, contextQueries(name, ["base:allocation"]))
                #expect(reply.type == ReplyType.errorPolicy, "\(name)")
            }
            // It can go on, and asks in the way that has no answer but the end.
            try client.send(option(OptionNumber.exportName, Array(name.utf8)))
            #expect(client.isClosedByServer(), "\(name)")
        }
        let names = try client(tcp: tcp, tls: tls).ask(OptionNumber.list).dropLast().map { reply in
            String(
                decoding: reply.data.dropFirst(4).prefix(Int(reply.data.number(at: 0, as: UInt32.self))), as: UTF8.self)
        }
        #expect(names == (tls ? ["tls", "free"] : ["free"]))
    }

    @Test func everyOptionWantsTLS() throws {
        for tcp in [false, true] {
            let client = try client(tcp: tcp, tls: false)
            try client.negotiateStructuredReplies()
            for number in [OptionNumber.info, OptionNumber.go] {
                #expect(try client.askOnce(number, informationRequest("tls")).type == ReplyType.errorTLSRequired)
            }
            for number in [OptionNumber.listMetaContext, OptionNumber.setMetaContext] {
                let reply = try client.askOnce(number, contextQueries("tls", []))
                #expect(reply.type == ReplyType.errorTLSRequired)
            }
            try client.send(option(OptionNumber.exportName, Array("tls".utf8)))
            #expect(client.isClosedByServer())
            let inside = try self.client(tcp: tcp, tls: true)
            try inside.send(option(OptionNumber.exportName, Array("tls".utf8)))
            #expect(try inside.receive(10).number(at: 0, as: UInt64.self) == 1 << 20)
            #expect(try inside.read(0, 512) == .zeroes(512))
        }
    }
}

/// Exports that may have so many connections: also with EXPORT_NAME, and as the default.
extension ForbiddenExportTests {
    @Test func theNumberOfConnections() throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/spindle.toml"
        let text = "[[export]]\nname = \"one\"\nimage = \"memory:1M\"\nconnections = 1\n"
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        let server = try RunningServer(["--config", file], in: folder)
        let holder = try server.open("one")
        for name in ["", "one"] {
            let client = try server.negotiate()
            #expect(try exportFacts(client.ask(OptionNumber.info, informationRequest(name))).sizeBytes == 1 << 20)
            #expect(try client.askOnce(OptionNumber.go, informationRequest(name)).type == ReplyType.errorPolicy)
            try client.send(option(OptionNumber.exportName, Array(name.utf8)))
            #expect(client.isClosedByServer())
        }
        // A refused client does not count.
        try holder.send(Request.disconnect.bytes)
        #expect(holder.isClosedByServer())
        try waitUntil("there is room") { (try? server.open("one").read(0, 512)) != nil }
        #expect(try server.stop() == 0)
    }
}
