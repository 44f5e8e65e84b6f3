// The memory of a whole disk as text: what is written is read, what people write is checked, and nothing traps.

import Blocks
import Foundation
import Seeded
import TOML
import Testing

@testable import ATA

@Suite("The memory of a whole disk")
struct DiskMemoryTests {
    /// A disk to which much has happened.
    private func worn(_ kind: DriveKind = .hardDisk) -> WholeDisk {
        var disk = WholeDisk(kind, sectors: 2_000_000)
        _ = disk.send(0x25, count: 8, lba: 0)
        _ = disk.send(0x35, count: 16, lba: 100)
        _ = disk.send(0xEA)
        _ = disk.send(0x45, feature: 0x55, count: 1, lba: 81_920)
        _ = disk.send(0x45, feature: 0xAA, count: 8, lba: 5000)
        for _ in 0..<9 { _ = disk.send(0x25, count: 8, lba: 81_916) }
        _ = disk.smart(0xD4, low: 0x81)
        var log = [UInt8](repeating: 0, count: 512)
        log[0] = 0xA5
        _ = disk.send(0x3F, count: 1, lba: 0x80, data: log)
        // HPA: READ NATIVE MAX ADDRESS EXT, SET MAX ADDRESS EXT with VV.
        _ = disk.send(0x27)
        _ = disk.send(0x37, count: 1, lba: 1_499_999)
        var password = [UInt8](repeating: 0, count: 512)
        password.replaceSubrange(2..<8, with: Array("secret".utf8))
        _ = disk.send(0xF1, data: password)
        disk.wait(seconds: 7200)
        _ = disk.smart(0xD9)
        return disk
    }

    /// Another process: a fresh drive, which reads the text.
    private func reborn(_ text: String, _ kind: DriveKind = .hardDisk) throws -> WholeDisk {
        var disk = WholeDisk(kind, sectors: 2_000_000)
        try disk.drive.remember(DiskMemory(parsing: text))
        disk.drive.powerOn(at: disk.now)
        return disk
    }

    @Test("makes the same disk of a new one", arguments: WholeDiskTests.kinds)
    func outlastsTheProcess(kind: DriveKind) throws {
        var before = worn(kind)
        before.drive.noteTime(before.now)
        let text = before.drive.memory.text
        var after = try reborn(text, kind)
        #expect(after.drive.sectors == 1_500_000 && after.drive.mediumSectors == 2_000_000)
        // Locked by the password, with SMART disabled as it was.
        #expect(after.registers(0x25, count: 8) == [0x51, 0x04])
        #expect(after.smart(0xDA).status == 0x51)
        var password = [UInt8](repeating: 0, count: 512)
        password.replaceSubrange(2..<8, with: Array("secret".utf8))
        #expect(after.registers(0xF2, data: password) == [0x50, 0])
        #expect(after.registers(0x25, count: 1, lba: 81_920) == [0x51, 0x40])
        #expect(after.registers(0x25, count: 1, lba: 5007) == [0x51, 0x40])
        #expect(after.registers(0x25, count: 1, lba: 5008) == [0x50, 0])
        _ = after.smart(0xD8)
        _ = before.smart(0xD8)
        let log = try required(after.readLog(0x80))
        #expect(log[0] == 0xA5 && log[1...].allSatisfy { $0 == 0 })
        // Power-on hours 2; power cycles 2.
        let general = try required(after.readLog(0x04, page: 1))
        #expect(general.number(8, bytes: 4) == 2 && general.number(16, bytes: 4) == 2)
        #expect(general.number(24, bytes: 6) == 16)
        // The self-test that failed at the planted sector.
        let tests = try required(after.readLog(0x07))
        #expect(tests[2] == 1 && tests[4] == 0x81 && tests[5] >> 4 == 7 && tests.number(9, bytes: 6) == 5000)
    }

