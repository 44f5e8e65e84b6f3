// A connection's TLS: ciphertext from its chunks, plaintext for its parser, replies into records.

import Glibc
import TLS

/// What a connection has beside its other state once its client has begun TLS.
@safe
struct SecureLink: ~Copyable {
    /// How the client's records ended.
    enum End: Equatable {
        case closedByClient
        case failed(TLSFailure)
    }

    var session: TLSSession
    /// The TLS handshake is over.
    var isOpen = false
    var end: End?
    /// The kernel was asked to encrypt what is sent, and whether it does.
    var hasAskedKernel = false
    var kernelEncrypts = false
    /// close_notify is in the output, or has been sent.
    var saidGoodbye = false
    /// How much of the oldest reply is encrypted.
    var encryptedBytes = 0
    private let plaintext: UnsafeMutableRawBufferPointer
    private var plaintextStart = 0
    private var plaintextEnd = 0

    init(_ credentials: TLSCredentials) {
        session = TLSSession(credentials)
        unsafe plaintext = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Limits.receiveBufferBytes, alignment: 64)
    }

    deinit {
        unsafe plaintext.deallocate()
    }

    /// Decrypted bytes that have not been parsed.
    var unparsed: UnsafeRawBufferPointer? {
        guard plaintextStart < plaintextEnd else { return nil }
        return unsafe UnsafeRawBufferPointer(rebasing: plaintext[plaintextStart..<plaintextEnd])
    }

    /// So many of them have been parsed.
    mutating func consume(_ count: Int) {
        plaintextStart += count
    }

    /// The session has bytes that it can decrypt without being given any.
    var hasPending: Bool {
        isOpen && end == nil && session.hasPlaintext
    }

    /// Decrypts ciphertext, when everything decrypted before has been parsed.
    ///
    /// - Returns: how many bytes of it are done with.
    mutating func decrypt(_ ciphertext: UnsafeRawBufferPointer) -> Int {
        let (consumed, count) = unsafe decrypt(ciphertext, into: plaintext)
        plaintextStart = 0
        plaintextEnd = count
        return consumed
    }

    /// The same, with what is decrypted where it belongs.
    ///
    /// - Returns: also how many bytes that is.
    mutating func decrypt(
        _ ciphertext: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) -> (consumed: Int, count: Int) {
        precondition(plaintextStart == plaintextEnd, "decrypted bytes would be lost")
        var room = unsafe MutableRawSpan(_unsafeBytes: target)
        let result = unsafe session.decrypt(RawSpan(_unsafeBytes: ciphertext), into: &room)
        switch result.state {
        case .open: break
        case .closedByClient: end = .closedByClient
        case .failed(let failure): end = .failed(failure)
        }
        return (result.consumed, result.count)
    }
}

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
