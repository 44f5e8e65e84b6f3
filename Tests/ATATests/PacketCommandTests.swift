// The data of a DVD-ROM's commands, and the way they go.

import Blocks
import Testing

@testable import ATA

@Suite struct PacketReadTests {
    @Test func readsAskTheMediumForBlocks() {
        var drive = Drive.dvd()
        let read10 = drive.send([0x28, 0, 0, 0, 3, 0xFE, 0, 0, 2])
        #expect(read10.asked == [.read(lba: 1022, count: 2)])
        #expect(read10.result.status == 0x50 && read10.result.count == 3 && read10.byteCount == 4096)
        let read12 = drive.send([0xA8, 0, 0, 0, 0, 0, 0, 0, 4, 0])
        #expect(read12.asked == [.read(lba: 0, count: 1024)] && read12.byteCount == 2 << 20)
        let readCD = drive.send([0xBE, 0, 0, 0, 0, 7, 0, 0, 3, 0x10])
        #expect(readCD.asked == [.read(lba: 7, count: 3)] && readCD.byteCount == 6144)
    }

    /// READ (12) counts in 32 bits, and its bytes need more.
    @Test(arguments: [1 << 21, 1 << 28] as [UInt32])
    func aReadMayHaveMoreBytesThan32BitsCount(count: UInt32) {
        var drive = Drive.dvd(blocks: 1 << 28 + 5)
        let packet = [0xA8, 0, 0, 0, 0, 0] + withUnsafeBytes(of: count.bigEndian) { Array($0) }
        for limit in [0x8000, 0x0001] as [UInt64] {
            let end = drive.send(packet, byDMA: false, byteCountLimit: limit)
            #expect(end.asked == [.read(lba: 0, count: count)] && end.result.status == 0x50)
            #expect(end.byteCount == UInt64(count) * 2048 && end.result.lba < 1 << 24)
        }
        let failed = drive.send(packet) { _ in .failed(.unrecovered, afterBytes: 5 << 30) }
        #expect(failed.byteCount == 5 << 30 && failed.result.status == 0x41)
    }

    @Test(arguments: [[0x28], [0xA8], [0xBE], [0xBE, 0, 0, 0, 0, 0, 0, 0, 1, 0x07]] as [[UInt8]])
    func nothingToReadIsNoError(packet: [UInt8]) {
        var drive = Drive.dvd()
        let end = drive.send(packet)
        #expect(end.asked.isEmpty && end.byteCount == 0 && end.result.status == 0x50)
    }

    @Test(
        arguments: [
            [0x28, 0, 0, 0, 4, 0, 0, 0, 1], [0x28, 0, 0, 0, 3, 0xFF, 0, 0, 2],
            [0xA8, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1],
            [0xA8, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF], [0xBE, 0, 0, 0, 4, 0, 0, 0, 1, 0xF8], [0x2B, 0, 0, 0, 4, 0],
        ] as [[UInt8]])
    func nothingIsReadBeyondTheEnd(packet: [UInt8]) {
        var drive = Drive.dvd()
        #expect(drive.refusal(packet) == [0x5, 0x21])
    }

    @Test func readCDTakesUserDataOrWholeSectors() {
        var drive = Drive.dvd()
        #expect(drive.refusal([0xBE, 0, 0, 0, 0, 0, 0, 0, 1, 0x20]) == [0x5, 0x24])
        #expect(drive.send([0x2B, 0, 0, 0, 3, 0xFF]).result.status == 0x50)
    }

    /// Sync pattern, address in time, mode 1; 2048 bytes of the medium; no error correction.
    @Test func wholeSectorsHaveHeaders() {
        var drive = Drive.dvd(blocks: 300_000)
        // Block 4499 is a frame before a minute and two seconds.
        let end = drive.send([0xBE, 0, 0, 0, 0x11, 0x93, 0, 0, 2, 0xF8], length: 2 * 2352)
        #expect(end.asked == [.read(lba: 4499, count: 1), .read(lba: 4500, count: 1)])
        #expect(end.byteCount == 4704 && end.result.status == 0x50)
        for (sector, address) in [[0x01, 0x01, 0x4A], [0x01, 0x02, 0x00]].enumerated() {
            let bytes = Array(end.reply[sector * 2352..<(sector + 1) * 2352])
            #expect(Array(bytes[0..<12]) == [0] + [UInt8](repeating: 0xFF, count: 10) + [0])
            #expect(bytes[12..<15].map(Int.init) == address && bytes[15] == 1)
            #expect(bytes[16..<2064].allSatisfy { $0 == 0xEE } && bytes[2064...].allSatisfy { $0 == 0 })
        }
    }