    /// Eight errors stand in a ring: each has its place again, with its commands.
    @Test("has the same errors in the same places")
    func errorLog() throws {
        var before = worn()
        _ = before.smart(0xD8)
        var after = try reborn(before.drive.memory.text)
        for page in [UInt64(0), 1] {
            let isSame = after.readLog(0x03, page: page) == before.readLog(0x03, page: page)
            #expect(isSame)
        }
        #expect(after.readSMART(0xD5, log: 0x01) == before.readSMART(0xD5, log: 0x01))
        #expect(after.readSMART(0xD5, log: 0x06) == before.readSMART(0xD5, log: 0x06))
    }

    /// A power cycle of one process, and another process, make the same.
    @Test("is the same over a restart as over a power cycle")
    func restartIsAPowerCycle() throws {
        var cycled = worn()
        cycled.drive.noteTime(cycled.now)
        let restarted = try reborn(cycled.drive.memory.text)
        cycled.cyclePower()
        let isSame = restarted.drive.memory.text == cycled.drive.memory.text
        #expect(isSame)
    }

    @Test("is TOML that says what it is of, and can be written by hand")
    func byHand() throws {
        guard case .table(let keys) = try TOMLValue(parsing: worn().drive.memory.text).content else {
            Issue.record("no table")
            return
        }
        #expect(keys["user-password"]?.content == .string("secret") && keys["serial"]?.content == .string("S-1"))
        #expect(keys["sectors-written"]?.content == .integer(16))
        let page = try String(
            contentsOf: URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().appendingPathComponent("docs/drive-state.md"), encoding: .utf8)
        for key in keys.keys {
            #expect(["`\(key)`", "`[[\(key)]]`", "`[\(key)]`"].contains { page.contains($0) }, "\(key)")
        }
        // The page's drive of four years.
        let example = try #require(page.split(separator: "```toml\n").last?.split(separator: "```").first)
        var disk = try reborn(String(example).replacing("W-1", with: "S-1"))
        let general = try required(disk.readLog(0x04, page: 1))
        #expect(general.number(16, bytes: 4) == 35_040 && general.number(8, bytes: 4) == 212)
        #expect(disk.registers(0x25, count: 1, lba: 81_927) == [0x51, 0x40])
    }

    private static let head = "version = 1\ndevice = 'spindle-hd'\nserial = 'S-1'\nsector-bytes = 512\n"

    @Test(
        "is refused with the mistake, its line, and what would be right",
        arguments: [
            ("", "the key 'version' is missing"),
            ("version = 2\n", "it has version 2 of the format, and this server reads version 1"),
            ("version = 1\ndevice = 'ide-hd'\n", "line 2: device: 'ide-hd' is no disk that has a state"),
            (head.replacing("spindle-hd", with: "spindle-ssd"), "of a spindle-ssd, and the drive is a spindle-hd"),
            (head.replacing("S-1", with: "S-2"), "the drive with serial number 'S-2', and this one has 'S-1'"),
            (head.replacing("512", with: "4096"), "a drive with sectors of 4096 bytes, and this one has 512"),
            (head + "sectors-raed = 1\n", "line 5: there is no such key: 'sectors-raed'"),
            (head + "sectors-read = -1\n", "line 5: sectors-read: a number from 0 to 281474976710655 is needed"),
            (head + "sectors-read = 281474976710656\n", "line 5: sectors-read: a number from 0"),
            (head + "powered-seconds = 9223372036854775807\n", "a number from 0 to 8589934592 is needed"),
            (head + "unreadable-sectors = ['9-8']\n", "line 5: unreadable-sectors: a range is"),
            (head + "unreadable-sectors = ['0-281474976710656']\n", "line 5: unreadable-sectors: a range is"),
            (head + "unreadable-sectors = ['18446744073709551615']\n", "a range is"),
            (head + "unreadable-sectors = ['2000000']\n", "it names sector 2000000, and the drive has 2000000 sectors"),
            (head + "accessible-sectors = 2000001\n", "it names sector 2000000, and the drive has 2000000 sectors"),
            (head + "error-count = 1\n", "line 5: error-count: of 1 errors the last 1 are in the log, and 0"),
            (head + "[[error]]\ncommands = [1]\n", "a table is needed here"),
            (head + "user-password = 'a'\nuser-password-hex = '61'\n", "it is there twice"),
            (head + "user-password-hex = '6'\n", "two hexadecimal digits for each byte are needed"),
            (head + "user-password = '123456789012345678901234567890123'\n", "a password has at most 32 bytes"),
            (head + "[host-logs]\n70 = ''\n", "a log of the host's is 80 to 9f"),
            (head + "selective-spans = ['1-2']\n", "a selective self-test has five spans, and this has 1"),
            ("version = \n", "line 1: "),
        ])
    func mistakes(text: String, said: String) {
        let error = #expect(throws: DiskMemoryError.self) { try reborn(text) }
        #expect(error?.description.contains(said) == true, "\(error?.description ?? "none")")
    }

