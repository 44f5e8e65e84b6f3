// What each option does (NBD protocol, "Option types"). Every handshake here runs in one piece, byte by byte and in
// pieces of 7. Numbers in the comments are those of the project's conformance checklist.

import NBD
import Testing

private let transmissionFlagsOfDisk = "0d75"

// MARK: EXPORT_NAME

/// 22: size, transmission flags, 124 zeroes.
@Test func exportNameWithZeroes() {
    let outcome = handshake(fixedNewstyle + option(1, Array("archive".utf8)), exports)
    let reply = hex("0102030405060708 0003") + Array(repeating: 0, count: 124)
    #expect(
        outcome.end
            == .transmission(
                reply: reply, export: 1,
                parameters: TransmissionParameters(
                    export: archive, messages: .simple, hasAllocationContext: false,
                    blockSizeAdvertised: false)))
}

/// 23: the same without the zeroes. SEND_DF is clear, because structured replies were not negotiated.
@Test func exportNameWithoutZeroes() {
    let outcome = handshake(noZeroes + option(1, Array("disk".utf8)), exports)
    guard case .transmission(let reply, 0, _) = outcome.end else {
        Issue.record("no transmission: \(outcome)")
        return
    }
    #expect(reply == hex("00000000c0000000 " + transmissionFlagsOfDisk))
}

/// 24: no reply data, only the end.
@Test func exportNameUnknown() {
    let outcome = handshake(noZeroes + option(1, Array("Disk".utf8)) + option(3), exports)
    #expect(outcome.replies.isEmpty)
    #expect(outcome.end == .close(reply: [], reason: .exportNameUnknown(Array("Disk".utf8))))
}

/// 25: the empty name is the first export, and none when there is none.
@Test func exportNameEmpty() {
    guard case .transmission(_, 0, _) = handshake(noZeroes + option(1), exports).end else {
        Issue.record("the empty name did not choose the first export")
        return
    }
    #expect(handshake(noZeroes + option(1), []).end == .close(reply: [], reason: .exportNameUnknown([])))
}

/// 26: 4,096 bytes are a name, 4,097 are not.
@Test(arguments: [256, 4096])
func exportNameLong(_ count: Int) throws {
    let name = String(repeating: "n", count: count)
    let long = try ExportInformation(name: name, description: "", sizeBytes: 512, flags: [])
    guard case .transmission(_, 1, _) = handshake(noZeroes + option(1, Array(name.utf8)), [disk, long]).end else {
        Issue.record("the name of \(count) bytes was not found")
        return
    }
}

@Test func exportNameTooLong() {
    let outcome = handshake(noZeroes + option(1, Array(repeating: 0x6e, count: 4097)), exports)
    #expect(outcome.end == .close(reply: [], reason: .exportNameTooLong(bytes: 4097)))
}

/// 27
@Test(arguments: [[0x61, 0x00], [0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0x61, 0xe2, 0x82]] as [[UInt8]])
func namesThatAreNoStrings(_ name: [UInt8]) {
    #expect(
        handshake(noZeroes + option(1, name), exports).end == .close(reply: [], reason: .exportNameInvalid(name)))
    #expect(replies(to: option(6, infoData(name)), exports: exports).map(\.type) == [0x8000_0003])
    #expect(replies(to: option(7, infoData(name)), exports: exports).map(\.type) == [0x8000_0003])
}

// MARK: ABORT

/// 29, 30: ACK, then the end; data are ignored, and so is what follows.
@Test(arguments: [0, 1, 1000, 65536])
func abort(_ payloadBytes: Int) {
    let outcome = handshake(
        noZeroes + option(2, Array(repeating: 7, count: payloadBytes)) + option(3), exports)
    #expect(outcome.replies.isEmpty)
    #expect(
        outcome.end
            == .close(reply: hex("0003e889045565a9 00000002 00000001 00000000"), reason: .aborted))
    #expect(outcome.rest.isEmpty)
}

// MARK: LIST

/// 32, 34: one REP_SERVER for each export, with the description as text after the name, then the ACK.
@Test func list() {
    let outcome = handshake(noZeroes + option(3), exports)
    let server = hex("0003e889045565a9 00000003 00000002")
    let first = hex("0000001a 00000004") + Array("diskQEMU HARDDISK 2.5+".utf8)
    let second = hex("0000000b 00000007") + Array("archive".utf8)
    #expect(
        outcome.replies
            == server + first + server + second + hex("0003e889045565a9 00000003 00000001 00000000"))
}

