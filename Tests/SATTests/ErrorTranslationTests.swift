// Registers to sense data, row by row.

import ATA
import Blocks
import SCSI
import Testing

@testable import SAT

@Suite("Sense data from registers")
struct ErrorTranslationTests {
    /// Status, error, and the sense key, code and qualifier that Linux 6.1 makes of them.
    static let rows: [(status: UInt8, error: UInt8, sense: [UInt8])] = [
        (0x51, 0xD1, [0x0B, 0x00, 0x00]),
        (0x51, 0xD0, [0x0B, 0x00, 0x00]),
        (0x51, 0xFF, [0x0B, 0x00, 0x00]),
        (0x51, 0x61, [0x04, 0x00, 0x00]),
        (0x51, 0x84, [0x0B, 0x47, 0x00]),
        (0x51, 0x37, [0x02, 0x04, 0x00]),
        (0x51, 0x09, [0x02, 0x04, 0x00]),
        (0x51, 0x01, [0x03, 0x13, 0x00]),
        (0x51, 0x02, [0x04, 0x00, 0x00]),
        (0x51, 0x08, [0x02, 0x04, 0x00]),
        (0x51, 0x10, [0x05, 0x21, 0x00]),
        (0x51, 0x20, [0x06, 0x28, 0x00]),
        (0x51, 0x40, [0x03, 0x11, 0x04]),
        (0x51, 0x80, [0x03, 0x11, 0x04]),
        // The first match counts: IDNF before UNC, AMNF before both.
        (0x51, 0x50, [0x05, 0x21, 0x00]),
        (0x51, 0x51, [0x03, 0x13, 0x00]),
        (0x51, 0x44, [0x03, 0x11, 0x04]),
        // ABRT alone: the status decides. 41h/04h is all that a QEMU drive ever has.
        (0x41, 0x04, [0x0B, 0x00, 0x00]),
        (0x51, 0x04, [0x0B, 0x00, 0x00]),
        (0x61, 0x04, [0x04, 0x44, 0x00]),
        (0x45, 0x04, [0x01, 0x00, 0x00]),
        (0x65, 0x04, [0x04, 0x44, 0x00]),
        (0x20, 0x00, [0x04, 0x44, 0x00]),
        (0x58, 0x00, [0x0B, 0x00, 0x00]),
        // BSY: the error register means nothing.
        (0x80, 0x40, [0x0B, 0x00, 0x00]),
        (0xFF, 0x10, [0x0B, 0x00, 0x00]),
    ]

    @Test("is that of Linux", arguments: rows.indices)
    func row(_ index: Int) {
        let row = Self.rows[index]
        var result = TaskfileResult(Taskfile(command: 0), status: row.status, error: row.error)
        #expect(codes(result) == row.sense)
        // An unreadable sector changes nothing about that.
        result.blockFailure = .unrecovered
        #expect(codes(result) == row.sense)
        #expect(!result.succeeded)
    }

    @Test("knows what the registers cannot say")
    func mediaErrors() {
        var result = TaskfileResult(Taskfile(command: 0), status: 0x41, error: 0x04)
        result.blockFailure = .noSpace
        #expect(codes(result) == [0x07, 0x27, 0x07])
        result.blockFailure = .writeProtected
        #expect(codes(result) == [0x07, 0x27, 0x00])
    }

    @Test("is only asked for when a command failed")
    func success() {
        for status: UInt8 in [0x40, 0x50, 0x54] {
            #expect(TaskfileResult(Taskfile(command: 0), status: status).succeeded)
        }
    }

    private func codes(_ result: TaskfileResult) -> [UInt8] {
        let sense = SenseData(result, format: .fixed)
        return [sense.senseKey.rawValue, sense.additionalSenseCode.code, sense.additionalSenseCode.qualifier]
    }
}

@Suite("Failed commands")
struct FailedCommandTests {
    @Test("name the first block, or its low bits, as Linux does")
    func information() {
        var initiator = Initiator(sectors: 1 << 33)
        let far = initiator.send(.read16(logicalBlockAddress: 1 << 32 | 5, transferLength: 1), length: 512) { _ in
            .failed(.unrecovered)
        }
        #expect(far.sense?.information == 1 << 32 | 5)
        #expect(far.sense?.bytes.prefix(7).elementsEqual([0x70, 0, 0x0B, 0, 0, 0, 5]) == true)
        let near = initiator.send([0x28, 0, 0x0A, 0xBC, 0xDE, 0xF0, 0, 0, 1, 0], length: 512) { _ in
            .failed(.unrecovered)
        }
        #expect(near.sense?.information == 0x0ABC_DEF0)
        #expect(near.data.isEmpty)
    }

    @Test("name the block that failed", arguments: Controller.allCases)
    func failedBlock(controller: Controller) {
        // 28-bit, 48-bit by count, 48-bit by address; with AHCI all are queued.
        for (lba, count) in [(UInt64(0xFF_FFF0), UInt32(64)), (7, 1000), (1 << 28 - 3, 8)] {
            var initiator = Initiator(sectors: 1 << 33, controller: controller)
            let read = CommandDescriptorBlock.read16(logicalBlockAddress: lba, transferLength: count)
            for done in [0, 1, count - 1] {
                let response = initiator.send(read, length: Int(count) * 512) { _ in
                    .failed(.unrecovered, afterBytes: UInt64(done) * 512)
                }
                #expect(response.senseCodes == [0x0B, 0x00, 0x00])
                #expect(response.sense?.information == lba + UInt64(done))
                #expect(response.data.count == Int(done) * 512)
            }
        }
    }

    @Test("without an address have no information", arguments: [BlockFailure.unrecovered, .noSpace, .writeProtected])
    func noInformation(_ error: BlockFailure) {
        var initiator = Initiator()
        let flush = initiator.send(.synchronizeCache10()) { _ in .failed(error) }
        #expect(flush.status == .checkCondition)
        #expect(flush.sense?.information == nil)
        let trim = CommandDescriptorBlock.writeSame16(
            logicalBlockAddress: 7, numberOfLogicalBlocks: 1, unmap: true, noDataOutBuffer: false)
        let discard = initiator.send(trim, length: 512, origin: .kernel) { _ in .failed(error) }
        #expect(discard.status == .checkCondition)
        #expect(discard.sense?.information == nil)
    }

    @Test(
        "for lack of space or of permission say so, to the kernel and to programs", arguments: [Origin.user, .kernel])
    func mediaErrors(_ origin: Origin) {
        var initiator = Initiator()
        let write = CommandDescriptorBlock.write16(logicalBlockAddress: 9, transferLength: 2)
        let full = initiator.send(write, length: 1024, origin: origin) { _ in .failed(.noSpace) }
        #expect(full.senseCodes == [0x07, 0x27, 0x07])
        #expect(full.sense?.information == 9)
        let protected = initiator.send(write, length: 1024, origin: origin) { _ in .failed(.writeProtected) }
        #expect(protected.senseCodes == [0x07, 0x27, 0x00])
        let broken = initiator.send(write, length: 1024, origin: origin) { _ in .failed(.unrecovered) }
        #expect(broken.senseCodes == [0x0B, 0x00, 0x00])
    }
}
