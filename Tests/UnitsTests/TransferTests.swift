// READ and WRITE in all their forms: what is moved, what the residual says, what is refused.

import ATA
import Blocks
import SCSI
import Testing
import Units

/// READ, WRITE or VERIFY with an address and a length, in the form of an operation code.
func command(_ code: UInt8, _ lba: UInt64, _ count: UInt32, flags: UInt8 = 0) -> CommandDescriptorBlock {
    func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] { withUnsafeBytes(of: value.bigEndian, Array.init) }
    switch code >> 5 {
    case 0:
        return CommandDescriptorBlock([code] + bytes(UInt32(lba)).suffix(3) + [UInt8(truncatingIfNeeded: count), 0])
    case 5: return CommandDescriptorBlock([code, flags] + bytes(UInt32(lba)) + bytes(count) + [0, 0])
    case 4: return CommandDescriptorBlock([code, flags] + bytes(lba) + bytes(count) + [0, 0])
    default: return CommandDescriptorBlock([code, flags] + bytes(UInt32(lba)) + [0] + bytes(UInt16(count)) + [0])
    }
}

@Suite("READ and WRITE")
struct TransferTests {
    static let reads: [UInt8] = [0x08, 0x28, 0xA8, 0x88]
    /// Bits of byte 1, and the first of each.
    static let flagBits: [(flags: UInt8, bit: UInt8)] = [
        (0x20, 5), (0x40, 6), (0x80, 7), (0xE0, 7), (0x10, 4), (0x08, 3), (0x18, 4),
    ]
    static let writes: [UInt8] = [0x0A, 0x2A, 0xAA, 0x8A]

    @Test("READ brings the blocks", arguments: reads, [Controller.piix3IDE, .ich9AHCI])
    func read(_ code: UInt8, _ controller: Controller) throws {
        var bench = Bench(sectors: 300, controller: controller)
        let answer = try bench.send(command(code, 17, 200), expecting: 200 * 512)
        #expect(answer.status == .good && answer.sense == nil)
        #expect(answer.data == bench.content(17, 200))
        #expect(answer.transferBytes == 200 * 512)
    }

    @Test("WRITE stores the blocks", arguments: writes)
    func write(_ code: UInt8) throws {
        var bench = Bench(sectors: 300)
        let before = bench.disk
        let data = [UInt8](repeating: 0x77, count: 3 * 512)
        let answer = try bench.send(command(code, 297, 3), dataOut: data)
        #expect(answer.status == .good && answer.transferBytes == 3 * 512 && answer.dataOutBytes == 3 * 512)
        #expect(bench.disk == before.prefix(297 * 512) + data)
    }

    @Test("a length of 0 in READ (6) and WRITE (6) is 256 blocks")
    func zeroIsMany() throws {
        var bench = Bench(sectors: 300)
        #expect(try bench.send(command(0x08, 0, 0), expecting: 256 * 512).data == bench.content(0, 256))
        #expect(try bench.send(command(0x0A, 0, 0), dataOut: [UInt8](repeating: 1, count: 256 * 512)).status == .good)
    }

    @Test("no blocks are read of which the initiator expects nothing, and the residual says so", arguments: reads)
    func shortExpectation(_ code: UInt8) throws {
        var bench = Bench(sectors: 300)
        let answer = try bench.send(command(code, 4, 3), expecting: 512 + 100)
        #expect(answer.status == .good && answer.transferBytes == 3 * 512)
        #expect(answer.data == Array(bench.content(4, 2).prefix(612)))
        #expect(answer.steps == [.perform(.read(lba: 4, count: 2), bufferOffset: 0)])
    }

    @Test("a WRITE with too few data writes them, but no part of a block", arguments: writes)
    func shortWrite(_ code: UInt8) throws {
        var bench = Bench(sectors: 300)
        let before = bench.disk
        let partial = try bench.send(command(code, 4, 3), dataOut: [UInt8](repeating: 9, count: 512 + 511))
        #expect(partial.codes == [0x5, 0x0E, 0x03] && partial.transferBytes == 3 * 512 && partial.dataOutBytes == 0)
        #expect(bench.disk == before && partial.steps.isEmpty)
        let answer = try bench.send(command(code, 4, 3), dataOut: [UInt8](repeating: 9, count: 512))
        #expect(answer.status == .good && answer.transferBytes == 3 * 512 && answer.dataOutBytes == 512)
        #expect(bench.content(4, 1) == [UInt8](repeating: 9, count: 512))
        #expect(bench.disk.dropFirst(5 * 512) == before.dropFirst(5 * 512))
        let many = try bench.send(command(code, 4, 1), dataOut: [UInt8](repeating: 8, count: 10000))
        #expect(many.status == .good && many.transferBytes == 512 && many.dataOutBytes == 512)
    }

