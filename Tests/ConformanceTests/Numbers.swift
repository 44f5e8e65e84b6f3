// The numbers of the NBD protocol, typed from the document ("Values" and the message layouts) for these tests alone: what the
// server sends is compared with the document, not with the server's own constants.

enum MagicNumber {
    static let greeting: UInt64 = 0x4E42_444D_4147_4943
    static let option: UInt64 = 0x4948_4156_454F_5054
    static let optionReply: UInt64 = 0x0003_E889_0455_65A9
    static let request: UInt32 = 0x2560_9513
    static let simpleReply: UInt32 = 0x6744_6698
    static let structuredReply: UInt32 = 0x668E_33EF
    static let extendedRequest: UInt32 = 0x21E4_1C71
    static let extendedReply: UInt32 = 0x6E8A_278C
}

enum OptionNumber {
    static let exportName: UInt32 = 1
    static let abort: UInt32 = 2
    static let list: UInt32 = 3
    static let peekExport: UInt32 = 4
    static let startTLS: UInt32 = 5
    static let info: UInt32 = 6
    static let go: UInt32 = 7
    static let structuredReply: UInt32 = 8
    static let listMetaContext: UInt32 = 9
    static let setMetaContext: UInt32 = 10
    static let extendedHeaders: UInt32 = 11
}

enum ReplyType {
    static let ack: UInt32 = 1
    static let server: UInt32 = 2
    static let info: UInt32 = 3
    static let metaContext: UInt32 = 4
    static let errorUnsupported: UInt32 = 0x8000_0001
    static let errorPolicy: UInt32 = 0x8000_0002
    static let errorInvalid: UInt32 = 0x8000_0003
    static let errorTLSRequired: UInt32 = 0x8000_0005
    static let errorUnknown: UInt32 = 0x8000_0006
    static let errorShutdown: UInt32 = 0x8000_0007
    static let errorTooBig: UInt32 = 0x8000_0009
    static let errorExtendedHeadersRequired: UInt32 = 0x8000_000A
}

enum InformationNumber {
    static let export: UInt16 = 0
    static let name: UInt16 = 1
    static let description: UInt16 = 2
    static let blockSize: UInt16 = 3
}

enum TransmissionFlag {
    static let hasFlags: UInt16 = 1 << 0
    static let readOnly: UInt16 = 1 << 1
    static let sendFlush: UInt16 = 1 << 2
    static let sendFUA: UInt16 = 1 << 3
    static let rotational: UInt16 = 1 << 4
    static let sendTrim: UInt16 = 1 << 5
    static let sendWriteZeroes: UInt16 = 1 << 6
    static let sendDF: UInt16 = 1 << 7
    static let canMultiConn: UInt16 = 1 << 8
    static let sendResize: UInt16 = 1 << 9
    static let sendCache: UInt16 = 1 << 10
    static let sendFastZero: UInt16 = 1 << 11
    static let blockStatusPayload: UInt16 = 1 << 12
}

enum CommandNumber {
    static let read: UInt16 = 0
    static let write: UInt16 = 1
    static let disconnect: UInt16 = 2
    static let flush: UInt16 = 3
    static let trim: UInt16 = 4
    static let cache: UInt16 = 5
    static let writeZeroes: UInt16 = 6
    static let blockStatus: UInt16 = 7
    static let resize: UInt16 = 8
}

enum CommandFlag {
    static let fua: UInt16 = 1 << 0
    static let noHole: UInt16 = 1 << 1
    static let df: UInt16 = 1 << 2
    static let reqOne: UInt16 = 1 << 3
    static let fastZero: UInt16 = 1 << 4
    static let payloadLength: UInt16 = 1 << 5
}

enum ChunkNumber {
    static let none: UInt16 = 0
    static let offsetData: UInt16 = 1
    static let offsetHole: UInt16 = 2
    static let blockStatus: UInt16 = 5
    static let blockStatusExtended: UInt16 = 6
    static let error: UInt16 = 0x8001
    static let errorOffset: UInt16 = 0x8002
}

enum ErrorNumber {
    static let success: UInt32 = 0
    static let notPermitted: UInt32 = 1
    static let inputOutput: UInt32 = 5
    static let invalid: UInt32 = 22
    static let noSpace: UInt32 = 28
    static let overflow: UInt32 = 75
    static let notSupported: UInt32 = 95
    static let shutdown: UInt32 = 108
    /// Nothing else may stand in an error field.
    static let all: Set<UInt32> = [1, 5, 12, 22, 28, 75, 95, 108]
}
