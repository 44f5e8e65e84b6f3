// BLOCK_STATUS as GET LBA STATUS (16), and what 64-bit lengths become (NBD protocol, NBD_CMD_BLOCK_STATUS).

import Export
import NBD
import Testing

@Suite struct BlockStatusTests {
    private static let extendedMagic: UInt32 = 0x21e4_1c71
    private static let hole: AllocationState = [.hole, .zero]

    private func status(
        _ bench: inout Bench, _ offset: UInt64, _ length: UInt64, flags: CommandFlags = [], isExtended: Bool = false
    ) throws -> Served {
        let header = RequestHeader(
            type: 7, flags: flags, offsetBytes: offset, lengthBytes: length,
            magic: isExtended ? Self.extendedMagic : 0x2560_9513)
        return try bench.serve(header, as: .blockStatus)
    }

    private func descriptor(_ length: UInt64, _ state: AllocationState) -> BlockStatusDescriptor {
        BlockStatusDescriptor(lengthBytes: length, state: state)
    }

    /// An honest answer, made byte by byte from the list of holes.
    private func expected(_ holes: [Range<UInt64>], _ offset: UInt64, _ length: UInt64) -> [BlockStatusDescriptor] {
        var result: [BlockStatusDescriptor] = []
        for byte in offset..<offset + length {
            let state: AllocationState = holes.contains { $0.contains(byte / 512) } ? Self.hole : []
            if result.last?.state == state {
                result[result.count - 1].lengthBytes += 1
            } else {
                result.append(descriptor(1, state))
            }
        }
        return result
    }

    /// 148 - 150, 152: every range of a small disk, unaligned ones too; one SCSI command for each extent, and no
    /// taskfile.
    @Test(arguments: [false, true])
    func extentsAreWhatTheMediumHas(isExtended: Bool) throws {
        var bench = Bench(sectors: 12)
        bench.holes = [1..<3, 5..<6, 9..<12]
        let places = [0, 1, 511, 512, 700, 1023, 1024, 1536, 2560, 3072, 4608, 5000, 6143, 6144] as [UInt64]
        for offset in places {
            for end in places where end > offset {
                let served = try status(&bench, offset, end - offset, isExtended: isExtended)
                let all = expected(bench.holes, offset, end - offset)
                #expect(served.error == nil && served.descriptors == all, "\(offset)..<\(end)")
                #expect(served.commands == UInt64(all.count) && served.taskfiles == 0)
                let one = try status(&bench, offset, end - offset, flags: .reqOne, isExtended: isExtended)
                #expect(one.error == nil && one.descriptors == [all[0]], "\(offset)..<\(end)")
                #expect(one.commands == 1)
            }
        }
    }

