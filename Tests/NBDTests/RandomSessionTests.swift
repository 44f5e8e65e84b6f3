// Clients whose streams make sense up to a point: a session never traps, and where packets end never matters.

import NBD
import Seeded
import Testing

/// A stream of options and requests, each well-formed but for now and then a wrong byte.
private func doubtfulStream(_ generator: inout SeededGenerator) -> [UInt8] {
    let isExtended = Bool.random(using: &generator)
    var stream = bigEndian(UInt64.random(in: 0...3, using: &generator), bytes: 4)
    if Bool.random(using: &generator) { stream += option(8) }
    if isExtended { stream += option(11) }
    if Bool.random(using: &generator) {
        stream += option(
            10, hex("00000004") + Array("disk".utf8) + hex("00000001 0000000f") + Array("base:allocation".utf8))
    }
    if Bool.random(using: &generator) { stream += option(UInt32.random(in: 0...12, using: &generator), [1, 2, 3]) }
    let name = ["disk", "archive", ""].randomElement(using: &generator)!
    stream += option(7, infoData(name, [3]))
    for _ in 0..<Int.random(in: 0...6, using: &generator) {
        let type = UInt64.random(in: 0...8, using: &generator)
        let flags = UInt64([0, 0, 0, 1, 8, 32, 40].randomElement(using: &generator)!)
        let length = UInt64([0, 12, 512, 1024, 40].randomElement(using: &generator)!)
        let offset = UInt64([0, 512, 77, 3 << 30].randomElement(using: &generator)!)
        stream +=
            isExtended
            ? extended(type, flags: flags, offset: offset, length: length)
            : compact(type, flags: flags, offset: offset, length: length)
        if type == 1 || isExtended && flags & 32 != 0 {
            stream += (0..<length).map { _ in UInt8.random(in: 0...255, using: &generator) }
        }
    }
    for _ in 0..<[0, 0, 0, 1, 3].randomElement(using: &generator)! {
        stream[Int.random(in: 0..<stream.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
    }
    return stream
}

@Test func randomSessions() {
    let seed = UInt64.random(in: 0 ... .max)
    var generator = SeededGenerator(seed: seed)
    var begun = 0
    var ended = 0
    for round in 0..<2000 {
        let stream = doubtfulStream(&generator)
        let tls = [TLSPolicy.unavailable, .optional, .required].randomElement(using: &generator)!
        let openings: [Opening] =
            Int.random(in: 0..<8, using: &generator) == 0 ? [.refused("no")] : []
        var whole = Conversation(exports, tls: tls, openings: openings, postpones: false, #_sourceLocation)
        whole.feed(stream)
        var pieces = Conversation(
            exports, tls: tls, openings: openings, postpones: Bool.random(using: &generator), #_sourceLocation)
        var rest = stream[...]
        while !rest.isEmpty {
            let count = Int.random(in: 1...64, using: &generator)
            pieces.feed(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
        guard whole.course == pieces.course else {
            Issue.record("seed \(seed), round \(round): \(whole.course) in one piece, \(pieces.course) in several")
            return
        }
        for happening in whole.course.happenings {
            switch happening {
            case .begin: begun += 1
            case .end: ended += 1
            default: break
            }
        }
    }
    // Both have to occur, or the generator does not test what it should.
    #expect(begun > 0 && ended > 0, "seed \(seed)")
}