@Test func listOfNothing() {
    #expect(replies(to: option(3), exports: []) == [OptionReply(option: 3, type: 1)])
}

/// 33: and the session goes on.
@Test func listWithData() {
    #expect(replies(to: option(3, hex("00")), option(3), exports: [disk]).map(\.type) == [0x8000_0003, 2, 1])
}

/// 37: a long list comes in pieces, and no piece grows with the number of exports.
@Test func listOfTenThousand() throws {
    let many = try (0..<10_000).map {
        try ExportInformation(name: "export \($0)", description: "", sizeBytes: 512, flags: [])
    }
    var negotiation = Negotiation()
    var bytes = noZeroes + option(3) + option(8)
    var received: [UInt8] = []
    var pieces = 0
    while true {
        let (consumed, event) = negotiation.advance(bytes.span.bytes, exports: many)
        bytes.removeFirst(consumed)
        guard case .reply(let reply, nil) = event else { break }
        #expect(reply.count < 65536 + 20 + 4 + 2 * 4096)
        received += reply
        pieces += 1
    }
    let replies = optionReplies(received)
    #expect(pieces > 3 && bytes.isEmpty)
    #expect(replies.map(\.type) == Array(repeating: 2, count: 10_000) + [1, 1])
    #expect(replies[9_999].data == hex("0000000b") + Array("export 9999".utf8))
}

// MARK: INFO and GO

/// 38: EXPORT is always told; the session stays with options.
@Test func infoWithoutRequests() {
    let outcome = handshake(noZeroes + option(6, infoData("disk")), exports)
    #expect(
        outcome.replies
            == hex(
                """
                0003e889045565a9 00000006 00000003 0000000c 0000 00000000c0000000 \(transmissionFlagsOfDisk)
                0003e889045565a9 00000006 00000001 00000000
                """))
    #expect(outcome.end == nil)
}

/// 39: the same with GO, no 124 zeroes even when they were not negotiated away, and transmission begins.
@Test func goWithoutRequests() {
    let outcome = handshake(fixedNewstyle + option(7, infoData("archive")), exports)
    #expect(
        outcome.end
            == .transmission(
                reply: hex(
                    """
                    0003e889045565a9 00000007 00000003 0000000c 0000 0102030405060708 0003
                    0003e889045565a9 00000007 00000001 00000000
                    """),
                export: 1,
                parameters: TransmissionParameters(
                    export: archive, messages: .simple, hasAllocationContext: false,
                    blockSizeAdvertised: false)))
}

/// 41, 42, 43, 44, 45, 46: every information once, unknown ones ignored, under the canonical name.
@Test func infoWithAllRequests() {
    let outcome = handshake(noZeroes + option(6, infoData("", [3, 0x1234, 1, 2, 0, 1, 3, 0xffff])), exports)
    let info = "0003e889045565a9 00000006 00000003"
    #expect(
        outcome.replies
            == hex("\(info) 0000000c 0000 00000000c0000000 \(transmissionFlagsOfDisk)")
            + hex("\(info) 00000006 0001") + Array("disk".utf8)
            + hex("\(info) 00000014 0002") + Array("QEMU HARDDISK 2.5+".utf8)
            + hex("\(info) 0000000e 0003 00000200 00001000 02000000")
            + hex("0003e889045565a9 00000006 00000001 00000000"))
}

/// 46: default sizes are told too. An export without a description has none to tell.
@Test func infoAboutDefaults() {
    let replies = replies(to: option(6, infoData("archive", [2, 3])), exports: exports)
    #expect(replies.map(\.type) == [3, 3, 1])
    #expect(replies[1].data == hex("0003 00000001 00001000 02000000"))
}

/// 40: ERR_INVALID, and the session goes on.
@Test(arguments: [
    "", "00", "00000000 00",  // shorter than length of name and number of requests
    "00000001 0000",  // the name would take the number of requests
    "00000005 6469736b 0000", "ffffffff 6469736b 0000", "fffffffa 6469736b 0000",
    "00000004 6469736b 0001", "00000004 6469736b 0002 0000",  // fewer requests than announced
    "00000004 6469736b 0000 00", "00000004 6469736b 0000 0003", "00000004 6469736b 0001 0003 0000",  // more
])
func malformedInfo(_ data: String) {
    for number in [6, 7] as [UInt32] {
        let replies = replies(to: option(number, hex(data)), option(8), exports: exports)
        #expect(replies.map(\.type) == [0x8000_0003, 1])
        #expect(replies.first?.option == number)
    }
}

