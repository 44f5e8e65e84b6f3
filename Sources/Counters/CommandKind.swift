// The kinds of requests that are counted: by their commands, and by the errors that answer them.

/// Kinds of requests in the counts.
public enum CommandKind: Int, CaseIterable, Sendable {
    /// Data are read.
    case read
    /// Data are written.
    case write
    /// A request with a type that NBD does not have.
    case unknown
    /// Written data are made stable.
    case flush
    /// Data are not needed any more.
    case trim
    /// Data are fetched for later.
    case cache
    /// Zeroes are written.
    case writeZeroes
    /// The client asks what is stored.
    case blockStatus
    /// An initiator's command that is none of these: INQUIRY, TEST UNIT READY, reservations.
    case other

    /// As metrics call it.
    public var label: String {
        switch self {
        case .read: "read"
        case .write: "write"
        case .unknown: "unknown"
        case .flush: "flush"
        case .trim: "trim"
        case .cache: "cache"
        case .writeZeroes: "write_zeroes"
        case .blockStatus: "block_status"
        case .other: "other"
        }
    }

    /// A request of this kind is about a range of bytes that something is done with.
    var hasBytes: Bool {
        switch self {
        case .read, .write, .trim, .cache, .writeZeroes: true
        case .flush, .blockStatus, .unknown, .other: false
        }
    }
}

/// Errors in the counts: those that a client of NBD hears of, and what only initiators are told.
public enum ErrorKind: Int, CaseIterable, Sendable {
    /// The medium cannot be written.
    case notPermitted
    /// The medium has failed.
    case inputOutput
    /// There is no memory.
    case noMemory
    /// The request makes no sense.
    case invalidArgument
    /// The medium is full.
    case noSpace
    /// The reply would be too long.
    case overflow
    /// That is not done here.
    case notSupported
    /// The server stops.
    case shutdown
    /// Something has changed since the initiator's last command (UNIT ATTENTION).
    case unitAttention
    /// There is no medium (NOT READY).
    case notReady
    /// Another initiator has reserved the unit (RESERVATION CONFLICT).
    case reservationConflict
    /// The command was given up (ABORTED COMMAND): the drive does not have it, or its data were wrong.
    case abortedCommand
    /// The initiator's data are not those of the medium (MISCOMPARE).
    case miscompare

    /// As metrics call it.
    var label: String {
        switch self {
        case .notPermitted: "EPERM"
        case .inputOutput: "EIO"
        case .noMemory: "ENOMEM"
        case .invalidArgument: "EINVAL"
        case .noSpace: "ENOSPC"
        case .overflow: "EOVERFLOW"
        case .notSupported: "ENOTSUP"
        case .shutdown: "ESHUTDOWN"
        case .unitAttention: "UNIT_ATTENTION"
        case .notReady: "NOT_READY"
        case .reservationConflict: "RESERVATION_CONFLICT"
        case .abortedCommand: "ABORTED_COMMAND"
        case .miscompare: "MISCOMPARE"
        }
    }
}
