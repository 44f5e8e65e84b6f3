// A broken disk, as its registers, its SMART data and its logs show it.

import Blocks
import Testing

@testable import ATA

@Suite("A fault of a whole disk")
struct FaultTests {
    private let ok: [UInt8] = [0x50, 0]
    private let uncorrectable: [UInt8] = [0x51, 0x40]

    private func disk(_ rules: String..., kind: DriveKind = .hardDisk) throws -> WholeDisk {
        var disk = WholeDisk(kind)
        for rule in rules { try disk.drive.plant(FaultRule(parsing: rule), isRunning: true) }
        return disk
    }

    /// Raw values of attributes.
    private func attribute(_ id: UInt8, _ disk: inout WholeDisk) throws -> UInt64 {
        let page = try required(disk.readSMART(0xD0))
        let place = try #require((0..<30).first { page[2 + 12 * $0] == id })
        return page.number(2 + 12 * place + 5, bytes: 6)
    }

    /// Value and worst value of an attribute.
    private func health(_ id: UInt8, _ disk: inout WholeDisk) throws -> [UInt8] {
        let page = try required(disk.readSMART(0xD0))
        let place = try #require((0..<30).first { page[2 + 12 * $0] == id })
        return [page[2 + 12 * place + 3], page[2 + 12 * place + 4]]
    }

