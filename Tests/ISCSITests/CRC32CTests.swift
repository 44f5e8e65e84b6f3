// Digests against the examples of the standard (RFC 3720, B.4), by the processor's instruction and by the table.

import ISCSI
import Seeded
import Testing

private func digest(_ bytes: [UInt8], usingInstruction: Bool) -> [UInt8] {
    var digest = CRC32C(usingInstruction: usingInstruction)
    digest.update(bytes.span.bytes)
    return bigEndian(UInt64(digest.wireValue), 4)
}

@Test(arguments: Set([false, CRC32C.hasInstruction]))
func digestsOfTheStandard(usingInstruction: Bool) {
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
        #expect(digest(bytes, usingInstruction: usingInstruction) == hex(expected))
    }
}

@Test func bothWaysGiveTheSameDigest() {
    let seed = UInt64.random(in: 0 ... .max)
    var generator = SeededGenerator(seed: seed)
    // By the instruction a long run of bytes is taken in three pieces at once, of 1024 bytes and of 128.
    for count in Array(0..<400) + Array(3060..<3090) + Array(3440..<3470) + [9 * 1024 + 5, 1 << 18] {
        let bytes = generator.bytes(count)
        let byTable = digest(bytes, usingInstruction: false)
        #expect(digest(bytes, usingInstruction: CRC32C.hasInstruction) == byTable, "seed \(seed), \(count) bytes")
        // In pieces, cut anywhere.
        let cut = Int.random(in: 0...count, using: &generator)
        var pieces = CRC32C()
        pieces.update(bytes.span.bytes.extracting(..<cut))
        pieces.update(bytes.span.bytes.extracting(cut...))
        #expect(bigEndian(UInt64(pieces.wireValue), 4) == byTable, "seed \(seed), cut at \(cut)")
    }
}
