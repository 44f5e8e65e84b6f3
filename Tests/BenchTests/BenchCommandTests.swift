// `spindle bench` as it is run, against servers of ours and of others.

import Foundation
import Support
import Testing

/// The parts of the JSON output that the tests read.
private struct Report: Decodable {
    struct Row: Decodable {
        let requests: Int
        let errors: Int
        let requestsPerSecond: Double
        let megabytesPerSecond: Double
        let latencyMicroseconds: [String: Double]
    }

    let uri: String
    let operation: String
    let depth: Int
    let seconds: Double
    let warmUpRequests: Int
    let total: Row
    let commands: [String: Row]
}

@Suite struct BenchCommandTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func bench(_ arguments: [String]) throws -> ProgramResult {
        try Program.spindle.run(["bench"] + arguments, in: folder)
    }

    private func measure(_ arguments: [String]) throws -> Report {
        let result = try bench(arguments + ["--json"])
        try #require(result.status == 0, "\(arguments): \(result.errors)")
        return try JSONDecoder().decode(Report.self, from: Data(result.output))
    }

    /// Each operation's requests all arrive: what was asked for is what the client counts as answered.
    @Test(arguments: [
        (["--operation", "read"], ["read": 1000]),
        (["--operation", "read", "--structured-replies", "--pattern", "sequential"], ["read": 1000]),
        (["--operation", "write", "--destroy-data", "--flush-every", "9"], ["write": 900, "flush": 100]),
        (["--operation", "rw", "--mix", "100", "--destroy-data"], ["read": 1000]),
        (["--operation", "trim", "--destroy-data", "--block-size", "64k"], ["trim": 1000]),
        (["--operation", "write-zeroes", "--destroy-data", "--structured-replies"], ["write-zeroes": 1000]),
        (["--operation", "flush", "--depth", "1"], ["flush": 1000]),
        (["--operation", "connect", "--connections", "2"], ["connect": 1000]),
        (["--block-size", "256k", "--depth", "200"], ["read": 1000]),
        (["--operation", "write", "--block-size", "1M", "--depth", "8", "--destroy-data"], ["write": 1000]),
        (["--connections", "7"], ["read": 1000]),
    ])
    func everyRequestIsCounted(arguments: [String], counts: [String: Int]) throws {
        let server = try RunningServer(["memory:64M"], in: folder)
        let report = try measure(arguments + ["--requests", "1000", server.uri])
        #expect(report.commands.mapValues(\.requests) == counts)
        #expect(report.total.requests == 1000 && report.total.errors == 0 && report.warmUpRequests == 0)
        #expect(report.seconds > 0)
        #expect(abs(report.total.requestsPerSecond * report.seconds - 1000) < 5)
        let latencies = report.total.latencyMicroseconds
        let order = ["p50", "p90", "p99", "p99.9", "max"].map { latencies[$0] ?? -1 }
        #expect(order == order.sorted() && order[0] > 0, "\(latencies)")
    }

    /// Writes go where they should, and nowhere else: every block once, none beyond.
    @Test func sequentialWritesFillTheImage() throws {
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        let server = try RunningServer([image], in: folder)
        _ = try measure([
            "--operation", "write", "--pattern", "sequential", "--destroy-data", "--requests", "256", "--connections",
            "4", server.uri,
        ])
        try server.stop()
        let bytes = try folder.bytes("disk.img")
        #expect(bytes.count == 1 << 20)
        #expect(!bytes.contains(0), "the payload has no zeroes")
    }

    /// Without the user's word nothing is changed; and reads change nothing.
    @Test func dataAreNotDestroyedByAccident() throws {
        let image = try folder.file("disk.img", sizeBytes: 1 << 20, beginning: Array("precious".utf8))
        let server = try RunningServer([image], in: folder)
        for operation in ["write", "rw", "trim", "write-zeroes"] {
            let result = try bench(["--operation", operation, "--requests", "10", server.uri])
            #expect(result.status == 64)
            #expect(result.errors.contains("overwrites what is on the export; if it may, add --destroy-data"))
        }
        for operation in ["read", "flush", "connect"] {
            _ = try measure(["--operation", operation, "--requests", "10", server.uri])
        }
        try server.stop()
        let bytes = try folder.bytes("disk.img")
        #expect(bytes.prefix(8).elementsEqual("precious".utf8) && bytes.dropFirst(8).allSatisfy { $0 == 0 })
    }

    @Test func secondsAreKeptAndTheWarmUpIsNotCounted() throws {
        let server = try RunningServer(["null:1G"], in: folder)
        let report = try measure(["--seconds", "0.3", "--warm-up", "0.2", "--connections", "2", server.uri])
        #expect(report.seconds > 0.29)
        #expect(report.warmUpRequests > 0 && report.total.requests > 0)
    }

    @Test func theTableSaysTheSame() throws {
        let server = try RunningServer(["null:1G"], in: folder)
        let result = try bench(["--operation", "rw", "--destroy-data", "--requests", "500", server.uri])
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.isEmpty, "progress is for terminals: \(result.errors)")
        let lines = result.text.split(separator: "\n")
        #expect(lines.count == 6, "\(result.text)")
        #expect(
            lines.first?.split(separator: " ") == ["requests/s", "MB/s", "p50", "p90", "p99", "p99.9", "max", "errors"])
        #expect(lines.dropFirst().map { $0.prefix { $0 != " " } }.prefix(3) == ["read", "write", "all"])
        #expect(lines.last?.hasPrefix("500 requests in ") == true)
    }

    @Test func aSignalEndsItWithAResult() throws {
        let server = try RunningServer(["--log-level", "info", "null:1G"], in: folder)
        let bench = try RunningProgram(.spindle, ["bench", "--seconds", "60", server.uri], in: folder)
        // Before it connects it has begun to hold signals back. The kernel shows that only between two waits for them.
        try bench.wait("to connect") { server.log.contains("export opened") }
        #expect(try bench.stop(signal: SIGINT) == 0, "\(bench.errors)")
        #expect(bench.output.hasSuffix("Ended early by a signal.\n"))
    }

    @Test func errorsOfTheServerAreCountedAndSaid() throws {
        let socket = folder.path + "/socket"
        let server = try RunningProgram(
            try .tool("nbdkit"),
            ["-f", "-U", socket, "--filter=error", "memory", "1M", "error=EIO", "error-rate=100%"],
            in: folder)
        try server.wait("to listen") { isListening(socket) }
        for style in [[], ["--structured-replies"]] {
            let result = try bench(style + ["--requests", "20", "nbd+unix:///?socket=\(socket)"])
            #expect(result.status == 1)
            #expect(result.errors == "Error: 20 requests failed: 20 with EIO\n")
        }
    }

    /// Servers of others, whose handshakes differ.
    @Test(arguments: [
        ("nbdkit", false), ("nbdkit", true), ("qemu-nbd", false), ("qemu-nbd", true), ("nbd-server", false),
    ])
    func otherServersAreMeasured(name: String, isStructured: Bool) throws {
        let image = try folder.file("disk.img", sizeBytes: 8 << 20)
        let socket = folder.path + "/socket"
        var export = ""
        let arguments: [String]
        switch name {
        case "nbdkit":
            arguments = ["-f", "-U", socket, "file", image]
        case "qemu-nbd":
            arguments = ["-t", "-e", "8", "-k", socket, "-f", "raw", image]
        default:
            export = "disk"
            let configuration = "[generic]\nunixsock=\(socket)\n[disk]\nexportname=\(image)\nflush=true\n"
            try configuration.write(toFile: folder.path + "/nbd.conf", atomically: true, encoding: .utf8)
            // In the foreground it serves one client, and ends with it.
            arguments = ["-d", "-C", folder.path + "/nbd.conf", "-p", folder.path + "/nbd.pid"]
        }
        let server = try RunningProgram(try .tool(name), arguments, in: folder)
        try server.wait("to listen") { isListening(socket) }
        let report = try measure(
            [
                "--operation", "rw", "--flush-every", "4", "--destroy-data", "--requests", "500", "--connections",
                name == "nbd-server" ? "1" : "2",
                "nbd+unix:///\(export)?socket=\(socket)",
            ] + (isStructured ? ["--structured-replies"] : []))
        #expect(report.total.requests == 500 && report.total.errors == 0)
        if name == "nbd-server" { return }
        let connected = try measure([
            "--operation", "connect", "--requests", "20", "nbd+unix:///\(export)?socket=\(socket)",
        ])
        #expect(connected.total.requests == 20)
    }
}

