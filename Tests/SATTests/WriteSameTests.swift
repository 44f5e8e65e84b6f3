// WRITE SAME (16): what the medium is told, against a model with one byte a sector.

import ATA
import SAT
import SCSI
import Seeded
import Testing

@Suite("WRITE SAME (16)")
struct WriteSameTests {
    private static func unmap(_ first: UInt64, _ count: UInt32) -> CommandDescriptorBlock {
        .writeSame16(logicalBlockAddress: first, numberOfLogicalBlocks: count, unmap: true, noDataOutBuffer: false)
    }

    private static func zeroes(_ first: UInt64, _ count: UInt32, mayUnmap: Bool = false) -> CommandDescriptorBlock {
        .writeSame16(logicalBlockAddress: first, numberOfLogicalBlocks: count, unmap: mayUnmap, noDataOutBuffer: true)
    }

    @Test("with UNMAP writes a list of ranges over the data buffer")
    func trimList() {
        var initiator = Initiator()
        var command = SCSICommandInProgress(
            cdb: Self.unmap(0x10_0000, 131_072), transferLength: 512, origin: .kernel)
        var buffer = [UInt8](repeating: 0xEE, count: 600)
        var span = buffer.mutableSpan
        var bytes = span.mutableBytes
        let step = initiator.layer.begin(&command, drive: &initiator.drive, data: &bytes)
        #expect(
            step
                == .blocks(.discard(lba: 0x10_0000, count: 131_072), dataOffset: 0, zeroes: false, mayDeallocate: false)
        )
        let entries: [UInt8] =
            [0x00, 0x00, 0x10, 0, 0, 0, 0xFF, 0xFF]
            + [0xFF, 0xFF, 0x10, 0, 0, 0, 0xFF, 0xFF]
            + [0xFE, 0xFF, 0x11, 0, 0, 0, 0x02, 0x00]
        #expect(buffer.prefix(24).elementsEqual(entries))
        #expect(buffer[24..<512].allSatisfy { $0 == 0 })
        #expect(buffer[512...].allSatisfy { $0 == 0xEE })
    }

    @Test("with UNMAP is refused as Linux refuses it")
    func refusals() {
        var initiator = Initiator(sectors: 1 << 30)
        #expect(initiator.send(Self.unmap(0, 1), length: 512).senseCodes == [0x05, 0x20, 0x00])
        #expect(initiator.send(Self.unmap(0, 1), length: 511, origin: .kernel).senseCodes == [0x05, 0x1A, 0x00])
        #expect(initiator.send(Self.unmap(0, 4_194_240), length: 512, origin: .kernel).status == .good)
        let tooLarge = initiator.send(Self.unmap(0, 4_194_241), length: 512, origin: .kernel)
        #expect(tooLarge.senseCodes == [0x05, 0x24, 0x00])
        #expect(tooLarge.sense?.fieldPointer == SenseFieldPointer(isInCommand: true, byte: 2))
        let plain = CommandDescriptorBlock.writeSame16(
            logicalBlockAddress: 0, numberOfLogicalBlocks: 1, unmap: false, noDataOutBuffer: false)
        let notUnmap = initiator.send(plain, length: 512, origin: .kernel)
        #expect(notUnmap.sense?.fieldPointer == SenseFieldPointer(isInCommand: true, byte: 1, bit: 3))
        var withoutTrim = Initiator { $0.supportsTrim = false }
        let noTrim = withoutTrim.send(Self.unmap(0, 1), length: 512, origin: .kernel)
        #expect(noTrim.sense?.fieldPointer == SenseFieldPointer(isInCommand: true, byte: 1, bit: 3))
        // The drive looks at the end of the medium, not the layer.
        #expect(initiator.send(Self.unmap(1 << 30, 1), length: 512, origin: .kernel).senseCodes == [0x0B, 0x00, 0x00])
        #expect(initiator.send(Self.unmap(.max, 1), length: 512, origin: .kernel).senseCodes == [0x05, 0x21, 0x00])
    }

    @Test("without a data-out buffer writes zeroes, which may be unmapped if UNMAP says so", arguments: [false, true])
    func zeroes(_ mayUnmap: Bool) {
        var initiator = Initiator()
        let response = initiator.send(Self.zeroes(100, 65_535 + 300, mayUnmap: mayUnmap), origin: .kernel)
        #expect(response.status == .good)
        #expect(
            response.steps == [
                .blocks(.write(lba: 100, count: 65_535), dataOffset: 0, zeroes: true, mayDeallocate: mayUnmap),
                .blocks(.write(lba: 65_635, count: 300), dataOffset: 0, zeroes: true, mayDeallocate: mayUnmap),
            ])
        #expect(initiator.send(Self.zeroes(0, 1, mayUnmap: mayUnmap)).senseCodes == [0x05, 0x20, 0x00])
    }

    @Test("of zeroes stays on the medium, and goes to its end if the length is 0")
    func zeroRange() {
        var initiator = Initiator(sectors: 1000)
        #expect(initiator.send(Self.zeroes(999, 1), origin: .kernel).operations == [.write(lba: 999, count: 1)])
        #expect(initiator.send(Self.zeroes(990, 0), origin: .kernel).operations == [.write(lba: 990, count: 10)])
        for (first, count): (UInt64, UInt32) in [(999, 2), (1000, 1), (1000, 0), (.max, 1), (.max, 0), (0, .max)] {
            let response = initiator.send(Self.zeroes(first, count), origin: .kernel)
            #expect(response.senseCodes == [0x05, 0x21, 0x00])
            #expect(response.steps.isEmpty)
        }
        // ANCHOR.
        let anchored = initiator.send([0x93, 0x19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], origin: .kernel)
        #expect(anchored.sense?.fieldPointer == SenseFieldPointer(isInCommand: true, byte: 1, bit: 4))
    }

    @Test("of zeroes stops at the first failure")
    func failure() {
        var initiator = Initiator()
        let response = initiator.send(Self.zeroes(0, 200_000), origin: .kernel) { operation in
            if case .write(65_535, _) = operation { .failed(.noSpace) } else { .done }
        }
        #expect(response.senseCodes == [0x07, 0x27, 0x07])
        #expect(response.sense?.information == 65_535)
        #expect(response.steps.count == 2)
    }

    @Test("with the write cache off is stable when it is answered")
    func writeCacheOff() {
        var initiator = Initiator { $0.writeCache = .off }
        let response = initiator.send(Self.zeroes(0, 65_536), origin: .kernel)
        #expect(
            response.operations == [
                .write(lba: 0, count: 65_535), .flush, .write(lba: 65_535, count: 1), .flush,
            ])
    }

    /// Every sector as it is: data, zeroes that have to be there, zeroes that may be holes, or of no interest.
    private enum Sector: UInt8 {
        case data, zeroes, perhapsHole, discarded
    }

    @Test("in any order does to each sector what it says", arguments: [Controller.piix3IDE, .ich9AHCI])
    func model(_ controller: Controller) {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let sectors = 250_000
        var initiator = Initiator(sectors: UInt64(sectors), controller: controller)
        var medium = [Sector](repeating: .data, count: sectors)
        var model = medium
        for _ in 0..<40 {
            let first = Int.random(in: 0..<sectors, using: &random)
            let count = Int.random(in: 1...sectors - first, using: &random)
            let kind = [Sector.zeroes, .perhapsHole, .discarded].randomElement(using: &random)!
            let command =
                kind == .discarded
                ? Self.unmap(UInt64(first), UInt32(count))
                : Self.zeroes(UInt64(first), UInt32(count), mayUnmap: kind == .perhapsHole)
            let response = initiator.send(command, length: 512, origin: .kernel)
            #expect(response.status == .good, "seed \(seed)")
            for step in response.steps { Self.apply(step, to: &medium) }
            Self.fill(&model, UInt64(first), UInt32(count), kind)
        }
        #expect(medium == model, "seed \(seed)")
    }

    private static func apply(_ step: TranslationLayer.Step, to medium: inout [Sector]) {
        switch step {
        case .blocks(.discard(let lba, let count), _, false, false):
            fill(&medium, lba, count, .discarded)
        case .blocks(.write(let lba, let count), 0, true, let mayDeallocate):
            fill(&medium, lba, count, mayDeallocate ? .perhapsHole : .zeroes)
        default:
            Issue.record("not a step of WRITE SAME: \(step)")
        }
    }

    private static func fill(_ medium: inout [Sector], _ lba: UInt64, _ count: UInt32, _ sector: Sector) {
        let range = Int(lba)..<Int(lba) + Int(count)
        medium.replaceSubrange(range, with: repeatElement(sector, count: range.count))
    }
}
