// Extended headers (NBD protocol, extension EXTENDED_HEADERS): the option, and requests of 32 bytes. Numbers in the
// comments are those of the project's conformance checklist.

import NBD
import Seeded
import Testing

// MARK: The option

/// 171, 173: ACK, as often as it is asked for, with or without structured replies before; these not any more
/// afterwards.
@Test func extendedHeadersOption() {
    #expect(
        replies(to: option(8), option(11), option(11), option(8), option(11), exports: exports).map(\.type)
            == [1, 1, 1, 0x8000_000a, 1])
    for options in [option(11), option(8) + option(11), option(11) + option(8)] {
        let outcome = handshake(noZeroes + options + option(7, infoData("disk")), exports)
        guard case .transmission(let reply, 0, let parameters) = outcome.end else {
            Issue.record("no transmission: \(outcome)")
            return
        }
        #expect(parameters.messages == .extended && Array(reply[30..<32]) == hex("0df5"))
    }
}

/// 171: data are ERR_INVALID, and headers stay compact.
@Test func extendedHeadersWithData() {
    let outcome = handshake(noZeroes + option(11, hex("00")) + option(7, infoData("disk")), exports)
    #expect(optionReplies(outcome.replies).map(\.type) == [0x8000_0003])
    guard case .transmission(_, _, let parameters) = outcome.end else {
        Issue.record("no transmission: \(outcome)")
        return
    }
    #expect(parameters.messages == .simple)
}

/// 171: EXPORT_NAME is out, and has no other way to be told so.
@Test func exportNameAfterExtendedHeaders() {
    let outcome = handshake(noZeroes + option(11) + option(1, Array("disk".utf8)), exports)
    #expect(outcome.end == .close(reply: [], reason: .exportNameWithExtendedHeaders))
    #expect(CloseReason.exportNameWithExtendedHeaders.description.contains("EXTENDED_HEADERS"))
}

/// 177: BLOCK_STATUS_PAYLOAD is told of the export that a context was selected for, by INFO and by GO.
@Test func blockStatusPayloadFlag() {
    let set = option(
        10, hex("00000004") + Array("disk".utf8) + hex("00000001 0000000f") + Array("base:allocation".utf8))
    func flags(_ options: [UInt8]..., name: String = "disk") -> String {
        let all = replies(to: options.flatMap { $0 } + option(6, infoData(name)), exports: exports)
        guard let info = all.first(where: { $0.type == 3 }) else { return "no information" }
        return info.data[10...].map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
    #expect(flags(option(11)) == "0df5")
    #expect(flags(option(11), set) == "1df5")
    #expect(flags(option(8), set) == "0df5")
    #expect(flags(option(8), set, option(11)) == "1df5")
    #expect(flags(option(11), set, name: "archive") == "0003")
}

// MARK: Requests

private func extended(_ flags: TransmissionFlags = everything, hasContext: Bool = true) -> TransmissionParameters {
    parameters(flags, messages: .extended, hasContext: hasContext)
}

private func request(
    _ type: UInt16, _ flags: CommandFlags = [], offset: UInt64 = 0, length: UInt64 = 512
) -> RequestHeader {
    RequestHeader(type: type, flags: flags, offsetBytes: offset, lengthBytes: length, magic: 0x21e4_1c71)
}

@Test func decodeExtendedRequestHeader() {
    let bytes = hex("21e41c71 0021 0001 fedcba9876543210 0102030405060708 8000000000000200 aa")
    let header = RequestHeader(bytes.span.bytes, .extended)
    #expect(header.isExtended && header.magic == 0x21e4_1c71)
    #expect(header.flags == [.fua, .payloadLength] && header.type == 1)
    #expect(header.cookie == 0xfedc_ba98_7654_3210 && header.offsetBytes == 0x0102_0304_0506_0708)
    #expect(header.lengthBytes == 0x8000_0000_0000_0200)
    #expect(MessageStyle.extended.requestHeaderBytes == 32)
}

/// 100: each connection has headers of one kind.
@Test func compactAndExtendedDoNotMix() {
    #expect(
        judge(RequestHeader(type: 0, lengthBytes: 512), extended())
            == .close(.magic(0x2560_9513, expected: 0x21e4_1c71)))
    #expect(judge(request(0), parameters()) == .close(.magic(0x21e4_1c71, expected: 0x2560_9513)))
}

