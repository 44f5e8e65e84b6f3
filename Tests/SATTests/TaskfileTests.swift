// Which taskfile a command becomes.

import ATA
import SCSI
import Testing

@testable import SAT

extension Initiator {
    /// The first taskfile that a command becomes, and whether it is a 48-bit one; nil if it becomes none.
    mutating func taskfile(
        _ cdb: CommandDescriptorBlock, length: UInt32 = .max, origin: Origin = .user
    ) -> (Taskfile, isExtended: Bool)? {
        var command = SCSICommandInProgress(cdb: cdb, transferLength: length, origin: origin)
        var buffer = [UInt8](repeating: 0, count: 512)
        var span = buffer.mutableSpan
        var bytes = span.mutableBytes
        guard case .taskfile(let taskfile, let isExtended) = layer.translate(&command, &bytes) else { return nil }
        return (taskfile, isExtended)
    }

    mutating func expect(_ cdb: CommandDescriptorBlock, becomes expected: Taskfile?, origin: Origin = .user) {
        #expect(taskfile(cdb, origin: origin)?.0 == expected)
    }
}

@Suite("Taskfiles")
struct TaskfileTests {
    private static func read(_ first: UInt64, _ count: UInt32) -> CommandDescriptorBlock {
        .read16(logicalBlockAddress: first, transferLength: count)
    }

    private static func write(_ first: UInt64, _ count: UInt32) -> CommandDescriptorBlock {
        .write16(logicalBlockAddress: first, transferLength: count)
    }

    @Test("of reads and writes are 28-bit ones as long as Linux thinks that they can be")
    func transfers() {
        var initiator = Initiator(sectors: 1 << 30)
        let highest: UInt64 = 1 << 28 - 1
        initiator.expect(
            Self.read(0x123_4567, 8), becomes: Taskfile(command: 0xC8, count: 8, lba: 0x23_4567, device: 0x41))
        initiator.expect(
            Self.write(0x123_4567, 8), becomes: Taskfile(command: 0xCA, count: 8, lba: 0x23_4567, device: 0x41))
        initiator.expect(Self.read(5, 256), becomes: Taskfile(command: 0xC8, count: 0, lba: 5, device: 0x40))
        initiator.expect(Self.read(5, 257), becomes: Taskfile(command: 0x25, count: 257, lba: 5, device: 0x40))
        initiator.expect(Self.write(5, 65_535), becomes: Taskfile(command: 0x35, count: 0xFFFF, lba: 5, device: 0x40))
        // LBA + count has to be less than 2^28 - 1.
        initiator.expect(
            Self.read(highest - 2, 1), becomes: Taskfile(command: 0xC8, count: 1, lba: 0xFF_FFFD, device: 0x4F))
        initiator.expect(
            Self.read(highest - 1, 1), becomes: Taskfile(command: 0x25, count: 1, lba: highest - 1, device: 0x40))
        // A 6-byte command: 0 is 256.
        initiator.expect(
            [0x0A, 0x1F, 0xFF, 0xFF, 0, 0], becomes: Taskfile(command: 0xCA, lba: 0x1F_FFFF, device: 0x40))
    }

