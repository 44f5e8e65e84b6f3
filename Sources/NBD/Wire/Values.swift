// The numbered values of both phases and the magic numbers (NBD protocol, "Values"; magic numbers from the messages).
// Those of extended headers are from the document of the extension EXTENDED_HEADERS.

/// The magic numbers a server sends or expects.
public enum Magic {
    /// "NBDMAGIC", the first eight bytes of a connection.
    public static let greeting: UInt64 = 0x4e42_444d_4147_4943
    /// "IHAVEOPT", in the greeting and before every option.
    public static let option: UInt64 = 0x4948_4156_454F_5054
    /// Before every reply to an option.
    public static let optionReply: UInt64 = 0x0003_e889_0455_65a9
    /// NBD_REQUEST_MAGIC.
    @inlinable public static var request: UInt32 { 0x2560_9513 }
    /// NBD_SIMPLE_REPLY_MAGIC.
    @inlinable public static var simpleReply: UInt32 { 0x6744_6698 }
    /// NBD_STRUCTURED_REPLY_MAGIC.
    @inlinable public static var structuredReply: UInt32 { 0x668e_33ef }
    /// NBD_EXTENDED_REQUEST_MAGIC.
    @inlinable public static var extendedRequest: UInt32 { 0x21e4_1c71 }
    /// NBD_EXTENDED_REPLY_MAGIC.
    @inlinable public static var extendedReply: UInt32 { 0x6e8a_278c }
}

/// A client's demands during the handshake ("Option types").
public enum OptionType: UInt32, Sendable, CaseIterable {
    /// NBD_OPT_EXPORT_NAME: choose an export and begin transmission, without a way to fail but closing.
    case exportName = 1
    /// NBD_OPT_ABORT: end the session.
    case abort = 2
    /// NBD_OPT_LIST: name all exports.
    case list = 3
    /// NBD_OPT_PEEK_EXPORT: withdrawn.
    case peekExport = 4
    /// NBD_OPT_STARTTLS: go on over TLS.
    case startTLS = 5
    /// NBD_OPT_INFO: describe an export.
    case info = 6
    /// NBD_OPT_GO: describe an export and begin transmission.
    case go = 7
    /// NBD_OPT_STRUCTURED_REPLY: answer in structured reply chunks.
    case structuredReply = 8
    /// NBD_OPT_LIST_META_CONTEXT: name the metadata contexts of an export.
    case listMetaContext = 9
    /// NBD_OPT_SET_META_CONTEXT: select metadata contexts.
    case setMetaContext = 10
    /// NBD_OPT_EXTENDED_HEADERS: 64-bit lengths.
    case extendedHeaders = 11

    /// The option has data that are worth reading.
    var hasData: Bool {
        switch self {
        case .exportName, .info, .go, .listMetaContext, .setMetaContext: true
        case .abort, .list, .peekExport, .startTLS, .structuredReply, .extendedHeaders: false
        }
    }
}

/// A server's answers to an option ("Option reply types"); errors have bit 31 set.
public enum OptionReplyType: UInt32, Sendable, CaseIterable {
    /// NBD_REP_ACK: done, and well.
    case ack = 1
    /// NBD_REP_SERVER: one export of the list.
    case server = 2
    /// NBD_REP_INFO: one piece of information about an export.
    case info = 3
    /// NBD_REP_META_CONTEXT: one metadata context.
    case metaContext = 4
    /// NBD_REP_ERR_UNSUP: the option is not known here.
    case errorUnsupported = 0x8000_0001
    /// NBD_REP_ERR_POLICY: known, but forbidden here.
    case errorPolicy = 0x8000_0002
    /// NBD_REP_ERR_INVALID: the option's data make no sense.
    case errorInvalid = 0x8000_0003
    /// NBD_REP_ERR_PLATFORM: not possible on this platform.
    case errorPlatform = 0x8000_0004
    /// NBD_REP_ERR_TLS_REQD: only over TLS.
    case errorTLSRequired = 0x8000_0005
    /// NBD_REP_ERR_UNKNOWN: no such export.
    case errorUnknown = 0x8000_0006
    /// NBD_REP_ERR_SHUTDOWN: the server is stopping.
    case errorShutdown = 0x8000_0007
    /// NBD_REP_ERR_BLOCK_SIZE_REQD: the client must ask for the size constraints first.
    case errorBlockSizeRequired = 0x8000_0008
    /// NBD_REP_ERR_TOO_BIG: the option's data are too long to process.
    case errorTooBig = 0x8000_0009
    /// NBD_REP_ERR_EXT_HEADER_REQD: only with extended headers.
    case errorExtendedHeadersRequired = 0x8000_000a
}

