// Digests against the examples of the standard (RFC 3720, B.4), in each way that this processor has.

import ISCSI
import Seeded
import Testing

private let ways = CRC32C.Way.allCases.filter { $0.rawValue <= CRC32C.fastestWay.rawValue }

private func digest(_ bytes: [UInt8], _ way: CRC32C.Way) -> [UInt8] {
    var digest = CRC32C(way)
    digest.update(bytes.span.bytes)
    return bigEndian(UInt64(digest.wireValue), 4)
}

@Test(arguments: ways)
func digestsOfTheStandard(way: CRC32C.Way) {
    let command = hex(
        """
        01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018 28000000 00000000 02000000 00000000
        """)
    let examples: [([UInt8], String)] = [
        ([UInt8](repeating: 0, count: 32), "aa36918a"), ([UInt8](repeating: 0xFF, count: 32), "43aba862"),
        ([UInt8](0..<32), "4e79dd46"), ([UInt8]((0..<32).reversed()), "5cdb3f11"), (command, "563a96d9"),
        ([], "00000000"),
    ]
    for (bytes, expected) in examples {
        #expect(digest(bytes, way) == hex(expected))
    }
}

@Test(arguments: ways)
func allWaysGiveTheSameDigest(way: CRC32C.Way) {
    let seed = UInt64.random(in: 0 ... .max)
    var generator = SeededGenerator(seed: seed)
    // By the instruction a long run of bytes is taken in three pieces at once, of 1024 bytes and of 128; in lanes, from
    // 512 bytes on, 256 at once.
    for count in Array(0..<1100) + Array(3060..<3090) + Array(3440..<3470) + [9 * 1024 + 5, 1 << 18] {
        let bytes = generator.bytes(count)
        let byTable = digest(bytes, .byTable)
        #expect(digest(bytes, way) == byTable, "seed \(seed), \(count) bytes")
        // In pieces, cut anywhere.
        let cut = Int.random(in: 0...count, using: &generator)
        var pieces = CRC32C(way)
        pieces.update(bytes.span.bytes.extracting(..<cut))
        pieces.update(bytes.span.bytes.extracting(cut...))
        #expect(bigEndian(UInt64(pieces.wireValue), 4) == byTable, "seed \(seed), cut at \(cut)")
    }
}
