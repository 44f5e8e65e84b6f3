// Pages of SCSI data, byte for byte those that Linux 6.1 gave, and their names in reports.

import Reports
import SCSI
import Testing

@Suite struct SCSIPageTests {
    /// The bytes of a dump, checked to be 16 pairs of digits a line.
    private func bytes(ofDump text: String) throws -> [UInt8] {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.last == "")
        for line in lines.dropLast(2) { #expect(line.utf8.count == 47) }
        return try lines.flatMap { try $0.split(separator: " ").map { try #require(UInt8($0, radix: 16)) } }
    }

    @Test(arguments: [
        ("inquiry", "inquiry.bin"), ("readcap10", "readcap10.bin"), ("readcap16", "readcap16.bin"),
        ("luns", "luns.bin"), ("sv", "vpd-00.bin"), ("vpd-80", "vpd-80.bin"), ("83", "vpd-83.bin"),
        ("vpd-ai", "vpd-89.bin"), ("0xb0", "vpd-b0.bin"), ("B1", "vpd-b1.bin"), ("lbpv", "vpd-b2.bin"),
    ])
    func pagesAreThoseOfLinux(name: String, file: String) throws {
        let format = try #require(ReportFormat("scsi:\(name)"))
        #expect(try bytes(ofDump: Variant.reference.text(format)) == Variant.reference.goldenBytes(file))
    }

    @Test func allModePages() throws {
        // The file has the 512 bytes that were asked for; the page data say where they end.
        let golden = try Variant.reference.goldenBytes("modes-3f-10.bin")
        let dumped = try bytes(ofDump: Variant.reference.text(#require(ReportFormat("scsi:mode"))))
        #expect(dumped == Array(golden.prefix(60)))
    }

    @Test(arguments: [
        ("mode-01", "mode-pc0-pg01.bin"), ("mode-ca", "mode-pc0-pg08.bin"),
        ("mode-rw-changeable", "mode-pc1-pg01.bin"), ("mode-08-changeable", "mode-pc1-pg08.bin"),
        ("mode-01-default", "mode-pc2-pg01.bin"), ("mode-0x08-default", "mode-pc2-pg08.bin"),
    ])
    func oneModePage(name: String, file: String) throws {
        // The file is from MODE SENSE (6): its header has four bytes, that of MODE SENSE (10) eight.
        let golden = try Variant.reference.goldenBytes(file)
        let dumped = try bytes(ofDump: Variant.reference.text(#require(ReportFormat("scsi:\(name)"))))
        #expect(dumped.dropFirst(8) == golden[4...Int(golden[0])])
        #expect(dumped.prefix(8) == [0, UInt8(dumped.count - 2), 0, 0, 0, 0, 0, 8])
    }

    @Test(arguments: [
        ("vpd-b9", "5/24/00"), ("vpd-c0", "5/24/00"), ("mode-02", "5/24/00"), ("mode-08-saved", "5/39/00"),
    ])
    func aPageThatTheDriveLacksIsRefused(name: String, sense: String) throws {
        let format = try #require(ReportFormat("scsi:\(name)"))
        let error = try #require(throws: PageRefused.self) { try Variant.reference.report().bytes(format) }
        #expect("\(error)" == "the drive has no page \(name): CHECK CONDITION \(sense)")
    }

    @Test(arguments: [
        "inquiry", "readcap10", "readcap16", "luns", "vpd-00", "vpd-ff", "mode", "mode-08", "mode-0a-changeable",
        "mode-01-default", "mode-3f-saved",
    ])
    func namesGoBothWays(name: String) throws {
        #expect(try #require(SCSIPage(name)).name == name)
    }

    @Test(arguments: [
        "", "foo", "vpd", "vpd-", "vpd-100", "vpd-0x", "vpd-+1", "vpd-83-1", "100", "mode-", "mode-40", "mode-08-",
        "mode-08-old", "mode-08-saved-1", "inquiry-1", "-", "luns-0",
    ])
    func whatIsNoPage(name: String) {
        #expect(SCSIPage(name) == nil)
        #expect(ReportFormat("scsi:\(name)") == nil)
    }

    @Test func formatsHaveTheirNames() {
        for name in ReportFormat.names.dropLast() { #expect(ReportFormat(name) != nil, "\(name)") }
        #expect(ReportFormat.names.last == "scsi:PAGE")
        for name in ["", "Summary", "scsi", "scsi:", "hdparm "] { #expect(ReportFormat(name) == nil, "\(name)") }
    }
}
