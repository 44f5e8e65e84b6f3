// Why connections end.

/// Why a connection has ended, as it is counted.
public enum EndReason: Int, CaseIterable, Sendable {
    /// DISC, or ABORT in the handshake: as the document has it.
    case disconnect
    /// The client closed without saying so.
    case closed
    /// The socket failed.
    case lost
    /// The handshake broke off, by what the client sent.
    case handshakeFailed
    /// The client took too long for the handshake.
    case handshakeTimeout
    /// TLS has failed.
    case tlsFailed
    /// The client sent something else than a request.
    case violation
    /// The client took or sent nothing for too long while others waited, or at its end.
    case stalled
    /// Its client has come back on another connection.
    case replaced
    /// The server stops, or was told to end this connection.
    case stopped

    /// As metrics call it.
    public var label: String {
        switch self {
        case .disconnect: "disconnect"
        case .closed: "closed"
        case .lost: "lost"
        case .handshakeFailed: "handshake_failed"
        case .handshakeTimeout: "handshake_timeout"
        case .tlsFailed: "tls_failed"
        case .violation: "violation"
        case .stalled: "stalled"
        case .replaced: "replaced"
        case .stopped: "stopped"
        }
    }
}
