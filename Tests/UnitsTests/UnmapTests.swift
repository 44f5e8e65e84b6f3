// WRITE SAME and UNMAP: blocks that are written without data of their own, or given back.

import ATA
import Blocks
import SCSI
import Testing
import Units

@Suite("WRITE SAME and UNMAP")
struct UnmapTests {
    private static let block = (0..<512).map { UInt8(truncatingIfNeeded: $0 * 3 + 1) }
    private static let zeroes = [UInt8](repeating: 0, count: 512)

    /// A parameter list of UNMAP.
    static func list(_ ranges: [(lba: UInt64, count: UInt32)]) -> [UInt8] {
        func bytes(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.bigEndian, Array.init) }
        var descriptors: [UInt8] = []
        for range in ranges { descriptors += bytes(range.lba) + bytes(range.count) + [0, 0, 0, 0] }
        return bytes(UInt16(descriptors.count + 6)) + bytes(UInt16(descriptors.count)) + [0, 0, 0, 0] + descriptors
    }

    static func unmap(_ list: [UInt8]) -> CommandDescriptorBlock {
        [0x42, 0, 0, 0, 0, 0, 0, UInt8(list.count >> 8), UInt8(list.count & 0xFF), 0]
    }

    @Test("WRITE SAME writes copies of its block", arguments: [UInt8(0x41), 0x93], [1, 7, 512, 1500])
    func copies(_ code: UInt8, _ count: Int) throws {
        var bench = Bench(sectors: 2000)
        let before = bench.disk
        let answer = try bench.send(command(code, 13, UInt32(count)), dataOut: Self.block)
        #expect(answer.status == .good && answer.transferBytes == 512 && answer.dataOutBytes == 512)
        #expect(bench.content(13, count) == [[UInt8]](repeating: Self.block, count: count).flatMap { $0 })
        #expect(bench.disk.prefix(13 * 512) == before.prefix(13 * 512))
        #expect(bench.disk.dropFirst((13 + count) * 512) == before.dropFirst((13 + count) * 512))
    }

    @Test("WRITE SAME of zeroes needs no data on the medium's way", arguments: [UInt8(0x41), 0x93])
    func zeroes(_ code: UInt8) throws {
        var bench = Bench(sectors: 300)
        let answer = try bench.send(command(code, 13, 40), dataOut: Self.zeroes)
        #expect(answer.steps == [.performZeroes(lba: 13, count: 40, mayDeallocate: false)])
        #expect(answer.transferBytes == 512)
        // NDOB.
        let without = try bench.send(command(0x93, 13, 40, flags: 0x01))
        #expect(without.steps == answer.steps && without.transferBytes == 0 && without.dataOutBytes == 0)
        let unmapped = try bench.send(command(0x93, 13, 40, flags: 0x09))
        #expect(unmapped.steps == [.performZeroes(lba: 13, count: 40, mayDeallocate: true)])
    }

    @Test("WRITE SAME with UNMAP is a TRIM, unless its block has content", arguments: [UInt8(0x41), 0x93])
    func writeSameUnmap(_ code: UInt8) throws {
        var bench = Bench(sectors: 300)
        let trim = try bench.send(command(code, 13, 40, flags: 0x08), dataOut: Self.zeroes)
        #expect(trim.steps == [.perform(.discard(lba: 13, count: 40), bufferOffset: 0)])
        #expect(try bench.send(command(code, 13, 2, flags: 0x08), dataOut: Self.block).status == .good)
        #expect(bench.content(13, 2) == Self.block + Self.block)
        // ANCHOR.
        for flags: UInt8 in [0x10, 0x18] {
            #expect(try bench.send(command(code, 0, 1, flags: flags), dataOut: Self.zeroes).codes == Bench.invalidField)
        }
        bench = Bench(sectors: 300, change: { $0.supportsTrim = false })
        #expect(try bench.send(command(code, 13, 40, flags: 0x08), dataOut: Self.zeroes).codes == Bench.invalidField)
        #expect(try bench.send(Self.unmap(Self.list([]))).codes == Bench.unknownCommand)
    }

    @Test("a number of 0 is everything up to the end, within MAXIMUM WRITE SAME LENGTH")
    func upToTheEnd() throws {
        var bench = Bench(sectors: 300)
        let all = try bench.send(command(0x93, 290, 0, flags: 0x08), dataOut: Self.zeroes)
        #expect(all.steps == [.perform(.discard(lba: 290, count: 10), bufferOffset: 0)])
        let most: UInt64 = 64 * 65_535
        bench = Bench(sectors: most + 2, hasDisk: false)
        #expect(try bench.send(command(0x93, 2, 0, flags: 0x08), dataOut: Self.zeroes).status == .good)
        #expect(try bench.send(command(0x93, 1, 0), dataOut: Self.zeroes).codes == Bench.invalidField)
        #expect(try bench.send(command(0x93, 0, UInt32(most + 1)), dataOut: Self.zeroes).codes == Bench.invalidField)
        let zeroes = try bench.send(command(0x93, 2, 0), dataOut: Self.zeroes)
        #expect(zeroes.status == .good && zeroes.pauses == 64)
    }

    @Test("WRITE SAME wants one block", arguments: [0, 256, 1024])
    func wrongLength(_ count: Int) throws {
        var bench = Bench(sectors: 300)
        let answer = try bench.send(command(0x93, 0, 1), dataOut: [UInt8](repeating: 0, count: count))
        #expect(answer.codes == Bench.wrongLength && answer.steps.isEmpty)
    }

    @Test("UNMAP gives back the blocks of each descriptor, and none if one is wrong")
    func unmap() throws {
        var bench = Bench(sectors: 300)
        let list = Self.list([(5, 3), (9, 0), (300, 0), (100, 20)])
        let answer = try bench.send(Self.unmap(list), dataOut: list)
        #expect(answer.status == .good && answer.transferBytes == UInt64(list.count) && answer.pauses == 1)
        #expect(
            answer.steps == [
                .perform(.discard(lba: 5, count: 3), bufferOffset: 0),
                .perform(.discard(lba: 100, count: 20), bufferOffset: 0),
            ])
        for range: (UInt64, UInt32) in [(299, 2), (301, 0), (.max, 1), (.max, .max)] {
            let wrong = Self.list([(5, 3), range])
            let refused = try bench.send(Self.unmap(wrong), dataOut: wrong)
            #expect(refused.codes == Bench.outOfRange && refused.steps.isEmpty && refused.transferBytes == 0)
        }
        bench.drive.isReadOnly = true
        #expect(try bench.send(Self.unmap(list), dataOut: list).codes == Bench.writeProtected)
    }

    @Test("UNMAP's lists have a length")
    func lists() throws {
        var bench = Bench(sectors: 300)
        let empty = Self.list([])
        #expect(try bench.send(Self.unmap(empty), dataOut: empty).status == .good)
        #expect(try bench.send(Self.unmap([])).status == .good)
        let list = Self.list([(5, 3)])
        #expect(try bench.send(Self.unmap(list), dataOut: Array(list.prefix(20))).codes == [0x5, 0x1A, 0x00])
        #expect(try bench.send(Self.unmap(Array(list.prefix(7))), dataOut: list).codes == [0x5, 0x1A, 0x00])
        // More descriptors than there are data, fewer, and more than are allowed.
        var long = list
        long[3] = 32
        #expect(try bench.send(Self.unmap(long), dataOut: long).codes == [0x5, 0x26, 0x00])
        var short = Self.list([(5, 3), (100, 1)])
        short[3] = 16
        let cut = try bench.send(Self.unmap(short), dataOut: short)
        #expect(cut.steps == [.perform(.discard(lba: 5, count: 3), bufferOffset: 0)])
        let many = Self.list([(lba: UInt64, count: UInt32)](repeating: (1, 1), count: 256))
        #expect(try bench.send(Self.unmap(many), dataOut: many).steps.count == 256)
        let tooMany = Self.list([(lba: UInt64, count: UInt32)](repeating: (1, 1), count: 257))
        #expect(try bench.send(Self.unmap(tooMany), dataOut: tooMany).codes == Bench.invalidField)
    }
}
