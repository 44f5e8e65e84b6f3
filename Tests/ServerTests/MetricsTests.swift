// What loops count, seen as Prometheus sees it: after requests whose number, length and fate a test knows.

import Backends
import Foundation
import NBD
import Seeded
import Support
import Testing

@testable import Loop
@testable import LoopSupport
@testable import Server

@Suite struct MetricsTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    /// The samples of a text by name and labels.
    private func scrape(_ loops: RunningLoops) -> [String: Double] {
        var samples: [String: Double] = [:]
        for line in loops.control.metrics().split(separator: "\n") where !line.hasPrefix("#") {
            guard let space = line.lastIndex(of: " ") else { continue }
            samples[String(line[..<space])] = Double(line[space...].dropFirst())
        }
        return samples
    }

    /// Waits for what the loop does in its own time, such as closing a connection.
    private func wait(_ loops: RunningLoops, until condition: ([String: Double]) -> Bool) -> [String: Double] {
        let deadline = Date(timeIntervalSinceNow: 60)
        while true {
            let samples = scrape(loops)
            if condition(samples) || Date() > deadline { return samples }
            usleep(1000)
        }
    }

    @Test func requestsAreCountedByWhatTheyAreAndHowTheyEnd() throws {
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), in: folder)
        let client = try Client(loops.path)
        for _ in 0..<5 {
            try client.request(.read, at: 512, 4096)
            try client.reply(4096)
        }
        for _ in 0..<3 {
            try client.write([UInt8](repeating: 7, count: 1000), at: 100)
            try client.reply()
        }
        // Behind the end: ENOSPC for a WRITE, EINVAL for a READ and for a command that there is not.
        try client.write([1, 2, 3], at: 1 << 20)
        #expect(try client.connection.receive(16)[7] == 28)
        try client.request(.read, at: 1 << 20, 1)
        #expect(try client.connection.receive(16)[7] == 22)
        var unknown = Client.header(.read)
        unknown[7] = 99
        try client.connection.send(unknown)
        #expect(try client.connection.receive(16)[7] == 22)

        let samples = scrape(loops)
        func sample(_ name: String, _ labels: String = "") -> Double? { samples["\(name){export=\"disk\"\(labels)}"] }
        #expect(sample("spindle_requests_total", #",command="read""#) == 6)
        #expect(sample("spindle_requests_total", #",command="write""#) == 4)
        #expect(sample("spindle_requests_total", #",command="flush""#) == 0)
        #expect(sample("spindle_requests_total", #",command="unknown""#) == 1)
        #expect(sample("spindle_request_bytes_total", #",command="read""#) == 20480)
        #expect(sample("spindle_request_bytes_total", #",command="write""#) == 3000)
        #expect(sample("spindle_request_errors_total", #",command="read",error="EINVAL""#) == 1)
        #expect(sample("spindle_request_errors_total", #",command="write",error="ENOSPC""#) == 1)
        #expect(sample("spindle_request_errors_total", #",command="unknown",error="EINVAL""#) == 1)
        #expect(samples.filter { $0.key.hasPrefix("spindle_request_errors_total") }.values.reduce(0, +) == 3)
        #expect(sample("spindle_request_seconds_count", #",command="read""#) == 6)
        #expect(try #require(sample("spindle_request_seconds_sum", #",command="read""#)) > 0)
        #expect(sample("spindle_request_seconds_count", #",command="flush""#) == nil)
        #expect(sample("spindle_requests_in_flight") == 0)
        #expect(sample("spindle_requests_in_flight_highest") == 1)
        #expect(sample("spindle_unflushed_bytes") == 3000)
        #expect(sample("spindle_export_connections") == 1)
        #expect(sample("spindle_export_size_bytes") == 1_048_576)

        try client.request(.flush)
        try client.reply()
        #expect(scrape(loops)[#"spindle_unflushed_bytes{export="disk"}"#] == 0)
        let totals = try #require(loops.control.exports().first?.totals)
        #expect(
            totals
                == ExportTotals(
                    requests: 12, errors: 3, bytesRead: 20480, bytesWritten: 3000, requestsInFlight: 0,
                    bytesUnflushed: 0))
        client.connection.close()
        #expect(try loops.stop())
    }

    /// fdatasync(2) takes a worker of the ring, so that all requests of one send are under way at the same time.
    @Test func requestsInFlightHaveAHighest() throws {
        let file = try folder.file("disk.img", sizeBytes: 1 << 16)
        let backend = try Backend(path: file, cache: .writeback, readOnly: false)
        let loops = try RunningLoops(backend, in: folder)
        let client = try Client(loops.path)
        try client.connection.send((0..<12).flatMap { Client.header(.flush, cookie: $0) })
        for _ in 0..<12 { try client.reply() }
        let samples = scrape(loops)
        #expect(samples[#"spindle_requests_in_flight_highest{export="disk"}"#] == 12)
        #expect(samples[#"spindle_requests_in_flight{export="disk"}"#] == 0)
        client.connection.close()
        #expect(try loops.stop())
        backend.close()
    }

    /// A READ that fails is an error whether or not good data come before it.
    @Test(.enabled(if: FaultyFile.canBeMade, "only root may mount"), arguments: [false, true])
    func brokenSectorsAreErrors(isStructured: Bool) throws {
        let file = try FaultyFile(content: [UInt8](repeating: 1, count: 1 << 20), brokenSectors: [1000])
        let backend = try Backend(path: file.path, cache: .writeback, readOnly: true)
        let loops = try RunningLoops(backend, in: folder)
        let connection = try RawConnection(unix: loops.path)
        _ = try connection.receive(18)
        try connection.send([0, 0, 0, 3])
        if isStructured {
            try connection.send(Array("IHAVEOPT".utf8) + [0, 0, 0, 8, 0, 0, 0, 0])
            _ = try connection.receive(20)
        }
        try connection.send(Array("IHAVEOPT".utf8) + [0, 0, 0, 1, 0, 0, 0, 0])
        _ = try connection.receive(10)
        try connection.send(Client.header(.read, at: 1000 * 512 - 65536, 131_072))
        _ = try connection.receive(16)
        let samples = wait(loops) { $0[#"spindle_requests_total{export="disk",command="read"}"#] == 1 }
        #expect(samples[#"spindle_requests_total{export="disk",command="read"}"#] == 1)
        #expect(samples[#"spindle_request_errors_total{export="disk",command="read",error="EIO"}"#] == 1)
        #expect(samples[#"spindle_request_bytes_total{export="disk",command="read"}"#] == 0)
        connection.close()
        #expect(try loops.stop())
        backend.close()
        withExtendedLifetime(file) {}
    }

    /// What a client that is gone had asked for is given up; that is no error of the drive.
    @Test func aVanishedClientCausesNoErrors() throws {
        let file = try folder.file("disk.img", sizeBytes: 1 << 16)
        let backend = try Backend(path: file, cache: .writeback, readOnly: false)
        let loops = try RunningLoops(backend, in: folder)
        for _ in 0..<3 {
            let client = try Client(loops.path)
            try client.connection.send((0..<40).flatMap { Client.header(.flush, cookie: $0) })
            client.connection.close()
        }
        let samples = wait(loops) {
            // What is looked at first may be older than the rest.
            $0[#"spindle_connections{loop="0"}"#] == 0 && $0[#"spindle_connections_accepted_total{loop="0"}"#] == 3
                && $0[#"spindle_requests_in_flight{export="disk"}"#] == 0
        }
        #expect(try loops.stop())
        #expect(samples[#"spindle_connections{loop="0"}"#] == 0)
        #expect(samples[#"spindle_requests_in_flight{export="disk"}"#] == 0)
        for (name, value) in samples where name.hasPrefix("spindle_request_errors_total") {
            #expect(value == 0, "\(name)")
        }
        backend.close()
    }

    /// Connections that end in different ways.
    @Test func connectionsAreCountedByWhyTheyEnd() throws {
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), in: folder)
        let leaving = try Client(loops.path)
        try leaving.request(.disconnect)
        #expect(leaving.connection.isClosedByServer())
        try Client(loops.path).connection.close()
        let confused = try Client(loops.path)
        try confused.connection.send([UInt8](repeating: 0xFF, count: 28))
        #expect(confused.connection.isClosedByServer())
        let stranger = try RawConnection(unix: loops.path)
        _ = try stranger.receive(18)
        try stranger.send([0, 0, 0, 1] + [UInt8](repeating: 0, count: 16))
        #expect(stranger.isClosedByServer())
        let staying = try Client(loops.path)
        let samples = wait(loops) { $0[#"spindle_connections{loop="0"}"#] == 1 }
        #expect(samples[#"spindle_connections{loop="0"}"#] == 1)
        #expect(samples[#"spindle_connections_accepted_total{loop="0"}"#] == 5)
        let reasons = ["disconnect", "closed", "violation", "handshake_failed", "lost", "stopped"]
        #expect(
            reasons.map { samples[#"spindle_connections_ended_total{loop="0",reason="\#($0)"}"#] }
                == [1, 1, 1, 1, 0, 0])
        #expect(try loops.stop())
        #expect(scrape(loops)[#"spindle_connections_ended_total{loop="0",reason="stopped"}"#] == 1)
        staying.connection.close()
    }

    /// A client's machine no longer knows of it: the socket fails, wherever the client stands, and however the server
    /// receives from it.
    @Test(arguments: ["handshake", "idle", "header", "payload"]) func aResetIsALoss(place: String) throws {
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), in: folder)
        let connection = try RawConnection(port: loops.port)
        if place == "handshake" {
            _ = try connection.receive(18)
        } else {
            let client = try Client(connection)
            #expect(try client.read(at: 0, 1).count == 1)
            if place == "header" { try connection.send([0x25, 0x60]) }
            if place == "payload" {
                // Large WRITEs are received to the byte.
                let payload = [UInt8](repeating: 1, count: 1 << 18)
                for _ in 0..<3 {
                    try client.write(payload, at: 0)
                    try client.reply()
                }
                try connection.send(Client.header(.write, at: 0, 1 << 18) + payload.prefix(1000))
            }
        }
        connection.reset()
        let samples = wait(loops) { $0[#"spindle_connections{loop="0"}"#] == 0 }
        #expect(samples[#"spindle_connections_ended_total{loop="0",reason="lost"}"#] == 1)
        #expect(samples[#"spindle_connections_ended_total{loop="0",reason="closed"}"#] == 0)
        #expect(try loops.stop())
    }

    @Test func refusedConnectionsAreCounted() throws {
        var limits = Limits()
        limits.connections = 1
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), limits: limits, in: folder)
        let client = try Client(loops.path)
        #expect(try RawConnection(unix: loops.path).isClosedByServer())
        #expect(scrape(loops)[#"spindle_connections_refused_total{loop="0"}"#] == 1)
        client.connection.close()
        #expect(try loops.stop())
    }

    /// Bytes on the wire and what the ring has done are known exactly, or within bounds, when the requests are.
    @Test func bytesAndTurnsAreCounted() throws {
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), in: folder)
        let client = try Client(loops.path)
        for _ in 0..<10 {
            try client.request(.read, at: 0, 512)
            try client.reply(512)
        }
        client.connection.close()
        #expect(try loops.stop())
        let samples = scrape(loops)
        func sample(_ name: String) throws -> Double { try #require(samples["\(name){loop=\"0\"}"]) }
        // Greeting, flags and size; client flags and EXPORT_NAME; then headers and data.
        #expect(try sample("spindle_sent_bytes_total") == 18 + 10 + 10 * (16 + 512))
        #expect(try sample("spindle_received_bytes_total") == 4 + 16 + 10 * 28)
        let turns = try sample("spindle_loop_turns_total")
        #expect(turns >= 10)
        #expect(try sample("spindle_ring_enters_total") >= turns)
        #expect(try sample("spindle_ring_completions_total") >= 12)
        #expect(try sample("spindle_ring_submissions_total") >= 3)
        #expect(try sample("spindle_ring_submission_queue_full_total") == 0)
    }

    /// Clients on several loops, at once: no request is lost in the sums, and a reader beside them never sees a counter
    /// go backwards.
    @Test func sumsOverLoopsAreExact() throws {
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), loops: 3, in: folder)
        let reads = 2000
        DispatchQueue.concurrentPerform(iterations: 5) { number in
            guard number > 0 else {
                var last: [String: Double] = [:]
                for _ in 0..<20 {
                    let samples = scrape(loops)
                    for (name, value) in last where name.contains("_total") || name.contains("_seconds") {
                        #expect(samples[name] ?? 0 >= value, "\(name)")
                    }
                    last = samples
                }
                return
            }
            do {
                let client = try Client(loops.path)
                for _ in 0..<reads / 20 {
                    try client.connection.send((0..<20).flatMap { Client.header(.read, at: $0 * 512, 512) })
                    for _ in 0..<20 { try client.reply(512) }
                }
                client.connection.close()
            } catch {
                Issue.record(error)
            }
        }
        let samples = scrape(loops)
        #expect(samples[#"spindle_requests_total{export="disk",command="read"}"#] == Double(4 * reads))
        #expect(samples[#"spindle_request_seconds_count{export="disk",command="read"}"#] == Double(4 * reads))
        #expect(
            samples[#"spindle_request_seconds_bucket{export="disk",command="read",le="+Inf"}"#] == Double(4 * reads))
        #expect(samples[#"spindle_request_bytes_total{export="disk",command="read"}"#] == Double(4 * reads * 512))
        #expect(samples[#"spindle_requests_in_flight{export="disk"}"#] == 0)
        #expect(try loops.stop())
    }

    /// An export that comes back under its name begins again, and the old one is not seen beside it.
    @Test func countersEndWithTheirExport() throws {
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), in: folder)
        let old = try Client(loops.path)
        try old.request(.read, at: 0, 512)
        try old.reply(512)
        try loops.control.remove("disk", .drain)
        #expect(scrape(loops)[#"spindle_requests_total{export="disk",command="read"}"#] == 1)
        try loops.control.add(
            ServedExport(
                name: "disk", properties: .init(), controller: .piix3IDE,
                backend: try Backend(memoryOfSize: 1 << 20, readOnly: false)))
        #expect(scrape(loops)[#"spindle_requests_total{export="disk",command="read"}"#] == 0)
        let new = try Client(loops.path)
        for _ in 0..<2 {
            try new.request(.read, at: 0, 512)
            try new.reply(512)
            try old.request(.read, at: 0, 512)
            try old.reply(512)
        }
        #expect(scrape(loops)[#"spindle_requests_total{export="disk",command="read"}"#] == 2)
        for client in [old, new] { client.connection.close() }
        #expect(try loops.stop())
    }

    @Test func promtoolAcceptsARunningServer() throws {
        let loops = try RunningLoops(try Backend(memoryOfSize: 1 << 20, readOnly: false), in: folder)
        for name in [#"a"b\c{d}"#, "two\nlines", "🚲"] {
            try loops.control.add(
                ServedExport(
                    name: name, properties: .init(), controller: .piix3IDE,
                    backend: Backend(nullOfSize: 1 << 20, readOnly: false)))
        }
        let client = try Client(loops.path)
        try client.request(.read, at: 0, 512)
        try client.reply(512)
        let text = loops.control.metrics()
        let result = try Program.tool("promtool").run(["check", "metrics"], input: Array(text.utf8), in: folder)
        #expect(result.status == 0)
        #expect(result.text + result.errors == "")
        client.connection.close()
        #expect(try loops.stop())
    }
}