    /// Whatever a text has become, it is refused, or makes a disk whose every page can be read and whose memory can be
    /// written and read once more.
    @Test("never traps", arguments: 0..<8)
    func damaged(seed: Int) throws {
        let seed = UInt64(seed) &+ .random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let whole = Array(worn().drive.memory.text.utf8)
        var accepted = 0
        for _ in 0..<150 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0x20...0x7E, using: &random)
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(UInt8(ascii: "9"), at: place)
                // A digit becomes another one: most of these are states that could be.
                default:
                    guard (0x30...0x39).contains(bytes[place]) else { break }
                    bytes[place] = .random(in: 0x30...0x39, using: &random)
                }
            }
            guard let memory = try? DiskMemory(parsing: String(decoding: bytes, as: UTF8.self)) else { continue }
            var disk = WholeDisk()
            guard (try? disk.drive.remember(memory)) != nil else { continue }
            accepted += 1
            for (address, pages) in [(UInt64(3), UInt64(2)), (4, 8), (7, 1), (0x30, 2), (0x80, 16), (0xE0, 1)] {
                for page in 0..<pages { #expect(disk.readLog(address, page: page) != nil, "seed \(seed)") }
            }
            for address in [UInt64(1), 2, 6, 9] { _ = disk.readSMART(0xD5, log: address) }
            _ = disk.readSMART(0xD0)
            _ = disk.send(0x25, count: 8, lba: 81_916)
            _ = disk.send(0x35, count: 8, lba: 81_916)
            _ = disk.smart(0xD4, low: 0x84)
            let again = try DiskMemory(parsing: disk.drive.memory.text)
            #expect(again.text == disk.drive.memory.text, "seed \(seed)")
        }
        #expect(accepted > 0, "seed \(seed)")
    }

    /// What a host may rely on from the end of its command on, and what is counted only.
    @Test("says which commands change it for good")
    func lastingChanges() {
        var disk = WholeDisk()
        func changes(_ command: UInt8, feature: UInt16 = 0, count: UInt16 = 0, lba: UInt64 = 0) -> Bool {
            let before = disk.drive.lastingChanges
            _ = disk.send(command, feature: feature, count: count, lba: lba)
            return disk.drive.lastingChanges != before
        }
        #expect(!changes(0x25, count: 8) && !changes(0x35, count: 8) && !changes(0xEA))
        #expect(changes(0x45, feature: 0x55, count: 1, lba: 1000))
        // An error is counted; a write elsewhere changes nothing; a write there does.
        #expect(!changes(0x25, count: 8, lba: 1000) && !changes(0x35, count: 8, lba: 1001))
        #expect(changes(0x35, count: 8, lba: 996))
        #expect(!changes(0x35, count: 8, lba: 996))
        #expect(changes(0xB0, feature: 0xD9, lba: 0xC2_4F00) && changes(0xB0, feature: 0xD8, lba: 0xC2_4F00))
        #expect(!changes(0x27) && changes(0x37, count: 1, lba: 999_999))
    }
}