    @Test("cannot have more than 65,535 sectors or 48 bits of address")
    func limits() {
        var initiator = Initiator(sectors: 1 << 48)
        let end: UInt64 = 1 << 48
        initiator.expect(
            Self.read(end - 65_535, 65_535),
            becomes: Taskfile(command: 0x25, count: 0xFFFF, lba: end - 65_535, device: 0x40))
        for (first, count): (UInt64, UInt32) in [
            (0, 65_536), (end - 1, 2), (end, 1), (.max, 1), (.max, 2), (.max - 1, .max),
        ] {
            initiator.expect(Self.read(first, count), becomes: nil)
            #expect(
                initiator.send(Self.read(first, count), length: Int(min(count, 65_536)) * 512).status == .checkCondition
            )
        }
        let refused = initiator.send(Self.read(end, 1), length: 512)
        #expect(refused.senseCodes == [0x05, 0x21, 0x00])
    }

    @Test("are queued ones behind AHCI, always")
    func queued() {
        var initiator = Initiator(sectors: 1 << 30, controller: .ich9AHCI)
        initiator.expect(Self.read(5, 8), becomes: Taskfile(command: 0x60, feature: 8, lba: 5, device: 0x40))
        initiator.expect(
            Self.write(1 << 29, 300), becomes: Taskfile(command: 0x61, feature: 300, lba: 1 << 29, device: 0x40))
        initiator.expect([0x0A, 0, 0, 7, 1, 0], becomes: Taskfile(command: 0x61, feature: 1, lba: 7, device: 0x40))
        // FUA has a bit there, in the device register.
        initiator.expect(
            [0x2A, 0x08, 0, 0, 0, 7, 0, 0, 1, 0], becomes: Taskfile(command: 0x61, feature: 1, lba: 7, device: 0xC0))
        #expect(initiator.taskfile(Self.read(5, 8))?.isExtended == true)
    }

    @Test("of flushes depend on the size", arguments: [0x35, 0x91] as [UInt8])
    func flushes(_ code: UInt8) {
        let command = CommandDescriptorBlock([code])
        var small = Initiator(sectors: 1 << 28 - 1)
        small.expect(command, becomes: Taskfile(command: 0xE7))
        var large = Initiator(sectors: 1 << 28)
        large.expect(command, becomes: Taskfile(command: 0xEA))
        var cacheOff = Initiator { $0.writeCache = .off }
        cacheOff.expect(command, becomes: Taskfile(command: 0xE7))
    }

    @Test("of VERIFY and PRE-FETCH are READ VERIFY")
    func verify() {
        var initiator = Initiator(sectors: 1 << 29)
        initiator.expect(
            [0x2F, 0, 0, 0, 1, 0, 0, 0, 8, 0], becomes: Taskfile(command: 0x40, count: 8, lba: 256, device: 0x40))
        let far = CommandDescriptorBlock([0x8F, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0x01, 0x00, 0, 0])
        initiator.expect(far, becomes: Taskfile(command: 0x42, count: 256, lba: 1 << 28, device: 0x40))
        initiator.expect([0x8F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], becomes: nil)
        let preFetch = CommandDescriptorBlock.preFetch16(logicalBlockAddress: 9, prefetchLength: 2)
        initiator.expect(preFetch, becomes: nil)
        initiator.expect(preFetch, becomes: Taskfile(command: 0x40, count: 2, lba: 9, device: 0x40), origin: .kernel)
    }

    @Test("of START STOP UNIT spin the disk up and down")
    func startStop() {
        var initiator = Initiator()
        initiator.expect([0x1B, 1, 0, 0, 1, 0], becomes: Taskfile(command: 0x40, count: 1, device: 0x40))
        initiator.expect([0x1B, 0, 0, 0, 0, 0], becomes: Taskfile(command: 0xE0))
    }

    @Test("of ATA PASS-THROUGH are the initiator's own")
    func passThrough() throws {
        var initiator = Initiator()
        let long: CommandDescriptorBlock = [0x85, 0x0D, 0x0E, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x50, 0x25, 0]
        let first = initiator.taskfile(long)
        let extended = try #require(first)
        #expect(extended.isExtended)
        #expect(
            extended.0 == Taskfile(command: 0x25, feature: 0x0102, count: 0x0304, lba: 0x0907_050A_0806, device: 0x40))
        let short: CommandDescriptorBlock = [0x85, 0x0C, 0x0E, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x40, 0xC8, 0]
        let second = initiator.taskfile(short)
        let current = try #require(second)
        #expect(!current.isExtended)
        #expect(current.0 == Taskfile(command: 0xC8, feature: 2, count: 4, lba: 0x0A_0806, device: 0x40))
        initiator.expect(
            [0xA1, 0x08, 0x0E, 2, 4, 6, 8, 10, 0x40, 0xEC, 0, 0],
            becomes: Taskfile(command: 0xEC, feature: 2, count: 4, lba: 0x0A_0806, device: 0x40))
    }

    @Test("that find the drive choose its transfer mode")
    func probing() {
        let piix = Initiator()
        #expect(piix.drive.taskfilesExecuted == 3)
        #expect(piix.layer.identifyData[word: 63] == 0x0407)
        #expect(piix.layer.identifyData[word: 88] == 0x003F)
        let ahci = Initiator(controller: .ich9AHCI)
        #expect(ahci.layer.identifyData[word: 63] == 0x0007)
        #expect(ahci.layer.identifyData[word: 88] == 0x203F)
    }

    @Test("are one for a request, and one for each 65,535 sectors of a longer one")
    func counts() {
        var initiator = Initiator()
        let before = initiator.drive.taskfilesExecuted
        _ = initiator.send(Self.read(0, 65_535), length: 65_535 * 512)
        #expect(initiator.drive.taskfilesExecuted == before + 1)
        let zeroes = CommandDescriptorBlock.writeSame16(
            logicalBlockAddress: 0, numberOfLogicalBlocks: 65_535 * 3 + 1, unmap: false, noDataOutBuffer: true)
        _ = initiator.send(zeroes, origin: .kernel)
        #expect(initiator.drive.taskfilesExecuted == before + 5)
        _ = initiator.send(.preFetch16(logicalBlockAddress: 0, prefetchLength: 65_536), origin: .kernel)
        #expect(initiator.drive.taskfilesExecuted == before + 7)
        _ = initiator.send(.inquiry(allocationLength: 96), length: 96)
        #expect(initiator.drive.taskfilesExecuted == before + 7)
    }
}
