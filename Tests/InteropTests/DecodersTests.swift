// Tools that others wrote read what `spindle identify` says, and print what they printed in a guest with the same drive
// on QEMU 7.2.

import Foundation
import Support
import Testing

@Suite struct DecodersTests {
    /// Texts that the tools printed, with the other reports of their drives.
    private static func golden(_ path: String) throws -> String {
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return try String(contentsOf: tests.appendingPathComponent("ReportsTests/Golden/\(path)"), encoding: .utf8)
    }

    private static func identify(_ arguments: [String]) throws -> [UInt8] {
        let result = try Program.spindle.run(["identify"] + arguments, in: TemporaryFolder())
        try #require(result.status == 0, "\(result.errors)")
        return result.output
    }

    private static let serial = "serial=918a6997-1928-38a1-9"
    /// Arguments for the drives with texts of all kinds.
    private static let drives = [
        ("reference", ["--device", "ide-hd,\(serial),write-cache=on,bus=ide.0,unit=1", "memory:3G"]),
        ("wwn", ["--device", "ide-hd,\(serial),wwn=0x5000c50015ea71ac,unit=1", "null:6291456s"]),
        ("ahci-q35", ["--controller", "ich9-ahci", "--device", "ide-hd,\(serial)", "memory:3221225472"]),
    ]
    private static let pages = ["00", "80", "83", "89", "b0", "b1", "b2"]

    @Test(
        arguments: drives + [
            ("phys-4096", ["--device", "ide-hd,\(serial),physical_block_size=4k,unit=1", "memory:3G"]),
            ("wc-off", ["--cache", "directsync", "--device", "ide-hd,\(serial),unit=1", "memory:3G"]),
            ("size-2TiB", ["--device", "ide-hd,\(serial),unit=1", "null:2T"]),
        ])
    func hdparmReadsTheWords(drive: String, arguments: [String]) throws {
        let words = try Self.identify(["--format", "words"] + arguments)
        let printed = try run("hdparm", ["--Istdin"], input: words, in: TemporaryFolder())
        // Without a device there is no name to print.
        let expected = try Self.golden("\(drive)/hdparm-I.txt").replacingOccurrences(of: "/dev/sda:\n", with: "")
        #expect(printed == expected)
    }

    /// Drives of which there is no text, at the ends of what the properties can say.
    @Test(
        arguments: [
            ["memory:1s"], ["null:128P"], ["--power-on", "memory:3G"], ["null:1953124s"],
            ["--device", "ide-hd,wwn=1", "memory:3G"], ["--device", "ide-hd,wwn=0xffffffffffffffff", "memory:3G"],
            ["--device", "ide-hd,rotation_rate=1025", "memory:3G"],
            ["--device", "ide-hd,rotation_rate=1026", "memory:3G"],
            ["--device", "ide-hd,rotation_rate=65535", "memory:3G"],
            ["--device", "ide-hd,serial=,model=,ver=", "memory:3G"],
            ["--device", "ide-hd,serial=  two  spaces,model= x,ver=    1", "memory:3G"],
            ["--device", "ide-hd,physical_block_size=2M", "memory:3G"],
            ["--device", "ide-hd,cyls=65535,heads=16,secs=255", "memory:3G"],
            ["--device", "ide-hd,cyls=1,heads=1,secs=1", "memory:3G"],
            ["--controller", "ich9-ahci", "--power-on", "memory:3G"], ["--device", "spindle-hd", "memory:3G"],
            ["--device", "spindle-ssd", "null:2T"], ["--device", "spindle-hd,logical_block_size=4096", "memory:3G"],
            ["--device", "spindle-hd,discard_granularity=512,rotation_rate=5400,wwn=0x5000c50015ea71ac", "memory:3G"],
        ])
    func hdparmTextIsWhatHdparmPrints(arguments: [String]) throws {
        let words = try Self.identify(["--format", "words"] + arguments)
        let printed = try run("hdparm", ["--Istdin"], input: words, in: TemporaryFolder())
        let text = String(decoding: try Self.identify(["--format", "hdparm"] + arguments), as: UTF8.self)
        #expect(text.replacingOccurrences(of: "/dev/sda:\n", with: "") == printed)
    }

    @Test(arguments: drives)
    func sgInqReadsInquiryData(drive: String, arguments: [String]) throws {
        let page = try Self.identify(["--format", "scsi:inquiry"] + arguments)
        let printed = try run("sg_inq", ["--inhex=-"], input: page, in: TemporaryFolder())
        // On a device sg_inq asks for the serial number page as well.
        let expected = try Self.golden("\(drive)/sg_inq.txt").split(separator: "\n").filter {
            !$0.contains("Unit serial number") && !$0.hasPrefix("[exit")
        }
        #expect(printed.split(separator: "\n") == expected)
    }

    @Test(arguments: drives, pages)
    func sgVpdReadsVitalProductData(drive: (String, [String]), page: String) throws {
        let data = try Self.identify(["--format", "scsi:vpd-\(page)"] + drive.1)
        let printed = try run("sg_vpd", ["--inhex=-"], input: data, in: TemporaryFolder())
        #expect(printed == (try Self.golden("\(drive.0)/vpd-\(page).txt")))
    }
}
