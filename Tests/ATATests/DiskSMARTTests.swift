// SMART and the logs of a whole disk, byte by byte as ACS-3 and ATA8-ACS lay them out.

import Blocks
import Testing

@testable import ATA

@Suite("SMART and the logs of a whole disk")
struct DiskSMARTTests {
    private func registers(_ result: TaskfileResult) -> [UInt8] { [result.status, result.error] }
    private let ok: [UInt8] = [0x50, 0]
    private let aborted: [UInt8] = [0x51, 0x04]

    @Test("is there unless it is disabled")
    func subcommands() throws {
        var disk = WholeDisk()
        let data = try required(disk.readSMART(0xD0))
        #expect(data.hasChecksum && data.number(0, bytes: 2) == 1 && data[367] == 0x7B && data[368] == 0x03)
        let thresholds = try required(disk.readSMART(0xD1))
        #expect(thresholds.hasChecksum)
        // The same attributes in both.
        let places = (0..<30).map { 2 + 12 * $0 }
        #expect(places.map { data[$0] } == places.map { thresholds[$0] })
        let status = disk.smart(0xDA)
        #expect(registers(status) == ok && status.lba & 0xFF_FF00 == 0xC2_4F00)
        for (feature, count) in [(UInt16(0xD2), UInt16(0xF1)), (0xD2, 0), (0xD3, 0), (0xDB, 0xF8), (0xDB, 0)] {
            #expect(registers(disk.smart(feature, count: count)) == ok, "\(feature)")
        }
        #expect(registers(disk.smart(0xD2, count: 1)) == aborted && registers(disk.smart(0xD7)) == aborted)
        #expect(registers(disk.smart(0xDB, count: 0xF8)) == ok)
        #expect(disk.readSMART(0xD0)?[362] == 0x80)
        #expect(registers(disk.send(0xB0, feature: 0xDA, lba: 0x00_4F00).result) == aborted, "without its key")
        #expect(registers(disk.smart(0xD9)) == ok)
        #expect(disk.readSMART(0xD0) == nil && disk.drive.identifyData[word: 85] & 1 == 0)
        #expect(registers(disk.smart(0xD8)) == ok)
        #expect(disk.readSMART(0xD0) != nil && disk.drive.identifyData[word: 85] & 1 == 1)
    }