/// Over TLS, and what is said when something is wrong.
@Suite struct BenchConnectionTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func keys() throws -> String {
        let directory = folder.path + "/keys"
        let result = try Program.spindle.run(["tls-keys", directory], in: folder)
        try #require(result.status == 0, "\(result.errors)")
        return directory
    }

    /// Requests larger than a socket's and a session's buffers go both ways at the same time.
    @Test(arguments: ["certificates", "psk"])
    func tlsIsSpoken(kind: String) throws {
        let keys = try keys()
        let server = try RunningServer(
            ["--tls", "require", "--tls-certificates", keys, "--tls-psk", keys + "/keys.psk", "memory:64M"], in: folder)
        let proof = kind == "psk" ? "tls-psk-file=\(keys)/keys.psk" : "tls-certificates=\(keys)"
        let uri = "nbds+unix://spindle@/?socket=\(server.socketPath)&\(proof)"
        for load in [
            ["--operation", "rw", "--mix", "50", "--block-size", "1M", "--depth", "16", "--destroy-data"],
            ["--operation", "read", "--structured-replies"], ["--operation", "connect"],
        ] {
            let result = try Program.spindle.run(
                ["bench", "--requests", "100", "--connections", "2", uri] + load, in: folder)
            #expect(result.status == 0, "\(load): \(result.errors)")
            #expect(result.text.contains("\n100 requests in "), "\(load): \(result.text)")
        }
        #expect(server.log.isEmpty, "\(server.log)")
    }

    @Test func whatIsWrongWithTLSIsSaid() throws {
        let keys = try keys()
        let server = try RunningServer(
            ["--tls", "require", "--tls-certificates", keys, "--tls-psk", keys + "/keys.psk", "memory:1M"], in: folder)
        let plain = try RunningServer(["memory:1M"], in: folder)
        func says(_ uri: String) throws -> String {
            let result = try Program.spindle.run(["bench", "--requests", "1", uri], in: folder)
            #expect(result.status == 1, "\(uri)")
            return result.errors
        }
        #expect(try says(server.uri).contains("the server refuses the export: it wants TLS; use nbds:"))
        #expect(
            try says("nbds+unix://spindle@/?socket=\(plain.socketPath)&tls-psk-file=\(keys)/keys.psk")
                .contains("the server refuses TLS; nbd: and nbd+unix: connect without"))
        #expect(
            try says("nbds+unix://nobody@/?socket=\(server.socketPath)&tls-psk-file=\(keys)/keys.psk")
                .contains("there is no key of the user 'nobody'"))
        #expect(
            try says("nbds+unix:///?socket=\(server.socketPath)&tls-certificates=\(keys)&tls-hostname=other.example")
                .contains("its certificate is not accepted: The certificate is NOT trusted"))
        #expect(
            try says("nbds+unix:///?socket=\(server.socketPath)&tls-certificates=\(folder.path)").contains(
                "cannot read '\(folder.path)/ca-cert.pem'"))
    }

    @Test func tcpAddressesAreReached() throws {
        let server = try RunningServer(["--listen", "tcp:127.0.0.1:0", "disk=memory:1M"], in: folder)
        let port = try #require(server.port)
        for (uri, message) in [
            ("nbd://127.0.0.1:\(port)/disk", nil), ("nbd://localhost:\(port)", nil),
            ("nbd://127.0.0.1:\(port)/other", "the server refuses the export: there is no such export"),
            ("nbd://127.0.0.1:1", "cannot connect to 127.0.0.1:1: Connection refused"),
            ("nbd+unix:///?socket=\(folder.path)/none", "none: No such file or directory"),
        ] as [(String, String?)] {
            let result = try Program.spindle.run(["bench", "--requests", "5", uri], in: folder)
            #expect(result.status == (message == nil ? 0 : 1), "\(uri): \(result.errors)")
            if let message { #expect(result.errors.contains(message), "\(result.errors)") }
        }
    }

    /// A server of the other protocol is none that answers.
    @Test func theOtherProtocolIsNamed() throws {
        let server = try RunningServer(
            [
                "--listen", "tcp:127.0.0.1:0", "--listen", "iscsi:127.0.0.1:0", "--handshake-seconds", "2",
                "disk=memory:1M",
            ], in: folder)
        let words = server.announcement.split(separator: " ").map { $0.split(separator: "/") }
        let nbd = try #require(words.first { $0.first == "nbd:" })
        let iscsi = try #require(words.first { $0.first == "iscsi:" })
        for (uri, kind) in [
            ("nbd://\(iscsi[1])/disk", "NBD server"),
            ("iscsi://\(nbd[1])/iqn.2026-11.org.spindle:disk/0", "iSCSI target"),
        ] {
            let result = try Program.spindle.run(["bench", "--requests", "5", uri], in: folder)
            #expect(result.status == 1)
            #expect(result.errors.hasPrefix("Error: no \(kind) answers there: "), "\(result.errors)")
        }
    }

    /// What an option takes is told on one line, without escapes.
    @Test func theOperationsAreListed() throws {
        let result = try Program.spindle.run(["bench", "--operation", "wirte", "nbd://localhost"], in: folder)
        #expect(result.status == 64)
        #expect(result.errors.contains("Please provide one of the following: read, write, rw,"), "\(result.errors)")
        #expect(!result.errors.contains("\\n"), "\(result.errors)")
    }

    /// A server that dies under load is an error, not a wait without end.
    @Test func aServerThatDiesEndsIt() throws {
        let server = try RunningServer(["null:1G"], in: folder)
        let bench = try RunningProgram(
            .spindle, ["bench", "--seconds", "60", "--connections", "2", server.uri], in: folder)
        // Its start alone takes a part of this.
        let before = server.processorSeconds
        try bench.wait("to load the server") { server.processorSeconds > before + 0.3 }
        try server.stop(signal: SIGKILL)
        // It may end between two looks at it.
        try? bench.wait("to say why it ends") { bench.errors.hasSuffix("\n") }
        #expect(bench.errors == "Error: the server closed the connection during transmission\n")
    }

    @Test(arguments: [
        (["--depth", "0"], "The value '0' is invalid for '--depth <depth>': a number from 1 to 4096 is needed"),
        (["--block-size", "64M"], "'64M' is no size from 512 to 32M"),
        (["--block-size", "5"], "'5' is no multiple of 512"),
        (["--block-size", "511"], "'511' is no multiple of 512"),
        (["--connections", "many"], "a number from 1 to 1024 is needed"),
        (["--mix", "101"], "a number from 0 to 100 is needed"),
        (["--seconds", "0"], "seconds from 0.1 to 86400.0 are needed"),
        (["--warm-up", "nan"], "seconds from 0.0 to 86400.0 are needed"),
        (["--block-size", "0k"], "'0k' is no size"),
        (["--operation", "erase"], "'erase'"),
        (["--seconds", "1", "--requests", "1"], "give one of them"),
        (["--flush-every", "3"], "--flush-every counts requests that change the export; 'read' does not"),
    ])
    func badUsageIsSaid(arguments: [String], message: String) throws {
        let result = try Program.spindle.run(["bench"] + arguments + ["nbd://localhost"], in: folder)
        #expect(result.status == 64)
        #expect(result.errors.contains(message), "\(result.errors)")
    }
}
