// Requests: decoding, and the judgement of each (NBD protocol, "Request message", "Request types", "Command flags",
// "Error values"). Numbers in the comments are those of the project's conformance checklist.

import NBD
import Seeded
import Testing

/// 98: every field where the document has it, the cookie as it came.
@Test func decodeRequestHeader() {
    let bytes = hex("25609513 0011 0006 fedcba9876543210 0102030405060708 fffffe00 aabb")
    let header = RequestHeader(bytes.span.bytes, .structured)
    #expect(header.magic == 0x2560_9513)
    #expect(header.flags == [.fua, .fastZero])
    #expect(header.type == 6)
    #expect(header.cookie == 0xfedc_ba98_7654_3210)
    #expect(header.offsetBytes == 0x0102_0304_0506_0708)
    #expect(header.lengthBytes == 0xffff_fe00)
    #expect(MessageStyle.simple.requestHeaderBytes == 28 && MessageStyle.structured.requestHeaderBytes == 28)
    #expect(!header.isExtended)
    // At an odd address too.
    #expect(RequestHeader((hex("00") + bytes).span.bytes.extracting(droppingFirst: 1), .simple) == header)
}

/// Of compact requests, whatever flag says otherwise.
@Test func onlyWriteHasAPayload() {
    for type in 0...20 as ClosedRange<UInt16> {
        for flags in [[], .payloadLength] as [CommandFlags] {
            #expect(RequestHeader(type: type, flags: flags, lengthBytes: 4096).payloadBytes == (type == 1 ? 4096 : 0))
        }
    }
}

@Test func soundRequests() {
    for type in rangeCommands {
        for (offset, length) in [(0, 1), (0, 512), (size - 1, 1), (size - 4096, 4096), (12345, 1 << 25)] {
            let header = RequestHeader(type: type, offsetBytes: offset, lengthBytes: UInt64(length))
            #expect(judge(header, parameters()) == .perform(Command(rawValue: type)!), "\(header)")
        }
    }
    #expect(judge(RequestHeader(type: 3), parameters()) == .perform(.flush))
}

/// 100: no attempt to find the stream again.
@Test(arguments: [0, 0x1256_0953, 0x2560_9514, 0x21e4_1c71, 0x1395_6025] as [UInt32])
func wrongRequestMagic(_ magic: UInt32) {
    let violation = RequestViolation.magic(magic, expected: 0x2560_9513)
    #expect(judge(RequestHeader(type: 0, lengthBytes: 512, magic: magic), parameters()) == .close(violation))
    #expect(violation.description.contains("0x\(String(magic, radix: 16)) "))
}

/// 101, 129, 147: EINVAL without a payload to read; BLOCK_STATUS because no context was selected.
@Test func commandsThatAreNotThere() {
    for type in Array(7...300) + [0x8000, 0xffff] as [UInt16] {
        #expect(judge(RequestHeader(type: type, lengthBytes: 512), parameters()) == .refuse(EINVAL, drain: 0))
    }
}

/// DISC ends the session whatever its fields say, and even during a shutdown.
@Test func disconnect() {
    var stopping = parameters()
    stopping.isShuttingDown = true
    #expect(judge(RequestHeader(type: 2), parameters()) == .disconnect)
    #expect(judge(RequestHeader(type: 2, flags: .fua, offsetBytes: 1, lengthBytes: 1), parameters()) == .disconnect)
    #expect(judge(RequestHeader(type: 2), stopping) == .disconnect)
}

/// 102, 103, 104, 126: every flag bit on every command, with and without its advertisement.
@Test func commandFlags() {
    let allowed: [UInt16: UInt16] = [0: 0b00101, 1: 0b00001, 3: 0b00001, 4: 0b00001, 5: 0b00001, 6: 0b10011]
    for (type, bits) in allowed {
        for bit in 0..<16 {
            let flag = CommandFlags(rawValue: 1 << bit)
            let length: UInt64 = type == 3 ? 0 : 512
            let header = RequestHeader(type: type, flags: flag, lengthBytes: length)
            let refused = Judgement.refuse(EINVAL, drain: type == 1 ? 512 : 0)
            let performed = Judgement.perform(Command(rawValue: type)!)
            let all = bits & flag.rawValue != 0
            #expect(judge(header, parameters()) == (all ? performed : refused), "\(header)")
            // FUA, DF and FAST_ZERO only where advertised; NO_HOLE comes with WRITE_ZEROES.
            let few = parameters([.sendFlush, .sendTrim, .sendWriteZeroes, .sendCache])
            #expect(judge(header, few) == (all && flag == .noHole ? performed : refused), "\(header)")
        }
    }
}