    @Test func wholeSectorsThatDoNotFitAreNotWritten() {
        var drive = Drive.dvd()
        let end = drive.send([0xBE, 0, 0, 0, 0, 0, 0, 0, 2, 0xF8], length: 2 * 2352 - 1)
        #expect(end.asked.isEmpty && end.byteCount == 4704)
    }

    @Test func aBlockThatCannotBeReadIsOutOfRange() {
        var drive = Drive.dvd()
        let end = drive.send([0x28, 0, 0, 0, 0, 0, 0, 0, 4]) { _ in .failed(.unrecovered, afterBytes: 2048) }
        #expect(end.result.status == 0x41 && end.result.error == 0x50 && end.byteCount == 2048)
        #expect(end.result.blockFailure == .unrecovered)
        #expect(drive.sense() == [0x5, 0x21])
    }

    /// Data by PIO need a byte count limit, and come in blocks of at most so many bytes.
    @Test(
        arguments: [
            (0x0800, 0x0800, 0x50), (0x1000, 0x1000, 0x50), (0x0301, 0x0100, 0x50), (0xFFFF, 0x1000, 0x50),
            (0, 0, 0x41),
        ] as [(UInt64, UInt64, UInt8)])
    func dataByPIO(limit: UInt64, last: UInt64, status: UInt8) {
        var drive = Drive.dvd()
        let end = drive.send([0x28, 0, 0, 0, 0, 0, 0, 0, 2], byDMA: false, byteCountLimit: limit)
        #expect(end.result.status == status && end.result.lba >> 8 == last)
        // These move no data, or may move none.
        for packet in [[0x00], [0x1B], [0x1E], [0x2B], [0xBB], [0xBE]] as [[UInt8]] {
            #expect(drive.send(packet, byDMA: false).result.status == 0x50, "\(packet)")
        }
        let raw = drive.send([0xBE, 0, 0, 0, 0, 0, 0, 0, 1, 0x10], byDMA: false, byteCountLimit: limit)
        #expect(raw.result.status == status)
    }
}

@Suite struct PacketAnswerTests {
    @Test func anAnswerIsCutAtTheAllocationLength() {
        var drive = Drive.dvd()
        #expect(drive.send([0x12, 0, 0, 0, 5]).reply == [0x05, 0x80, 0x00, 0x21, 31])
        #expect(drive.send([0x12]).byteCount == 0)
        // A buffer that is smaller than what the host asked for is not written beyond its end.
        let short = drive.send([0x12, 0, 0, 0, 36], length: 8)
        #expect(short.byteCount == 36 && short.reply.count == 8)
    }

    @Test func theDriveItselfIsAnOldDevice() {
        var drive = Drive.dvd()
        let data = drive.send([0x12, 0, 0, 0, 36]).reply
        #expect(data.prefix(8) == [0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0])
        #expect(String(decoding: data[8...], as: UTF8.self) == "QEMU    QEMU DVD-ROM    2.5+")
    }

    @Test(arguments: [(0x17, nil), (0x1C, 24), (0x63, 24), (0x64, 96), (0x6F, 96), (0x70, 108)] as [(UInt8, UInt8?)])
    func designatorsNeedRoom(allocationLength: UInt8, content: UInt8?) throws {
        let properties = try DriveProperties(parsing: "ide-cd,serial=42,wwn=0x5000c50015ea71ac")
        var drive = Drive(properties, sectors: 1, bootSector: nil, controller: .piix3IDE)
        let page = drive.send([0x12, 1, 0x83, 0, allocationLength])
        guard let content else {
            #expect(page.result.error == 0x50 && drive.sense() == [0x5, 0x4B])
            return
        }
        #expect(page.reply.count == 4 + Int(content) && page.reply[3] == content)
        let name: [UInt8] = [1, 3, 0, 8, 0x50, 0x00, 0xC5, 0x00, 0x15, 0xEA, 0x71, 0xAC]
        #expect((page.reply.suffix(12) == name[...]) == (content == 108))
    }

    @Test func pagesThatAreNotThereAreRefused() {
        var drive = Drive.dvd()
        #expect(drive.refusal([0x12, 1, 0x80, 0, 0xFF]) == [0x5, 0x24])
        for page in UInt8(0)...0x3F where ![0x01, 0x0E, 0x2A].contains(page) {
            #expect(drive.refusal([0x5A, 0, page, 0, 0, 0, 0, 0, 0xFF]) == [0x5, 0x24])
        }
        // Changeable, default and saved values.
        #expect(drive.refusal([0x5A, 0, 0x6A, 0, 0, 0, 0, 0, 0xFF]) == [0x5, 0x24])
        #expect(drive.refusal([0x5A, 0, 0xAA, 0, 0, 0, 0, 0, 0xFF]) == [0x5, 0x24])
        #expect(drive.refusal([0x5A, 0, 0xEA, 0, 0, 0, 0, 0, 0xFF]) == [0x5, 0x39])
    }