/// 26: a name of 4,096 bytes with as many requests as the data may have; then one byte too many of either.
@Test func longNamesInInfo() throws {
    let name = String(repeating: "n", count: 4096)
    let long = try ExportInformation(name: name, description: "", sizeBytes: 512, flags: [])
    let most = Array(repeating: UInt16(1), count: (8192 - 6 - 4096) / 2)
    let found = replies(to: option(6, infoData(name, most)), exports: [disk, long])
    #expect(found.map(\.type) == [3, 3, 1])
    #expect(found[1].data == hex("0001") + Array(name.utf8))
    #expect(replies(to: option(7, infoData(name + "n")), exports: [long]).map(\.type) == [0x8000_0003])
    #expect(
        replies(to: option(7, infoData(name, most + [1])), option(6, infoData("")), exports: [long]).map(\.type)
            == [0x8000_0009, 3, 1])
}

/// 47, 49: ERR_UNKNOWN without a REP_INFO before it, and a second GO succeeds.
@Test func unknownExport() {
    #expect(
        replies(to: option(6, infoData("no", [0, 1, 2, 3])), exports: exports).map(\.type) == [0x8000_0006])
    #expect(replies(to: option(6, infoData("")), exports: []).map(\.type) == [0x8000_0006])
    let outcome = handshake(noZeroes + option(7, infoData("no")) + option(7, infoData("disk")), exports)
    #expect(optionReplies(outcome.replies).map(\.type) == [0x8000_0006])
    guard case .transmission(_, 0, _) = outcome.end else {
        Issue.record("the second GO failed: \(outcome)")
        return
    }
}

/// 48: INFO and GO with the same parameters tell the same.
@Test func infoThenGo() {
    let data = infoData("disk", [1, 3])
    let outcome = handshake(noZeroes + option(8) + option(6, data) + option(7, data), exports)
    guard case .transmission(let reply, _, _) = outcome.end else {
        Issue.record("no transmission: \(outcome)")
        return
    }
    let info = optionReplies(outcome.replies).filter { $0.option == 6 }
    let go = optionReplies(reply)
    #expect(info.count == 4 && info.map(\.data) == go.map(\.data) && info.map(\.type) == go.map(\.type))
}

/// A client that asked GO for the block sizes has to keep to them; one that asked INFO only, or nothing, has not.
@Test func blockSizesBindWhoAskedGo() {
    let cases: [([UInt8], UInt32)] = [
        (option(7, infoData("disk", [3])), 512),
        (option(7, infoData("disk")), 1),
        (option(6, infoData("disk", [3])) + option(7, infoData("disk")), 1),
        (option(1, Array("disk".utf8)), 1),
    ]
    for (options, alignmentBytes) in cases {
        guard case .transmission(_, _, let parameters) = handshake(noZeroes + options, exports).end else {
            Issue.record("no transmission")
            return
        }
        #expect(parameters.alignmentBytes == alignmentBytes)
        #expect(parameters.maximumPayloadBytes == 1 << 25)
        #expect(parameters.sizeBytes == 3 << 30)
    }
}

// MARK: STRUCTURED_REPLY

/// 20: twice does no harm. SEND_DF appears in what follows, whichever option begins transmission.
@Test func structuredReply() {
    let acknowledged = hex("0003e889045565a9 00000008 00000001 00000000")
    for (start, flagBytes) in [(option(1, Array("disk".utf8)), 8..<10), (option(7, infoData("disk")), 30..<32)] {
        let outcome = handshake(noZeroes + option(8) + option(8) + start, exports)
        #expect(outcome.replies == acknowledged + acknowledged)
        guard case .transmission(let reply, 0, let parameters) = outcome.end else {
            Issue.record("no transmission: \(outcome)")
            return
        }
        #expect(Array(reply[flagBytes]) == hex("0df5"))
        #expect(parameters.messages == .structured && parameters.flags.rawValue == 0x0df5)
    }
}

/// With data it is ERR_INVALID and structured replies stay off.
@Test func structuredReplyWithData() {
    let outcome = handshake(noZeroes + option(8, hex("01")) + option(7, infoData("disk")), exports)
    #expect(optionReplies(outcome.replies).map(\.type) == [0x8000_0003])
    guard case .transmission(_, _, let parameters) = outcome.end else {
        Issue.record("no transmission: \(outcome)")
        return
    }
    #expect(parameters.messages == .simple && !parameters.flags.contains(.sendDF))
}
