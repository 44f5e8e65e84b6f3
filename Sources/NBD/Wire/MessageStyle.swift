// Which messages the transmission phase consists of, as the handshake settles it (NBD protocol, "Transmission";
// NBD_OPT_STRUCTURED_REPLY, NBD_OPT_EXTENDED_HEADERS).

/// The kind of requests and replies on a connection.
public enum MessageStyle: Sendable {
    /// Compact requests, simple replies: what a client gets that has not asked for anything else.
    case simple
    /// Compact requests, replies in structured chunks.
    case structured
    /// Extended requests with 64-bit lengths, replies in extended chunks.
    case extended

    /// Replies are chunks, which can tell of holes and extents and carry a text with an error.
    @inlinable public var hasChunks: Bool { self != .simple }

    /// The magic number that a request begins with.
    @inlinable public var requestMagic: UInt32 { self == .extended ? Magic.extendedRequest : Magic.request }

    /// The length of a request header on the wire.
    @inlinable public var requestHeaderBytes: Int { self == .extended ? 32 : 28 }
}
