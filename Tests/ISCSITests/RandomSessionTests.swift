// Initiators whose streams make sense up to a point: a session never traps, and where packets end never matters.

import ISCSI
import SCSI
import Seeded
import Testing

/// A stream of requests, each well-formed but for now and then a wrong byte.
private func doubtfulStream(_ generator: inout SeededGenerator) -> [UInt8] {
    func pick<Value>(_ values: Value...) -> Value { values.randomElement(using: &generator)! }
    var stream = pick(
        login(), login("InitialR2T=No\0FirstBurstLength=512\0MaxBurstLength=512\0"), discovery,
        login("MaxRecvDataSegmentLength=512\0HeaderDigest=CRC32C\0DataDigest=CRC32C\0"))
    var index: UInt32 = 0
    for _ in 0..<Int.random(in: 0...8, using: &generator) {
        let tag = 0x20 + UInt32.random(in: 0...3, using: &generator)
        let count = pick(0, 3, 512, 700)
        switch Int.random(in: 0..<8, using: &generator) {
        case 0:
            stream += command(index, tag: tag, reads: UInt32(pick(4, 512, 4000)))
            index += 1
        case 1, 2:
            stream += command(index, tag: tag, writes: UInt32(pick(count, 1024)), pattern(pick(0, count))) {
                $0.isFinal = $0.dataSegmentLength % 2 == 0
            }
            index += 1
        case 3, 4:
            let transfer = pick(reservedTag, 0x2_0000, 0x2_0001, 0x3_0000)
            let offset = UInt32(pick(0, count, 512))
            stream += dataOut(tag, transfer: transfer, sequence: pick(0, 1), offset: offset, pattern(count))
        case 5:
            var request = TaskManagementRequestPDU()
            request.function = pick(1, 2, 5, 9)
            request.referencedTaskTag = tag
            stream += pdu(request)
        case 6:
            var request = NOPOutPDU()
            request.initiatorTaskTag = tag
            stream += pdu(request, pattern(count))
        default:
            var request = TextRequestPDU()
            request.isImmediate = true
            request.continues = pick(true, false)
            request.isFinal = !request.continues
            request.targetTransferTag = pick(reservedTag, 1, 2)
            stream += pdu(request, Array(pick("SendTargets=All\0", "SendTargets=\0", "Send").utf8))
        }
    }
    for _ in 0..<pick(0, 0, 0, 1, 3) {
        stream[Int.random(in: 0..<stream.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
    }
    return stream
}

@Test func randomSessions() {
    let seed = UInt64.random(in: 0 ... .max)
    var generator = SeededGenerator(seed: seed)
    var (begun, completed, rejected, ended) = (0, 0, 0, 0)
    for round in 0..<1000 {
        let stream = doubtfulStream(&generator)
        var script = Script()
        script.holdsWrites = Bool.random(using: &generator)
        var whole = Conversation(configuration(), script)
        whole.feed(stream)
        var pieces = Conversation(configuration(), script, postpones: Bool.random(using: &generator))
        var rest = stream[...]
        while !rest.isEmpty {
            let count = Int.random(in: 1...64, using: &generator)
            pieces.feed(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
        let (happenings, others) = (whole.happenings, pieces.happenings)
        guard happenings == others else {
            Issue.record("seed \(seed), round \(round): \(happenings) in one piece, \(others) in several")
            return
        }
        for happening in happenings {
            switch happening {
            case .begin: begun += 1
            case .complete: completed += 1
            case .say(let bytes) where bytes[0] == 0x3F: rejected += 1
            case .end: ended += 1
            default: break
            }
        }
    }
    // The streams are not all nonsense.
    #expect(
        begun > 100 && completed > 10 && rejected > 10 && ended > 10,
        "seed \(seed): \(begun), \(completed), \(rejected), \(ended)")
}
