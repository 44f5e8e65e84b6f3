// libiscsi's own test program: against a disk that keeps what each test leaves behind, in any order of suites, and with
// nothing left out but what docs/iscsi.md lists.

import Foundation
import Seeded
import Support
import Testing

@Suite struct LibiscsiTests {
    private let folder: TemporaryFolder
    private let server: RunningServer

    init() throws {
        folder = try TemporaryFolder()
        _ = try folder.randomFile("kept.img", sizeBytes: 64 << 20)
        _ = try folder.randomFile("file.img", sizeBytes: 1 << 20)
        try """
        listen = "iscsi:127.0.0.1:0"
        [[export]]
        name = "disk"
        image = "memory:256M"
        [[export]]
        name = "large"
        image = "memory:256M"
        device = "ide-hd,physical_block_size=4096"
        [[export]]
        name = "ahci"
        image = "memory:1M"
        controller = "ich9-ahci"
        [[export]]
        name = "whole"
        image = "memory:256M"
        device = "spindle-hd"
        [[export]]
        name = "ssd"
        image = "memory:256M"
        device = "spindle-ssd"
        [[export]]
        name = "file"
        image = "file.img"
        [[export]]
        name = "kept"
        image = "kept.img"
        read-only = true
        [[export]]
        name = "disc"
        image = "null:64M"
        device = "ide-cd"
        """.write(toFile: folder.path + "/spindle.toml", atomically: true, encoding: .utf8)
        server = try RunningServer(["--config", folder.path + "/spindle.toml"], in: folder)
    }

    private func url(_ export: String = "disk") throws -> String {
        let words = server.announcement.split(whereSeparator: \.isWhitespace)
        return String(try #require(words.first { $0.hasPrefix("iscsi://") && $0.contains(":\(export)/") }).dropLast())
    }

    private func tool(_ arguments: [String]) throws -> ProgramResult {
        try Program.tool("iscsi-test-cu").run(arguments, in: folder, limitSeconds: 300)
    }

    /// Each test of a suite, or of all, passes.
    ///
    /// - Returns: what the tool has said.
    private func expectPass(_ name: String, _ urls: [String], count: Int? = nil, _ comment: Comment = "") throws
        -> String
    {
        let result = try tool(["--dataloss", "--allow-sanitize", "-t", name] + urls)
        // All, run, passed, failed, inactive.
        let summary = result.text.split(separator: "\n").first { $0.contains(" tests ") } ?? ""
        let counts = summary.split(separator: " ").compactMap { Int($0) }
        let total = count ?? counts.first ?? 0
        #expect(
            result.status == 0 && total > 0 && counts == [total, total, total, 0, 0],
            "\(name) \(comment): \(result.text.suffix(4000))")
        return result.text
    }