@Test func flagsTogether() {
    let zeroes = RequestHeader(type: 6, flags: [.fua, .noHole, .fastZero], lengthBytes: 512)
    #expect(judge(zeroes, parameters()) == .perform(.writeZeroes))
    let read = RequestHeader(type: 0, flags: [.fua, .df], lengthBytes: 512)
    #expect(judge(read, parameters()) == .perform(.read))
    // SEND_DF is never told without structured replies.
    #expect(judge(read, parameters(messages: .simple)) == .refuse(EINVAL, drain: 0))
    let unknown = RequestHeader(type: 6, flags: [.noHole, CommandFlags(rawValue: 0x20)], lengthBytes: 512)
    #expect(judge(unknown, parameters()) == .refuse(EINVAL, drain: 0))
}

/// A client must not use what was not advertised.
@Test(arguments: [3, 4, 5, 6] as [UInt16])
func commandsNotAdvertised(_ type: UInt16) {
    let header = RequestHeader(type: type, lengthBytes: type == 3 ? 0 : 512)
    #expect(judge(header, parameters([])) == .refuse(EINVAL, drain: 0))
}

/// 119: offset and length of FLUSH are reserved and have to be zero.
@Test func flushWithRange() {
    #expect(judge(RequestHeader(type: 3, offsetBytes: 512), parameters()) == .refuse(EINVAL, drain: 0))
    #expect(judge(RequestHeader(type: 3, lengthBytes: 512), parameters()) == .refuse(EINVAL, drain: 0))
}

/// 105: a defined answer, and no disconnect.
@Test(arguments: rangeCommands)
func zeroLength(_ type: UInt16) {
    #expect(judge(RequestHeader(type: type), parameters()) == .refuse(EINVAL, drain: 0))
    #expect(judge(RequestHeader(type: type, offsetBytes: size), parameters()) == .refuse(EINVAL, drain: 0))
}

/// 106, 107: past the end, and where offset and length together overflow 64 bits.
@Test(arguments: rangeCommands)
func pastTheEnd(_ type: UInt16) {
    let error = type == 1 || type == 6 ? ENOSPC : EINVAL
    for (offset, length) in [
        (size, 1), (size - 511, 512), (size + 1, 512), (UInt64.max, 1), (UInt64.max - 511, 512),
        (UInt64.max - 0xfff, 0x1000), (1 << 63, 0x200_0000),
    ] as [(UInt64, UInt32)] {
        let header = RequestHeader(type: type, offsetBytes: offset, lengthBytes: UInt64(length))
        #expect(judge(header, parameters()) == .refuse(error, drain: type == 1 ? length : 0), "\(header)")
    }
    let header = RequestHeader(type: type, lengthBytes: 1)
    #expect(judge(header, parameters(sizeBytes: 0)) == .refuse(error, drain: type == 1 ? 1 : 0))
    let last = RequestHeader(type: type, offsetBytes: .max - 1, lengthBytes: 1)
    #expect(judge(last, parameters(sizeBytes: .max)) == .perform(Command(rawValue: type)!))
}

/// 108: EPERM for all that writes, the payload is read; reading goes on.
@Test func readOnlyExport() {
    let told = parameters(everything.union(.readOnly))
    for (type, drain) in [(1, 512), (4, 0), (6, 0)] as [(UInt16, UInt32)] {
        #expect(judge(RequestHeader(type: type, lengthBytes: 512), told) == .refuse(EPERM, drain: drain))
        // Even where the command was not advertised.
        let bare = parameters([.readOnly])
        #expect(judge(RequestHeader(type: type, lengthBytes: 512), bare) == .refuse(EPERM, drain: drain))
    }
    #expect(judge(RequestHeader(type: 0, lengthBytes: 512), told) == .perform(.read))
    #expect(judge(RequestHeader(type: 5, lengthBytes: 512), told) == .perform(.cache))
    #expect(judge(RequestHeader(type: 3), told) == .perform(.flush))
}

