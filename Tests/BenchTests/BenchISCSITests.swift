// `spindle bench` against targets: Spindle, and tgt.

import Foundation
import Support
import Testing

@testable import Bench

/// The parts of the JSON output that the tests read.
private struct Report: Decodable {
    struct Row: Decodable {
        let requests: Int
        let errors: Int
    }

    let digests: Bool
    let total: Row
    let commands: [String: Row]
}

private func bench(_ arguments: [String], in folder: TemporaryFolder) throws -> ProgramResult {
    try Program.spindle.run(["bench"] + arguments, in: folder)
}

private func measure(_ arguments: [String], in folder: TemporaryFolder) throws -> Report {
    let result = try bench(arguments + ["--json"], in: folder)
    try #require(result.status == 0, "\(arguments): \(result.errors)")
    return try JSONDecoder().decode(Report.self, from: Data(result.output))
}

/// Loads that every target can do, and how many commands of each kind they are.
private let loads: [([String], [String: Int])] = [
    (["--operation", "read"], ["read": 1000]),
    (["--operation", "write", "--destroy-data", "--flush-every", "9"], ["write": 900, "flush": 100]),
    (["--operation", "rw", "--mix", "100", "--destroy-data", "--connections", "5"], ["read": 1000]),
    (["--operation", "write-zeroes", "--destroy-data"], ["write-zeroes": 1000]),
    (["--operation", "flush", "--depth", "1"], ["flush": 1000]),
    (["--operation", "connect", "--connections", "2", "--requests", "50"], ["connect": 50]),
    // More data than a PDU, a burst and a socket's buffer have, and more commands than a window.
    (["--block-size", "1M", "--depth", "200"], ["read": 1000]),
    (
        ["--operation", "write", "--block-size", "2M", "--depth", "8", "--destroy-data", "--requests", "200"],
        ["write": 200]
    ),
]

@Suite struct BenchISCSITests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func target(_ arguments: [String]) throws -> (server: RunningServer, url: String) {
        let server = try RunningServer(["--listen", "iscsi:127.0.0.1:0"] + arguments, in: folder)
        let words = server.announcement.split(separator: " ")
        return (server, String(try #require(words.first { $0.hasPrefix("iscsi://") }).dropLast()))
    }

    @Test(
        arguments: loads + [
            (["--operation", "trim", "--destroy-data", "--block-size", "64k"], ["trim": 1000]),
            (["--operation", "rw", "--mix", "50", "--destroy-data", "--digests", "--block-size", "512k"], [:]),
        ])
    func everyRequestIsCounted(arguments: [String], counts: [String: Int]) throws {
        let (server, url) = try target(["disk=memory:64M"])
        let count = arguments.contains("--requests") ? [] : ["--requests", "1000"]
        let report = try measure(arguments + count + [url], in: folder)
        if !counts.isEmpty { #expect(report.commands.mapValues(\.requests) == counts) }
        #expect(report.total.errors == 0 && report.digests == arguments.contains("--digests"))
        #expect(try server.stop() == 0)
        // Each session has taken leave.
        #expect(!server.log.contains("level=warning"), "\(server.log)")
    }

    /// Writes go where they should, and nowhere else: what a client of NBD reads is one block again and again.
    @Test(arguments: [["--block-size", "4k"], ["--block-size", "1M"], ["--block-size", "1M", "--digests"]])
    func sequentialWritesFillTheImage(arguments: [String]) throws {
        let image = try folder.file("disk.img", sizeBytes: 8 << 20)
        let (server, url) = try target(["disk=\(image)"])
        let size = arguments[1] == "4k" ? 4096 : 1 << 20
        _ = try measure(
            [
                "--operation", "write", "--pattern", "sequential", "--destroy-data", "--requests",
                "\((8 << 20) / size)", url,
            ] + arguments, in: folder)
        try server.stop()
        let bytes = try folder.bytes("disk.img")
        let first = bytes.prefix(size)
        #expect(bytes.count == 8 << 20 && !first.contains(0), "the payload has no zeroes")
        for start in stride(from: 0, to: bytes.count, by: size) {
            try #require(bytes[start..<start + size].elementsEqual(first), "the block at \(start)")
        }
    }

    @Test func dataAreNotDestroyedByAccident() throws {
        let image = try folder.file("disk.img", sizeBytes: 1 << 20, beginning: Array("precious".utf8))
        let (server, url) = try target(["disk=\(image)"])
        for operation in ["write", "rw", "trim", "write-zeroes"] {
            let result = try bench(["--operation", operation, "--requests", "10", url], in: folder)
            #expect(result.status == 64 && result.errors.contains("if it may, add --destroy-data"))
        }
        for operation in ["read", "flush", "connect"] {
            _ = try measure(["--operation", operation, "--requests", "10", url], in: folder)
        }
        try server.stop()
        #expect(try folder.bytes("disk.img").prefix(8).elementsEqual("precious".utf8))
    }

    @Test func whatIsWrongIsSaid() throws {
        let secrets = folder.path + "/secrets"
        try "alice:correct-horse-1\n".write(toFile: secrets, atomically: true, encoding: .utf8)
        try "alice:correct-horse-2\n".write(toFile: secrets + "2", atomically: true, encoding: .utf8)
        let (server, url) = try target(["--read-only", "disk=memory:1M"])
        let (chapServer, guarded) = try target(["--chap", secrets, "disk=memory:1M"])
        func says(_ arguments: [String], status: Int32 = 1) throws -> String {
            let result = try bench(["--requests", "1"] + arguments, in: folder)
            #expect(result.status == status, "\(arguments)")
            return result.errors
        }
        #expect(
            try says([url.replacing(":disk/", with: ":disc/")])
                == "Error: the target refuses the login: there is no such target\n")
        #expect(
            try says([url.replacing("/0", with: "/7")])
                == "Error: the unit is not ready: CHECK CONDITION: ILLEGAL REQUEST, 25h/00h\n")
        #expect(try says(["--operation", "write", "--destroy-data", url]) == "Error: the export is read-only\n")
        #expect(try says([guarded]).contains("--chap FILE has a name and its secret"))
        #expect(try says(["--chap", secrets + "2", guarded]).contains("it does not believe who this is"))
        #expect(try says(["--chap", secrets, guarded], status: 0) == "")
        #expect(try says(["--structured-replies", url], status: 64).contains("--structured-replies is of NBD"))
        #expect(try says(["--digests", "nbd://localhost"], status: 64).contains("--digests and --chap are of iSCSI"))
        #expect(try says(["iscsi://localhost/iqn.t:d"], status: 64).contains("use iscsi://HOST[:PORT]/TARGET/LUN"))
        #expect(server.isRunning && chapServer.isRunning)
    }