/// 174: the flag says that there is a payload, whatever the command; only WRITE and BLOCK_STATUS may have it. A WRITE
/// has its payload even if it does not say so, which QEMU's client relies on.
@Test func payloadsOfExtendedRequests() {
    for type in 0...20 as ClosedRange<UInt16> where type != 2 {
        #expect(request(type).payloadBytes == (type == 1 ? 512 : 0))
        #expect(request(type, .payloadLength).payloadBytes == 512)
        let judgement = judge(request(type, .payloadLength), extended())
        #expect(judgement == (type == 1 ? .perform(.write) : .refuse(EINVAL, drain: 512)))
    }
    #expect(judge(request(1), extended()) == .perform(.write))
    #expect(judge(request(2, .payloadLength, length: .max), extended()) == .disconnect)
    #expect(judge(request(1, .payloadLength, length: 0), extended()) == .refuse(EINVAL, drain: 0))
    // Refusals for other reasons read the payload too.
    #expect(judge(request(7, .payloadLength, length: 12), extended(hasContext: false)) == .refuse(EINVAL, drain: 12))
    #expect(judge(request(1, .payloadLength), extended([.readOnly])) == .refuse(EPERM, drain: 512))
    #expect(judge(request(1, .payloadLength, offset: size), extended()) == .refuse(ENOSPC, drain: 512))
}

/// 175: above the maximum the session ends, up to it everything is read.
@Test(arguments: [1, 4, 7, 99] as [UInt16])
func longPayloads(_ type: UInt16) {
    let limit: UInt32 = 1 << 25
    for length in [UInt64(limit) + 1, 1 << 32, 1 << 32 + 512, .max] {
        let violation = RequestViolation.payloadTooLong(length, limit: limit)
        #expect(judge(request(type, .payloadLength, length: length), extended()) == .close(violation))
        #expect(violation.description.contains("\(length)"))
    }
    let judgement = judge(request(type, .payloadLength, length: UInt64(limit)), extended())
    #expect(judgement == (type == 1 ? .perform(.write) : .refuse(EINVAL, drain: limit)))
}

/// 178: 64-bit lengths, up to the end and not a byte further, without any truncation to 32 bits.
@Test(arguments: [4, 5, 6, 7] as [UInt16])
func longEffectLengths(_ type: UInt16) {
    let error = type == 6 ? ENOSPC : EINVAL
    let huge = TransmissionParameters(
        export: try! ExportInformation(name: "", description: "", sizeBytes: 1 << 57, flags: everything),
        messages: .extended, hasAllocationContext: true, blockSizeAdvertised: false)
    let performed = Judgement.perform(Command(rawValue: type)!)
    for (offset, length) in [
        (0, 1 << 57), (0, 1 << 32), (512, 1 << 32), (1 << 32, 1 << 33 + 512), (1 << 57 - 1, 1), (1, 1 << 57 - 1),
    ] as [(UInt64, UInt64)] {
        #expect(judge(request(type, offset: offset, length: length), huge) == performed)
    }
    for (offset, length) in [
        (0, 1 << 57 + 1), (1, 1 << 57), (1 << 57, 1), (512, .max), (1 << 63, 1 << 63), (.max, 1), (1, .max),
        (.max - 511, 512), (0, .max), (1 << 57, 1 << 32),
    ] as [(UInt64, UInt64)] {
        #expect(judge(request(type, offset: offset, length: length), huge) == .refuse(error, drain: 0))
    }
}

/// 110: a READ of more than one reply can carry.
@Test func longExtendedReads() {
    for length in [1 << 25 + 1, 1 << 32, 1 << 32 + 512, size] as [UInt64] {
        #expect(judge(request(0, length: length), extended()) == .refuse(EOVERFLOW, drain: 0))
    }
    #expect(judge(request(0, length: 1 << 25), extended()) == .perform(.read))
    #expect(judge(request(0, length: .max), extended()) == .refuse(EINVAL, drain: 0))
}

// MARK: BLOCK_STATUS

