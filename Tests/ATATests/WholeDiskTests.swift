// A whole disk against ACS-3: its table of commands, what it says it is, and how it moves data.

import Blocks
import Foundation
import Testing

@testable import ATA

@Suite("A whole disk")
struct WholeDiskTests {
    static let kinds = [DriveKind.hardDisk, .solidState]
    private let ok: [UInt8] = [0x50, 0]
    private let aborted: [UInt8] = [0x51, 0x04]
    private let notFound: [UInt8] = [0x51, 0x10]
    private let uncorrectable: [UInt8] = [0x51, 0x40]

    private func word(_ disk: WholeDisk, _ number: Int) -> UInt16 { disk.drive.identifyData[word: number] }

    /// Opcodes of ACS-3 (and ACS-2 and ACS-4) by their numbers, as annex B lists them.
    @Test("has the standard's commands, in its order, and each of them once")
    func table() {
        let codes: [UInt8] = [
            0x78, 0xE5, 0x06, 0x92, 0x93, 0x90, 0xE7, 0xEA, 0xEC, 0xE3, 0xE1, 0x00, 0xE4, 0xE9, 0xC8, 0x25, 0x60, 0x47,
            0x2F, 0xC4, 0x29, 0xF8, 0x27, 0x20, 0x24, 0x40, 0x42, 0xB4, 0xF6, 0xF3, 0xF4, 0xF5, 0xF1, 0xF2, 0xEF, 0xF9,
            0x37, 0xC6, 0xE6, 0xB0, 0xE2, 0xE0, 0xE8, 0xEB, 0xCA, 0x35, 0x3D, 0x61, 0x57, 0x3F, 0xC5, 0x39, 0xCE, 0x30,
            0x34, 0x45, 0x44,
        ]
        #expect(CommandRow.all.map(\.command.rawValue) == codes)
        for row in CommandRow.all { #expect(CommandRow.row(of: row.command.rawValue)?.name == row.name) }
        #expect(CommandRow.row(of: 0xA0) == nil)
    }

    /// The rows of the page: code, name, and whether it is refused.
    @Test("has the commands that docs/drive.md lists")
    func documented() throws {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("docs/drive.md")
        let lines = try String(contentsOf: page, encoding: .utf8).split(
            separator: "\n", omittingEmptySubsequences: false)
        let heading = try #require(lines.firstIndex(of: "### The commands of a whole disk"))
        let table = lines[heading...].drop { !$0.hasPrefix("| Code ") }.dropFirst(2).prefix { $0.hasPrefix("|") }
        let listed = table.map { $0.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) } }
        try #require(listed.count == CommandRow.all.count)
        for (row, cells) in zip(CommandRow.all, listed) {
            let code = String(row.command.rawValue, radix: 16, uppercase: true)
            #expect(cells[0] == (code.count == 1 ? "0" : "") + code + "h" && cells[1] == row.name)
            let isThere = Feature.ofDisk(DriveProperties(.hardDisk)).contains(row.feature) || row.feature == .trim
            #expect(cells[2].hasPrefix(isThere ? "kept" : "refused"), "\(row.name)")
            if let standard = row.standard { #expect(cells[2].contains("(\(standard))"), "\(row.name)") }
        }
    }

    /// What is announced is there, and what is not announced is refused.
    @Test("does what IDENTIFY DEVICE announces and nothing else", arguments: kinds)
    func announcements(kind: DriveKind) {
        let disk = WholeDisk(kind)
        let data = disk.drive.identifyData
        for row in CommandRow.all {
            var disk = disk
            let isThere = disk.drive.disk.features.contains(row.feature)
            if let announcement = row.feature.announcement {
                let bit = data[word: announcement.word] & 1 << announcement.bit != 0
                #expect(bit == isThere, "\(row.name)")
            }
            guard !isThere else { continue }
            #expect(disk.registers(row.command.rawValue, feature: 1, count: 1) == aborted, "\(row.name)")
        }
        // All codes without a row.
        for code in UInt8.min...UInt8.max where CommandRow.row(of: code) == nil {
            // Without retry, which ATA/ATAPI-4 took away, reads and writes are what they were.
            guard ![0x21, 0x31, 0xC9, 0xCB].contains(code) else { continue }
            var disk = disk
            #expect(disk.registers(code, count: 1) == aborted, "\(code)")
        }
    }

