// Initiators and a whole disk: FUA in CDBs, and taskfiles of an initiator's own that change the unit for all.

import ATA
import SCSI
import Testing

@testable import Units

@Suite struct WholeDiskTests {
    private func bench(_ kind: DriveKind = .hardDisk) -> Bench {
        Bench(sectors: 4096, kind: kind, controller: .ich9AHCI)
    }

    /// ATA PASS-THROUGH (16), non-data: EXTEND, and the registers.
    private func passThrough(
        _ command: UInt8, feature: UInt8 = 0, count: UInt8 = 0, lba: UInt64 = 0, checkCondition: Bool = false
    ) -> CommandDescriptorBlock {
        let byte = { (index: UInt64) in UInt8(truncatingIfNeeded: lba >> (8 * index)) }
        return CommandDescriptorBlock([
            0x85, 0x07, checkCondition ? 0x20 : 0, 0, feature, 0, count, byte(3), byte(0), byte(4), byte(1), byte(5),
            byte(2), 0x40, command, 0,
        ])
    }

    /// WRITE (10) and (16), READ (10), COMPARE AND WRITE and VERIFY (10) with the bits that SBC-3 gives them.
    @Test func commandsHaveFUAAndDPO() throws {
        var bench = bench()
        let block = bench.content(7, 1)
        func flushes(_ answer: Answered) -> Bool {
            answer.status == .good && answer.steps.contains { if case .perform(.flush, _) = $0 { true } else { false } }
        }
        #expect(try flushes(bench.send([0x2A, 0x08, 0, 0, 0, 7, 0, 0, 1, 0], dataOut: block)))
        #expect(try flushes(bench.send([0x8A, 0x18, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0], dataOut: block)))
        #expect(
            try flushes(bench.send([0x89, 0x08, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0], dataOut: block + block)))
        #expect(try !flushes(bench.send([0x2A, 0x10, 0, 0, 0, 7, 0, 0, 1, 0], dataOut: block)))
        #expect(try bench.send([0x28, 0x18, 0, 0, 0, 7, 0, 0, 1, 0], expecting: 512).data == block)
        #expect(try bench.send([0x2F, 0x10, 0, 0, 0, 7, 0, 0, 1, 0]).status == .good)
        #expect(try bench.send([0x2F, 0x08, 0, 0, 0, 7, 0, 0, 1, 0]).codes == Bench.invalidField)
        // DPOFUA of the mode parameter header says so.
        #expect(try bench.send([0x1A, 0, 0x08, 0, 64, 0], expecting: 64).data[2] == 0x10)
        var qemu = Bench(sectors: 64)
        #expect(try qemu.send([0x28, 0x08, 0, 0, 0, 7, 0, 0, 1, 0], expecting: 512).codes == Bench.invalidField)
        #expect(try qemu.send([0x1A, 0, 0x08, 0, 64, 0], expecting: 64).data[2] == 0)
    }

    @Test func aHiddenEndIsToldToTheOthers() throws {
        var bench = bench()
        let other = try bench.connect("b")
        #expect(try bench.send(passThrough(0x27)).status == .good)
        #expect(try bench.send(passThrough(0x37, lba: 999)).status == .good)
        #expect(try bench.send(.testUnitReady(), as: other).codes == [0x6, 0x2A, 0x09])
        #expect(try bench.send(.testUnitReady()).status == .good)
        #expect(try bench.send([0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], expecting: 8).data[2...3] == [0x03, 0xE7])
        #expect(try bench.send([0x28, 0, 0, 0, 0x03, 0xE8, 0, 0, 1, 0], expecting: 512).codes == Bench.outOfRange)
        #expect(bench.drive.sectorCount == 1000 && bench.drive.mediumSectors == 4096)
    }

    /// SANITIZE DEVICE, BLOCK ERASE EXT: no data go to the device, and all of it goes.
    @Test func sanitizingErasesWhatMayBeWritten() throws {
        var bench = bench(.solidState)
        let erase = passThrough(0xB4, feature: 0x12, lba: 0x426B_4572)
        bench.drive.isReadOnly = true
        let refused = try bench.send(erase)
        #expect(refused.status == .checkCondition && !refused.changesBlocks)
        bench.drive.isReadOnly = false
        #expect(try bench.send(erase).status == .good)
        let isErased = bench.disk.allSatisfy { $0 == 0 }
        #expect(isErased)
        // Meanwhile nobody reads.
        let read = try bench.send([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], expecting: 512)
        #expect(read.codes == [0xB, 0, 0])
    }

    /// A list of ranges that an initiator has not sent is none, whatever is in the memory for what it expects.
    @Test func memoryIsNotTakenForData() throws {
        var bench = bench(.solidState)
        // DATA SET MANAGEMENT as PIO data-in.
        var cdb = [UInt8](repeating: 0, count: 16)
        (cdb[0], cdb[1], cdb[2], cdb[4], cdb[6], cdb[13], cdb[14]) = (0x85, 0x09, 0x0E, 1, 1, 0x40, 0x06)
        let answer = try bench.send(CommandDescriptorBlock(cdb), expecting: 512)
        #expect(answer.status == .checkCondition && !answer.changesBlocks)
    }

    /// UNMAP gives zeroes back, and READ CAPACITY (16) and the Logical Block Provisioning page say so: LBPRZ.
    @Test func unmappedBlocksReadAsZeroes() throws {
        var bench = bench(.solidState)
        let list: [UInt8] = [0, 22, 0, 16, 0, 0, 0, 0] + [0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 32, 0, 0, 0, 0]
        #expect(try bench.send([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], dataOut: list).status == .good)
        let isZero = bench.content(16, 32).allSatisfy { $0 == 0 }
        #expect(isZero && bench.content(15, 1).contains { $0 != 0 } && bench.content(48, 1).contains { $0 != 0 })
        let capacity = try bench.send([0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], expecting: 32).data
        #expect(capacity[14] & 0xC0 == 0xC0)
        #expect(try bench.send([0x12, 1, 0xB2, 0, 64, 0], expecting: 64).data[5] & 0x1C == 0x04)
    }
}
