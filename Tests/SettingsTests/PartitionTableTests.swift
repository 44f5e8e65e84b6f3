// The partition table of a disc that boots as a disk, too: what lshw 02.19 has told of such discs on Linux 6.1.

import Testing

@testable import Settings

@Suite struct PartitionTableTests {
    /// A sector with a table; entries are flag, type, first block, blocks.
    private func sector(_ signature: UInt32, _ entries: [[UInt32]]) -> [UInt8] {
        func bytes(_ number: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }
        var sector = [UInt8](repeating: 0, count: 440) + bytes(signature) + [0, 0]
        for entry in entries {
            sector += [UInt8(entry[0]), 0, 1, 0, UInt8(entry[1]), 0, 0, 0] + bytes(entry[2]) + bytes(entry[3])
        }
        return sector + [UInt8](repeating: 0, count: 510 - sector.count) + [0x55, 0xAA]
    }

    @Test(
        arguments: [
            (0, [], nil, false), (0xFFFF_FFFF, [], nil, false), (0x0EAD_C0DE, [], 0x0EAD_C0DE, false),
            // Entries of the whole disc, as isohybrid(1) makes them.
            (0x5A5A_1234, [[0x80, 0x17, 0, 5860]], 0x5A5A_1234, false), (1, [[0x80, 0, 0, 5860]], 1, false),
            // A flag that makes no sense.
            (0x1111_2222, [[0x13, 0x83, 1, 5860]], 0x1111_2222, false),
            // As on Debian's discs.
            (0x1234_5678, [[0x80, 0, 0, 5860], [0, 0xEF, 100, 1000]], 0x1234_5678, true),
            // The second one is an extended partition without anything in it.
            (2, [[0x80, 0x83, 64, 2000], [0, 5, 3000, 500]], 2, true), (3, [[0, 5, 3000, 500]], 3, false),
        ] as [(UInt32, [[UInt32]], UInt32?, Bool)])
    func whatLshwTells(signature: UInt32, entries: [[UInt32]], told: UInt32?, hasPartitions: Bool) throws {
        let table = try #require(PartitionTable(bootSector: sector(signature, entries)))
        #expect(table.signature == told && table.hasPartitions == hasPartitions, "\(table)")
    }

    @Test func whatIsNone() {
        var bytes = sector(5, [])
        bytes[511] = 0
        #expect(PartitionTable(bootSector: bytes) == nil)
        #expect(PartitionTable(bootSector: Array(bytes.prefix(511))) == nil)
        #expect(PartitionTable(bootSector: sector(5, [[0, 0xEE, 1, 5860]])) == nil)
    }
}
