// What takes a whole disk's data away from its user, for a while or for good: Security, Host Protected Area,
// Accessible Max Address, Sanitize (ACS-3, ACS-2).

import Blocks
import Testing

@testable import ATA

@Suite("A whole disk locks, hides and erases")
struct DiskSecurityTests {
    private let ok: [UInt8] = [0x50, 0]
    private let aborted: [UInt8] = [0x51, 0x04]
    private let notFound: [UInt8] = [0x51, 0x10]

    /// The data of a command with a password.
    private func password(_ text: String, control: UInt16 = 0, identifier: UInt16 = 0) -> [UInt8] {
        var data = [UInt8](repeating: 0, count: 512)
        (data[0], data[1]) = (UInt8(control & 0xFF), UInt8(control >> 8))
        for (offset, byte) in text.utf8.prefix(32).enumerated() { data[2 + offset] = byte }
        (data[34], data[35]) = (UInt8(identifier & 0xFF), UInt8(identifier >> 8))
        return data
    }

    private func word(_ disk: WholeDisk, _ number: Int) -> UInt16 { disk.drive.identifyData[word: number] }

    @Test("a password locks the disk when the power comes")
    func locking() {
        var disk = WholeDisk()
        #expect(disk.registers(0xF1, data: password("secret")) == ok)
        #expect(word(disk, 128) == 0x0023 && word(disk, 85) & 2 != 0)
        #expect(disk.registers(0x25, count: 1) == ok, "it locks with the next power")
        disk.cyclePower()
        #expect(word(disk, 128) == 0x0027)
        for (command, data) in [
            (UInt8(0x25), [UInt8]()), (0x35, []), (0x60, []), (0x61, []), (0x42, []), (0xE7, []), (0x37, []),
            (0x45, []),
            (0x44, []), (0xB4, []), (0xF1, password("x")), (0xF6, password("secret")), (0xF5, []),
        ] {
            #expect(disk.registers(command, feature: 0x55, count: 1, data: data) == aborted, "\(command)")
        }
        // What it is, and how it is, anybody may know.
        #expect(disk.read(0xEC) != nil && disk.readSMART(0xD0) != nil && disk.readLog(4) != nil)
        #expect(disk.registers(0xF2, data: password("wrong")) == aborted)
        #expect(disk.registers(0xF2, data: password("secret")) == ok)
        #expect(word(disk, 128) == 0x0023 && disk.registers(0x25, count: 1) == ok)
        #expect(disk.registers(0xF6, data: password("wrong")) == aborted)
        #expect(disk.registers(0xF6, data: password("secret")) == ok)
        disk.cyclePower()
        #expect(word(disk, 128) == 0x0021 && disk.registers(0x25, count: 1) == ok)
    }