    @Test func modePages() {
        var drive = Drive.dvd()
        let recovery = drive.send([0x5A, 0, 0x01, 0, 0, 0, 0, 0, 0xFF]).reply
        #expect(recovery == [0, 14, 0x70, 0, 0, 0, 0, 0, 0x01, 6, 0, 5, 0, 0, 0, 0])
        let audio = drive.send([0x5A, 0, 0x0E, 0, 0, 0, 0, 0, 0xFF]).reply
        #expect(audio.prefix(10) == [0, 22, 0x70, 0, 0, 0, 0, 0, 0x0E, 14] && audio.count == 24)
    }

    @Test func tablesOfContents() {
        var drive = Drive.dvd(blocks: 4350)
        // From the lead-out on, in time: 4350 blocks and two seconds are a minute.
        #expect(
            drive.send([0x43, 2, 0, 0, 0, 0, 0xAA, 0, 64]).reply == [0, 10, 1, 1, 0, 0x16, 0xAA, 0, 0, 1, 0, 0])
        #expect(drive.refusal([0x43, 0, 0, 0, 0, 0, 2, 0, 64]) == [0x5, 0x24])
        // One session, which begins at block 0.
        #expect(drive.send([0x43, 0, 0, 0, 0, 0, 0, 0, 64, 0x40]).reply == [0, 10, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
        let full = drive.send([0x43, 2, 0, 0, 0, 0, 0, 0, 64, 0x80]).reply
        #expect(full.prefix(4) == [0, 46, 1, 1] && full.count == 48)
        let entries = stride(from: 4, to: 48, by: 11).map { Array(full[$0..<$0 + 11]) }
        #expect(entries.map { $0[3] } == [0xA0, 0xA1, 0xA2, 0x01])
        #expect(entries.map { Array($0[7...]) } == [[0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0]])
        #expect(entries.allSatisfy { Array($0[0..<3]) == [1, 0x14, 0] && Array($0[4..<7]) == [0, 0, 0] })
        #expect(drive.refusal([0x43, 0, 0, 0, 0, 0, 0, 0, 64, 0xC0]) == [0x5, 0x24])
    }

    @Test func discInformation() {
        var drive = Drive.dvd()
        let data = drive.send([0x51, 0, 0, 0, 0, 0, 0, 0, 0xFF]).reply
        #expect(data.count == 34 && data.prefix(9) == [0, 32, 0x0E, 1, 1, 1, 1, 0x20, 0])
        #expect(data[9...].allSatisfy { $0 == 0 })
        #expect(drive.refusal([0x51, 1, 0, 0, 0, 0, 0, 0, 0xFF]) == [0x5, 0x24])
        #expect(drive.send([0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8]).reply == [0, 0, 0, 0, 0, 1, 0, 0])
    }

    @Test func structuresAreThoseOfADVD() {
        var cd = Drive.dvd()
        #expect(cd.refusal([0xAD, 0, 0, 0, 0, 0, 0, 0, 0x10, 0]) == [0x5, 0x30])
        let list: [UInt8] = [0, 18, 0, 0, 0, 0x40, 8, 4, 1, 0x40, 0, 8, 3, 0x40, 0, 0xC0, 4, 0x40, 8, 4]
        #expect(cd.send([0xAD, 0, 0, 0, 0, 0, 0, 0xFF, 0x10, 0]).reply == list)
        var dvd = Drive.dvd(blocks: 0x23_4567)
        let physical = dvd.send([0xAD, 0, 0, 0, 0, 0, 0, 0, 0x10, 0]).reply
        let end: [UInt8] = [0, 0x23, 0x45, 0x66]
        #expect(physical.count == 2052 && physical.prefix(20) == [8, 2, 0, 0, 1, 15, 1, 0, 0, 0, 0, 0] + end + end)
        #expect(dvd.send([0xAD, 0, 0, 0, 0, 0, 0, 1, 0x10, 0]).reply == [0, 6, 0, 0, 0, 0, 0, 0])
        #expect(dvd.send([0xAD, 0, 0, 0, 0, 0, 0, 4, 0x10, 0]).reply.count == 2052)
        // Another layer, the burst cutting area, another format, another kind of medium.
        let refused: [[UInt8]] = [
            [0xAD, 0, 0, 0, 0, 0, 1, 0], [0xAD, 0, 0, 0, 0, 0, 0, 3], [0xAD, 0, 0, 0, 0, 0, 0, 5], [0xAD, 1],
        ]
        for packet in refused {
            #expect(dvd.refusal(packet + [UInt8](repeating: 0xFF, count: 10 - packet.count)) == [0x5, 0x24])
        }
    }
}