    @Test(
        "blocks beyond the end, and none beyond the end, are out of range without any memory", arguments: reads + writes
    )
    func beyondTheEnd(_ code: UInt8) throws {
        var bench = Bench(sectors: 300)
        // READ (6) and WRITE (6) have no length of 0.
        var ranges: [(lba: UInt64, count: UInt32)] = [(299, 2), (301, 1), (0x1F_FFFF, 1)]
        if code >= 0x20 { ranges.append((301, 0)) }
        for (lba, count) in ranges {
            let cdb = command(code, lba, count)
            let isWrite = Self.writes.contains(code)
            let sent = ServedCommand(
                cdb, expectedBytes: count * 512, reads: !isWrite, writes: isWrite, nexus: bench.nexus,
                unit: bench.drive.facts)
            #expect(sent.bufferNeeds == BufferNeeds(byteCount: 0, dataOffset: 0) && sent.dataOutBytes == 0)
            #expect(!sent.writes && sent.lengthBytes == 0)
            let answer =
                isWrite
                ? try bench.send(cdb, dataOut: [UInt8](repeating: 0, count: Int(count) * 512))
                : try bench.send(cdb, expecting: Int(count) * 512)
            #expect(answer.codes == Bench.outOfRange && answer.transferBytes == 0 && answer.steps.isEmpty)
        }
        guard code >= 0x20 else { return }
        let nothing = try bench.send(command(code, 299, 0))
        #expect(nothing.status == .good && nothing.transferBytes == 0 && nothing.steps.isEmpty)
    }

    @Test("16-byte addresses do not overflow", arguments: [UInt8(0x88), 0x8A, 0x8F, 0x90, 0x91, 0x93])
    func overflow(_ code: UInt8) throws {
        var bench = Bench(sectors: 300)
        let counts: [UInt32] = [0, 1, 256, .max]
        for lba: UInt64 in [.max, .max - 255, 1 << 63, 1 << 55] {
            for count in counts {
                let answer = try bench.send(command(code, lba, count))
                #expect(answer.codes == Bench.outOfRange && answer.steps.isEmpty, "\(lba) \(count)")
            }
        }
    }

    @Test(
        "protection, DPO and FUA are no fields of a disk without them", arguments: reads + writes + [0x2F, 0x8F, 0xAF])
    func flags(_ code: UInt8) throws {
        guard code >= 0x20 else { return }
        var bench = Bench(sectors: 300, controller: .ich9AHCI)
        for (flags, bit) in Self.flagBits {
            let answer = try bench.send(command(code, 0, 1, flags: flags))
            #expect(answer.codes == Bench.invalidField)
            #expect(answer.sense?.fieldPointer == SenseFieldPointer(isInCommand: true, byte: 1, bit: bit))
        }
    }

