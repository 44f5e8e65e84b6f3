// Clients that send nonsense: nothing traps, nothing is consumed that was not given, memory stays bounded.

import NBD
import Seeded
import Testing

private func garbage(_ generator: inout SeededGenerator, atMost limit: Int) -> [UInt8] {
    (0..<Int.random(in: 0...limit, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) }
}

/// An option that is well-formed up to a point: small numbers, now and then a wrong length or a few wrong bytes.
private func doubtfulOption(_ generator: inout SeededGenerator) -> [UInt8] {
    let names = ["", "disk", "archive", "no"]
    let types = (0..<Int.random(in: 0...5, using: &generator)).map { _ in UInt16.random(in: 0...5, using: &generator) }
    let name = names.randomElement(using: &generator)!
    let query = ["base:allocation", "base:", "x:y", ""].randomElement(using: &generator)!
    let data =
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: infoData(name, types)
        case 1:
            bigEndian(UInt64(name.count), bytes: 4) + Array(name.utf8) + hex("00000001")
                + bigEndian(UInt64(query.count), bytes: 4) + Array(query.utf8)
        default: garbage(&generator, atMost: 40)
        }
    var bytes = option(UInt32.random(in: 0...12, using: &generator), data)
    if Int.random(in: 0..<4, using: &generator) == 0 {
        bytes[Int.random(in: 8..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
    }
    return bytes
}

@Test func randomHandshakes() {
    let seed = UInt64.random(in: 0 ... .max)
    var generator = SeededGenerator(seed: seed)
    var ends = 0
    for round in 0..<2000 {
        var bytes: [UInt8]
        if round % 4 == 0 {
            bytes = garbage(&generator, atMost: 300)
        } else {
            bytes = bigEndian(UInt64.random(in: 0...3, using: &generator), bytes: 4)
            for _ in 0..<Int.random(in: 1...12, using: &generator) {
                bytes += doubtfulOption(&generator)
            }
        }
        // Handshake checks the consumed count and the bound of what is kept; pieces must not change the outcome.
        var one = Negotiation()
        var two = Negotiation()
        let whole = Handshake(&one, bytes, exports, pieceBytes: max(bytes.count, 1))
        let pieces = Handshake(
            &two, bytes, exports, pieceBytes: Int.random(in: 1...64, using: &generator))
        guard whole == pieces else {
            Issue.record("seed \(seed), round \(round): \(whole) in one piece, \(pieces) in several")
            return
        }
        _ = optionReplies(whole.replies)
        ends += whole.end == nil ? 0 : 1
    }
    // Both kinds have to occur, or the generator does not test what it should.
    #expect((1..<2000).contains(ends), "seed \(seed)")
}