    @Test("five wrong passwords are enough")
    func attempts() {
        var disk = WholeDisk()
        _ = disk.registers(0xF1, data: password("secret"))
        disk.cyclePower()
        for _ in 0..<5 { #expect(disk.registers(0xF2, data: password("wrong")) == aborted) }
        #expect(word(disk, 128) & 0x0010 != 0)
        #expect(disk.registers(0xF2, data: password("secret")) == aborted)
        #expect(disk.registers(0xF3) == ok && disk.registers(0xF4, data: password("secret")) == aborted)
        disk.cyclePower()
        #expect(disk.registers(0xF2, data: password("secret")) == ok)
    }

    @Test("the master's password unlocks, but at the maximum level it only erases")
    func master() {
        var disk = WholeDisk()
        #expect(word(disk, 92) == 0xFFFE)
        #expect(disk.registers(0xF1, data: password("master", control: 1, identifier: 0x1234)) == ok)
        #expect(word(disk, 92) == 0x1234 && word(disk, 128) & 2 == 0, "the master's does not enable security")
        _ = disk.registers(0xF1, data: password("user"))
        disk.cyclePower()
        #expect(disk.registers(0xF2, data: password("master", control: 1)) == ok)
        #expect(disk.registers(0xF1, data: password("user", control: 0x0100)) == ok && word(disk, 128) & 0x0100 != 0)
        disk.cyclePower()
        #expect(disk.registers(0xF2, data: password("master", control: 1)) == aborted)
        #expect(disk.registers(0xF3) == ok)
        let (result, asked) = disk.send(0xF4, data: password("master", control: 1))
        #expect(result.status == 0x50 && asked == [.zeroes(lba: 0, count: 2_000_000, mayDeallocate: true), .flush])
        #expect(word(disk, 128) == 0x0021 && disk.registers(0x25, count: 1) == ok)
    }

    @Test("erasing needs its preparation, and reaches what is hidden")
    func erasing() {
        var disk = WholeDisk(sectors: (1 << 31) + 5)
        _ = disk.registers(0xF1, data: password("user"))
        #expect(disk.registers(0xF4, data: password("user")) == aborted, "not prepared")
        #expect(disk.registers(0xF3) == ok && disk.registers(0xE5) == ok)
        #expect(disk.registers(0xF4, data: password("user")) == aborted, "another command came between")
        _ = disk.registers(0x27)
        #expect(disk.registers(0x37, lba: 999) == ok && disk.drive.sectors == 1000)
        _ = disk.registers(0x45, feature: 0x55, count: 1, lba: 5)
        #expect(disk.registers(0xF3) == ok && disk.registers(0xF4, data: password("wrong")) == aborted)
        #expect(disk.registers(0xF3) == ok)
        let (result, asked) = disk.send(0xF4, data: password("user", control: 2))
        #expect(result.status == 0x50)
        #expect(
            asked == [
                .zeroes(lba: 0, count: 1 << 31, mayDeallocate: true),
                .zeroes(lba: 1 << 31, count: 5, mayDeallocate: true), .flush,
            ])
        #expect(disk.registers(0x25, count: 8) == ok, "no sector is unreadable any more")
        // A medium that fails: the password stays.
        _ = disk.registers(0xF1, data: password("user"))
        _ = disk.registers(0xF3)
        let failed = disk.send(0xF4, data: password("user")) { _ in .failed(.noSpace) }
        #expect(failed.result.status == 0x51 && failed.result.blockFailure == .noSpace && word(disk, 128) & 2 != 0)
    }

    @Test("frozen is frozen until the power goes")
    func freezing() {
        var disk = WholeDisk()
        #expect(disk.registers(0xF5) == ok && word(disk, 128) == 0x0029)
        for (command, data) in [(UInt8(0xF1), password("x")), (0xF2, password("x")), (0xF6, password("x")), (0xF3, [])]
        {
            #expect(disk.registers(command, data: data) == aborted, "\(command)")
        }
        #expect(disk.registers(0x25, count: 1) == ok)
        disk.cyclePower()
        #expect(word(disk, 128) == 0x0021)
    }

    @Test("Host Protected Area: the size follows")
    func hostProtectedArea() {
        var disk = WholeDisk()
        #expect(disk.registers(0x37, lba: 999) == aborted, "READ NATIVE MAX ADDRESS has to come first")
        #expect(disk.send(0x27).result.lba == 1_999_999)
        #expect(disk.registers(0xE5) == ok && disk.registers(0x37, lba: 999) == aborted, "directly first")
        _ = disk.send(0x27)
        #expect(disk.registers(0x37, lba: 2_000_000) == notFound)
        _ = disk.send(0x27)
        #expect(disk.registers(0x37, lba: 999) == ok)
        #expect(disk.drive.sectors == 1000 && word(disk, 60) == 1000 && word(disk, 100) == 1000)
        #expect(disk.registers(0x25, count: 1, lba: 1000) == notFound && disk.registers(0x25, count: 1, lba: 999) == ok)
        #expect(disk.send(0x27).result.lba == 1_999_999)
        // Without VV it is forgotten with the power; with it, it lasts, and once is enough for one power cycle.
        disk.cyclePower()
        #expect(disk.drive.sectors == 2_000_000)
        _ = disk.send(0xF8)
        #expect(disk.registers(0xF9, count: 1, lba: 4999) == ok && disk.drive.sectors == 5000)
        _ = disk.send(0x27)
        #expect(disk.registers(0x37, count: 1, lba: 5999) == notFound)
        disk.cyclePower()
        #expect(disk.drive.sectors == 5000)
        _ = disk.send(0xF8)
        #expect(disk.registers(0xF9, feature: 1, lba: 5) == aborted, "no passwords for that")
        _ = disk.send(0x27)
        #expect(disk.registers(0x37, count: 1, lba: 1_999_999) == ok)
        disk.cyclePower()
        #expect(disk.drive.sectors == 2_000_000)
    }