    @Test("32 MiB are the most, and become commands that a taskfile carries")
    func large() throws {
        var bench = Bench(sectors: 1 << 30, controller: .ich9AHCI, hasDisk: false)
        let most = try bench.send(command(0x88, 8, 65536), expecting: 32 << 20)
        #expect(most.status == .good && most.transferBytes == 32 << 20 && most.pauses == 0)
        #expect(
            most.steps == [
                .perform(.read(lba: 8, count: 65528), bufferOffset: 0),
                .perform(.read(lba: 65536, count: 8), bufferOffset: 65528 * 512),
            ])
        let more = try bench.send(command(0x88, 8, 65537), expecting: 512)
        #expect(more.codes == Bench.invalidField && more.sense?.fieldPointer?.byte == 10)
        #expect(try bench.send(command(0xA8, 8, 65537), expecting: 512).sense?.fieldPointer?.byte == 6)
    }

    @Test("a read-only unit is write-protected", arguments: writes + [0x93])
    func readOnly(_ code: UInt8) throws {
        var bench = Bench(sectors: 300)
        bench.drive.isReadOnly = true
        let answer = try bench.send(command(code, 0, 1), dataOut: [UInt8](repeating: 0, count: 512))
        #expect(answer.codes == Bench.writeProtected && answer.steps.isEmpty && answer.dataOutBytes == 0)
        // WRITE SECTORS by ATA PASS-THROUGH (16), one sector of PIO data.
        let passThrough = try bench.send(
            [0x85, 0x0A, 0x06, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0x30, 0],
            dataOut: [UInt8](repeating: 0, count: 512))
        #expect(passThrough.codes == Bench.writeProtected && passThrough.steps.isEmpty)
    }

    @Test(
        "data that go the other way are no data", arguments: writes + [0x2E, 0x93, 0x41, 0x89, 0x42, 0x15, 0x55, 0x5F])
    func wrongDirection(_ code: UInt8) throws {
        var bench = Bench(sectors: 300)
        let before = bench.disk
        let cdb: CommandDescriptorBlock =
            switch code {
            case 0x89: [0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0]
            case 0x15: [0x15, 0x10, 0, 0, 24, 0]
            case 0x55: [0x55, 0x10, 0, 0, 0, 0, 0, 0, 24, 0]
            case 0x42, 0x5F: [code, 0, 0, 0, 0, 0, 0, 0, 24, 0]
            default: command(code, 0, 4)
            }
        let answer = try bench.send(cdb, expecting: 4096)
        #expect(answer.transferBytes == 0 && answer.steps.isEmpty && bench.disk == before)
        // COMPARE AND WRITE and others say what field of theirs does not fit that.
        #expect(answer.status == .checkCondition)
        if Self.writes.contains(code) { #expect(answer.codes == Bench.wrongLength) }
    }

    @Test("data that come with a command that takes none are all left over")
    func contraryData() throws {
        let asked: [(DriveKind, CommandDescriptorBlock)] = [
            (.disk, command(0x28, 0, 1)), (.disk, command(0x88, 0, 1)), (.disk, .testUnitReady()),
            (.disk, [0x12, 0, 0, 0, 96, 0]), (.disk, [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (.disk, [0x5A, 0, 0x3F, 0, 0, 0, 0, 0, 255, 0]), (.disk, [0x5E, 0, 0, 0, 0, 0, 0, 0, 255, 0]),
            (.disk, [0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]), (.disk, [0x03, 0, 0, 0, 18, 0]),
            (.disk, [0x9E, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0]),
            (.dvdROM, [0x12, 0, 0, 0, 96, 0]), (.dvdROM, [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ]
        for (kind, cdb) in asked {
            var bench = Bench(sectors: 300, kind: kind)
            let answer = try bench.send(cdb, dataOut: [UInt8](repeating: 1, count: 512))
            #expect(answer.status == .good && answer.transferBytes == 0 && answer.dataOutBytes == 0, "\(cdb)")
        }
    }

    @Test("a taskfile that writes needs data, one that reads may have them")
    func wrongDirectionOfTaskfile() throws {
        var bench = Bench(sectors: 300)
        let before = bench.disk
        // WRITE SECTORS and DATA SET MANAGEMENT by ATA PASS-THROUGH (16), READ SECTORS with data.
        let writes = try bench.send([0x85, 0x0A, 0x06, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0x30, 0], expecting: 512)
        #expect(writes.status == .checkCondition && writes.steps.isEmpty)
        let trims = try bench.send([0x85, 0x0C, 0x06, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0x06, 0], expecting: 512)
        #expect(trims.steps.isEmpty && bench.disk == before)
        let data = [UInt8](repeating: 0, count: 512)
        let reads = try bench.send([0x85, 0x08, 0x0E, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0x20, 0], dataOut: data)
        #expect(reads.status == .good && reads.steps == [.perform(.read(lba: 0, count: 1), bufferOffset: 0)])
        let stored = try bench.send([0x85, 0x0A, 0x06, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0x30, 0], dataOut: data)
        #expect(stored.status == .good && bench.content(0, 1) == data)
    }

    @Test("a medium that fails says where")
    func fault() throws {
        var bench = Bench(sectors: 300)
        bench.fault = { _ in .unrecovered }
        let answer = try bench.send(command(0x88, 20, 4), expecting: 4 * 512)
        #expect(answer.codes == [0xB, 0x00, 0x00], "what libata makes of an aborted READ DMA")
        #expect(answer.sense?.information == 20 && answer.transferBytes == 0)
    }

    @Test("a command that has ended can begin once more")
    func renewal() throws {
        var bench = Bench(sectors: 300)
        var command = ServedCommand(
            command(0x28, 3, 2), expectedBytes: 1024, reads: true, writes: false, nexus: bench.nexus,
            unit: bench.drive.facts)
        var buffer = [UInt8](repeating: 0, count: command.bufferNeeds.byteCount)
        for _ in 0..<2 {
            let first = withBytes(of: &buffer) { command.begin(on: &bench.drive, by: &bench.server, buffer: &$0) }
            #expect(first == .perform(.read(lba: 3, count: 2), bufferOffset: 0))
            let last = withBytes(of: &buffer) {
                command.resume(.done, on: &bench.drive, by: &bench.server, buffer: &$0)
            }
            #expect(last == .finished && command.status == .good && command.transferBytes == 1024)
            command.renew()
            #expect(command.transferBytes == 0)
        }
    }
}
