// The numbers of the document, typed from its section "Values".

import NBD
import Testing

@Test func optionTypes() {
    #expect(OptionType.allCases.map(\.rawValue) == Array(1...11))
    #expect(OptionType.startTLS.rawValue == 5 && OptionType.go.rawValue == 7)
    #expect(OptionType.structuredReply.rawValue == 8 && OptionType.extendedHeaders.rawValue == 11)
}

@Test func optionReplyTypes() {
    #expect(
        OptionReplyType.allCases.map(\.rawValue) == [1, 2, 3, 4] + (1...10).map { UInt32(1) << 31 + $0 })
    #expect(OptionReplyType.errorInvalid.rawValue == 1 << 31 + 3)
    #expect(OptionReplyType.errorUnknown.rawValue == 1 << 31 + 6)
    #expect(OptionReplyType.errorTooBig.rawValue == 1 << 31 + 9)
}

@Test func infoTypesAndCommands() {
    #expect(InfoType.allCases.map(\.rawValue) == [0, 1, 2, 3])
    #expect(Command.allCases.map(\.rawValue) == [0, 1, 2, 3, 4, 5, 6, 7])
    #expect(Command.trim.rawValue == 4 && Command.cache.rawValue == 5 && Command.writeZeroes.rawValue == 6)
}

@Test func replyChunkTypes() {
    #expect(ReplyChunkType.allCases.map(\.rawValue) == [0, 1, 2, 5, 6, 1 << 15 + 1, 1 << 15 + 2])
}

/// 109: nothing but these values may stand in an error field.
@Test func errorValues() {
    #expect(NBDError.allCases.map(\.rawValue) == [1, 5, 12, 22, 28, 75, 95, 108])
}

@Test func flagBits() {
    #expect(HandshakeFlags.fixedNewstyle.rawValue == 1 && HandshakeFlags.noZeroes.rawValue == 2)
    #expect(ClientFlags.fixedNewstyle.rawValue == 1 && ClientFlags.noZeroes.rawValue == 2)
    let transmission: [TransmissionFlags] = [
        .hasFlags, .readOnly, .sendFlush, .sendFUA, .rotational, .sendTrim, .sendWriteZeroes, .sendDF, .canMultiConn,
        .sendCache, .sendFastZero, .blockStatusPayload,
    ]
    #expect(transmission.map(\.rawValue) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12].map { 1 << $0 })
    let command: [CommandFlags] = [.fua, .noHole, .df, .reqOne, .fastZero, .payloadLength]
    #expect(command.map(\.rawValue) == [0, 1, 2, 3, 4, 5].map { 1 << $0 })
    #expect(AllocationState.hole.rawValue == 1 && AllocationState.zero.rawValue == 2)
    #expect(ReplyFlags.done.rawValue == 1)
}
