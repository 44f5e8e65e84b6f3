// Why the server ends a session during the handshake (NBD protocol, "Termination of the session during option
// haggling").

/// Why a handshake ends without transmission.
public enum CloseReason: Equatable, Sendable, CustomStringConvertible {
    /// The client sent ABORT: nothing is wrong. The server waits for the client to close.
    case aborted
    /// The client set flags that this server does not know.
    case clientFlags(UInt32)
    /// An option began with another number than "IHAVEOPT".
    case optionMagic(UInt64)
    /// The client sent more options than a handshake needs.
    case tooManyOptions(limit: Int)
    /// The data of an option are longer than is worth reading.
    case optionTooLong(option: UInt32, bytes: UInt32)
    /// EXPORT_NAME with a name longer than a string may be.
    case exportNameTooLong(bytes: UInt32)
    /// EXPORT_NAME with a name that is no string: invalid UTF-8, or NUL in it.
    case exportNameInvalid([UInt8])
    /// EXPORT_NAME with a name that no export has.
    case exportNameUnknown([UInt8])
    /// EXPORT_NAME with the name of an export that the client may not open.
    case exportNameForbidden([UInt8])
    /// EXPORT_NAME for an export that cannot be opened now, and why.
    case openingRefused(String)
    /// EXPORT_NAME after extended headers were agreed on.
    case exportNameWithExtendedHeaders
    /// EXPORT_NAME in the clear for an export, or on a server, that wants TLS.
    case tlsRequired
    /// EXPORT_NAME while the server is stopping.
    case shuttingDown

    /// The reason in words, for the log. The client's bytes are quoted with control characters escaped.
    public var description: String {
        switch self {
        case .aborted:
            "the client aborted the handshake"
        case .clientFlags(let flags):
            "the client set the flags 0x\(String(flags, radix: 16)), of which only 0x1 and 0x2 are known"
        case .optionMagic(let magic):
            "the client sent 0x\(String(magic, radix: 16)) where an option begins with"
                + " 0x\(String(Magic.option, radix: 16))"
        case .tooManyOptions(let limit):
            "the client sent more than \(limit) options"
        case .optionTooLong(let option, let bytes):
            "the client announced \(bytes) bytes for option \(option); more than \(Negotiation.drainLimitBytes) are"
                + " not even read to be refused"
        case .exportNameTooLong(let bytes):
            "the client asked for an export by a name of \(bytes) bytes; at most"
                + " \(ExportInformation.maximumStringBytes) are allowed"
        case .exportNameInvalid(let name):
            "the client asked for an export by the name \(quoted(name)), which is no UTF-8 without NUL"
        case .exportNameUnknown(let name):
            "the client asked for the export \(quoted(name)), which does not exist"
        case .exportNameForbidden(let name):
            "the client asked for the export \(quoted(name)), which it may not open"
        case .openingRefused(let reason):
            reason
        case .exportNameWithExtendedHeaders:
            "the client sent EXPORT_NAME after EXTENDED_HEADERS, where only GO is allowed"
        case .tlsRequired:
            "the client asked for an export without TLS, which it wants"
        case .shuttingDown:
            "the client asked for an export while the server is shutting down"
        }
    }
}

/// A name from outside, fit for a log line or a message: at most 64 characters of it, control characters escaped.
func quoted(_ name: [UInt8]) -> String {
    let scalars = String(decoding: name, as: UTF8.self).unicodeScalars
    let start = String(String.UnicodeScalarView(scalars.prefix(64)))
    return start.debugDescription + (scalars.count > 64 ? "..." : "")
}