/// 102, 147, 149, 154: the command and its flags with a context, and never without.
@Test(arguments: [MessageStyle.structured, .extended])
func blockStatusRequests(_ messages: MessageStyle) {
    let magic: UInt32 = messages == .extended ? 0x21e4_1c71 : 0x2560_9513
    let told = parameters([.readOnly], messages: messages, hasContext: true)
    let bare = parameters(messages: messages)
    for bit in 0..<16 where bit != 5 || messages == .structured {
        let flags = CommandFlags(rawValue: 1 << bit)
        let header = RequestHeader(type: 7, flags: flags, lengthBytes: 512, magic: magic)
        #expect(judge(header, told) == (flags == .reqOne ? .perform(.blockStatus) : .refuse(EINVAL, drain: 0)))
        #expect(judge(header, bare) == .refuse(EINVAL, drain: 0))
    }
    for (offset, length, isSound) in [
        (0, 0xffff_ffff, true), (0, 0xffff_fe00, true), (size - 1, 1, true), (0, 0, false), (size, 1, false),
        (size - 1, 2, false), (.max, 1, false), (.max, 0xffff_ffff, false),
    ] as [(UInt64, UInt64, Bool)] {
        let header = RequestHeader(type: 7, offsetBytes: offset, lengthBytes: length, magic: magic)
        #expect(judge(header, told) == (isSound ? .perform(.blockStatus) : .refuse(EINVAL, drain: 0)), "\(header)")
    }
    #expect(
        judge(RequestHeader(type: 0, flags: .reqOne, lengthBytes: 512, magic: magic), told)
            == .refuse(EINVAL, drain: 0))
}

/// 177: the payload takes the place of the length. With another context, or another number of them, it is refused.
@Test func blockStatusWithPayload() {
    let header = request(7, [.payloadLength, .reqOne], offset: 1 << 20, length: 12)
    #expect(judge(header, extended()) == .receivePayload)
    for length in [1, 8, 11, 13, 16, 4096] as [UInt64] {
        #expect(
            judge(request(7, .payloadLength, length: length), extended()) == .refuse(EINVAL, drain: UInt32(length)))
    }
    func judged(_ payload: String, _ parameters: TransmissionParameters = extended()) -> (RequestHeader, Judgement) {
        let bytes = hex(payload)
        let (request, verdict) = header.validate(bytes.span.bytes, for: parameters)
        return (request, Judgement(verdict))
    }
    let (narrowed, verdict) = judged("0000000140000000 00000001")
    #expect(verdict == .perform(.blockStatus))
    #expect(narrowed == request(7, .reqOne, offset: 1 << 20, length: 0x1_4000_0000))
    for context in ["00000000", "00000002", "ffffffff", "01000000"] {
        let (request, verdict) = judged("0000000000000200 " + context)
        #expect(verdict == .refuse(EINVAL, drain: 0) && request.cookie == header.cookie)
    }
    for length in ["0000000000000000", "ffffffffffffffff", "0000000180000000"] {
        #expect(judged(length + "00000001").1 == .refuse(EINVAL, drain: 0))
    }
    var stopping = extended()
    stopping.isShuttingDown = true
    #expect(judged("0000000000000200 00000001", stopping).1 == .refuse(ESHUTDOWN, drain: 0))
}

/// Random extended headers: never a trap, never a range beyond the export, never more to read than the limit.
@Test func randomExtendedRequests() {
    let seed = UInt64.random(in: 0 ... .max)
    var generator = SeededGenerator(seed: seed)
    var performed = 0
    for _ in 0..<20_000 {
        var bytes = (0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) }
        bytes.replaceSubrange(0..<7, with: hex("21e41c71 0000 00"))
        bytes[5] = Bool.random(using: &generator) ? 0 : bytes[8] & 0x3f
        bytes[7] &= 7
        for (start, mask) in [(16, bytes[9]), (24, bytes[10])] where mask > 40 {
            bytes.replaceSubrange(start..<start + 3, with: hex("000000"))
            bytes[start + 3] &= 1
        }
        let header = RequestHeader(bytes.span.bytes, .extended)
        switch judge(header, extended()) {
        case .perform(let command) where command != .flush:
            let (end, overflow) = header.offsetBytes.addingReportingOverflow(header.lengthBytes)
            #expect(!overflow && end <= size && header.lengthBytes > 0, "seed \(seed), \(header)")
            performed += 1
        case .refuse(_, let drain):
            #expect(UInt64(drain) == header.payloadBytes && drain <= 1 << 25, "seed \(seed), \(header)")
        default:
            break
        }
    }
    // Some have to pass, or the generator does not test what it should.
    #expect(performed > 100, "seed \(seed)")
}
