// How bytes cross between the server and a client, and what that allows.

/// The way that a connection's bytes take.
struct Link: Equatable, Sendable {
    /// The one that encrypts sent data.
    enum Encryption: Equatable, Sendable {
        /// Nobody: there is no TLS.
        case none
        /// This process (GnuTLS).
        case here
        /// The kernel, on the way into the socket (TLS_TX). This process decrypts received bytes.
        case kernel
    }

    var encryption = Encryption.none
    /// Over TCP, where receiving and sending cost the most.
    var isRemote = false
    /// Its kind of socket has refused splice(2).
    var refusesSplice = false
    /// This process looks at what is sent, for its digest.
    var isDigested = false
    /// The next bytes of a payload have to go through memory: they come in pieces.
    var comesInPieces = false

    /// Data can be sent from where only the kernel may look.
    var sendsUnseen: Bool { encryption != .here && !isDigested }
    /// Pages can be passed on to the socket.
    var takesPages: Bool { encryption == .none && !refusesSplice && !isDigested }
    /// Received bytes can be passed on from the socket as they are.
    var givesPages: Bool { encryption == .none && !comesInPieces }
    /// The kernel may be asked to encrypt: over a Unix socket it cannot.
    var mayAskKernel: Bool { encryption == .here && isRemote }
}
