// The numbers of the NBD protocol, typed from the document ("Values" and the message layouts) for these tests alone:
// what the server sends is compared with the document, not with the server's own constants.

package enum MagicNumber {
    package static let greeting: UInt64 = 0x4E42_444D_4147_4943
    package static let option: UInt64 = 0x4948_4156_454F_5054
    package static let optionReply: UInt64 = 0x0003_E889_0455_65A9
    package static let request: UInt32 = 0x2560_9513
    package static let simpleReply: UInt32 = 0x6744_6698
    package static let structuredReply: UInt32 = 0x668E_33EF
    package static let extendedRequest: UInt32 = 0x21E4_1C71
    package static let extendedReply: UInt32 = 0x6E8A_278C
}

package enum OptionNumber {
    package static let exportName: UInt32 = 1
    package static let abort: UInt32 = 2
    package static let list: UInt32 = 3
    package static let peekExport: UInt32 = 4
    package static let startTLS: UInt32 = 5
    package static let info: UInt32 = 6
    package static let go: UInt32 = 7
    package static let structuredReply: UInt32 = 8
    package static let listMetaContext: UInt32 = 9
    package static let setMetaContext: UInt32 = 10
    package static let extendedHeaders: UInt32 = 11
}

package enum ReplyType {
    package static let ack: UInt32 = 1
    package static let server: UInt32 = 2
    package static let info: UInt32 = 3
    package static let metaContext: UInt32 = 4
    package static let errorUnsupported: UInt32 = 0x8000_0001
    package static let errorPolicy: UInt32 = 0x8000_0002
    package static let errorInvalid: UInt32 = 0x8000_0003
    package static let errorTLSRequired: UInt32 = 0x8000_0005
    package static let errorUnknown: UInt32 = 0x8000_0006
    package static let errorShutdown: UInt32 = 0x8000_0007
    package static let errorTooBig: UInt32 = 0x8000_0009
    package static let errorExtendedHeadersRequired: UInt32 = 0x8000_000A
}

package enum InformationNumber {
    package static let export: UInt16 = 0
    package static let name: UInt16 = 1
    package static let description: UInt16 = 2
    package static let blockSize: UInt16 = 3
}

package enum TransmissionFlag {
    package static let hasFlags: UInt16 = 1 << 0
    package static let readOnly: UInt16 = 1 << 1
    package static let sendFlush: UInt16 = 1 << 2
    package static let sendFUA: UInt16 = 1 << 3
    package static let rotational: UInt16 = 1 << 4
    package static let sendTrim: UInt16 = 1 << 5
    package static let sendWriteZeroes: UInt16 = 1 << 6
    package static let sendDF: UInt16 = 1 << 7
    package static let canMultiConn: UInt16 = 1 << 8
    package static let sendResize: UInt16 = 1 << 9
    package static let sendCache: UInt16 = 1 << 10
    package static let sendFastZero: UInt16 = 1 << 11
    package static let blockStatusPayload: UInt16 = 1 << 12
}

package enum CommandNumber {
    package static let read: UInt16 = 0
    package static let write: UInt16 = 1
    package static let disconnect: UInt16 = 2
    package static let flush: UInt16 = 3
    package static let trim: UInt16 = 4
    package static let cache: UInt16 = 5
    package static let writeZeroes: UInt16 = 6
    package static let blockStatus: UInt16 = 7
    package static let resize: UInt16 = 8
}

package enum CommandFlag {
    package static let fua: UInt16 = 1 << 0
    package static let noHole: UInt16 = 1 << 1
    package static let df: UInt16 = 1 << 2
    package static let reqOne: UInt16 = 1 << 3
    package static let fastZero: UInt16 = 1 << 4
    package static let payloadLength: UInt16 = 1 << 5
}

package enum ChunkNumber {
    package static let none: UInt16 = 0
    package static let offsetData: UInt16 = 1
    package static let offsetHole: UInt16 = 2
    package static let blockStatus: UInt16 = 5
    package static let blockStatusExtended: UInt16 = 6
    package static let error: UInt16 = 0x8001
    package static let errorOffset: UInt16 = 0x8002
}

package enum ErrorNumber {
    package static let success: UInt32 = 0
    package static let notPermitted: UInt32 = 1
    package static let inputOutput: UInt32 = 5
    package static let invalid: UInt32 = 22
    package static let noSpace: UInt32 = 28
    package static let overflow: UInt32 = 75
    package static let notSupported: UInt32 = 95
    package static let shutdown: UInt32 = 108
    /// Nothing else may stand in an error field.
    package static let all: Set<UInt32> = [1, 5, 12, 22, 28, 75, 95, 108]
}