    /// 155: lengths up to the last one of 32 bits, on a disk that is longer.
    @Test(arguments: [0xffff_fe00, 0xffff_ffff, 0xffff_fc01, 0x8000_0000] as [UInt64])
    func lengthsNearTheEndOf32Bits(length: UInt64) throws {
        var bench = Bench(sectors: 1 << 24, hasDisk: false)
        for isExtended in [false, true] {
            bench.holes = [0..<1 << 24]
            for offset in [0, 512, 1, 0xffff_fe00, 1 << 32, 1 << 33 - length] as [UInt64] {
                let served = try status(&bench, offset, length, isExtended: isExtended)
                #expect(served.descriptors == [descriptor(length, Self.hole)])
            }
            // A hole that ends with, just before and just behind 32 bits of bytes.
            for end in [1 << 23 - 1, 1 << 23, 1 << 23 + 1] as [UInt64] {
                bench.holes = [0..<end]
                let served = try status(&bench, 0, length, isExtended: isExtended)
                let first = min(end * 512, length)
                #expect(
                    served.descriptors
                        == [descriptor(first, Self.hole)] + (first < length ? [descriptor(length - first, [])] : []))
            }
        }
    }

    /// The largest drive: GET LBA STATUS tells of 2^32 - 1 blocks at most, whose answers become one extent.
    @Test func extentsBeyond32BitsOfBlocks() throws {
        var bench = Bench(sectors: 1 << 48, hasDisk: false)
        bench.holes = [0..<1 << 40]
        let served = try status(&bench, 512, 1 << 42, isExtended: true)
        #expect(served.descriptors == [descriptor(1 << 42, Self.hole)])
        #expect(served.commands == 3)
        let end = try status(&bench, (1 << 57) - (1 << 40), 1 << 40, isExtended: true)
        #expect(end.descriptors == [descriptor(1 << 40, [])])
        // All of it takes more commands than one request may have; the answer is the shorter.
        bench.holes = [0..<1 << 48]
        let most = try status(&bench, 0, 1 << 57, isExtended: true)
        #expect(most.descriptors == [descriptor(256 * 0xffff_ffff * 512, Self.hole)])
        let one = try status(&bench, 0, 1 << 57, flags: .reqOne, isExtended: true)
        #expect(one.descriptors == [descriptor(0xffff_ffff * 512, Self.hole)])
    }

    /// 151: a disk in shreds has its first part told, and what follows when it is asked for.
    @Test(arguments: [false, true])
    func manyExtents(isExtended: Bool) throws {
        var bench = Bench(sectors: 2000, hasDisk: false)
        bench.holes = (0..<1000).map { 2 * $0 + 1..<2 * $0 + 2 }
        var offset: UInt64 = 0
        var answers = 0
        while offset < 2000 * 512 {
            let served = try status(&bench, offset, 2000 * 512 - offset, isExtended: isExtended)
            #expect(served.descriptors.count == min(256, 2000 - Int(offset / 512)))
            for (number, extent) in served.descriptors.enumerated() {
                #expect(extent == descriptor(512, (Int(offset / 512) + number) % 2 == 0 ? [] : Self.hole))
            }
            offset += served.descriptors.reduce(0) { $0 + $1.lengthBytes }
            answers += 1
        }
        #expect(offset == 2000 * 512 && answers == 8)
    }

    /// It changes nothing, and never has to wait for who does.
    @Test func itIsNoWrite() {
        let header = RequestHeader(type: 7, offsetBytes: 1, lengthBytes: 1)
        let request = ServedRequest(Request(header, as: .blockStatus, unit: 0), blockSize: .smallest)
        #expect(!request.writes && !request.needsToBeAlone(granularityBytes: 4096))
    }

    /// 178: a request of more than 32 bits of bytes has each of its sectors done, once.
    @Test(arguments: [NBD.Command.trim, .writeZeroes, .cache])
    func longRequests(command: NBD.Command) throws {
        var bench = Bench(sectors: 1 << 34, hasDisk: false)
        for (offset, length) in [(0, 1 << 32), (512, 1 << 32 + 512), (1 << 35, 1 << 34), (1, 1 << 32 + 1022)]
            as [(UInt64, UInt64)]
        {
            let header = RequestHeader(
                type: command.rawValue, offsetBytes: offset, lengthBytes: length, magic: Self.extendedMagic)
            let served = try bench.serve(header, as: command)
            #expect(served.error == nil)
            // Partial sectors at the ends of a WRITE_ZEROES are read and written, those of a TRIM left alone.
            let ranges = served.steps.filter { ["discard", "zeroes", "prefetch"].contains($0.kind) }
                .compactMap(\.sectors)
            let isInner = command != .cache
            #expect(ranges.first?.lowerBound == (isInner ? (offset + 511) / 512 : offset / 512))
            #expect(
                ranges.last?.upperBound == (isInner ? (offset + length) / 512 : (offset + length + 511) / 512))
            for (one, next) in zip(ranges, ranges.dropFirst()) { #expect(one.upperBound == next.lowerBound) }
        }
    }
}
