// The registers after commands, against those of QEMU's reference drive.

import Blocks
import Testing

@testable import ATA

@Suite("Registers after a command")
struct RegisterTests {
    private func rows(_ name: String) throws -> [RegisterRow] {
        try GoldenFiles.lines("ata-registers/\(name).txt").map(RegisterRow.init)
    }

    /// The rows were taken with nothing transferred: no data register access, no bus master. So:
    /// - a row without DRQ has to be the command's end, register for register;
    /// - IDENTIFY DEVICE with DRQ offers its page; the registers are those of its end but for DRQ;
    /// - PIO reads have read the first block already, and in these rows that is the last: the same;
    /// - PIO writes and DMA commands wait with their registers as sent. Here they have to ask the medium for the
    ///   sector; the previous contents that the rows have, which make the address of a 48-bit command 2^24, are left
    ///   out, because QEMU waits for data before it looks at the address and this drive does not.
    @Test("are QEMU's for each of the 256 command codes")
    func commands() throws {
        // The disk's rows; a DVD drive's follow.
        let rows = try rows("commands").prefix(256)
        #expect(rows.count == 256)
        for row in rows { check(command: row) }
    }

    private func check(command row: RegisterRow) {
        let code = UInt8(hexadecimal: row.line.prefix(2))
        var taskfile = Taskfile(command: code, count: 0x0101, lba: 0x0100_0000, device: Taskfile.deviceLBA)
        var drive = Drive.reference()
        guard row.result.status & Status.dataRequest != 0 else {
            #expect(drive.execute(taskfile).result.registers == row.result, "\(row)")
            return
        }
        var end = row.result
        end.status &= ~Status.dataRequest
        switch code {
        case 0xEC:
            #expect(drive.begin(taskfile) == .dataIn(.identifyDevice, end), "\(row)")
        case 0x20, 0x21, 0xC4:
            #expect(drive.begin(taskfile) == .blocks(.read(lba: 0, count: 1)), "\(row)")
            #expect(drive.execute(taskfile).result.registers == end, "\(row)")
        default:
            taskfile.count = 1
            taskfile.lba = 0
            let reads: [UInt8] = [0x25, 0xC8, 0xC9]
            let operation = reads.contains(code) ? BlockRequest.read(lba: 0, count: 1) : .write(lba: 0, count: 1)
            #expect(drive.begin(taskfile) == .blocks(operation), "\(row)")
        }
    }

