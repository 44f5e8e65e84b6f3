// Clients of the control socket that are no clients: the server goes on serving drives, and answers the others.

import Foundation
import Support
import Testing

@Suite struct HostileClientTests {
    private static let request = Array("GET /v1/exports HTTP/1.1\r\nHost: a\r\n\r\n".utf8)

    @Test func twoHundredAtOnce() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        let connections = try (0..<200).map { _ in try RawConnection(unix: server.socketPath) }
        for connection in connections { try connection.send(Self.request) }
        for connection in connections {
            let response = connection.receiveAll()
            #expect(response.hasPrefix("HTTP/1.1 200 OK\r\n") && response.hasSuffix("}\n"), "\(response)")
        }
        #expect(try server.size(of: "a") == 1 << 20)
        try server.finish()
    }

    @Test func whatIsNoHTTPIsAnsweredOnce() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        let garbage: [[UInt8]] = [
            Array("NBDMAGICIHAVEOPT".utf8) + [0, 3, 0, 0, 0, 1, 10, 10],
            [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3, 10, 10],
            Array("hello\n\n".utf8),
            Array("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n0\r\n\r\n".utf8),
            Array("POST /v1/exports HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n".utf8),
        ]
        for bytes in garbage {
            let connection = try RawConnection(unix: server.socketPath)
            try connection.send(bytes)
            let response = connection.receiveAll()
            #expect(response.hasPrefix("HTTP/1.1 4"), "\(bytes): \(response)")
            #expect(response.contains("\"error\""), "\(response)")
        }
        // More than is taken, from a client that reads only when it has sent everything.
        let talker = try RawConnection(unix: server.socketPath)
        try talker.send([UInt8](repeating: UInt8(ascii: "x"), count: 500_000))
        #expect(talker.receiveAll().hasPrefix("HTTP/1.1 431"))
        // Nothing, half a request, a request whose answer nobody waits for.
        for bytes in [[], Array(Self.request.prefix(20)), Self.request] {
            let connection = try RawConnection(unix: server.socketPath)
            try connection.send(bytes)
            connection.close()
        }
        #expect(try server.curl("GET", "/v1").status == 200)
        try server.finish()
    }

    @Test func aSlowClientIsCutOffAndKeepsNobodyWaiting() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        let slow = try RawConnection(unix: server.socketPath)
        let mute = try RawConnection(unix: server.socketPath)
        let begin = Date()
        // One byte a second.
        for byte in Self.request {
            guard (try? slow.send([byte])) != nil else { break }
            let asked = Date()
            #expect(try server.curl("GET", "/v1").status == 200)
            #expect(try server.size(of: "a") == 1 << 20)
            #expect(Date().timeIntervalSince(asked) < 5)
            guard Date().timeIntervalSince(begin) < 9.5 else { break }
            usleep(UInt32(max(0, 1_000_000 - Date().timeIntervalSince(asked) * 1_000_000)))
        }
        for connection in [slow, mute] {
            #expect(connection.receiveAll().hasPrefix("HTTP/1.1 408 "))
            let seconds = Date().timeIntervalSince(begin)
            #expect((9.0..<25).contains(seconds), "\(seconds)")
        }
        try server.finish()
    }

    /// Mute clients, clients that say half, and such as do not take their answers keep nobody out; the oldest go.
    @Test(arguments: [false, true]) func hundredsOfMuteClientsKeepNobodyOut(areDeaf: Bool) throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer((0..<600).map { "export-number-\($0)=memory:1M" }, in: folder)
        let connections = try (0..<400).map { _ in try RawConnection(unix: server.socketPath) }
        for connection in connections.suffix(50) {
            try connection.send(areDeaf ? Self.request : Array(Self.request.prefix(7)))
        }
        let begin = Date()
        for _ in 0..<5 { #expect(try server.curl("GET", "/v1").status == 200) }
        #expect(Date().timeIntervalSince(begin) < 20)
        #expect(connections[0].isClosedByServer())
        try server.finish()
    }

    @Test func theServerEndsWhileClientsHang() throws {
        let folder = try TemporaryFolder()
        let server = try ControlledServer(["a=memory:1M"], in: folder)
        let connections = try (0..<40).map { _ in try RawConnection(unix: server.socketPath) }
        for connection in connections { try connection.send(Array(Self.request.prefix(5))) }
        try server.finish()
        #expect(connections.allSatisfy { $0.isClosedByServer() })
    }
}