    @Test("is a SATA drive of ACS-3", arguments: kinds)
    func identity(kind: DriveKind) throws {
        var disk = WholeDisk(kind)
        let page = try required(disk.read(0xEC))
        #expect(page.hasChecksum && page[510] == 0xA5)
        func word(_ number: Int) -> UInt64 { page.number(2 * number, bytes: 2) }
        // ACS-3, ACS-2, ATA8-ACS and ATA/ATAPI-7, 6, 5; ACS-3 T13/2161-D revision 5.
        #expect(word(80) == 0x07E0 && word(81) == 0x006D)
        #expect(word(222) == 0x107F && word(76) & 0x010E == 0x010E && word(75) == 31 && word(93) == 0)
        #expect(word(82) == 0x746B && word(83) == 0x7408)
        #expect(word(84) == (kind == .hardDisk ? 0x6163 : 0x4163))
        // Security and APM are there, and not enabled.
        #expect(word(85) == 0x7469 && word(86) == 0xB400 && word(87) == word(84))
        #expect(word(119) == 0x410C && word(120) == 0x410C)
        #expect(word(217) == (kind == .hardDisk ? 7200 : 1) && word(168) == (kind == .hardDisk ? 2 : 3))
        #expect(word(106) == 0x6003 && word(209) == 0x4000)
        #expect(word(169) == (kind == .hardDisk ? 0 : 1) && word(69) & 0x4020 == (kind == .hardDisk ? 0 : 0x4020))
        #expect(word(105) == (kind == .hardDisk ? 0 : 8))
        #expect(word(206) == 0x0039 && word(59) == 0xB110 && word(128) == 0x0021)
        #expect(page.number(200, bytes: 8) == 2_000_000 && page.number(120, bytes: 4) == 2_000_000)
        // Locally assigned, and another one for another drive.
        #expect(word(108) >> 12 == 3)
        #expect(
            WholeDisk(kind) { $0.serialNumber = "S-2" }.drive.identifyData.worldWideName
                != disk.drive.identifyData.worldWideName)
        #expect(
            WholeDisk(kind) { $0.worldWideName = 0x5000_C500_15EA_71AC }.drive.identifyData.worldWideName
                == 0x5000_C500_15EA_71AC)
    }

    @Test("has logical sectors of 4096 bytes if told so")
    func largeSectors() throws {
        let properties = try DriveProperties(parsing: "spindle-hd,logical_block_size=4096,rotation_rate=5400")
        let drive = Drive(properties, sectors: 1000, bootSector: nil, controller: .ich9AHCI)
        #expect(drive.blockSize.bytes == 4096 && drive.identifyData.logicalSectorBytes == 4096)
        #expect(drive.identifyData[word: 106] == 0x7000 && drive.identifyData[word: 117] == 2048)
        #expect(drive.identifyData.rotationRate == 5400)
        for (text, message) in [
            ("spindle-hd,logical_block_size=1024", "logical_block_size=1024: logical_block_size must be 512 or 4096"),
            (
                "spindle-ssd,logical_block_size=4096,physical_block_size=512",
                "physical_block_size=512: physical_block_size must be no smaller than logical_block_size, 4096"
            ),
            (
                "ide-hd,logical_block_size=4096",
                "logical_block_size=4096: logical_block_size must be 512 for an IDE drive"
            ),
        ] {
            #expect(throws: DevicePropertyError.self) { try DriveProperties(parsing: text) }
            do { _ = try DriveProperties(parsing: text) } catch { #expect(error.description == message) }
        }
        for text in ["spindle-ssd,rotation_rate=7200", "spindle-hd,heads=2"] {
            #expect(throws: DevicePropertyError.self) { try DriveProperties(parsing: text) }
        }
    }

    @Test("reads and writes what is there")
    func transfers() {
        var disk = WholeDisk()
        #expect(disk.send(0x25, count: 8, lba: 1000).asked == [.read(lba: 1000, count: 8)])
        #expect(disk.send(0x60, feature: 8, count: 0, lba: 1000).asked == [.read(lba: 1000, count: 8)])
        #expect(disk.send(0xCA, count: 0, lba: 1000).asked == [.write(lba: 1000, count: 256)])
        #expect(disk.send(0x61, feature: 0, lba: 1000).asked == [.write(lba: 1000, count: 65_536)])
        #expect(disk.registers(0x25, count: 8, lba: 1000) == ok)
        // The last sector, and what begins or ends behind it: ID not found, and nothing is asked of the medium.
        #expect(disk.registers(0x25, count: 1, lba: 1_999_999) == ok)
        for command: UInt8 in [
            0x20, 0x24, 0x25, 0xC8, 0xC4, 0x29, 0x30, 0x34, 0x35, 0xCA, 0xC5, 0x39, 0x3D, 0xCE, 0x40, 0x42, 0x44,
        ] {
            // A 28-bit command has bits 27:24 of its address in the device register, which is 0 here: 1,999,999 fits.
            let (result, asked) = disk.send(command, count: 2, lba: 1_999_999)
            #expect([result.status, result.error] == notFound && asked.isEmpty, "\(command)")
        }
        #expect(disk.send(0x60, feature: 2, lba: 1_999_999).result.error == 0x10)
        // Queued commands need a controller that queues.
        var parallel = WholeDisk(controller: .piix3IDE)
        #expect(parallel.registers(0x60, feature: 1) == aborted)
    }

    @Test("makes a write with FUA stable before it ends, and every write without a cache")
    func forceUnitAccess() {
        var disk = WholeDisk()
        let write = BlockRequest.write(lba: 7, count: 1)
        #expect(disk.send(0x35, count: 1, lba: 7).asked == [write])
        #expect(disk.send(0x3D, count: 1, lba: 7).asked == [write, .flush])
        #expect(disk.send(0xCE, count: 1, lba: 7).asked == [write, .flush])
        #expect(disk.send(0x61, feature: 1, lba: 7, device: 0xC0).asked == [write, .flush])
        #expect(disk.send(0xEF, feature: 0x82).asked == [.flush])
        #expect(disk.send(0x35, count: 1, lba: 7).asked == [write, .flush])
        #expect(word(disk, 85) & 0x20 == 0)
        #expect(disk.send(0xEF, feature: 0x02).asked == [])
        #expect(disk.send(0x35, count: 1, lba: 7).asked == [write])
    }

    @Test("gives space back as zeroes, or not at all")
    func trim() {
        var disk = WholeDisk(.solidState)
        var list = [UInt8](repeating: 0, count: 512)
        // Sectors 16 to 31, 32 to 39, and 100.
        for (entry, (first, count)) in [(16, 16), (32, 8), (0, 0), (100, 1)].enumerated() {
            (list[8 * entry], list[8 * entry + 6]) = (UInt8(first), UInt8(count))
        }
        let (result, asked) = disk.send(0x06, feature: 1, count: 1, data: list)
        #expect([result.status, result.error] == ok)
        #expect(
            asked == [
                .zeroes(lba: 16, count: 24, mayDeallocate: true), .zeroes(lba: 100, count: 1, mayDeallocate: true),
            ])
        // One range that is not there: nothing of the list is done.
        list[8 * 4 + 3] = 1
        list[8 * 4 + 6] = 1
        let refused = disk.send(0x06, feature: 1, count: 1, data: list)
        #expect([refused.result.status, refused.result.error] == notFound && refused.asked.isEmpty)
        // No TRIM, more blocks than announced, none, fewer data than said.
        #expect(disk.registers(0x06, feature: 0, count: 1, data: list) == aborted)
        #expect(disk.registers(0x06, feature: 1, count: 9, data: [UInt8](repeating: 0, count: 9 * 512)) == aborted)
        #expect(disk.registers(0x06, feature: 1, count: 0, data: list) == aborted)
        #expect(disk.registers(0x06, feature: 1, count: 2, data: list) == aborted)
        // ZERO EXT keeps the space unless TRIM is set.
        #expect(disk.send(0x44, count: 4, lba: 9).asked == [.zeroes(lba: 9, count: 4, mayDeallocate: false)])
        #expect(disk.send(0x44, feature: 1, count: 4, lba: 9).asked == [.zeroes(lba: 9, count: 4, mayDeallocate: true)])
        var rotating = WholeDisk()
        #expect(rotating.registers(0x06, feature: 1, count: 1, data: list) == aborted)
        var told = WholeDisk { $0.supportsTrim = true }
        #expect(told.registers(0x06, feature: 1, count: 1, data: [UInt8](repeating: 0, count: 512)) == ok)
    }

    @Test("names the sector that cannot be read, and delivers those before it")
    func uncorrectableErrors() {
        var disk = WholeDisk()
        #expect(disk.registers(0x45, feature: 0x55, count: 2, lba: 104) == ok)
        let read = disk.send(0x25, count: 8, lba: 100)
        #expect(read.asked == [.read(lba: 100, count: 4)])
        #expect([read.result.status, read.result.error] == uncorrectable)
        #expect(read.result.lba == 104 && read.result.sectorsTransferred == 4)
        #expect(disk.send(0x25, count: 8, lba: 105).asked.isEmpty)
        #expect(disk.send(0x25, count: 8, lba: 106).result.status == 0x50)
        #expect(disk.send(0x42, count: 8, lba: 100).result.lba == 104)
        // A write makes good what it covers.
        #expect(disk.registers(0x35, count: 1, lba: 104) == ok)
        #expect(disk.send(0x25, count: 8, lba: 100).result.lba == 105)
        #expect(disk.registers(0x44, count: 1, lba: 105) == ok)
        #expect(disk.registers(0x25, count: 8, lba: 100) == ok)
        // Flagged errors are the same here; other features and sectors are refused.
        #expect(disk.registers(0x45, feature: 0xAA, count: 1, lba: 5) == ok)
        #expect(disk.registers(0x45, feature: 0x5A, count: 1, lba: 6) == aborted)
        #expect(disk.registers(0x45, feature: 0x55, count: 2, lba: 1_999_999) == notFound)
        // The medium's own error is no different.
        let failed = disk.send(0x60, feature: 8, count: 17 << 3, lba: 200) { _ in
            .failed(.unrecovered, afterBytes: 1536)
        }
        #expect([failed.result.status, failed.result.error] == uncorrectable && failed.result.lba == 203)
        #expect(failed.result.blockFailure == .unrecovered)
        // READ VERIFY moves no data, whatever it has looked at before the error.
        let verified = disk.send(0x42, count: 8, lba: 300) { _ in .failed(.unrecovered, afterBytes: 1024) }
        #expect(verified.result.lba == 302 && verified.result.sectorsTransferred == 0)
        #expect(disk.registers(0x45, feature: 0x55, count: 1, lba: 403) == ok)
        let known = disk.send(0x42, count: 8, lba: 400)
        #expect(known.result.lba == 403 && known.result.sectorsTransferred == 0)
    }

    @Test("takes settings, and shows them")
    func settings() throws {
        var disk = WholeDisk()
        #expect(disk.registers(0xEF, feature: 0x55) == ok && word(disk, 85) & 0x40 == 0)
        #expect(disk.registers(0xEF, feature: 0xAA) == ok && word(disk, 85) & 0x40 != 0)
        #expect(disk.registers(0xEF, feature: 0x05, count: 0x40) == ok)
        #expect(word(disk, 86) & 0x08 != 0 && word(disk, 91) == 0x40)
        #expect(disk.registers(0xEF, feature: 0x05, count: 0) == aborted)
        #expect(disk.registers(0xEF, feature: 0x05, count: 0xFF) == aborted)
        #expect(disk.registers(0xEF, feature: 0x85) == ok && word(disk, 86) & 0x08 == 0 && word(disk, 91) == 0)
        #expect(disk.registers(0xEF, feature: 0x42, count: 0x80) == aborted, "acoustic management is obsolete")
        #expect(disk.registers(0xEF, feature: 0x03, count: 0x46) == ok && word(disk, 88) == 0x407F)
        #expect(
            disk.registers(0xEF, feature: 0x03, count: 0x22) == ok && word(disk, 63) == 0x0407
                && word(disk, 88) == 0x007F)
        #expect(disk.registers(0xEF, feature: 0x03, count: 0x47) == aborted)
        #expect(disk.registers(0xC6, count: 8) == ok && word(disk, 59) & 0x01FF == 0x0108)
        #expect(disk.registers(0xC6, count: 3) == aborted)
        #expect(disk.registers(0xC6, count: 0) == ok && disk.registers(0xC4, count: 1) == aborted)
        // WRITE BUFFER, READ BUFFER, by PIO and by DMA.
        let buffer = (0..<512).map { UInt8(truncatingIfNeeded: $0 * 7) }
        #expect(
            disk.registers(0xE8, data: buffer) == ok && disk.registers(0xEB, data: Array(buffer.prefix(100))) == aborted
        )
        #expect(disk.read(0xE4) == buffer && disk.read(0xE9) == buffer)
        #expect(disk.registers(0x00) == aborted, "NOP aborts")
        #expect(disk.registers(0x92, feature: 7, count: 1, data: buffer) == aborted, "no other firmware")
        // Whatever was set, the data are sound.
        let data = try required(disk.read(0xEC))
        #expect(data.hasChecksum)
    }

    @Test("stands by when it is told to, or when its timer says so")
    func power() {
        var disk = WholeDisk()
        func mode(_ disk: inout WholeDisk) -> UInt16 { disk.send(0xE5).result.count & 0xFF }
        #expect(mode(&disk) == 0xFF)
        #expect(disk.send(0xE0).asked == [.flush])
        #expect(mode(&disk) == 0x00)
        _ = disk.send(0x25, count: 1)
        #expect(mode(&disk) == 0xFF, "a read sets the medium in motion")
        #expect(disk.registers(0xE1) == ok && mode(&disk) == 0x80)
        // IDLE with 2: ten seconds.
        #expect(disk.registers(0xE3, count: 2) == ok)
        disk.wait(seconds: 9)
        #expect(mode(&disk) == 0x80)
        disk.wait(seconds: 2)
        #expect(mode(&disk) == 0x00)
        let starts = disk.readSMART(0xD0)!.attribute(4)
        _ = disk.send(0x25, count: 1)
        #expect(disk.readSMART(0xD0)!.attribute(4) == starts! + 1 && mode(&disk) == 0xFF)
        // 241: half an hour.
        #expect(disk.registers(0xE2, count: 241) == ok && mode(&disk) == 0x00)
        _ = disk.send(0x25, count: 1)
        disk.wait(seconds: 1799)
        #expect(mode(&disk) == 0xFF)
        disk.wait(seconds: 2)
        #expect(mode(&disk) == 0x00)
        // A host resets a sleeping drive before it speaks to it.
        #expect(disk.registers(0xE6) == ok && disk.registers(0x25, count: 1) == ok && mode(&disk) == 0xFF)
        // IDLE IMMEDIATE with UNLOAD.
        #expect(disk.send(0xE1, feature: 0x44, lba: 0x55_4E4C).result.lba & 0xFF == 0xC4)
        #expect(disk.registers(0xE1, feature: 0x44, lba: 0) == aborted)
        var solid = WholeDisk(.solidState)
        #expect(solid.registers(0xE1, feature: 0x44, lba: 0x55_4E4C) == aborted)
    }
}

extension [UInt8] {
    /// The raw value of an attribute in SMART READ DATA.
    func attribute(_ id: UInt8) -> UInt64? {
        (0..<30).first { self[2 + 12 * $0] == id }.map { number(7 + 12 * $0, bytes: 6) }
    }
}
