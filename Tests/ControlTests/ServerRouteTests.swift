// The server itself, its connections, its log and its counters over the control socket, by curl.

import Foundation
import Support
import Testing

@Suite struct ServerRouteTests {
    @Test func theServerIsDescribed() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["--listen", "tcp:127.0.0.1:0", "a=memory:1M"], in: folder)
        let described = try server.curl("GET", "/v1").object()
        #expect(described["version"] as? String == "0.1.0")
        #expect(described["pid"] as? Int32 == server.server.processIdentifier)
        let port = try #require(server.server.port)
        #expect(
            described["endpoints"] as? [String] == ["unix:" + server.server.socketPath, "tcp:127.0.0.1:\(port)"])
        #expect(described["exports"] as? Int == 1)
        #expect(described["connections"] as? Int == 0)
        try server.finish()
    }

    @Test func whatIsNotThereIsNamed() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        for path in ["/", "/v1/", "/v2", "/v1/exports/a/b", "/V1", "/v1/exports/a/../../log-level", "//v1"] {
            let reply = try server.curl("GET", path)
            #expect(reply.status == 404, "\(path): \(reply.body)")
            #expect(try reply.error().contains("/v1/exports"), "\(path)")
        }
        let reply = try server.curl("PATCH", "/v1/exports")
        #expect(reply.status == 405)
        #expect(reply.header.contains("\r\nAllow: GET, POST\r\n"))
        #expect(try server.curl("GET", "/v1?verbose=1").status == 400)
        try server.finish()
    }

    @Test func connectionsAreListedAndDropped() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["--log-level", "info", "a=memory:1M", "b=memory:1M"], in: folder)
        #expect(try (server.curl("GET", "/v1/connections").object()["connections"] as? [Any])?.isEmpty == true)
        let first = try SteeredClient(server.uri("a"), then: "h.pread(512, 0)", in: folder)
        let second = try SteeredClient(server.uri("b"), then: "h.pread(512, 0)", in: folder)
        let list = try server.curl("GET", "/v1/connections").object()
        let connections = try #require(list["connections"] as? [[String: Any]])
        #expect(connections.map { $0["export"] as? String } == ["a", "b"])
        #expect(connections.allSatisfy { $0["encrypted"] as? Bool == false })
        let client = try #require(connections.first?["client"] as? String)
        #expect(client.hasPrefix("unix:") && client.contains("uid=\(getuid())"), "\(client)")
        let number = try #require(connections.first?["number"] as? Int)
        #expect(try server.curl("DELETE", "/v1/connections/\(number)").status == 204)
        #expect(try first.go().hasPrefix("failed"))
        #expect(try second.go() == "done")
        try waitUntil("it is gone") { try server.curl("DELETE", "/v1/connections/\(number)").status == 404 }
        for text in ["x", "-1", "1.5", "99999999999999999999", "%2B1"] {
            let reply = try server.curl("DELETE", "/v1/connections/\(text)")
            #expect(reply.status == 400, "\(text): \(reply.body)")
        }
        try server.finish()
    }

    @Test func theLogLevelChangesWhatIsLogged() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        #expect(try server.curl("GET", "/v1/log-level").object()["level"] as? String == "notice")
        #expect(!server.server.log.contains("control request"))
        let reply = try server.curl("PUT", "/v1/log-level", "{\"level\": \"debug\"}")
        #expect(try reply.object()["level"] as? String == "debug")
        #expect(try server.curl("GET", "/v1/exports/a").status == 200)
        #expect(server.server.log.contains("/v1/exports/a"), "\(server.server.log)")
        #expect(try server.curl("PUT", "/v1/log-level", "{\"level\": \"error\"}").status == 200)
        #expect(try server.curl("GET", "/v1/exports").status == 200)
        #expect(!server.server.log.contains("/v1/exports\""), "\(server.server.log)")
        let cases: [(String, Int)] = [
            ("{\"level\": \"loud\"}", 422), ("{\"level\": 1}", 422), ("{}", 422), ("{\"a\": \"debug\"}", 422),
            ("x", 400),
        ]
        for (body, status) in cases {
            let refused = try server.curl("PUT", "/v1/log-level", body)
            #expect(refused.status == status, "\(body): \(refused.body)")
        }
        #expect(try server.curl("GET", "/v1/log-level").object()["level"] as? String == "error")
        try server.finish()
    }

    @Test func countersAreOnTheirOwnEndpointAlone() throws {
        let folder = try TemporaryFolder()
        let metrics = folder.path + "/metrics"
        let server = try ControlledServer(["--metrics", "unix:" + metrics, "a=memory:1M"], in: folder)
        let there = ["--unix-socket", metrics]
        let reply = try server.curl("GET", "/metrics", options: there)
        #expect(reply.status == 200)
        #expect(reply.header.contains("Content-Type: text/plain; version=0.0.4"))
        #expect(reply.body.contains("# TYPE spindle_"))
        // As scrapers, agents and proxies ask.
        for query in ["?", "?b1234=", "?name%5B%5D=spindle_connections", "?_=1732800000"] {
            for options in [there, []] {
                let reply = try server.curl("GET", "/metrics" + query, options: options)
                #expect(reply.status == 200, "\(query): \(reply.body)")
            }
        }
        #expect(try server.curl("GET", "/v1/exports?b1234=").status == 400)
        #expect(try server.curl("GET", "/metrics").status == 200)
        for path in ["/v1", "/v1/exports", "/"] {
            #expect(try server.curl("GET", path, options: there).status == 404, "\(path)")
        }
        #expect(try server.curl("DELETE", "/v1/exports/a", options: there).status == 404)
        try server.finish()
        #expect(!FileManager.default.fileExists(atPath: metrics))
        #expect(!FileManager.default.fileExists(atPath: server.socketPath))
    }

    @Test func theSocketIsItsUsersAlone() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        var status = stat()
        #expect(stat(server.socketPath, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        // A second server cannot have it.
        let second = try Program.spindle.run(
            [
                "serve", "--listen", "unix:\(folder.path)/other", "--control", "unix:" + server.socketPath,
                "a=memory:1M",
            ],
            in: folder)
        #expect(second.status == 1)
        // In the words in which it was asked for.
        #expect(
            second.errors.contains("cannot listen on unix:\(server.socketPath): another program listens there already"),
            "\(second.errors)")
        for endpoint in ["tcp:127.0.0.1:0", "vsock:1", "stdin", "systemd:control"] {
            let refused = try Program.spindle.run(
                ["serve", "--listen", "unix:\(folder.path)/other", "--control", endpoint, "a=memory:1M"], in: folder)
            #expect(refused.status == 64)
            #expect(refused.errors.contains("unix:PATH"), "\(refused.errors)")
        }
        try server.finish()
        let open = try RunningServer(["--control", "unix:\(server.socketPath),mode=0660", "a=memory:1M"], in: folder)
        #expect(stat(server.socketPath, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o660)
        #expect(try open.stop() == 0)
    }
}