    /// A block of which one sector cannot be read.
    @Test(.enabled(if: FaultyFile.canBeMade, "only root may mount")) func errorsOfTheUnitAreCountedAndSaid() throws {
        let file = try FaultyFile(content: [UInt8](repeating: 7, count: 8192), brokenSectors: [3])
        let (server, url) = try target(["disk=\(file.path)"])
        let result = try bench(["--requests", "20", "--block-size", "8k", url], in: folder)
        #expect(result.status == 1)
        #expect(
            result.errors == "Error: 20 requests failed: 20 with CHECK CONDITION: ABORTED COMMAND, 00h/00h\n",
            "\(result.errors)")
        #expect(server.isRunning)
    }

    /// A target that others wrote.
    @Test(arguments: loads + [(["--operation", "rw", "--mix", "0", "--destroy-data", "--digests"], ["write": 1000])])
    func tgtIsMeasured(arguments: [String], counts: [String: Int]) throws {
        let image = try folder.file("disk.img", sizeBytes: 64 << 20)
        let target = try TgtTarget(image, in: folder)
        let count = arguments.contains("--requests") ? [] : ["--requests", "1000"]
        let report = try measure(arguments + count + [target.url], in: folder)
        #expect(report.commands.mapValues(\.requests) == counts)
        #expect(report.total.errors == 0 && report.digests == arguments.contains("--digests"))
    }

    @Test func tgtsChapIsAnswered() throws {
        let image = try folder.file("disk.img", sizeBytes: 1 << 20)
        let target = try TgtTarget(image, in: folder)
        try target.manage(["--op", "new", "--mode", "account", "--user", "alice", "--password", "correct-horse-1"])
        try target.manage(["--op", "bind", "--mode", "account", "--tid", "1", "--user", "alice"])
        for (secret, status) in [("correct-horse-1", 0 as Int32), ("correct-horse-2", 1)] {
            try "alice:\(secret)\n".write(toFile: folder.path + "/chap", atomically: true, encoding: .utf8)
            let result = try bench(["--requests", "10", "--chap", folder.path + "/chap", target.url], in: folder)
            #expect(result.status == status, "\(result.errors)")
        }
        #expect(try bench(["--requests", "10", target.url], in: folder).status == 1)
    }
}