    @Test("Accessible Max Address Configuration is the same address")
    func accessibleMaxAddress() {
        var disk = WholeDisk()
        #expect(disk.send(0x78, feature: 0).result.lba == 1_999_999)
        #expect(disk.registers(0x78, feature: 1, lba: 2_000_000) == aborted)
        #expect(disk.registers(0x78, feature: 1, lba: 99_999) == ok && disk.drive.sectors == 100_000)
        #expect(disk.registers(0x78, feature: 1, lba: 88_888) == aborted, "once")
        disk.cyclePower()
        #expect(disk.drive.sectors == 100_000)
        #expect(disk.registers(0x78, feature: 2) == ok && disk.registers(0x78, feature: 1, lba: 1_999_999) == aborted)
        disk.cyclePower()
        #expect(disk.registers(0x78, feature: 1, lba: 1_999_999) == ok && disk.drive.sectors == 2_000_000)
        #expect(disk.registers(0x78, feature: 3) == aborted)
    }

    @Test("a medium that grows shows its new end, unless a host has hidden it")
    func growing() {
        var disk = WholeDisk()
        disk.drive.resize(toSectors: 3_000_000)
        #expect(disk.drive.sectors == 3_000_000 && disk.drive.mediumSectors == 3_000_000)
        _ = disk.send(0x27)
        _ = disk.registers(0x37, lba: 999)
        disk.drive.resize(toSectors: 4_000_000)
        #expect(disk.drive.sectors == 1000 && disk.send(0x27).result.lba == 3_999_999)
    }

    @Test("SANITIZE erases, and takes its time")
    func sanitizing() {
        var disk = WholeDisk(.solidState)
        func status(_ disk: inout WholeDisk) -> (count: UInt16, progress: UInt64) {
            let result = disk.send(0xB4, feature: 0).result
            return (result.count, result.lba)
        }
        #expect(status(&disk) == (0, 0xFFFF))
        #expect(disk.registers(0xB4, feature: 0x12, lba: 0) == aborted, "without its key")
        #expect(disk.registers(0xB4, feature: 0x14, lba: 0x4F57_0000_0000) == aborted, "no OVERWRITE EXT")
        let (result, asked) = disk.send(0xB4, feature: 0x12, lba: 0x426B_4572)
        #expect(result.status == 0x50 && result.count == 0x4000)
        #expect(
            asked == [.zeroes(lba: 0, count: 2_000_000, mayDeallocate: true), .flush],
            "it does not come back with the power")
        disk.wait(seconds: 1)
        #expect(status(&disk) == (0x4000, 0x8000))
        for command: UInt8 in [0x25, 0x35, 0x61, 0xE7, 0xEF, 0xF5, 0x45] {
            #expect(disk.registers(command, feature: 2, count: 1) == aborted, "\(command)")
        }
        #expect(disk.registers(0xB4, feature: 0x11, lba: 0x4372_7970) == aborted, "one at a time")
        #expect(disk.read(0xEC) != nil && disk.readSMART(0xD0) != nil && disk.readLog(0x10) != nil)
        disk.wait(seconds: 1.1)
        #expect(disk.registers(0x25, count: 1) == ok, "also if nobody asks")
        #expect(status(&disk) == (0x8000, 0xFFFF))
        #expect(disk.send(0xB4, feature: 0x11, lba: 0x4372_7970).asked.count == 2)
        disk.wait(seconds: 3)
        #expect(status(&disk) == (0x8000, 0xFFFF))
        #expect(disk.send(0xB4, feature: 0x20, lba: 0x4672_4C6B).result.count == 0xA000)
        #expect(disk.registers(0xB4, feature: 0x12, lba: 0x426B_4572) == aborted)
        disk.cyclePower()
        #expect(status(&disk) == (0, 0xFFFF))
    }
}
