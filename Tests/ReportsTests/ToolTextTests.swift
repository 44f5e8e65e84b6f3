// The output of hdparm 9.65 and lshw 02.19 in the guest, and the formats of our own.

import ATA
import Foundation
import Reports
import Testing

@Suite struct ToolTextTests {
    @Test(arguments: Variant.all)
    func hdparm(variant: Variant) throws {
        #expect(try variant.text(.hdparm) == variant.goldenText("hdparm-I.txt"))
    }

    /// hdparm counts thousands of bytes: the first disk is one of a million bytes and yet none of 0 GB.
    @Test(arguments: [
        (1953, "          0 MBytes \n"), (1955, "          1 MBytes \n"), (1956, "          1 MBytes (0 GB)\n"),
    ])
    func hdparmSizes(sectors: UInt64, size: String) throws {
        let text = try Variant("tiny", sectors: sectors).text(.hdparm)
        #expect(text.contains("\tdevice size with M = 1000*1000: \(size)"))
    }

    @Test(arguments: Variant.all)
    func words(variant: Variant) throws {
        #expect(try variant.text(.words) == variant.goldenText("identify-istdin.txt"))
    }

    @Test func wordsAtPowerOn() throws {
        let variant = Variant.reference
        #expect(try variant.text(.words, atPowerOn: true) == variant.goldenText("poweron-identify-istdin.txt"))
    }

    @Test func binary() throws {
        #expect(try Variant.reference.report().bytes(.binary) == Variant.reference.goldenBytes("identify.bin"))
    }

    @Test func lshw() throws {
        let golden = try Variant.reference.goldenText("lshw-disk.txt")
        let start = try #require(golden.range(of: "  *-disk\n")).lowerBound
        let end = try #require(golden.range(of: "[exit 0]")).lowerBound
        #expect(try Variant.reference.text(.lshw) == golden[start..<end])
    }

    /// Sizes of disks that are sold, as lshw prints them everywhere.
    @Test(arguments: [
        (204_800, "100MiB (104MB)"), (976_773_168, "465GiB (500GB)"), (1_953_525_168, "931GiB (1TB)"),
        (3_907_029_168, "1863GiB (2TB)"),
    ])
    func lshwSizes(sectors: UInt64, size: String) throws {
        #expect(try Variant("sold", sectors: sectors).text(.lshw).contains("       size: \(size)\n"))
    }

    @Test func lshwLeavesOutWhatIsEmpty() throws {
        let text = try Variant("empty", sectors: 0, "model=,serial=,ver=,").text(.lshw)
        for name in ["size", "product", "serial"] { #expect(!text.contains(" \(name):")) }
        // libata's INQUIRY data have this where the drive names no revision.
        #expect(text.contains(" version: n/a\n"))
        #expect(text.contains(" description: ATA Disk\n"))
    }

    @Test func summary() throws {
        let plain = try Variant.reference.text(.summary)
        let facts = [
            "QEMU HARDDISK", "2.5+", "918a6997-1928-38a1-9", "6291456 sectors (3.22 GB, 3.00 GiB)",
            "6241 cylinders, 16 heads, 63 sectors", "MWDMA2, up to UDMA/100", "ata1.01, 0:0:1:0, /dev/sda", "piix3-ide",
        ]
        for fact in facts { #expect(plain.contains(fact), "\(fact)") }
        let solid = try Variant(
            "other", "wwn=0x5000c50015ea71ac,rotation_rate=1,write-cache=off,discard_granularity=0,",
            controller: .ich9AHCI
        ).text(.summary)
        for fact in ["0x5000c50015ea71ac", "solid state", "off: ", "no\n", "NCQ, depth 32", "UDMA/100, up to UDMA/100"]
        {
            #expect(solid.contains(fact), "\(fact)")
        }
        #expect(try Variant("disk", "rotation_rate=7200,").text(.summary).contains("7200 revolutions"))
        #expect(try Variant.reference.text(.summary, atPowerOn: true).contains("UDMA/100, up to UDMA/100"))
    }

    @Test func json() throws {
        let text = try Variant("quotes", #"serial=a"b\c,wwn=7,physical_block_size=4k,"#).text(.json)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        // The variant's own serial number comes first, and the later one counts.
        #expect(object["serial"] as? String == #"a"b\c"#)
        #expect(object["wwn"] as? String == "0x0000000000000007")
        #expect(object["model"] as? String == "QEMU HARDDISK")
        #expect(object["firmware"] as? String == "2.5+")
        #expect(object["sectors"] as? Int == 6_291_456)
        #expect(object["bytes"] as? Int == 3_221_225_472)
        #expect(object["logicalSectorBytes"] as? Int == 512)
        #expect(object["physicalSectorBytes"] as? Int == 4096)
        #expect(object["writeCache"] as? Bool == true)
        #expect(object["forceUnitAccess"] as? Bool == false)
        #expect(object["trim"] as? Bool == true)
        #expect(object["rotationRate"] as? Int == 0)
        #expect(object["queueDepth"] as? Int == 1)
        #expect(object["transferMode"] as? String == "MWDMA2")
        #expect(object["controller"] as? String == "piix3-ide")
        #expect((object["geometry"] as? [String: Int]) == ["cylinders": 6241, "heads": 16, "sectorsPerTrack": 63])
        #expect((object["linux"] as? [String: String]) == ["ata": "ata1.01", "scsi": "0:0:1:0", "disk": "sda"])
        let words = try #require(object["identify"] as? [Int])
        #expect(words.count == 256 && words[0] == 0x0040 && words[106] == 0x6003)
    }

    @Test func jsonWithoutName() throws {
        let text = try Variant.reference.text(.json)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        #expect(object["wwn"] is NSNull)
    }
}
