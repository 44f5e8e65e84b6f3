// An export with a limit of connections: who closes and comes straight back finds a place (README, `connections`).

import Foundation
import Support
import Testing

@Suite struct ConnectionLimitTests {
    private func server(limit: Int) throws -> RunningServer {
        let folder = try TemporaryFolder()
        let path = folder.path + "/one.toml"
        try """
        threads = 2
        listen = ["tcp:127.0.0.1:0"]
        [[export]]
        name = "disk"
        image = "memory:1M"
        connections = \(limit)
        """
        .write(toFile: path, atomically: true, encoding: .utf8)
        return try RunningServer(["--config", path], in: folder)
    }

    /// On whichever loop it comes back, in whatever way it has gone.
    @Test(arguments: [false, true]) func whoComesStraightBackIsServed(tcp: Bool) throws {
        let server = try server(limit: 1)
        for number in 0..<300 {
            let client = try server.open("disk", tcp: tcp)
            if number % 3 == 0 { #expect(try client.read(0, 512) == .zeroes(512)) }
            if number % 3 == 1 { try client.submit(.read(0, 65536)) }
            if number % 5 == 0 { try client.send(Request.disconnect.bytes) }
            client.close()
        }
        #expect(!server.log.contains("export not opened"))
        #expect(try server.stop() == 0)
    }

    /// While somebody has it open, others are refused after a moment, and may come when he has gone.
    @Test func theLimitHolds() throws {
        let server = try server(limit: 2)
        let clients = try (0..<2).map { _ in try server.open("disk") }
        let start = Date()
        expectError("INFO or GO failed: the export has as many connections as it may have: 2") {
            _ = try server.open("disk")
        }
        #expect(Date().timeIntervalSince(start) < 20)
        // Held, then let in by an end.
        let late = try server.negotiate()
        try late.send(option(OptionNumber.go, informationRequest("disk")))
        #expect(try !late.isReadable(withinMilliseconds: 200))
        clients[0].close()
        #expect(try late.isReadable(withinMilliseconds: 900))
        #expect(try clients[1].read(0, 512) == .zeroes(512))
        #expect(try server.stop() == 0)
    }

    /// Who goes away while he is held leaves nothing behind.
    @Test func whoIsHeldMayGo() throws {
        let server = try server(limit: 1)
        let first = try server.open("disk")
        for _ in 0..<20 {
            let late = try server.negotiate()
            try late.send(option(OptionNumber.go, informationRequest("disk")))
            late.close()
        }
        #expect(try first.read(0, 512) == .zeroes(512))
        first.close()
        #expect(try server.open("disk").read(0, 512) == .zeroes(512))
        #expect(try server.stop() == 0)
    }
}