    @Test("are QEMU's for every SET FEATURES subcommand and transfer mode, in order on one drive")
    func setFeatures() throws {
        var drive = Drive.reference()
        _ = drive.begin(Taskfile(command: 0xEC))
        let fresh = drive.identifyData
        let rows = try rows("features")
        #expect(rows.count == 511)
        for row in rows {
            let taskfile = Taskfile(
                command: 0xEF, feature: UInt16(hexadecimal: row.sent["feature"]),
                count: 0x0100 | UInt16(hexadecimal: row.sent["count"]), lba: 0x0100_0000, device: Taskfile.deviceLBA)
            let (result, asked) = drive.execute(taskfile)
            // Rows for transfer modes have no more registers than these two.
            #expect(result.status == UInt8(hexadecimal: row.received["status"]), "\(row)")
            #expect(result.error == UInt8(hexadecimal: row.received["error"]), "\(row)")
            if row.received["hob"] != nil { #expect(result.registers == row.result, "\(row)") }
            #expect(asked == (taskfile.feature == 0x82 ? [.flush] : []), "\(row)")

            let changed = (0..<256).filter { drive.identifyData[word: $0] != fresh[word: $0] }
            #expect(changed == row.changedWords.keys.sorted(), "\(row)")
            for (word, value) in row.changedWords { #expect(drive.identifyData[word: word] == value, "\(row)") }
            if taskfile.feature != 3, !changed.isEmpty { _ = drive.begin(Taskfile(command: 0xEF, feature: 0x02)) }
        }
    }

    @Test("are QEMU's at the ends of the medium and for non-data commands")
    func range() throws {
        // The other rows are those of several commands or of other drives.
        let rows = try rows("range").filter { $0.sent["cmd"] != nil }
        #expect(rows.count == 52)
        for row in rows { check(range: row) }
    }

    private func check(range row: RegisterRow) {
        let code = UInt8(hexadecimal: row.sent["cmd"])
        let extended: [UInt8] = [0x24, 0x27, 0x29, 0x34, 0x37, 0x42]
        let taskfile = row.taskfile(command: code, extended: extended.contains(code))
        var drive = Drive.reference()
        let (result, asked) = drive.execute(taskfile)
        #expect(result.registers == row.result, "\(row)")
        // "sectors moved" counts what went through the data register: for reads that is what the medium gave, while a
        // write's data are taken before its address is looked at.
        let moved = UInt32(row.received["moved"] ?? "")
        if case .read(_, let count)? = asked.first {
            #expect(count == moved, "\(row)")
            #expect(result.sectorsTransferred == moved, "\(row)")
        }
        if moved == 0 { #expect(result.sectorsTransferred == 0, "\(row)") }
    }

    /// One row is different here on purpose: QEMU moves the address of DATA SET MANAGEMENT on as the command before it
    /// used the registers, so after a 28-bit one LBA FFFFFFh goes on in the device register. Here it is always the
    /// 48-bit command that the standard says it is.
    @Test("are QEMU's for DMA commands")
    func dma() throws {
        let rows = try rows("dma").filter { !$0.line.hasPrefix("DSM after a 28-bit command") }
        #expect(rows.count == 30)
        for row in rows { check(dma: row) }
    }

    private func check(dma row: RegisterRow) {
        let taskfile = row.taskfile(
            command: UInt8(hexadecimal: row.sent["cmd"]), extended: row.sent["ext"] == "1")
        var list = [UInt8](repeating: 0, count: 2 * 512)
        for (index, range) in (row.sent["ranges"] ?? "").split(separator: ",").enumerated() {
            let parts = range.split(separator: "+")
            list.store(range: UInt64(hexadecimal: parts[0]), UInt16(hexadecimal: parts[1]), at: index)
        }
        var drive = Drive.reference()
        let (result, _) = drive.execute(taskfile, data: list)
        #expect(result.registers == row.result, "\(row)")
        if let moved = row.received["moved"] { #expect(result.sectorsTransferred == UInt32(moved), "\(row)") }
    }

    @Test("are QEMU's for SMART, in order on one drive, and so are the pages")
    func smart() throws {
        var drive = Drive.reference()
        let lines = try GoldenFiles.lines("ata-registers/smart/smart.txt")
        #expect(lines.count == 42)
        for line in lines {
            let row = RegisterRow(line)
            // The rows do not name the key that was sent; SMART leaves LBA mid and high as they are, so it is the
            // result's.
            let taskfile = Taskfile(
                command: 0xB0, feature: UInt16(hexadecimal: row.sent["feature"]),
                count: row.result.count & 0xFF00 | UInt16(hexadecimal: row.sent["count"]),
                lba: row.result.lba & ~0xFF | UInt64(hexadecimal: row.sent["lbal"]), device: 0)
            let step = drive.begin(taskfile)
            guard let name = line.split(separator: "512 bytes (").dropFirst().first?.dropLast() else {
                #expect(step == .finished(row.result), "\(row)")
                continue
            }
            guard case .dataIn(let page, let result) = step else {
                Issue.record("no data: \(row)")
                continue
            }
            #expect(result == row.result, "\(row)")
            #expect(drive.bytes(page) == (try GoldenFiles.bytes("ata-registers/smart/\(name).bin")), "\(row)")
        }
        #expect(drive.identifyData[word: 85] == 0x4021)
    }

    @Test("read as the standard's drive bits on PIIX and as sent on AHCI")
    func deviceRegister() {
        var properties = DriveProperties.reference
        func device(_ controller: Controller) -> UInt8 {
            var drive = Drive(properties, sectors: 1, bootSector: nil, controller: controller)
            return drive.execute(Taskfile(command: 0xE7, device: 0x40)).result.device
        }
        #expect(device(.piix3IDE) == 0xF0)
        properties.unit = 0
        #expect(device(.piix3IDE) == 0xE0)
        #expect(device(.ich9AHCI) == 0x40)
    }
}

extension [UInt8] {
    /// Stores an LBA range entry of DATA SET MANAGEMENT.
    mutating func store(range lba: UInt64, _ count: UInt16, at index: Int) {
        let entry = lba & 0xFFFF_FFFF_FFFF | UInt64(count) << 48
        for byte in 0..<8 { self[8 * index + byte] = UInt8(truncatingIfNeeded: entry >> (8 * UInt64(byte))) }
    }
}
