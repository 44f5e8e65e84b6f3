// Mode pages and capacities of `spindle identify`, read by tools that others wrote. sg_modes and sg_readcap of Debian's
// sg3-utils 1.46 cannot read from a file: sdparm decodes the mode pages, Wireshark the same and the capacities.

import Foundation
import Support
import Testing

@Suite struct SCSIPageDecodersTests {
    /// The hex that a page is reported in.
    private func hex(_ page: String, _ arguments: [String], in folder: TemporaryFolder) throws -> [UInt8] {
        let result = try Program.spindle.run(["identify", "--format", "scsi:\(page)"] + arguments, in: folder)
        try #require(result.status == 0, "\(result.errors)")
        return result.output
    }

    // MARK: sdparm

    /// The fields that sdparm prints which are not zero, by the pages it finds: `Caching (SBC)`: [`WCE`: `1`].
    private func modeFields(_ page: String, _ arguments: [String]) throws -> [String: [String: String]] {
        let folder = try TemporaryFolder()
        let text = try run("sdparm", ["--inhex=-", "--all"], input: hex(page, arguments, in: folder), in: folder)
        var pages: [String: [String: String]] = [:]
        var current = ""
        for line in text.split(separator: "\n") {
            if let end = line.range(of: " mode page:") {
                current = String(line[..<end.lowerBound])
                pages[current] = [:]
            } else {
                let words = line.split(separator: " ")
                try #require(words.count >= 2, "\(text)")
                if words[1] != "0" { pages[current]?[String(words[0])] = String(words[1]) }
            }
        }
        return pages
    }