    /// The tests that were left out, and what the tool said last of the reason.
    private func leftOut(_ text: String) -> [String: String] {
        var (suite, test): (Substring, Substring) = ("", "")
        var found: [String: String] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if line.hasPrefix("Suite: ") { suite = words[1] }
            if line.hasPrefix("  Test: ") { test = words[1] }
            if line.contains("[SKIPPED]") { found["\(suite).\(test)"] = String(line) }
        }
        return found
    }

    /// The rows of the table in docs/iscsi.md: the tests, by suite or one by one, and operation codes that no disk has.
    private func documented() throws -> [(tests: [String], codes: [UInt8])] {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("docs/iscsi.md")
        let lines = try String(contentsOf: page, encoding: .utf8).split(
            separator: "\n", omittingEmptySubsequences: false)
        let begin = try #require(lines.firstIndex { $0.hasPrefix("| Left out ") })
        let all = try tool(["--list"]).text.split(separator: "\n").filter { $0.hasPrefix("ALL.") }.map {
            $0.dropFirst(4)
        }
        return try lines[(begin + 2)...].prefix { $0.hasPrefix("|") }.map { row in
            let cells = row.split(separator: "|")
            let tests = try cells[0].matches(of: /`([^`]+)`/).flatMap { name in
                let found = all.filter { $0.contains(".") && ($0 == name.1 || $0.hasPrefix("\(name.1).")) }
                try #require(!found.isEmpty, "\(name.1)")
                return found.map(String.init)
            }
            return (tests, cells[1].matches(of: /\b([0-9A-F]{2})h/).compactMap { UInt8($0.1, radix: 16) })
        }
    }

    /// All tests in the tool's own order, over two paths. What it leaves out is in the documentation, because REPORT
    /// SUPPORTED OPERATION CODES says that there is no such command, or because the disk is none of that kind.
    @Test func allPassOrAreListed() throws {
        let text = try expectPass("ALL", [try url(), try url()], count: 230)
        let leftOut = leftOut(text)
        let rows = try documented()
        #expect(Set(leftOut.keys) == Set(rows.flatMap(\.tests)))
        for (tests, codes) in rows {
            for test in tests {
                #expect(leftOut[test]?.contains("not implemented") == !codes.isEmpty, "\(test): \(leftOut[test] ?? "")")
            }
        }
    }

    /// What the tool leaves out because a disk says that it has it not, no disk has. Tests/Guest/libiscsi_tests.py runs
    /// the tool against all of them.
    @Test(arguments: ["disk", "large", "ahci", "file", "whole", "ssd"])
    func whatIsLeftOutIsDenied(export: String) throws {
        let session = try HandMadeSession(server.announcement, target: "iqn.2026-11.org.spindle:\(export)")
        let codes = try documented().flatMap(\.codes)
        #expect(codes.count == 7)
        for code in codes {
            let said = try session.perform([0xA3, 0x0C, 1, code, 0, 0, 0, 0, 0, 64, 0, 0], expecting: 64).data
            #expect(said == [0, 1, 0, 0], "\(code)")
            let ending = try session.perform([code] + [UInt8](repeating: 0, count: code < 0x60 ? 9 : 15))
            #expect(ending.sense == [5, 0x20, 0], "\(code): \(ending)")
        }
    }

    /// GetLBAStatus.UnmapSingle asks for the status of block N + 1, and with large physical blocks expects that of the
    /// next physical one. What it would find out otherwise, with the first descriptor as it has to be: of the block
    /// that was asked for (SBC-3, GET LBA STATUS parameter data).
    @Test func theStatusOfLargeBlocks() throws {
        let session = try HandMadeSession(server.announcement, target: "iqn.2026-11.org.spindle:large")
        let block = [UInt8](repeating: 0x41, count: 512)
        for end in stride(from: UInt8(8), through: 248, by: 8) {
            // WRITE SAME of 264 blocks.
            #expect(try session.perform([0x41, 0, 0, 0, 0, 0, 0, 1, 8, 0], out: block) == .good)
            let list = [0, 22, 0, 16, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + [0, 0, 0, end, 0, 0, 0, 0]
            #expect(try session.perform([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], out: list) == .good)
            for first in [0, end - 1, end, end + 1] {
                let cdb: [UInt8] = [0x9E, 0x12, 0, 0, 0, 0, 0, 0, 0, first, 0, 0, 0, 24, 0, 0]
                let descriptor = try session.perform(cdb, expecting: 24).data.dropFirst(8)
                #expect(descriptor.prefix(8).map(Int.init) == [0, 0, 0, 0, 0, 0, 0, Int(first)])
                #expect(descriptor.dropFirst(12).first == (first < end ? 1 : 0), "\(first) of \(end)")
            }
        }
    }

    /// What the disk is not, others are.
    @Test(arguments: [
        ("ssd", "CompareAndWrite", "LBPPB"), ("large", "CompareAndWrite", "LBPPB"), ("large", "WriteSame10", "LBPPB"),
        ("large", "WriteSame16", "LBPPB"),
        ("kept", "ReadOnly", "not write-protected"), ("disc", "StartStopUnit", "not removable"),
    ])
    func othersTakeWhatADiskLeavesOut(export: String, suite: String, reason: String) throws {
        #expect(try !expectPass("ALL.\(suite)", [try url(export)]).contains(reason))
    }

    /// A whole disk has DPO and FUA, which these suites look at.
    @Test(arguments: [
        "CompareAndWrite", "Inquiry", "ModeSense6", "Read10", "Read12", "Read16", "ReportSupportedOpcodes", "Verify10",
        "Verify16", "Write10", "Write12", "Write16", "WriteVerify10", "WriteVerify16",
    ])
    func aWholeDiskPasses(suite: String) throws {
        _ = try expectPass("ALL.\(suite)", [try url("whole")])
    }

    /// One server lives through all suites, from the last to the first or in an order by chance.
    @Test(arguments: [nil, UInt64.random(in: .min ... .max)])
    func theOrderOfSuitesDoesNotMatter(seed: UInt64?) throws {
        var suites = try tool(["--list"]).text.split(separator: "\n").filter { $0.count(where: { $0 == "." }) == 1 }
            .filter { $0.hasPrefix("ALL.") }.map(String.init)
        #expect(suites.count == 51)
        suites.reverse()
        if let seed {
            var generator = SeededGenerator(seed: seed)
            suites.shuffle(using: &generator)
        }
        for (number, suite) in suites.enumerated() {
            let takesTwoPaths = suite.contains("Multipath")
            if takesTwoPaths {
                // MultipathIO.CompareAndWrite of 1.19 expects zeroes in block 256, and does not write them.
                let zeroes = [UInt8](repeating: 0, count: 512)
                let session = try HandMadeSession(server.announcement)
                #expect(try session.perform([0x2A, 0, 0, 0, 1, 0, 0, 0, 1, 0], out: zeroes) == .good)
            }
            // On one path the tool leaves these out.
            let urls = Array(repeating: try url(), count: takesTwoPaths ? 2 : 1)
            _ = try expectPass(suite, urls, "seed \(String(describing: seed)), the \(number + 1)th")
        }
        #expect(server.isRunning)
    }
}
