// VERIFY, WRITE AND VERIFY and COMPARE AND WRITE: blocks that are compared with the initiator's.

import ATA
import Blocks
import SCSI
import Testing
import Units

@Suite("Comparing")
struct CompareTests {
    static let verifies: [UInt8] = [0x2F, 0xAF, 0x8F]
    static let writesAndVerifies: [UInt8] = [0x2E, 0xAE, 0x8E]

    @Test("VERIFY without BYTCHK reads the medium and takes no data", arguments: verifies)
    func verify(_ code: UInt8) throws {
        var bench = Bench(sectors: 300)
        let answer = try bench.send(command(code, 10, 20), dataOut: [UInt8](repeating: 0, count: 20 * 512))
        #expect(answer.status == .good && answer.dataOutBytes == 0 && answer.transferBytes == 0)
        #expect(answer.steps == [.perform(.prefetch(lba: 10, count: 20), bufferOffset: 0)])
        #expect(try bench.send(command(code, 299, 2)).codes == Bench.outOfRange)
        #expect(try bench.send(command(code, 10, 20, flags: 0x04)).codes == Bench.invalidField)
    }

    @Test("a long VERIFY pauses between its commands")
    func pauses() throws {
        var bench = Bench(sectors: 1 << 20, hasDisk: false)
        let answer = try bench.send(command(0x8F, 3, 200_000))
        #expect(answer.status == .good && answer.pauses == 3)
        #expect(
            answer.steps.compactMap(\.blocks) == [3..<65528, 65528..<131_056, 131_056..<196_584, 196_584..<200_003])
    }

    @Test("VERIFY with BYTCHK says where data differ", arguments: verifies, [1, 600, 1024])
    func bytes(_ code: UInt8, _ count: Int) throws {
        var bench = Bench(sectors: 1200)
        var data = bench.content(100, count)
        let cdb = command(code, 100, UInt32(count), flags: 0x02)
        let same = try bench.send(cdb, dataOut: data)
        #expect(same.status == .good && same.transferBytes == UInt64(count * 512) && same.dataOutBytes == count * 512)
        #expect(!same.changesBlocks)
        for offset in [0, 7, 8, 511, count * 512 - 1] {
            data[offset] ^= 0x58
            let other = try bench.send(cdb, dataOut: data)
            #expect(other.codes == Bench.miscompare && other.sense?.information == UInt64(offset))
            data[offset] ^= 0x58
        }
    }

    @Test("WRITE AND VERIFY writes, and then reads", arguments: writesAndVerifies, [UInt8(0), 0x02])
    func writeAndVerify(_ code: UInt8, _ flags: UInt8) throws {
        var bench = Bench(sectors: 1200)
        let data = (0..<700 * 512).map { UInt8(truncatingIfNeeded: $0 / 3) }
        let answer = try bench.send(command(code, 5, 700, flags: flags), dataOut: data)
        #expect(answer.status == .good && answer.transferBytes == 700 * 512 && answer.pauses == 0)
        #expect(bench.content(5, 700) == data)
        #expect(answer.steps.first == .perform(.write(lba: 5, count: 700), bufferOffset: 0))
        #expect(answer.steps.dropFirst().compactMap(\.blocks).map(\.count).reduce(0, +) == 700)
        #expect(!answer.changesBlocksLater)
        #expect(try bench.send(command(code, 1199, 2)).codes == Bench.outOfRange)
    }

    @Test("WRITE AND VERIFY with BYTCHK notices what the medium did not store")
    func lostWrite() throws {
        var bench = Bench(sectors: 300)
        let data = [UInt8](repeating: 0xEE, count: 2 * 512)
        bench.losesWrites = true
        let answer = try bench.send(command(0x2E, 5, 2, flags: 0x02), dataOut: data)
        #expect(answer.codes == Bench.miscompare && answer.sense?.information == 0)
    }

    @Test("COMPARE AND WRITE writes what is expected, and nothing else", arguments: [1, 2, 129, 255])
    func compareAndWrite(_ count: Int) throws {
        var bench = Bench(sectors: 600, change: { $0.logicalBlockSize = BlockSize(bytes: 4096)! })
        let before = bench.content(9, count)
        let after = [UInt8](repeating: 0x42, count: count * 4096)
        var cdb: CommandDescriptorBlock = [0x89, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, UInt8(count), 0, 0]
        var wrong = before
        wrong[count * 4096 - 3] ^= 1
        let refused = try bench.send(cdb, dataOut: wrong + after)
        #expect(refused.codes == Bench.miscompare && refused.sense?.information == UInt64(count * 4096 - 3))
        #expect(bench.content(9, count) == before && !refused.changesBlocks)
        let done = try bench.send(cdb, dataOut: before + after)
        #expect(done.status == .good && done.transferBytes == UInt64(2 * count * 4096) && done.pauses == 0)
        #expect(bench.content(9, count) == after)
        for length in [0, count * 4096, 2 * count * 4096 + 512] {
            let short = try bench.send(cdb, dataOut: [UInt8](repeating: 0, count: length))
            #expect(short.codes == Bench.invalidField && short.steps.isEmpty && short.dataOutBytes == 0)
        }
        cdb = [0x89, 0, 0, 0, 0, 0, 0, 0, 2, 0x58, 0, 0, 0, UInt8(count), 0, 0]
        #expect(try bench.send(cdb, dataOut: before + after).codes == Bench.outOfRange)
    }

    @Test("COMPARE AND WRITE is alone with the drive, a whole WRITE is not")
    func alone() throws {
        let bench = Bench(sectors: 600)
        func isAlone(_ cdb: CommandDescriptorBlock, _ bytes: Int, granularity: UInt64) -> Bool {
            ServedCommand(
                cdb, expectedBytes: UInt32(bytes), reads: false, writes: true, nexus: bench.nexus,
                unit: bench.drive.facts
            ).needsToBeAlone(granularityBytes: granularity)
        }
        #expect(isAlone([0x89, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0], 8192, granularity: 512))
        #expect(!isAlone(command(0x2A, 8, 8), 4096, granularity: 4096))
        #expect(isAlone(command(0x2A, 9, 8), 4096, granularity: 4096))
        #expect(isAlone(command(0x2A, 8, 9), 4608, granularity: 4096))
        #expect(!isAlone(command(0x2A, 9, 1), 512, granularity: 512))
        #expect(isAlone([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], 24, granularity: 4096))
        #expect(!isAlone([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], 24, granularity: 512))
        #expect(!isAlone(command(0x28, 9, 1), 512, granularity: 4096))
    }
}