    /// What Linux 6.1 simulates: reallocation of bad sectors on writing, the write cache of the drive, no read-ahead,
    /// for the control page a busy timeout that is not limited and 30 s for a self-test.
    @Test(arguments: [
        (["memory:3G"], true), (["--device", "ide-hd,write-cache=off", "memory:3G"], false),
        (["--cache", "writethrough", "memory:3G"], false), (["--controller", "ich9-ahci", "memory:3G"], true),
    ])
    func sdparmReadsTheModePages(arguments: [String], hasWriteCache: Bool) throws {
        let caching = hasWriteCache ? ["WCE": "1", "DRA": "1"] : ["DRA": "1"]
        let control = ["GLTSD": "1", "BTP": "-1", "ESTCT": "30"]
        let recovery = ["AWRE": "1"]
        #expect(
            try modeFields("mode", arguments) == [
                "Read write error recovery": recovery, "Caching (SBC)": caching, "Control": control,
            ])
        #expect(try modeFields("mode-ca", arguments) == ["Caching (SBC)": caching])
        #expect(try modeFields("mode-rw", arguments) == ["Read write error recovery": recovery])
        #expect(try modeFields("mode-co", arguments) == ["Control": control])
        // Only these bits can be changed.
        #expect(try modeFields("mode-ca-changeable", arguments) == ["Caching (SBC)": ["WCE": "1"]])
        #expect(try modeFields("mode-co-changeable", arguments) == ["Control": ["D_SENSE": "1"]])
        #expect(try modeFields("mode-rw-changeable", arguments) == ["Read write error recovery": [:]])
    }

    // MARK: Wireshark

    /// What Wireshark says of the data that a SCSI command returned, in lines.
    private func dissect(_ page: String, command: [UInt8], _ arguments: [String]) throws -> [String] {
        let folder = try TemporaryFolder()
        let text = String(decoding: try hex(page, arguments, in: folder), as: UTF8.self)
        let data = try text.split(whereSeparator: \.isWhitespace).map { try #require(UInt8($0, radix: 16)) }
        let capture = folder.path + "/capture.pcap"
        try Data(ISCSICapture.bytes(command: command, data: data)).write(to: URL(fileURLWithPath: capture))
        // The second packet is the answer; lines in brackets are about the conversation.
        let packet = try run("tshark", ["-n", "-r", capture, "-O", "scsi", "-Y", "frame.number == 2"], in: folder)
        return packet.split(separator: "\n").drop { !$0.hasPrefix("SCSI Payload") }.dropFirst()
            .prefix { !$0.hasPrefix("SCSI Response") }
            .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.hasPrefix("[") }
    }

    @Test(arguments: [
        (["memory:3G"], "6291455 (3071 MB)", "0"), (["null:1s"], "0 (0 MB)", "0"),
        (["null:128P"], "281474976710655 (134217727 GB)", "0"),
        (["--device", "ide-hd,physical_block_size=4096", "memory:3G"], "6291455 (3071 MB)", "3"),
        (["--device", "ide-hd,physical_block_size=2M", "memory:1000001"], "1953 (0 MB)", "12"),
    ])
    func wiresharkReadsReadCapacity16(arguments: [String], lastLBA: String, exponent: String) throws {
        let command: [UInt8] = [0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]
        let bits = String(Int(exponent) ?? 0, radix: 2)
        let padded = String(repeating: "0", count: 4 - bits.count) + bits
        #expect(
            try dissect("readcap16", command: command, arguments) == [
                "Logical Block Address: \(lastLBA)",
                "Block size in bytes: 512",
                ".... ...0 = PROT_EN: False",
                "0000 .... = P_I_EXPONENT: 0",
                ".... \(padded) = LOGICAL_BLOCKS_PER_PHYSICAL_BLOCK_EXPONENT: \(exponent)",
                "1... .... = LBPME (logical block provisioning management enabled) / TPE: True",
                ".0.. .... = LBPRZ (logical block provisioning read zeros) / TPRZ: False",
                "..00 0000 0000 0000 = LOWEST_ALIGNED_LBA: 0",
            ])
    }

    /// A drive without TRIM has no logical block provisioning.
    @Test func wiresharkReadsReadCapacity16WithoutTrim() throws {
        let command: [UInt8] = [0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]
        let lines = try dissect(
            "readcap16", command: command, ["--device", "ide-hd,discard_granularity=0", "memory:3G"])
        #expect(lines.contains("0... .... = LBPME (logical block provisioning management enabled) / TPE: False"))
    }

    @Test(arguments: [
        (["memory:3G"], "6291455 (3071 MB)"), (["null:1s"], "0 (0 MB)"),
        // From 2 TiB on the answer does not fit and says so.
        (["null:4294967295s"], "4294967294 (2047 GB)"), (["null:2T"], "4294967295 (2047 GB)"),
        (["null:128P"], "4294967295 (2047 GB)"),
    ])
    func wiresharkReadsReadCapacity10(arguments: [String], lastLBA: String) throws {
        #expect(
            try dissect("readcap10", command: [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], arguments) == [
                "LBA: \(lastLBA)", "Block size in bytes: 512",
            ])
    }

    @Test func wiresharkReadsReportLUNs() throws {
        #expect(
            try dissect("luns", command: [0xA0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0], ["memory:3G"]) == [
                "LUN List Length: 8", "LUN", "00.. .... = Address Mode: Simple logical unit addressing (0x00)",
                "..00 0000  0000 0000 = LUN: 0x0000",
            ])
    }

    /// A second opinion on the mode pages, of the header and its block descriptor too.
    @Test func wiresharkReadsTheModePages() throws {
        let lines = try dissect("mode", command: [0x5A, 0, 0x3F, 0, 0, 0, 0, 4, 0, 0], ["memory:3G"])
        #expect(
            lines.prefix(6) == [
                "Mode Data Length: 58", "Medium Type: 0x00", "Device-Specific Parameter: 0x00",
                ".... ...0 = LongLBA: 0", "Block Descriptor Length: 8", "No. of Blocks: 0",
            ])
        #expect(lines.filter { $0.hasSuffix("Mode Page") }.count == 3)
        for line in [".... .1.. = WCE: True", "..1. .... = DRA: True", "1... .... = AWRE: True"] {
            #expect(lines.contains(line), "\(lines)")
        }
    }
}