    @Test("counts what was done", arguments: WholeDiskTests.kinds)
    func counters(kind: DriveKind) throws {
        var disk = WholeDisk(kind)
        for number in 0..<5 { _ = disk.send(0x25, count: 8, lba: UInt64(number) * 8) }
        for number in 0..<3 { _ = disk.send(0x61, feature: 16, lba: UInt64(number) * 16) }
        _ = disk.send(0x45, feature: 0x55, count: 3, lba: 1000)
        _ = disk.send(0x25, count: 4, lba: 998)
        disk.wait(seconds: 3600 * 25)
        let data = try required(disk.readSMART(0xD0))
        #expect(data.attribute(242) == 5 * 8 + 2 && data.attribute(241) == 3 * 16)
        #expect(data.attribute(9) == 25 && data.attribute(12) == 1)
        #expect(data.attribute(197) == 3 && data.attribute(187) == 1)
        // Device Statistics say the same, in ACS-3's places.
        let general = try required(disk.readLog(0x04, page: 1))
        #expect(general.number(0, bytes: 3) == 0x01_0001)
        func statistic(_ page: [UInt8], _ offset: Int) -> UInt64? {
            page[offset + 7] & 0xC0 == 0xC0 ? page.number(offset, bytes: 6) : nil
        }
        #expect(statistic(general, 8) == 1 && statistic(general, 16) == 25)
        #expect(statistic(general, 24) == 48 && statistic(general, 32) == 3)
        // The read that ended early is one.
        #expect(statistic(general, 40) == 42 && statistic(general, 48) == 6)
        let errors = try required(disk.readLog(0x04, page: 4))
        #expect(statistic(errors, 8) == 1)
        let pages = try required(disk.readLog(0x04))
        let listed = Array(pages[9..<9 + Int(pages[8])])
        #expect(listed == (kind == .hardDisk ? [0, 1, 3, 4, 5, 6] : [0, 1, 4, 5, 6, 7]))
        for page in listed { #expect(disk.readLog(0x04, page: UInt64(page))?[2] == page) }
        // SMART READ LOG has the same pages, from the first on.
        #expect(disk.readSMART(0xD5, log: 4, count: 2) == pages + general)
        let temperature = try required(disk.readLog(0x04, page: 5))
        #expect(statistic(temperature, 8) == 36 && statistic(temperature, 32) == 36 && statistic(temperature, 40) == 24)
        #expect(data.attribute(194)! & 0xFF == 36)
    }

    @Test("the power cycles and the hours with power are counted through all of them")
    func powerCycles() throws {
        var disk = WholeDisk()
        _ = disk.send(0x35, count: 100)
        disk.wait(seconds: 3600 * 3)
        disk.cyclePower(seconds: 3600 * 100)
        disk.wait(seconds: 3600 * 2)
        let data = try required(disk.readSMART(0xD0))
        #expect(data.attribute(9) == 5, "the hours without power are none")
        #expect(data.attribute(12) == 2 && data.attribute(241) == 100)
    }

    @Test("self-tests take their time")
    func selfTests() throws {
        // 400,000 sectors a second: the extended one takes 200 s.
        var disk = WholeDisk(sectors: 80_000_000)
        #expect(registers(disk.smart(0xD4, low: 1)) == ok)
        disk.wait(seconds: 30)
        #expect(disk.readSMART(0xD0)?[363] == 0xF5)
        disk.wait(seconds: 31)
        #expect(disk.readSMART(0xD0)?[363] == 0x00)
        #expect(registers(disk.smart(0xD4, low: 2)) == ok)
        disk.wait(seconds: 150)
        #expect(disk.readSMART(0xD0)?[363] == 0xF2)
        #expect(disk.readSMART(0xD0)?[373] == 4, "minutes")
        #expect(registers(disk.smart(0xD4, low: 0x7F)) == ok)
        #expect(disk.readSMART(0xD0)?[363] == 0x12, "aborted by the host")
        // A test that another one takes the place of is aborted, too; captive mode takes no time.
        _ = disk.smart(0xD4, low: 3)
        let captive = disk.smart(0xD4, low: 0x81)
        #expect(registers(captive) == ok && captive.lba & 0xFF_FF00 == 0xC2_4F00)
        for low in [UInt64(0x05), 0x40, 0x80, 0x90] { #expect(registers(disk.smart(0xD4, low: low)) == aborted) }
        let log = try required(disk.readSMART(0xD5, log: 6))
        #expect(log.hasChecksum && log.number(0, bytes: 2) == 1 && log[508] == 4)
        let kinds = [2, 26, 50, 74].map { log[$0] }
        #expect(kinds == [1, 2, 3, 0x81])
        let outcomes = [3, 27, 51, 75].map { log[$0] }
        #expect(outcomes == [0x00, 0x12, 0x19, 0x00])
        let extended = try required(disk.readLog(0x07))
        #expect(extended.hasChecksum && extended.number(2, bytes: 2) == 4)
        let extendedKinds = [4, 30, 56, 82].map { extended[$0] }
        #expect(extendedKinds == [1, 2, 3, 0x81])
        // Of many, the last 21.
        for _ in 0..<30 { _ = disk.smart(0xD4, low: 0x82) }
        let full = try required(disk.readSMART(0xD5, log: 6))
        #expect(full[508] == 34 % 21)
        let newest = (0..<21).map { full[2 + 24 * $0] }
        #expect(newest == [UInt8](repeating: 0x82, count: 21))
        #expect(disk.readLog(0x07)?.number(2, bytes: 2) == 19)
    }

    @Test("a self-test fails at the sector that cannot be read")
    func failingSelfTest() throws {
        var disk = WholeDisk(sectors: 80_000_000)
        _ = disk.send(0x45, feature: 0x55, count: 1, lba: 20_000_000)
        _ = disk.smart(0xD4, low: 2)
        disk.wait(seconds: 49)
        #expect(disk.readSMART(0xD0)?[363] == 0xF7)
        disk.wait(seconds: 2)
        #expect(disk.readSMART(0xD0)?[363] == 0x77, "a read failure with 70 % left")
        let log = try required(disk.readSMART(0xD5, log: 6))
        #expect(log[3] == 0x77 && log.number(7, bytes: 4) == 20_000_000)
        #expect(disk.readLog(0x07)?.number(9, bytes: 6) == 20_000_000)
        let captive = disk.smart(0xD4, low: 0x82)
        #expect(registers(captive) == aborted && captive.lba & 0xFF_FF00 == 0x2C_F400)
        // The power goes in the middle of one.
        _ = disk.send(0x35, count: 1, lba: 20_000_000)
        _ = disk.smart(0xD4, low: 2)
        disk.wait(seconds: 20)
        disk.cyclePower()
        #expect(disk.readSMART(0xD0)?[363] == 0x29, "interrupted by a reset")
    }

    @Test("the off-line routine runs, and is suspended by nobody")
    func offLine() {
        var disk = WholeDisk(sectors: 4_000_000)
        #expect(disk.readSMART(0xD0)?[362] == 0x00 && disk.readSMART(0xD0)?[364] == 10)
        _ = disk.smart(0xD4, low: 0)
        disk.wait(seconds: 5)
        #expect(disk.readSMART(0xD0)?[362] == 0x03)
        disk.wait(seconds: 6)
        #expect(disk.readSMART(0xD0)?[362] == 0x02)
    }

    /// The Selective Self-Test log: five spans from byte 2 on, the current sector at 492, its span at 500.
    @Test("a selective self-test reads what a host has said")
    func selective() throws {
        var disk = WholeDisk(sectors: 80_000_000)
        #expect(registers(disk.smart(0xD4, low: 4)) == aborted, "no spans")
        var log = [UInt8](repeating: 0, count: 512)
        log[0] = 1
        func put(_ value: UInt64, _ offset: Int) {
            for byte in 0..<8 { log[offset + byte] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(byte))) }
        }
        put(1_000_000, 2)
        put(4_999_999, 10)
        put(40_000_000, 18)
        put(43_999_999, 26)
        log[511] = 0 &- log.reduce(0) { $0 &+ $1 }
        func write(_ disk: inout WholeDisk, _ log: [UInt8]) -> [UInt8] {
            registers(disk.send(0xB0, feature: 0xD6, count: 1, lba: 0xC2_4F09, data: log).result)
        }
        #expect(write(&disk, log) == ok)
        var wrong = log
        wrong[100] = 1
        #expect(write(&disk, wrong) == aborted, "its checksum is wrong")
        #expect(registers(disk.smart(0xD4, low: 4)) == ok)
        // 8,000,000 sectors: 20 s.
        disk.wait(seconds: 15)
        let running = try required(disk.readSMART(0xD5, log: 9))
        #expect(
            running.hasChecksum && running.number(492, bytes: 8) == 42_000_000 && running.number(500, bytes: 2) == 2)
        #expect(running.number(2, bytes: 8) == 1_000_000 && disk.readSMART(0xD0)?[363] == 0xF2)
        #expect(write(&disk, log) == aborted, "not while it runs")
        disk.wait(seconds: 6)
        #expect(disk.readSMART(0xD0)?[363] == 0x00)
        #expect(disk.readSMART(0xD5, log: 9)?.number(500, bytes: 2) == 0)
    }

    @Test("the directories list what there is, and nothing else can be read")
    func directories() throws {
        var disk = WholeDisk()
        let general = try required(disk.readLog(0))
        let smart = try required(disk.readSMART(0xD5, log: 0))
        #expect(general.number(0, bytes: 2) == 1 && smart.number(0, bytes: 2) == 1)
        func listed(_ page: [UInt8]) -> [UInt8: UInt64] {
            var logs: [UInt8: UInt64] = [:]
            for address in 1..<256 where page.number(2 * address, bytes: 2) != 0 {
                logs[UInt8(address)] = page.number(2 * address, bytes: 2)
            }
            return logs
        }
        var expected: [UInt8: UInt64] = [0x03: 2, 0x04: 8, 0x07: 1, 0x10: 1, 0x11: 1, 0x30: 2, 0xE0: 1, 0xE1: 1]
        for address in UInt8(0x80)...0x9F { expected[address] = 16 }
        #expect(listed(general) == expected)
        for address in [UInt8(0x03), 0x07, 0x10, 0x11] { expected[address] = nil }
        for address in [UInt8(0x01), 0x02, 0x06, 0x09] { expected[address] = 1 }
        #expect(listed(smart) == expected)
        for address in UInt8(1)...255 {
            let count = UInt16(listed(general)[address] ?? 0)
            #expect((disk.readLog(UInt64(address)) != nil) == (count > 0), "\(address)")
            guard count > 0 else { continue }
            #expect(disk.readLog(UInt64(address), count: count)?.count == 512 * Int(count))
            #expect(disk.read(0x47, count: count, lba: UInt64(address)) == disk.readLog(UInt64(address), count: count))
            // Behind the end, and no page at all.
            #expect(disk.readLog(UInt64(address), count: count + 1) == nil)
            #expect(disk.readLog(UInt64(address), page: UInt64(count)) == nil)
            #expect(disk.readLog(UInt64(address), page: 0x100) == nil && disk.readLog(UInt64(address), count: 0) == nil)
        }
        // IDENTIFY DEVICE data log: pages 0 and 1.
        #expect(disk.readLog(0x30)?[8...10] == [2, 0, 1])
        #expect(disk.readLog(0x30, page: 1) == disk.read(0xEC))
        // A link that was reset once, when the power came: 000Ah, two bytes.
        let link = try required(disk.readLog(0x11))
        #expect(link.hasChecksum && Array(link[26..<30]) == [0x0A, 0x10, 0x01, 0x00])
    }

    @Test("a host's own logs keep what it writes")
    func hostLogs() {
        var disk = WholeDisk()
        let pages = (0..<1024).map { UInt8(truncatingIfNeeded: $0 * 13 + 1) }
        #expect(registers(disk.send(0x3F, count: 2, lba: 0x8F | 0x0300, data: pages).result) == ok)
        #expect(registers(disk.send(0x57, count: 1, lba: 0x9F | 0x0F00, data: pages).result) == ok)
        #expect(disk.readLog(0x8F, page: 3, count: 2) == pages)
        #expect(disk.readLog(0x9F, page: 15) == Array(pages.prefix(512)))
        #expect(disk.readSMART(0xD5, log: 0x8F, count: 5)?.suffix(1024) == pages[...])
        #expect(registers(disk.send(0xB0, feature: 0xD6, count: 1, lba: 0xC2_4F80, data: pages).result) == ok)
        #expect(disk.readLog(0x80) == Array(pages.prefix(512)))
        disk.cyclePower()
        #expect(disk.readLog(0x8F, page: 3, count: 2) == pages)
        for (count, lba, data) in [
            (UInt16(2), UInt64(0x8F | 0x0F00), pages), (1, 0x04, pages), (2, 0x80, Array(pages.prefix(512))),
        ] {
            #expect(registers(disk.send(0x3F, count: count, lba: lba, data: data).result) == aborted, "\(lba)")
        }
    }

    /// Read errors of three commands, in the three logs that have them.
    @Test("the error logs have the commands that led to an error")
    func errorLogs() throws {
        var disk = WholeDisk(sectors: 1 << 40)
        let bad: UInt64 = 0x00_0102_0304_05
        _ = disk.send(0x45, feature: 0x55, count: 1, lba: bad)
        disk.wait(seconds: 3600 * 2)
        for round in 0..<10 {
            _ = disk.send(0xE5)
            _ = disk.send(0x60, feature: 16, count: UInt16(round) << 3, lba: bad - 5, device: 0x40)
        }
        let summary = try required(disk.readSMART(0xD5, log: 1))
        #expect(
            summary.hasChecksum && summary[0] == 1 && summary[1] == 10 % 5 + 5 && summary.number(452, bytes: 2) == 10)
        // The newest: five commands of 12 bytes, then the error with the registers' low halves.
        let newest = 2 + 90 * (Int(summary[1]) - 1)
        let commands = (0..<5).map { summary[newest + 12 * $0 + 7] }
        #expect(commands == [0x60, 0xE5, 0x60, 0xE5, 0x60])
        #expect(Array(summary[newest + 49..<newest + 56]) == [16, 72, 0x00, 0x04, 0x03, 0x40, 0x60])
        #expect(Array(summary[newest + 60..<newest + 68]) == [0, 0x40, 72, 0x05, 0x04, 0x03, 0x40, 0x51])
        #expect(summary.number(newest + 88, bytes: 2) == 2, "hours")
        #expect(summary.number(newest + 56, bytes: 4) == 7_200_000, "milliseconds")
        #expect(disk.readSMART(0xD5, log: 2) == summary)

        let extended = try required(disk.readLog(0x03, count: 2))
        #expect(Array(extended.prefix(512)).hasChecksum && Array(extended.suffix(512)).hasChecksum)
        #expect(extended.number(2, bytes: 2) == 2 && extended.number(500, bytes: 2) == 10)
        let entry = 4 + 124 * 1
        #expect(extended.number(entry + 90 - 18 + 1, bytes: 2) == 16 && extended[entry + 90 - 18 + 12] == 0x60)
        #expect(
            Array(extended[entry + 91..<entry + 102]) == [0x40, 72, 0, 0x05, 0x02, 0x04, 0x01, 0x03, 0x00, 0x40, 0x51])
        // What is wrong in itself is not logged.
        _ = disk.send(0x25, count: 1, lba: (1 << 40) + 1)
        _ = disk.send(0xC0)
        #expect(disk.readLog(0x03)?.number(500, bytes: 2) == 10)

        let queued = try required(disk.readLog(0x10))
        #expect(queued.hasChecksum && queued[0] == 9 && queued[2] == 0x51 && queued[3] == 0x40)
        #expect(Array(queued[4..<11]) == [0x05, 0x04, 0x03, 0x40, 0x02, 0x01, 0x00])
        var fresh = WholeDisk()
        #expect(fresh.readLog(0x10)?[0] == 0x80 && fresh.readSMART(0xD5, log: 1)?[1] == 0)
    }

    @Test("SCT: status, error recovery control, feature control, temperatures")
    func commandTransport() throws {
        var disk = WholeDisk()
        func key(_ words: UInt16...) -> [UInt8] {
            var page: [UInt8] = []
            for word in words { page += [UInt8(truncatingIfNeeded: word), UInt8(word >> 8)] }
            return page + [UInt8](repeating: 0, count: 512 - page.count)
        }
        func perform(_ disk: inout WholeDisk, _ words: [UInt8]) -> (registers: [UInt8], answer: UInt64) {
            let result = disk.send(0xB0, feature: 0xD6, count: 1, lba: 0xC2_4FE0, data: words).result
            return (registers(result), UInt64(result.count & 0xFF) | (result.lba & 0xFF) << 8)
        }
        let status = try required(disk.readLog(0xE0))
        #expect(status.number(0, bytes: 2) == 3 && status[10] == 0 && status[200] == 24)
        // Error recovery control: 7 s for reads, 1000 s for writes.
        #expect(perform(&disk, key(3, 2, 1)) == (ok, 0))
        #expect(
            perform(&disk, key(3, 1, 1, 70)).registers == ok && perform(&disk, key(3, 1, 2, 10_000)).registers == ok)
        #expect(perform(&disk, key(3, 2, 1)) == (ok, 70) && perform(&disk, key(3, 2, 2)) == (ok, 10_000))
        // Feature control: the write cache.
        #expect(perform(&disk, key(4, 2, 1)) == (ok, 1))
        #expect(perform(&disk, key(4, 1, 1, 3, 0)).registers == ok && !disk.drive.writeCacheEnabled)
        #expect(perform(&disk, key(4, 2, 1)) == (ok, 3))
        #expect(perform(&disk, key(4, 1, 2, 2)).registers == ok && perform(&disk, key(4, 2, 2)) == (ok, 2))
        #expect(perform(&disk, key(4, 3, 1)) == (ok, 0))
        // Temperatures, a sample a minute: the ring's newest is the fourth.
        disk.wait(seconds: 241)
        #expect(perform(&disk, key(5, 1, 2)).registers == ok)
        let table = try required(disk.readLog(0xE1))
        #expect(table.number(0, bytes: 2) == 2 && table.number(2, bytes: 2) == 1 && table.number(4, bytes: 2) == 1)
        #expect(table.number(30, bytes: 2) == 128 && table.number(32, bytes: 2) == 3)
        #expect(Array(table[34..<40]) == [24, 25, 25, 26, 0x80, 0x80])
        // What there is not, with its extended status code.
        for (words, code) in [
            (key(5, 1, 3), 0x11), (key(3, 3, 1), 0x04), (key(3, 1, 3), 0x05), (key(4, 1, 9, 1), 0x0D),
            (key(4, 4, 1), 0x0C), (key(4, 1, 1, 4), 0x0E), (key(7, 1), 0x10),
        ] {
            #expect(perform(&disk, words).registers == aborted)
            #expect(disk.readLog(0xE0)?.number(14, bytes: 2) == UInt64(code))
        }
        _ = disk.smart(0xD4, low: 2)
        #expect(disk.readLog(0xE0)?[10] == 3, "a self-test runs")
    }
}
