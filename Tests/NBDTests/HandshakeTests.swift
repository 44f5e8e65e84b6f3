// The greeting, client flags and the framing of options (NBD protocol, "Newstyle negotiation", "Fixed newstyle
// negotiation"). Numbers in the comments are those of the project's conformance checklist.

import NBD
import Testing

/// 1, 2: 18 bytes, FIXED_NEWSTYLE and NO_ZEROES set, every other flag clear.
@Test func greeting() {
    #expect(Negotiation.greeting == hex("4e42444d41474943 49484156454f5054 0003"))
}

/// 3, 6: a client without FIXED_NEWSTYLE is served all the same.
@Test(arguments: [0, 1, 2, 3] as [UInt64])
func knownClientFlags(_ flags: UInt64) {
    let outcome = handshake(bigEndian(flags, bytes: 4) + option(3), exports)
    #expect(outcome.end == nil)
    #expect(optionReplies(outcome.replies).map(\.type) == [2, 2, 1])
}

/// 4: the connection is dropped and no option is looked at.
@Test(arguments: [2, 3, 7, 15, 31])
func unknownClientFlags(_ bit: Int) {
    let flags = UInt32(1) << bit | 1
    let outcome = handshake(bigEndian(UInt64(flags), bytes: 4) + option(3), exports)
    #expect(outcome.replies.isEmpty)
    #expect(outcome.end == .close(reply: [], reason: .clientFlags(flags)))
}

/// 11, 12: ERR_UNSUP, the payload is stepped over, the next option is understood. STARTTLS (5) is not there.
@Test(arguments: [0, 4, 5, 12, 0x1234_5678, 0xffff_ffff] as [UInt32], [0, 1, 4096, 8193, 65536])
func unsupportedOption(_ number: UInt32, _ payloadBytes: Int) {
    let replies = replies(
        to: option(number, Array(repeating: 0x49, count: payloadBytes)), option(8), exports: exports)
    #expect(replies.map(\.option) == [number, 8])
    #expect(replies.map(\.type) == [0x8000_0001, 1])
}

/// 15
@Test func wrongOptionMagic() {
    let outcome = handshake(noZeroes + hex("4948415645 4f5055 00000003 00000000"), exports)
    #expect(outcome.replies.isEmpty)
    #expect(outcome.end == .close(reply: [], reason: .optionMagic(0x4948_4156_454f_5055)))
}

/// 16: nothing of a claimed length is kept; beyond a bound the connection is closed at once.
@Test(arguments: [65537, 0xffff_ffff] as [UInt32], [1, 2, 3, 6, 7, 99] as [UInt32])
func absurdOptionLength(_ claimedBytes: UInt32, _ number: UInt32) {
    let outcome = handshake(noZeroes + option(number, claimedBytes: claimedBytes), exports)
    #expect(outcome.replies.isEmpty)
    #expect(outcome.end == .close(reply: [], reason: .optionTooLong(option: number, bytes: claimedBytes)))
}

/// 17: 32 options and 4 for every export.
@Test func tooManyOptions() {
    let limit = 32 + 4 * exports.count
    let few = handshake(noZeroes + Array(repeatElement(option(8), count: limit).joined()), exports)
    #expect(few.end == nil)
    #expect(optionReplies(few.replies).count == limit)
    let many = handshake(noZeroes + Array(repeatElement(option(8), count: limit + 1).joined()), exports)
    #expect(many.end == .close(reply: [], reason: .tooManyOptions(limit: limit)))
    #expect(optionReplies(many.replies).count == limit)
}

/// 18: options pipelined in one packet are answered in order; what follows GO belongs to transmission.
@Test func pipelinedOptions() {
    let request = hex("25609513 0000 0000 0102030405060708 0000000000000000 00000200")
    let outcome = handshake(
        noZeroes + option(77, hex("00")) + option(3) + option(8) + option(6, infoData("archive"))
            + option(7, infoData("disk")) + request, exports)
    #expect(optionReplies(outcome.replies).map(\.option) == [77, 3, 3, 3, 8, 6, 6])
    guard case .transmission(let reply, 0, let parameters) = outcome.end else {
        Issue.record("no transmission: \(outcome)")
        return
    }
    #expect(optionReplies(reply).map(\.option) == [7, 7])
    #expect(parameters.messages == .structured)
    #expect(outcome.rest == request)
}

/// 21: ERR_SHUTDOWN for everything but ABORT; EXPORT_NAME can only be answered by closing.
@Test(arguments: [3, 4, 5, 6, 7, 8, 9, 10, 11, 77] as [UInt32])
func optionsDuringShutdown(_ number: UInt32) {
    let replies = replies(to: option(number, infoData("disk")), exports: exports, shuttingDown: true)
    #expect(replies.map(\.type) == [0x8000_0007])
    #expect(replies.map(\.option) == [number])
}

@Test func abortAndExportNameDuringShutdown() {
    #expect(
        handshake(noZeroes + option(2), exports, shuttingDown: true).end
            == .close(reply: hex("0003e889045565a9 00000002 00000001 00000000"), reason: .aborted))
    #expect(
        handshake(noZeroes + option(1, Array("disk".utf8)), exports, shuttingDown: true).end
            == .close(reply: [], reason: .shuttingDown))
}

/// The shutdown may begin while an option is on its way.
@Test func shutdownInTheMiddleOfAnOption() {
    var negotiation = Negotiation()
    let bytes = noZeroes + option(7, infoData("disk"))
    let before = Handshake(&negotiation, Array(bytes.prefix(25)), exports, pieceBytes: 25)
    #expect(before.replies.isEmpty && before.end == nil)
    negotiation.beginShutdown()
    let after = Handshake(&negotiation, before.rest + bytes.dropFirst(25), exports, pieceBytes: 100)
    #expect(optionReplies(after.replies).map(\.type) == [0x8000_0007])
    #expect(after.end == nil)
}

/// The reasons that reach the log say what came and what would have been right.
@Test func reasonsInWords() {
    let reasons: [(CloseReason, [String])] = [
        (.clientFlags(0x81), ["0x81", "0x1"]),
        (.optionMagic(0x4745_5420_2f20_4854), ["0x474554202f204854", "0x49484156454f5054"]),
        (.tooManyOptions(limit: 40), ["40"]),
        (.optionTooLong(option: 9, bytes: 70000), ["9", "70000", "65536"]),
        (.exportNameTooLong(bytes: 5000), ["5000", "4096"]),
        (.exportNameUnknown(Array("a\nb".utf8)), [#""a\nb""#]),
        (.exportNameInvalid([0x61, 0xff]), ["UTF-8"]),
        (
            .exportNameUnknown(Array(String(repeating: "y", count: 4096).utf8)),
            ["\"" + String(repeating: "y", count: 64)]
        ),
    ]
    for (reason, parts) in reasons {
        for part in parts {
            #expect(reason.description.contains(part), "\(reason)")
        }
        #expect(reason.description.utf8.count < 512, "\(reason)")
        #expect(!reason.description.contains("\n"))
    }
}
