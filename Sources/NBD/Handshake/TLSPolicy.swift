// Whether sessions are encrypted (NBD protocol, "TLS support").

/// The three ways of a server with TLS; one holds for all of a connection.
public enum TLSPolicy: Equatable, Sendable {
    /// NOTLS: STARTTLS is not known.
    case unavailable
    /// SELECTIVETLS: a client may encrypt, and has to for exports that ask for it.
    case optional
    /// FORCEDTLS: nothing but STARTTLS and ABORT is answered in the clear.
    case required
}
