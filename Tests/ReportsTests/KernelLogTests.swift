// The lines that Linux 6.1 logged about each drive.

import ATA
import Testing

@testable import Reports

@Suite struct KernelLogTests {
    @Test(arguments: Variant.all + Variant.logged)
    func theLinesAreThoseOfLinux(variant: Variant) throws {
        let address = variant.placement.scsiAddress
        let starts = ["\(variant.placement.ataName): ", "scsi \(address): ", "sd \(address): "]
        let expected = try variant.goldenText("dmesg.txt").split(separator: "\n").map(String.init).filter { line in
            starts.contains { line.hasPrefix($0) }
        }
        let lines = try variant.text(.kernel).split(separator: "\n").map(String.init)

        // sg attaches in a thread of its own, so its line may stand anywhere among those of sd.
        let generic = "sd \(address): Attached scsi generic \(variant.placement.genericName) type 0"
        #expect(lines.filter { $0 != generic } == expected.filter { $0 != generic })
        #expect(lines.contains(generic) && expected.contains(generic))
    }

    @Test func aSlaveIsExpectedToHaveAMaster() {
        #expect(Placement(controller: .piix3IDE, bus: 0, unit: 1).genericName == "sg1")
        #expect(Placement(controller: .piix3IDE, bus: 1, unit: 0).genericName == "sg0")
    }

    @Test func namesFollowThePlace() {
        let second = Placement(controller: .piix3IDE, bus: 1, unit: 1)
        #expect(second.ataName == "ata2.01")
        #expect(second.scsiAddress == "1:0:1:0")
        let port = Placement(controller: .ich9AHCI, bus: 5, unit: 0)
        #expect(port.ataName == "ata6.00")
        #expect(port.scsiAddress == "5:0:0:0")
    }

    @Test func aDriveWithoutSectorsHasNoLBA48() throws {
        let lines = try Variant("empty", sectors: 0).text(.kernel).split(separator: "\n")
        #expect(lines.contains("ata1.01: 0 sectors, multi 16: LBA "))
        #expect(lines.contains("sd 0:0:1:0: [sda] 0 512-byte logical blocks: (0 B/0 B)"))
    }

    /// Linux uses blocks of READ MULTIPLE if the drive's limit (word 47) and its setting (word 59) are valid, powers of
    /// two, and the setting is not above the limit.
    @Test(arguments: [
        (0x8010, 0x0110, 16), (0x8010, 0x0108, 8), (0x8008, 0x0110, 0), (0x8010, 0x0010, 0), (0x0010, 0x0110, 0),
        (0x8010, 0x0106, 0), (0x800C, 0x0108, 0),
    ])
    func blocksOfReadMultiple(limit: UInt16, setting: UInt16, count: Int) {
        var identify = Drive(DriveProperties(), sectors: 1, bootSector: nil, controller: .piix3IDE).identifyData
        identify[word: 47] = limit
        identify[word: 59] = setting
        var capacity = [UInt8](repeating: 0, count: 32)
        capacity[10] = 2
        let pages = ProbedPages(
            inquiry: [UInt8](repeating: 0x20, count: 36), readCapacity16: capacity,
            modePages: [UInt8](repeating: 0, count: 8), blockLimits: [UInt8](repeating: 0, count: 64))
        let log = KernelLog(
            identify: identify, pages: pages, placement: Placement(controller: .piix3IDE, bus: 0, unit: 0))
        #expect(log.lines.contains("ata1.00: 1 sectors, multi \(count): LBA48 "))
    }

    /// Sizes of disks that are sold, as Linux logs them everywhere, and the ends of the range.
    @Test(arguments: [
        (1, "512 B", "512 B"), (2, "1.02 kB", "1.00 KiB"), (234_441_648, "120 GB", "112 GiB"),
        (976_773_168, "500 GB", "466 GiB"), (1_953_525_168, "1.00 TB", "932 GiB"),
        (3_907_029_168, "2.00 TB", "1.82 TiB"), (7_814_037_168, "4.00 TB", "3.64 TiB"),
        (15_628_053_168, "8.00 TB", "7.28 TiB"), (1 << 48, "144 PB", "128 PiB"),
    ])
    func capacities(blocks: UInt64, decimal: String, binary: String) {
        #expect(CapacityUnits.decimal.text(blocks: blocks, blockBytes: 512) == decimal)
        #expect(CapacityUnits.binary.text(blocks: blocks, blockBytes: 512) == binary)
    }
}