/// 91, 92: EINVAL for a client that was told the minimum block size, service for one that was not.
@Test(arguments: rangeCommands)
func unalignedRequests(_ type: UInt16) throws {
    let sizes = try BlockSizes(minimumBytes: 512, preferredBytes: 4096)
    for (offset, length, aligned) in [
        (0, 512, true), (1024, 1536, true), (1, 512, false), (256, 512, false), (512, 511, false), (512, 1, false),
    ] as [(UInt64, UInt32, Bool)] {
        let header = RequestHeader(type: type, offsetBytes: offset, lengthBytes: UInt64(length))
        let performed = Judgement.perform(Command(rawValue: type)!)
        #expect(
            judge(header, parameters(blockSizes: sizes))
                == (aligned ? performed : .refuse(EINVAL, drain: type == 1 ? length : 0)), "\(header)")
        #expect(judge(header, parameters(blockSizes: sizes, advertised: false)) == performed, "\(header)")
    }
}

/// 93, 94: a WRITE above the maximum payload is read and refused up to 64 MiB, and ends the session above.
@Test func longWrites() throws {
    let sizes = try BlockSizes(minimumBytes: 1, preferredBytes: 4096, maximumPayloadBytes: 1 << 20)
    func write(_ length: UInt32) -> RequestHeader { RequestHeader(type: 1, lengthBytes: UInt64(length)) }
    #expect(judge(write(1 << 20), parameters(blockSizes: sizes)) == .perform(.write))
    #expect(judge(write(1 << 20 + 1), parameters(blockSizes: sizes)) == .refuse(EINVAL, drain: 1 << 20 + 1))
    #expect(judge(write(1 << 25), parameters(blockSizes: sizes)) == .refuse(EINVAL, drain: 1 << 25))
    #expect(judge(write(1 << 25), parameters()) == .perform(.write))
    #expect(judge(write(1 << 25 + 1), parameters()) == .refuse(EINVAL, drain: 1 << 25 + 1))
    #expect(judge(write(1 << 26), parameters()) == .refuse(EINVAL, drain: 1 << 26))
    for length in [1 << 26 + 1, 0xffff_ffff] as [UInt32] {
        let violation = RequestViolation.payloadTooLong(UInt64(length), limit: 1 << 26)
        #expect(judge(write(length), parameters()) == .close(violation))
        #expect(violation.description.contains("\(length)"))
        // Not even where it would be refused for another reason.
        #expect(judge(write(length), parameters([.readOnly])) == .close(violation))
    }
}

/// 110: EOVERFLOW is documented for structured replies only.
@Test func longReads() {
    let read = RequestHeader(type: 0, lengthBytes: 1 << 25 + 1)
    #expect(judge(read, parameters()) == .refuse(EOVERFLOW, drain: 0))
    #expect(judge(read, parameters(messages: .simple)) == .refuse(EINVAL, drain: 0))
}

/// 95: no payload, no limit but the export.
@Test(arguments: [4, 5, 6] as [UInt16])
func longCommandsWithoutPayload(_ type: UInt16) {
    let header = RequestHeader(type: type, lengthBytes: 0xffff_ffff)
    #expect(judge(header, parameters()) == .perform(Command(rawValue: type)!))
}

/// 163: ESHUTDOWN for whatever comes, and the payload is read.
@Test func requestsDuringShutdown() {
    var stopping = parameters()
    stopping.isShuttingDown = true
    for type in [0, 1, 3, 4, 5, 6, 7] as [UInt16] {
        let header = RequestHeader(type: type, lengthBytes: 512)
        #expect(judge(header, stopping) == .refuse(ESHUTDOWN, drain: type == 1 ? 512 : 0))
    }
}

/// Random headers: never a trap, and never a range beyond the export is performed.
@Test func randomRequests() {
    let seed = UInt64.random(in: 0 ... .max)
    var generator = SeededGenerator(seed: seed)
    var performed = 0
    for _ in 0..<20_000 {
        var bytes = (0..<28).map { _ in UInt8.random(in: 0...255, using: &generator) }
        bytes.replaceSubrange(0..<7, with: hex("25609513 0000 00"))
        bytes[5] = Bool.random(using: &generator) ? 0 : bytes[8] & 0x1f
        bytes[7] &= 7
        // Mostly near the export, so that not everything is out of range.
        bytes.replaceSubrange(16..<19, with: hex("000000"))
        bytes[19] &= 1
        bytes[24] &= 3
        let header = RequestHeader(bytes.span.bytes, .structured)
        guard case .perform(let command) = judge(header, parameters()), command != .flush else { continue }
        let (end, overflow) = header.offsetBytes.addingReportingOverflow(header.lengthBytes)
        #expect(!overflow && end <= size && header.lengthBytes > 0, "seed \(seed), \(header)")
        performed += 1
    }
    // Some have to pass, or the generator does not test what it should.
    #expect(performed > 100, "seed \(seed)")
}
