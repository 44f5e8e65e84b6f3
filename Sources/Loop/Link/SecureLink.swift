// A connection's TLS: ciphertext from its chunks, plaintext for its parser, replies into records.

import IOUring
import TLS

/// The additional state of a connection once its client has begun TLS.
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
    /// The kernel was asked to encrypt what is sent.
    var hasAskedKernel = false
    /// The client has said something inside TLS.
    private(set) var hasHeardClient = false
    /// close_notify is in the output, or has been sent.
    var saidGoodbye = false
    /// How much of the oldest reply is encrypted.
    var encryptedBytes = 0
    private let plaintext = HeapBytes(count: Limits.receiveBufferBytes)
    private var plaintextStart = 0
    private var plaintextEnd = 0

    init(_ credentials: TLSCredentials) {
        session = TLSSession(credentials)
    }

    /// There are decrypted bytes that have not been parsed.
    var hasUnparsed: Bool { plaintextStart < plaintextEnd }

    /// Decrypted bytes that have not been parsed.
    var unparsed: MemoryRange? { hasUnparsed ? unsafe plaintext.range[plaintextStart..<plaintextEnd] : nil }

    /// So many of them have been parsed.
    mutating func consume(_ count: Int) {
        precondition(count >= 0 && count <= plaintextEnd - plaintextStart, "no more is parsed than there is")
        plaintextStart += count
    }

    /// The session has bytes that it can decrypt without being given any.
    var hasPending: Bool {
        isOpen && end == nil && session.hasPlaintext
    }

    /// Records that are to be sent. They stay where they are until they are removed.
    var output: MemoryRange {
        let bytes = unsafe session.output
        return unsafe MemoryRange(UnsafeMutableRawPointer(mutating: bytes.baseAddress), count: bytes.count)
    }

    /// Encrypts what is not yet of a piece of a reply that begins at `position` of it, and moves `position` to its end.
    ///
    /// - Returns: whether all of it is encrypted.
    mutating func encrypt(_ bytes: MemoryRange, _ position: inout Int) -> Bool {
        let skipped = max(0, min(bytes.count, encryptedBytes - position))
        position += bytes.count
        guard skipped < bytes.count else { return true }
        let rest = bytes.dropFirst(skipped)
        let taken = rest.withBytes { session.encrypt($0) }
        encryptedBytes += taken
        return taken == rest.count
    }

    /// Decrypts ciphertext, when everything decrypted before has been parsed.
    ///
    /// - Returns: how many bytes of it are done with.
    mutating func decrypt(_ ciphertext: MemoryRange) -> Int {
        let (consumed, count) = unsafe decrypt(ciphertext, into: plaintext.range)
        plaintextStart = 0
        plaintextEnd = count
        return consumed
    }

    /// The same, with what is decrypted where it belongs.
    ///
    /// - Returns: also how many bytes that is.
    mutating func decrypt(_ ciphertext: MemoryRange, into target: MemoryRange) -> (consumed: Int, count: Int) {
        precondition(plaintextStart == plaintextEnd, "decrypted bytes would be lost")
        let result = ciphertext.withBytes(into: target) { session.decrypt($0, into: &$1) }
        if result.count > 0 { hasHeardClient = true }
        switch result.state {
        case .open: break
        case .closedByClient: end = .closedByClient
        case .failed(let failure): end = .failed(failure)
        }
        return (result.consumed, result.count)
    }
}
