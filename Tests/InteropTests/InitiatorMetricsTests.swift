// What initiators' commands are counted as: only failures of the storage are errors that an alert is for.

import Foundation
import Support
import Testing

@Suite struct InitiatorMetricsTests {
    /// Counts of an export by metric and labels.
    private static func counts(
        _ name: String, _ control: String, in folder: TemporaryFolder
    ) throws -> [String: Int] {
        let result = try Program.spindle.run(["ctl", "--control", control, "metrics"], in: folder)
        try #require(result.status == 0, "\(result.errors)")
        var counts: [String: Int] = [:]
        for line in result.text.split(separator: "\n") where line.hasPrefix(name + "{") {
            let words = line.split(separator: " ")
            counts[String(words[0].dropFirst(name.count))] = Int(words[1])
        }
        return counts
    }

    private static func errors(_ control: String, in folder: TemporaryFolder) throws -> [String: Int] {
        try counts("spindle_request_errors_total", control, in: folder).filter { $0.value > 0 }
    }

    private static func server(_ arguments: [String], in folder: TemporaryFolder) throws -> (RunningServer, String) {
        let control = "unix:" + folder.path + "/control"
        let server = try RunningServer(
            ["--listen", "iscsi:127.0.0.1:0", "--threads", "1", "--control", control] + arguments, in: folder)
        return (server, control)
    }

    @Test func anInquiryIsNoErrorOfTheStorage() throws {
        let folder = try TemporaryFolder()
        let (server, control) = try Self.server(["disk=memory:1M"], in: folder)
        let words = server.announcement.split(separator: " ")
        let url = String(try #require(words.first { $0.hasPrefix("iscsi://") }).dropLast())
        try run("iscsi-inq", [url], in: folder)
        let requests = try Self.counts("spindle_requests_total", control, in: folder)
        #expect(requests[#"{export="disk",command="unknown"}"#] == 0)
        #expect(try #require(requests[#"{export="disk",command="other"}"#]) > 1)
        let errors = try Self.errors(control, in: folder)
        #expect(errors == [#"{export="disk",command="other",error="UNIT_ATTENTION"}"#: 1])
    }

    @Test func whatTheDriveSaysOfItselfHasItsOwnLabels() throws {
        let folder = try TemporaryFolder()
        let (server, control) = try Self.server(
            ["--device", "ide-cd", "disk=null:0"], in: folder)
        let session = try HandMadeSession(server.announcement)
        for _ in 0..<3 { #expect(try session.ready(unit: 0).sense.first == 2) }
        let errors = try Self.errors(control, in: folder)
        #expect(errors[#"{export="disk",command="other",error="NOT_READY"}"#] ?? 0 >= 3)
        let help = try Program.spindle.run(["ctl", "--control", control, "metrics"], in: folder).text
            .split(separator: "\n").first { $0.hasPrefix("# HELP spindle_request_errors_total ") }
        #expect(help?.contains("by NBD's name of it, or by that of what only initiators hear") == true, "\(help ?? "")")
        #expect(errors.keys.allSatisfy { !$0.contains("EIO") }, "\(errors)")
    }

    @Test func mistakesAndReservationsAreNoErrorsOfTheStorage() throws {
        let folder = try TemporaryFolder()
        let (server, control) = try Self.server(["disk=memory:1M"], in: folder)
        let owner = try HandMadeSession(server.announcement, initiator: "iqn.2026-11.org.example:owner")
        let other = try HandMadeSession(server.announcement, initiator: "iqn.2026-11.org.example:other")
        // No command; RESERVE (6); then a WRITE (10) of the other one.
        #expect(try owner.perform([0x02, 0, 0, 0, 0, 0]).sense == [5, 0x20, 0])
        #expect(try owner.perform([0x16, 0, 0, 0, 0, 0]).status == 0)
        let write: [UInt8] = [0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0]
        #expect(try other.perform(write, out: [UInt8](repeating: 0, count: 512)).status == 0x18)
        #expect(try owner.perform([0x17, 0, 0, 0, 0, 0]).status == 0)
        // ATA PASS-THROUGH (16): CHECK POWER MODE with its registers, and a command that the drive does not have.
        var pass: [UInt8] = [0x85, 3 << 1, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xE5, 0]
        #expect(try owner.perform(pass).status == 2)
        pass[14] = 0x9A
        #expect(try owner.perform(pass).sense.first == 0xB)
        let errors = try Self.errors(control, in: folder).filter { !$0.key.contains("UNIT_ATTENTION") }
        #expect(
            errors == [
                #"{export="disk",command="other",error="EINVAL"}"#: 1,
                #"{export="disk",command="write",error="RESERVATION_CONFLICT"}"#: 1,
                #"{export="disk",command="other",error="ABORTED_COMMAND"}"#: 1,
            ])
    }

    /// The registers of a disk say ABORTED COMMAND of a broken sector, a disc says ILLEGAL REQUEST.
    @Test(.enabled(if: FaultyFile.canBeMade, "only root may mount"), arguments: ["ide-hd", "ide-cd"])
    func aBrokenSectorIsAnErrorOfTheStorage(device: String) throws {
        let folder = try TemporaryFolder()
        let file = try FaultyFile(content: [UInt8](repeating: 1, count: 1 << 20), brokenSectors: [1000])
        let (server, control) = try Self.server(
            ["--sandbox", "off", "--read-only", "--device", device, "disk=" + file.path], in: folder)
        let session = try HandMadeSession(server.announcement)
        // READ (10), and ATA PASS-THROUGH (16) of READ SECTOR(S), of the broken sector.
        let isDisc = device == "ide-cd"
        let block = isDisc ? 250 : 1000
        let read: [UInt8] = [0x28, 0, 0, 0, UInt8(block >> 8), UInt8(block & 0xFF), 0, 0, 1, 0]
        #expect(try session.perform(read, expecting: isDisc ? 2048 : 512).status == 2)
        var expected = [#"{export="disk",command="read",error="EIO"}"#: 1]
        if isDisc {
            expected = [#"{export="disk",command="other",error="EIO"}"#: 1]
        } else {
            let pass: [UInt8] = [0x85, 4 << 1, 0x0E, 0, 0, 0, 1, 0, 0xE8, 0, 0x03, 0, 0, 0x40, 0x20, 0]
            #expect(try session.perform(pass, expecting: 512).status == 2)
            expected[#"{export="disk",command="other",error="EIO"}"#] = 1
        }
        var errors = try Self.errors(control, in: folder).filter { !$0.key.contains("UNIT_ATTENTION") }
        if isDisc, let count = errors.removeValue(forKey: #"{export="disk",command="read",error="EIO"}"#) {
            errors[#"{export="disk",command="other",error="EIO"}"#] = count
        }
        #expect(errors == expected)
        withExtendedLifetime(file) {}
    }
}
