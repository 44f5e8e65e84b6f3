// A DVD-ROM as an export: READ becomes READ (10), PACKET, and blocks of 2048 bytes.

import ATA
import Blocks
import Export
import NBD
import Testing

@Suite struct DVDTests {
    @Test func whatNBDSays() throws {
        let information = try Bench(sectors: 1024, kind: .dvdROM).information(isReadOnly: true)
        #expect(information.sizeBytes == 2 << 20)
        #expect(information.flags == [.hasFlags, .readOnly, .rotational, .sendDF, .canMultiConn])
        #expect(information.blockSizes.minimumBytes == 2048 && information.blockSizes.preferredBytes == 4096)
        let text = String(decoding: information.description, as: UTF8.self)
        #expect(text == "QEMU DVD-ROM 2.5+, serial QM00001, 1024 sectors")
    }

    @Test(arguments: [(0, 2048), (4096, 8192), (2_095_104, 2048), (100, 5000), (0, 2 << 20)] as [(UInt64, UInt32)])
    func reads(offset: UInt64, length: UInt32) throws {
        var bench = Bench(sectors: 1024, kind: .dvdROM)
        let served = try bench.serve(.read, at: offset, length)
        #expect(served.error == nil)
        #expect(firstDifference(served.data, Array(bench.disk[Int(offset)..<Int(offset) + Int(length)])) == nil)
        // One command, one PACKET.
        #expect(served.commands == 1 && served.taskfiles == 1)
    }

    @Test func theLargestReadIsOneCommand() throws {
        var bench = Bench(sectors: 1 << 32, kind: .dvdROM, hasDisk: false)
        let served = try bench.serve(.read, at: ((1 << 32) - 16384) * 2048, 32 << 20)
        #expect(served.steps == [.perform(.read(lba: (1 << 32) - 16384, count: 16384), bufferOffset: 0)])
        #expect(served.error == nil && served.commands == 1)
    }

    /// The drive says ILLEGAL REQUEST of a block that cannot be read; a client is told that the medium has failed.
    @Test func aBrokenBlockIsAnIOError() throws {
        var bench = Bench(sectors: 1024, kind: .dvdROM)
        bench.broken = 7
        let served = try bench.serve(.read, at: 4 * 2048, 8 * 2048)
        #expect(served.error == .inputOutput)
        // PACKET, and REQUEST SENSE.
        #expect(served.taskfiles == 2)
        // The drive does not say where.
        #expect(served.failedOffset == nil)
    }

    @Test func theMapIsTheMediums() throws {
        var bench = Bench(sectors: 1024, kind: .dvdROM)
        bench.holes = [16..<1024]
        let served = try bench.serve(.blockStatus, at: 0, 2 << 20)
        #expect(served.error == nil)
        #expect(served.descriptors.map(\.lengthBytes) == [16 * 2048, 1008 * 2048])
    }

    @Test func anotherMediumIsReadAtOnce() throws {
        var bench = Bench(sectors: 1024, kind: .dvdROM)
        bench.export.resize(toSectors: 512)
        #expect(bench.export.sizeBytes == 1 << 20)
        #expect(try bench.serve(.read, at: 0, 2048).error == nil)
    }
}