/// The pieces of information in replies to INFO and GO (under NBD_REP_INFO).
public enum InfoType: UInt16, Sendable, CaseIterable {
    /// NBD_INFO_EXPORT: size and transmission flags.
    case export = 0
    /// NBD_INFO_NAME: the canonical name.
    case name = 1
    /// NBD_INFO_DESCRIPTION: a text for people.
    case description = 2
    /// NBD_INFO_BLOCK_SIZE: the size constraints.
    case blockSize = 3
}

/// A request's demands ("Request types").
public enum Command: UInt16, Sendable, CaseIterable {
    /// NBD_CMD_READ.
    case read = 0
    /// NBD_CMD_WRITE.
    case write = 1
    /// NBD_CMD_DISC: end the session, without a reply.
    case disconnect = 2
    /// NBD_CMD_FLUSH: make every answered write stable.
    case flush = 3
    /// NBD_CMD_TRIM: the data are no longer needed.
    case trim = 4
    /// NBD_CMD_CACHE: the data will be needed soon.
    case cache = 5
    /// NBD_CMD_WRITE_ZEROES: a write of zeroes without a payload.
    case writeZeroes = 6
    /// NBD_CMD_BLOCK_STATUS: ask for metadata.
    case blockStatus = 7
}

/// The kinds of structured reply chunks ("Structured reply types"); errors have bit 15 set.
public enum ReplyChunkType: UInt16, Sendable, CaseIterable {
    /// NBD_REPLY_TYPE_NONE: nothing more to say.
    case none = 0
    /// NBD_REPLY_TYPE_OFFSET_DATA: data, with the offset they were read from.
    case offsetData = 1
    /// NBD_REPLY_TYPE_OFFSET_HOLE: a range that reads as zeroes.
    case offsetHole = 2
    /// NBD_REPLY_TYPE_BLOCK_STATUS: extents of a metadata context, without extended headers.
    case blockStatus = 5
    /// NBD_REPLY_TYPE_BLOCK_STATUS_EXT: extents of a metadata context, with extended headers.
    case blockStatusExtended = 6
    /// NBD_REPLY_TYPE_ERROR: the request failed.
    case error = 0x8001
    /// NBD_REPLY_TYPE_ERROR_OFFSET: the request failed at an offset.
    case errorOffset = 0x8002
}

/// The error values of replies ("Error values"); nothing else may stand in an error field but zero.
public enum NBDError: UInt32, Sendable, CaseIterable {
    /// NBD_EPERM: the export is read-only.
    case notPermitted = 1
    /// NBD_EIO: the medium failed.
    case inputOutput = 5
    /// NBD_ENOMEM: to be avoided.
    case noMemory = 12
    /// NBD_EINVAL: the request makes no sense.
    case invalidArgument = 22
    /// NBD_ENOSPC: no room, or a write past the end.
    case noSpace = 28
    /// NBD_EOVERFLOW: a length too large to serve.
    case overflow = 75
    /// NBD_ENOTSUP: zeroes cannot be written fast.
    case notSupported = 95
    /// NBD_ESHUTDOWN: the server is stopping.
    case shutdown = 108
}

extension NBDError {
    /// Its name in the document, without "NBD_".
    public var name: String {
        switch self {
        case .notPermitted: "EPERM"
        case .inputOutput: "EIO"
        case .noMemory: "ENOMEM"
        case .invalidArgument: "EINVAL"
        case .noSpace: "ENOSPC"
        case .overflow: "EOVERFLOW"
        case .notSupported: "ENOTSUP"
        case .shutdown: "ESHUTDOWN"
        }
    }
}
