// Sessions with digests of headers and data (RFC 7143, 7.8, 13.1).

import ISCSI
import SCSI
import Testing

private let keys = "HeaderDigest=CRC32C\0DataDigest=CRC32C\0"

/// The stream with the digests that belong behind each header and each segment.
private func digested(_ stream: [UInt8], breakingHeader: Bool = false, breakingData: Bool = false) -> [UInt8] {
    func digest(_ bytes: [UInt8], _ isBroken: Bool) -> [UInt8] {
        bigEndian(UInt64(CRC32C.of(bytes.span.bytes).wireValue ^ (isBroken ? 1 : 0)), 4)
    }
    return divide(stream).flatMap { header, data in
        let segment = data + [UInt8](repeating: 0, count: -data.count & 3)
        let tail = data.isEmpty ? [] : segment + digest(segment, breakingData)
        return header + digest(header, breakingHeader) + tail
    }
}

/// Takes the digests away, which have to be right.
private func checked(_ stream: [UInt8]) -> [UInt8] {
    var rest = stream[...]
    var plain: [UInt8] = []
    while !rest.isEmpty {
        let header = Array(rest.prefix(48))
        let count = Int(BasicHeaderSegment(header.span.bytes).dataSegmentLength)
        let padded = count + (-count & 3)
        let segment = Array(rest.dropFirst(52).prefix(padded))
        plain += header + segment
        let length = 52 + (count > 0 ? padded + 4 : 0)
        #expect(Array(rest.prefix(length)) == digested(header + segment))
        rest = rest.dropFirst(length)
    }
    return plain
}

/// The same as without digests, but for them.
@Test func digestsBothWays() {
    let sense = SenseData(.mediumError, AdditionalSenseCode(0x11, 0x00), format: .fixed)
    var script = Script()
    script.endings = { task in
        task.initiatorTaskTag == 0x21
            ? Ending(status: .checkCondition, sense: sense, transferBytes: 100)
            : Ending(status: .good, transferBytes: UInt64(task.expectedBytes))
    }
    var ping = NOPOutPDU()
    ping.initiatorTaskTag = 0x30
    let size = "MaxRecvDataSegmentLength=513\0"
    let requests =
        command(0, writes: 1021, pattern(1021)) + command(1, reads: 200) + command(2, reads: 10_000)
        + command(3, writes: 6) + dataOut(0x23, transfer: 0x2_0000, pattern(6)) + pdu(ping, pattern(5))
    let plain = course(of: login(size) + requests, configuration(), script)
    let happenings = course(of: login(size + keys) + digested(requests), configuration(), script)
    #expect(happenings.count == plain.count)
    // The login itself has none.
    for (with, without) in zip(happenings, plain).dropFirst(2) {
        switch (with, without) {
        case (.say(let with), .say(let without)), (.respond(let with), .respond(let without)),
            (.solicit(let with), .solicit(let without)):
            #expect(checked(with) == without)
        default: #expect(with == without)
        }
    }
}

@Test func brokenDigests() {
    let header = course(of: login(keys) + digested(command(0), breakingHeader: true))
    #expect(header.last == .end(.violation, reason: "a header digest does not fit its header", []))
    // The command ends, and has not begun; the session goes on.
    let written = command(0, writes: 512, pattern(512))
    let data = course(of: login(keys) + digested(written, breakingData: true) + digested(command(1)))
    #expect(data.contains(.fail(TaskNumber(0), .digest)))
    // The login has none.
    let said = data.dropFirst(2).flatMap { happening in
        switch happening {
        case .say(let bytes), .respond(let bytes): return divide(checked(bytes))
        default: return []
        }
    }
    #expect(said.map { $0.header[0] } == [0x3F, 0x21, 0x21])
    #expect(said[0].header[2] == RejectReason.dataDigestError.rawValue && said[0].data == Array(written[..<48]))
    // Behind the length of the sense data: PROTOCOL SERVICE CRC ERROR.
    #expect(said[1].data.dropFirst(2 + 12).prefix(2) == [0x47, 0x05])
    // A request that is no command is rejected, and has not happened.
    var request = TextRequestPDU()
    request.commandSN = 0x100
    request.initiatorTaskTag = 1
    let text = course(
        of: login(keys) + digested(pdu(request, Array("SendTargets=\0".utf8)), breakingData: true)
            + digested(command(0)))
    #expect(text.contains { if case .begin = $0 { true } else { false } })
}

/// Data that an R2T has asked for, damaged in the first or in the last of their PDUs: nobody writes them.
@Test(arguments: [0, 1])
func damagedDataOut(broken: Int) {
    let data = pattern(6)
    let parts = [
        dataOut(0x20, transfer: 0x2_0000, final: false, Array(data[..<4])),
        dataOut(0x20, transfer: 0x2_0000, sequence: 1, offset: 4, Array(data[4...])),
    ]
    let requests =
        [digested(command(0, writes: 6))]
        + parts.indices.map { part in
            digested(parts[part], breakingData: part == broken)
        }
    let happenings = course(of: login(keys) + requests.flatMap { $0 } + digested(command(1)))
    #expect(happenings.contains(.fail(TaskNumber(0), .digest)))
    #expect(!happenings.contains { if case .complete = $0 { true } else { false } })
    let said = happenings.dropFirst(2).flatMap { happening in
        switch happening {
        case .say(let bytes), .respond(let bytes): return divide(checked(bytes))
        default: return []
        }
    }
    // The Reject, the response to the WRITE with CHECK CONDITION, and that to the next command.
    #expect(said.map { $0.header[0] } == [0x3F, 0x21, 0x21])
    #expect(said.dropFirst().map { $0.header[3] } == [2, 0])
}

/// A target that has none says so.
@Test func digestsMayBeForbidden() {
    var strict = configuration()
    strict.limits.allowsDigests = false
    let happenings = course(of: login("HeaderDigest=CRC32C,None\0"), strict)
    #expect(happenings.texts(.loginResponse)[0].contains("HeaderDigest=None "))
    #expect(course(of: login("HeaderDigest=CRC32C\0"), strict).all(LoginResponsePDU.self)[0].status == .initiatorError)
}