    @Test("that is read again and again is no end of the drive; one read of ten is, and the worst stays")
    func rates() throws {
        var disk = try disk("unreadable lba=1000")
        for _ in 0..<300 { #expect(disk.registers(0x25, count: 1, lba: 1000) == uncorrectable) }
        #expect(try attribute(1, &disk) == 300 && health(1, &disk) == [70, 70])
        // SMART RETURN STATUS: the threshold is not exceeded.
        #expect(disk.registers(0xB0, feature: 0xDA, lba: 0xC2_4F00) == ok)
        #expect(disk.send(0xB0, feature: 0xDA, lba: 0xC2_4F00).result.lba & 0xFF_FF00 == 0xC2_4F00)
        disk.drive.disk.history.readCommands = 20_000
        #expect(try health(1, &disk) == [85, 70], "15 of a thousand")
        #expect(try health(197, &disk) == [99, 99])
        #expect(disk.registers(0x35, count: 1, lba: 1000) == ok)
        #expect(try health(197, &disk) == [100, 99] && health(198, &disk) == [100, 99])
        disk.drive.disk.history.uncorrectableErrors = 2000
        #expect(try health(1, &disk) == [1, 1])
        #expect(disk.send(0xB0, feature: 0xDA, lba: 0xC2_4F00).result.lba & 0xFF_FF00 == 0x2C_F400)
    }

    @Test("of a sector that cannot be read delivers what comes before it, and names it")
    func unreadable() throws {
        var disk = try disk("unreadable lba=1000..1003")
        // READ DMA EXT, READ FPDMA QUEUED, READ SECTOR(S).
        for (command, feature, count): (UInt8, UInt16, UInt16) in [(0x25, 0, 16), (0x60, 16, 0), (0x20, 0, 16)] {
            let (result, asked) = disk.send(command, feature: feature, count: count, lba: 990)
            #expect([result.status, result.error] == uncorrectable && result.lba == 1000, "\(command)")
            #expect(asked == [.read(lba: 990, count: 10)] && result.sectorsTransferred == 10, "\(command)")
        }
        // Where it begins there nothing is read, and READ VERIFY fails, too.
        #expect(disk.send(0x25, count: 1, lba: 1003).asked.isEmpty)
        let verified = disk.send(0x42, count: 8, lba: 999).result
        #expect(verified.error == 0x40 && verified.lba == 1000 && verified.sectorsTransferred == 0)
        #expect(disk.registers(0x25, count: 8, lba: 1004) == ok && disk.registers(0x25, count: 8, lba: 992) == ok)
        // It stays so.
        #expect(disk.registers(0x25, count: 1, lba: 1000) == uncorrectable)
        let fault = try #require(disk.drive.faults.first)
        #expect(fault.failures == 6 && fault.pendingSectors == 2)
    }

    @Test("of an unreadable sector is in step with SMART, and ends when it is written")
    func reallocation() throws {
        var disk = try disk("unreadable lba=1000..1003")
        // Nobody knows of it before somebody reads.
        #expect(try attribute(197, &disk) == 0 && attribute(187, &disk) == 0)
        for lba: UInt64 in [1000, 1001] { #expect(disk.registers(0x25, count: 1, lba: lba) == uncorrectable) }
        #expect(try attribute(197, &disk) == 2 && attribute(198, &disk) == 2 && attribute(187, &disk) == 2)
        #expect(try attribute(5, &disk) == 0)
        // The latest error of the summary log: status, error and address.
        let log = try required(disk.readSMART(0xD5, log: 1))
        let entry = 2 + 90 * (Int(log[1]) - 1)
        #expect(log.number(452, bytes: 2) == 2 && log[entry + 61] == 0x40 && log[entry + 67] == 0x51)
        #expect(log.number(entry + 63, bytes: 3) == 1001)
        // A write over one that was found, one that was not, and good ones.
        #expect(disk.registers(0x35, count: 6, lba: 1001) == ok)
        #expect(try attribute(197, &disk) == 1 && attribute(5, &disk) == 1)
        #expect(disk.registers(0x25, count: 8, lba: 1001) == ok)
        #expect(disk.registers(0x25, count: 1, lba: 1000) == uncorrectable)
        // Device Statistics, rotating media: reallocated, and candidates.
        let statistics = try required(disk.readLog(0x04, page: 3))
        #expect(statistics.number(32, bytes: 4) == 1 && statistics.number(56, bytes: 4) == 1)
        // A disk keeps its faults, and what it has done about them, without power.
        disk.cyclePower()
        #expect(try attribute(5, &disk) == 1 && attribute(197, &disk) == 1)
        #expect(disk.registers(0x25, count: 1, lba: 1000) == uncorrectable)
    }

    @Test("that is lifted gives the data back", arguments: [nil, 1])
    func lifting(number: Int?) throws {
        var disk = try disk("unreadable lba=1000")
        #expect(disk.registers(0x25, count: 8, lba: 1000) == uncorrectable)
        let lifted = [disk.drive.liftFault(7), disk.drive.liftFault(number)]
        #expect(lifted == [false, true] && disk.drive.faults.isEmpty)
        let (result, asked) = disk.send(0x25, count: 8, lba: 1000)
        #expect([result.status, result.error] == ok && asked == [.read(lba: 1000, count: 8)])
        #expect(try attribute(197, &disk) == 0 && attribute(5, &disk) == 0 && attribute(187, &disk) == 1)
    }

    @Test("of an unreadable sector ends with a trim, with zeroes, and with an erasure")
    func erasing() throws {
        var solid = try disk("unreadable lba=64..71", kind: .solidState)
        var list = [UInt8](repeating: 0, count: 512)
        (list[0], list[6]) = (64, 8)
        #expect(solid.registers(0x06, feature: 1, count: 1, data: list) == ok)
        #expect(solid.registers(0x25, count: 8, lba: 64) == ok)
        var zeroed = try disk("unreadable lba=64..71", kind: .solidState)
        #expect(zeroed.registers(0x44, count: 8, lba: 64) == ok && zeroed.registers(0x25, count: 8, lba: 64) == ok)
        var erased = try disk("unreadable lba=64..71")
        #expect(erased.registers(0xB4, feature: 0x12, lba: 0x426B_4572) == ok)
        erased.wait(seconds: 3)
        #expect(erased.registers(0x25, count: 8, lba: 64) == ok)
    }

    @Test("of an unreadable sector is found by a self-test")
    func selfTest() throws {
        var disk = try disk("unreadable lba=1000..1003")
        _ = disk.smart(0xD4, low: 0x02)
        disk.wait(seconds: 10_000)
        let log = try required(disk.readSMART(0xD5, log: 6))
        #expect(log[3] >> 4 == 0x7 && log.number(2 + 5, bytes: 4) == 1000)
        #expect(try attribute(197, &disk) == 1)
    }

    @Test(
        "fails a command in its own way",
        arguments: [
            ("write-fault lba=1000", 0x35, 0x71, 0x04, 10), ("idnf lba=1000", 0x35, 0x51, 0x10, 10),
            ("idnf lba=1000", 0x25, 0x51, 0x10, 10), ("icrc lba=1000", 0x25, 0x51, 0x84, 0),
            ("icrc", 0x61, 0x51, 0x84, 0), ("abort lba=1000", 0x25, 0x51, 0x04, 0),
            ("device-fault", 0x35, 0x71, 0x04, 0),
        ])
    func kinds(rule: String, command: UInt8, status: UInt8, error: UInt8, transferred: UInt32) throws {
        var disk = try disk(rule)
        let isQueued = command == 0x61
        let (result, asked) = disk.send(command, feature: isQueued ? 16 : 0, count: isQueued ? 0 : 16, lba: 990)
        #expect([result.status, result.error] == [status, error])
        #expect(result.lba == 990 + UInt64(transferred) && result.sectorsTransferred == transferred)
        #expect(asked.count == (transferred == 0 ? 0 : 1))
        // It is in the error log, and known to whoever asks.
        let log = try required(disk.readSMART(0xD5, log: 1))
        #expect(log.number(452, bytes: 2) == 1 && log[2 + 61] == error && log[2 + 67] == status)
        #expect(disk.drive.faults.map(\.failures) == [1])
        let failure = try required(disk.drive.takeFailure())
        #expect(failure.rule == rule && failure.sector == 990 + UInt64(transferred))
        let next = disk.drive.takeFailure()
        #expect(next == nil)
        // What it is not for goes on.
        #expect(disk.read(0xEC) != nil)
    }

    @Test("of the interface is counted where hosts look for it")
    func interface() throws {
        var disk = try disk("icrc count=2")
        for _ in 0..<2 { #expect(disk.registers(0x35, count: 8) == [0x51, 0x84]) }
        #expect(disk.registers(0x35, count: 8) == ok)
        #expect(try attribute(199, &disk) == 2)
        let statistics = try required(disk.readLog(0x04, page: 6))
        let counters = try required(disk.readLog(0x11))
        #expect(statistics.number(24, bytes: 4) == 2 && counters.number(6, bytes: 4) == 2)
    }

    @Test("may be of commands without an address")
    func others() throws {
        var disk = try disk("abort command=smart,flush", "device-fault command=trim", kind: .solidState)
        #expect(disk.smart(0xDA).status == 0x51 && disk.registers(0xE7) == [0x51, 0x04])
        #expect(disk.registers(0x2F, count: 1, lba: 0) == [0x51, 0x04])
        #expect(disk.registers(0x06, feature: 1, count: 1, data: [UInt8](repeating: 0, count: 512)) == [0x71, 0x04])
        #expect(disk.registers(0x25, count: 1) == ok && disk.registers(0xE5) == ok)
    }

    @Test("may be that the drive takes its time, and no more of it for the next command")
    func slowness() throws {
        var disk = try disk("slow lba=100..199 seconds=1.5", "slow command=flush seconds=0.25", "unreadable lba=150")
        func delay(_ command: UInt8, count: UInt16 = 0, lba: UInt64 = 0) -> UInt32 {
            _ = disk.send(command, count: count, lba: lba)
            return disk.drive.delayMilliseconds
        }
        #expect(delay(0x25, count: 8, lba: 96) == 1500 && delay(0x25, count: 8, lba: 200) == 0)
        #expect(delay(0xE7) == 250 && delay(0xE5) == 0 && delay(0x35, count: 1, lba: 199) == 1500)
        // A sector that cannot be read takes its time, too, also when the drive knows that.
        for _ in 0..<2 { #expect(delay(0x25, count: 8, lba: 150) == 1500) }
        #expect(disk.registers(0x25, count: 8, lba: 150) == uncorrectable)
        #expect(disk.drive.faults.map(\.failures) == [5, 1, 3])
    }

    @Test("comes when its rule says so")
    func moments() throws {
        var third = try disk("abort every=3 after=2 count=2 command=read")
        let failed = (1...14).filter { _ in third.registers(0xC8, count: 1, lba: 5) != ok || third.registers(0xCA) != ok
        }
        #expect(failed == [5, 8])
        var minute = try disk("device-fault for=60")
        #expect(minute.registers(0xC8, count: 1) == [0x71, 0x04])
        minute.wait(seconds: 59)
        #expect(minute.registers(0xC8, count: 1) == [0x71, 0x04])
        minute.wait(seconds: 1)
        #expect(minute.registers(0xC8, count: 1) == ok && minute.drive.faults.isEmpty)
        // Before the power comes no time goes by.
        var fresh = WholeDisk()
        try fresh.drive.plant(FaultRule(parsing: "device-fault for=60"), isRunning: false)
        fresh.now = 1000 * second
        fresh.drive.powerOn(at: fresh.now)
        #expect(fresh.registers(0xC8, count: 1) == [0x71, 0x04])
    }

    @Test("by chance is the same for the same seed and the same requests, and as frequent as it should be")
    func chance() throws {
        func failures(_ rule: String) throws -> [UInt64] {
            var disk = try disk(rule)
            return (0..<4000).compactMap { number in
                let result = disk.send(0x25, count: 64, lba: UInt64(number % 1000) * 1000).result
                return result.error == 0x40 ? result.lba : nil
            }
        }
        let first = try failures("unreadable probability=0.01 seed=1")
        #expect(try failures("unreadable probability=0.01 seed=1") == first)
        #expect(try failures("unreadable probability=0.01 seed=2") != first)
        // 40 reads find a new sector, with a deviation of 6; each of them is read again up to three times.
        #expect((16...64).contains(Set(first).count))
        // Not always the first sector of a command.
        #expect(Set(first.map { $0 % 1000 }).count > 8 && first.allSatisfy { $0 % 1000 < 64 })
    }

    @Test("that comes now and then can make a sector bad again")
    func again() throws {
        var disk = try disk("unreadable lba=8 every=1 probability=0.5 seed=3")
        var rounds = 0
        for _ in 0..<100 where disk.registers(0x25, count: 1, lba: 8) == uncorrectable {
            rounds += 1
            // It stays so until it is written.
            #expect(disk.registers(0x25, count: 1, lba: 8) == uncorrectable)
            #expect(disk.registers(0x35, count: 1, lba: 8) == ok)
        }
        #expect((25...75).contains(rounds))
        #expect(try attribute(5, &disk) == UInt64(rounds))
    }

    @Test("is worse the nearer it is: of several the first sector counts")
    func several() throws {
        var disk = try disk("idnf lba=100", "unreadable lba=50", "unreadable lba=50..60")
        #expect(disk.send(0x25, count: 200, lba: 0).result.lba == 50)
        #expect(disk.send(0x25, count: 200, lba: 55).result.lba == 55)
        #expect(disk.send(0x25, count: 200, lba: 61).result.error == 0x10)
        // A sector that a host has made unreadable is nearer.
        #expect(disk.registers(0x45, feature: 0x55, count: 1, lba: 40) == ok)
        #expect(disk.send(0x25, count: 200, lba: 0).result.lba == 40)
    }

    @Test("is for whole disks, on sectors that are there, and one of 16")
    func refusals() throws {
        for kind in [DriveKind.disk, .dvdROM, .fullDVDROM] {
            var drive = Drive(DriveProperties(kind), sectors: 1000, bootSector: nil, controller: .piix3IDE)
            let rule = try FaultRule(parsing: "abort")
            #expect(throws: FaultRuleError.self) { try drive.plant(rule, isRunning: true) }
        }
        var disk = WholeDisk()
        do {
            try disk.drive.plant(FaultRule(parsing: "idnf lba=5..2000000"), isRunning: true)
            Issue.record("a sector behind the end was taken")
        } catch {
            #expect(error.description == "lba=2000000 is behind the drive's end: it has 2000000 sectors")
        }
        for number in 0..<FaultRule.limit {
            try disk.drive.plant(FaultRule(parsing: "idnf lba=\(number)"), isRunning: true)
        }
        let more = try FaultRule(parsing: "abort")
        #expect(throws: FaultRuleError.self) { try disk.drive.plant(more, isRunning: true) }
        // The place of one that goes is free again.
        let isLifted = disk.drive.liftFault(4)
        #expect(isLifted)
        try disk.drive.plant(more, isRunning: true)
        #expect(disk.drive.faults.last?.number == 4)
    }

    @Test("in the log is as libata writes of it")
    func words() throws {
        var disk = try disk("unreadable lba=81920..81927")
        _ = disk.send(0x25, count: 16, lba: 81_916)
        let failure = try required(disk.drive.takeFailure())
        #expect(failure.commandName == "READ DMA EXT" && failure.command == "25/00:10:fc:3f:01/00:00:00:00:00/40")
        #expect(failure.registers == "51/40:10:00:40:01/00:00:00:00:00/40")
        #expect(failure.status == "{ DRDY ERR }" && failure.error == "{ UNC }")
    }
}
