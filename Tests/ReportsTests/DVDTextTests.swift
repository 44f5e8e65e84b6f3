// What Linux 6.1 and its tools said of QEMU 7.2's DVD-ROM, with a medium and without.

import ATA
import Foundation
import Reports
import Testing

@Suite struct DVDTextTests {
    private func report(_ folder: String, controller: Controller = .piix3IDE, atPowerOn: Bool = false) -> DriveReport {
        let drive = Drive(
            DriveProperties(.dvdROM), sectors: folder == "cd-media" ? 1024 : 0, bootSector: nil, controller: controller)
        return DriveReport(
            drive: drive, placement: Placement(controller: controller, bus: 0, unit: 0), atPowerOn: atPowerOn)
    }

    private func text(
        _ folder: String, _ format: ReportFormat, controller: Controller = .piix3IDE, atPowerOn: Bool = false
    ) throws -> String {
        let report = report(folder, controller: controller, atPowerOn: atPowerOn)
        return String(decoding: try report.bytes(format), as: UTF8.self)
    }

    private func golden(_ folder: String, _ file: String) throws -> String {
        let path = Bundle.module.bundleURL.appendingPathComponent("Golden/\(folder)/\(file)")
        return try String(contentsOf: path, encoding: .utf8)
    }

    @Test(arguments: ["cd-media", "cd-empty"])
    func theLinesAreThoseOfLinux(folder: String) throws {
        let starts = ["ata1.00: ", "scsi 0:0:0:0: ", "sr 0:0:0:0: ", "cdrom: "]
        let expected = try golden(folder, "dmesg.txt").split(separator: "\n").filter { line in
            starts.contains { line.hasPrefix($0) }
        }
        #expect(expected.count == 6)
        #expect(try text(folder, .kernel) == expected.map { $0 + "\n" }.joined())
    }

    @Test func onAHCITheModeIsLogged() throws {
        let lines = try text("cd-media", .kernel, controller: .ich9AHCI).split(separator: "\n")
        #expect(lines[0] == "ata1.00: ATAPI: QEMU DVD-ROM, 2.5+, max UDMA/100")
        #expect(lines[1] == "ata1.00: configured for UDMA/100")
    }

    @Test(arguments: ["cd-media", "cd-empty"])
    func lshw(folder: String) throws {
        #expect(try text(folder, .lshw) + "[exit 0]\n" == golden(folder, "lshw-disk.txt"))
    }

    /// What a partition table adds; the guest test of discs has it from Linux.
    @Test(arguments: [false, true]) func lshwTellsTheSignatureOfADisc(isPartitioned: Bool) throws {
        let drive = Drive(DriveProperties(.dvdROM), sectors: 1024, bootSector: nil, controller: .piix3IDE)
        let report = DriveReport(
            drive: drive, placement: Placement(controller: .piix3IDE, bus: 0, unit: 0), diskSignature: 0x0EAD_C0DE,
            isPartitioned: isPartitioned)
        let lines =
            (isPartitioned ? "          capabilities: partitioned partitioned:dos\n" : "")
            + "          configuration: signature=0eadc0de\n"
        #expect(try String(decoding: report.bytes(.lshw), as: UTF8.self) == text("cd-media", .lshw) + lines)
    }

    @Test func hdparm() throws {
        #expect(try text("cd-media", .hdparm) == golden("cd-media", "cd-hdparm-I.txt"))
    }

    @Test func words() throws {
        let words = try text("cd-media", .words, atPowerOn: true)
        #expect(try words == golden("cd-media", "poweron-identify-packet-istdin.txt"))
    }

    @Test func pages() throws {
        #expect(try text("cd-media", .scsi(.inquiry)).hasPrefix("05 80 05 32 1f 00 00 00 51 45 4d 55"))
        #expect(try text("cd-media", .scsi(.vitalProductData(0x83))).hasPrefix("05 83 00 60 02 00 00 14 51 4d"))
        #expect(try text("cd-media", .scsi(.mode(0x2A, .current))).hasPrefix("00 1c 70 00 00 00 00 00 2a 14 3b"))
        #expect(try text("cd-media", .scsi(.readCapacity10)) == "00 00 03 ff 00 00 08 00\n")
        #expect(throws: PageRefused.self) { try text("cd-empty", .scsi(.readCapacity10)) }
        #expect(throws: PageRefused.self) { try text("cd-media", .scsi(.reportLUNs)) }
    }

    @Test func summary() throws {
        let expected = """
            Model:            QEMU DVD-ROM
            Firmware:         2.5+
            Serial number:    QM00001
            Medium:           CD-ROM, 1024 blocks of 2048 bytes (2.10 MB, 2.00 MiB)
            Transfer mode:    MWDMA2, up to UDMA/100
            Controller:       piix3-ide
            Linux calls it:   ata1.00, 0:0:0:0, /dev/sr0

            """
        #expect(try text("cd-media", .summary) == expected)
        #expect(try text("cd-empty", .summary).contains("Medium:           none\n"))
    }

    @Test func json() throws {
        struct Report: Decodable, Equatable {
            struct Names: Decodable, Equatable {
                let ata, scsi, disc: String
            }
            let model, serial: String
            let profile: String?
            let sectors, bytes, logicalSectorBytes: Int
            let linux: Names
            let identify: [UInt16]
        }
        let report = try JSONDecoder().decode(Report.self, from: Data(text("cd-media", .json).utf8))
        #expect(report.model == "QEMU DVD-ROM" && report.serial == "QM00001" && report.profile == "CD-ROM")
        #expect(report.sectors == 1024 && report.bytes == 2 << 20 && report.logicalSectorBytes == 2048)
        #expect(report.linux == Report.Names(ata: "ata1.00", scsi: "0:0:0:0", disc: "sr0"))
        #expect(report.identify.count == 256 && report.identify[0] == 0x85C0)
        let empty = try JSONDecoder().decode(Report.self, from: Data(text("cd-empty", .json).utf8))
        #expect(empty.profile == nil && empty.sectors == 0)
    }
}
