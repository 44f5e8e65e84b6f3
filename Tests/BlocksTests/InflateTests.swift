// Decompression (RFC 1951): zlib's own data, and whatever else there can be.

import Seeded
import Testing

@testable import Blocks

@Suite struct InflateTests {
    /// What zlib has made of ``text``, with codes of its own, and with those of RFC 1951 3.2.6.
    private static let dynamic = bytes([
        "5d51db018330085c8509ba40a7d1fa4a6b8caf6875fac2117cf4c3847070c76111ea27e5e14bef584f0f9a9b928ab097",
        "1db5d9bed110ddeb43612947aab846ea5a37c4302abcbab9018097f4ca57b9454898178d2842948f61ed58c8f75312d1",
        "584f6bb70f2d38fa8c87f0db1d9100d440e525d3411bb8c9883de832c151cab12691914604c91ba3a030ab7a21a50b01",
        "ab496288c3f72da3262f4b4499ed4bd173f767047e856ded984f995407e3272fd77e71edb7ab715b1feeff1ff103",
    ])
    private static let fixed = bytes([
        "4bc94fb75648caaf50c82a4d2fd65328c9485548c9af4acd53c849acaa54282ccd4cce56c82f4b2d524803aa01a9cbc9",
        "2c2ccd2f8248976796648025c03c905e104ecb2c0319023417ac11ac08cc4a2aca2fcf035a945b500cb504c2869030ed",
        "300cd602260a12818ec8ad44950131c0468365413c90ebc07683e561d680bc07b61768005c29900d11048b8034821950",
        "bf0165c146c0bc0aa1c0429000019b0ab312ec08b8bf5144209e440a44b0325878416411618f6081cd8748c3821dec3e",
        "8849107bc0ce87fa05593fc8d7b995c81e87051f98468f0800",
    ])
    private static let text = Array(
        [
            "dog; box jugs. the dozen lazy quick over fox box liquor lazy with fox lazy the the five dog; ove",
            "r with over brown jumps dozen jumps jumps the the the the over over pack my the the over the wit",
            "h pack the box five over jumps dog; brown my pack the my brown pack box pack liquor my over liqu",
            "or liquor over quick dog; the box with the five box with the dozen quick over the fox lazy dozen",
            " box jugs. box jugs. dog; dozen fox box pack quick five brown the my jugs. box jumps my dog; bro",
            "wn pack my pack over brown jumps",
        ].joined().utf8)

    private static func bytes(_ lines: [String]) -> [UInt8] {
        let digits = Array(lines.joined())
        return stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0...$0 + 1]), radix: 16) }
    }

    /// Decompresses into a room of some size, and sees that nothing is written behind it.
    private func decompressed(_ data: [UInt8], count: Int, in inflate: inout Inflate) -> [UInt8]? {
        var output = [UInt8](repeating: 0xEE, count: count + 8)
        let isGood = data.withUnsafeBytes { data in
            output.withUnsafeMutableBytes { output in
                inflate.decompress(data, into: UnsafeMutableRawBufferPointer(rebasing: output[..<count]))
            }
        }
        #expect(output.suffix(8).allSatisfy { $0 == 0xEE })
        return isGood ? output.dropLast(8) : nil
    }

    @Test func zlibsDataGiveTheirText() {
        var inflate = Inflate()
        for _ in 0..<2 {
            #expect(decompressed(Self.dynamic, count: 512, in: &inflate) == Self.text)
            #expect(decompressed(Self.fixed, count: 512, in: &inflate) == Self.text)
        }
        #expect(decompressed(Self.dynamic + [1, 2, 3], count: 512, in: &inflate) == Self.text, "others' data follow")
        let stored = HandMadeQcow2.stored([UInt8](repeating: 5, count: 100_000))
        #expect(decompressed(stored, count: 100_000, in: &inflate) == [UInt8](repeating: 5, count: 100_000))
    }

    @Test func aClusterIsAllThereOrNotAtAll() {
        var inflate = Inflate()
        for data in [Self.dynamic, Self.fixed, HandMadeQcow2.stored(Self.text)] {
            #expect(decompressed(data, count: 513, in: &inflate) == nil, "the data end before")
            #expect(decompressed(data, count: 300, in: &inflate) == Array(Self.text.prefix(300)), "there are more data")
            for count in 0..<data.count - 2 {
                #expect(decompressed(Array(data.prefix(count)), count: 512, in: &inflate) == nil, "\(count) bytes")
            }
        }
    }

    /// Each from RFC 1951: what a block must not be.
    @Test(
        arguments: [
            [0b111],  // a fourth type
            [0b001, 4, 0, 0, 0],  // a length without its complement
            [0b011, 0b0010_0000, 0, 0],  // a distance before the first byte
            [0b1111_1101, 0xFF, 0xFF, 0xFF],  // more literals than there are
            [0b0000_0101, 0xC0, 0xFF, 0xFF, 0xFF, 0xFF],  // more words than there can be
            // The same, and without that rule 512 ones are 512 bytes.
            [0x05, 0xC0, 0x01, 0x09, 0, 0, 0, 0, 0x10, 0xFE, 0x9F, 0xD6] + [UInt8](repeating: 0xFF, count: 80),
            [],
        ] as [[UInt8]])
    func badDataAreNoCluster(_ data: [UInt8]) {
        var inflate = Inflate()
        #expect(decompressed(data, count: 512, in: &inflate) == nil)
    }

    /// Anything ends, and nothing is written behind the room.
    @Test func dataAtRandomEnd() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var inflate = Inflate()
        var goodCount = 0
        for _ in 0..<4000 {
            var data = Bool.random(using: &generator) ? Self.dynamic : Self.fixed
            for _ in 0...Int.random(in: 0...3, using: &generator) {
                let place = Int.random(in: 0..<data.count, using: &generator)
                data[place] = UInt8.random(in: 0...255, using: &generator)
            }
            if Int.random(in: 0...9, using: &generator) == 0 { data = generator.bytes(200) }
            if decompressed(data, count: .random(in: 1...600, using: &generator), in: &inflate) != nil {
                goodCount += 1
            }
        }
        #expect(goodCount > 0, "seed \(seed)")
    }
}
