// The needs of a server that encrypts.

import TLS

/// Whether and how a server encrypts.
public struct TLSSettings: Sendable {
    /// The server's keys, and what it wants of clients.
    public var credentials: TLSCredentials
    /// Clients may not go on in the clear.
    public var isRequired: Bool

    /// Describes a server with TLS.
    public init(credentials: TLSCredentials, isRequired: Bool) {
        self.credentials = credentials
        self.isRequired = isRequired
    }
}
