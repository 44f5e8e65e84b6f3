// One connection's TLS (RFC 8446, RFC 5246), as a rule the server's side, without I/O: received bytes in, bytes to send
// out. GnuTLS does the work; the one who has the socket decides when.

import CGnuTLS

/// The result of a step of the handshake.
public enum TLSHandshakeStep: Equatable, Sendable {
    /// The client's next bytes are needed. There may be output, without which they will not come.
    case needsMoreBytes
    /// Records can be exchanged. There may be output.
    case done
    /// The session is at its end. There may be an alert in the output.
    case failed(TLSFailure)
}

/// A session needs this as long as it lives.
protocol TLSSessionCredentials: AnyObject {
    /// The other side is known by a certificate that was verified.
    var verifiesPeer: Bool { get }
}

/// A session with a client, or for `spindle bench` with a server.
///
/// The output is a buffer of a fixed size. ``encrypt(_:)`` stops when it is full; nothing else appends more than a few
/// bytes once the handshake is over.
@safe public struct TLSSession: ~Copyable {
    enum Phase: Equatable {
        case handshake
        case open
        /// The client has sent close_notify.
        case closedByClient
        case failed(TLSFailure)
    }

    /// Bytes of plaintext in the largest record (RFC 8446, 5.1).
    static let maximumRecordBytes = 16384
    /// A full record's worth of plaintext grows by less than this: header, nonce, MAC and padding of TLS 1.2's worst
    /// suite are 85 bytes. Where the client wants small records (GnuTLS allows 512 bytes and more), there are 33 of
    /// them.
    static let recordOverheadBytes = 4096
    /// Kept free for what GnuTLS sends by itself: alerts, key updates.
    static let reserveBytes = 1024
    /// The output of a session that is not told another size: takes 256 KiB of plaintext.
    public static let standardOutputBytes = 288 << 10

    let session: gnutls_session_t
    let transport: UnsafeMutablePointer<Transport>
    /// GnuTLS refers to them as long as there is the session.
    let credentials: any TLSSessionCredentials
    var phase = Phase.handshake
    /// Plaintext that waits to fill a record.
    let staged: UnsafeMutableRawPointer
    var stagedCount = 0
    /// The plaintext of a record in bytes. Only making a record shows whether the client has asked for less than the
    /// largest.
    var recordBytes = TLSSession.maximumRecordBytes

    /// Begins a session with a client, which speaks first.
    ///
    /// - Parameter outputBytes: the size of the output, at least room for a handshake and one record.
    public init(_ credentials: TLSCredentials, outputBytes: Int = TLSSession.standardOutputBytes) {
        // Without tickets: a client that comes back authenticates itself anew.
        let flags = UInt32(GNUTLS_SERVER) | UInt32(GNUTLS_NO_TICKETS)
        self.init(credentials, flags: flags, outputBytes: outputBytes)
        unsafe gnutls_priority_set(session, credentials.handles.priority)
        unsafe gnutls_session_set_ptr(session, Unmanaged.passUnretained(credentials).toOpaque())
        if let certificates = unsafe credentials.handles.certificates {
            unsafe gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, UnsafeMutableRawPointer(certificates))
        }
        if let keys = unsafe credentials.handles.preSharedKeys {
            unsafe gnutls_credentials_set(session, GNUTLS_CRD_PSK, UnsafeMutableRawPointer(keys))
        }
        if credentials.verifiesPeer {
            unsafe gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE)
            unsafe gnutls_session_set_verify_cert2(session, credentials.handles.clientPurpose, 1, 0)
        }
    }

    /// Makes a session of one side or the other, without its credentials.
    init(_ credentials: any TLSSessionCredentials, flags: UInt32, outputBytes: Int) {
        precondition(outputBytes >= 32 << 10, "the output holds a handshake or a record")
        var allocated: gnutls_session_t?
        let result = unsafe gnutls_init(&allocated, flags | UInt32(GNUTLS_NONBLOCK))
        guard result == 0, let session = unsafe allocated else { preconditionFailure("there is no memory") }
        unsafe self.session = unsafe session
        self.credentials = credentials
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: outputBytes + Self.maximumRecordBytes, alignment: 64)
        unsafe staged = memory + outputBytes
        unsafe transport = UnsafeMutablePointer<Transport>.allocate(capacity: 1)
        unsafe transport.initialize(to: Transport(session: session, output: memory, outputCapacity: outputBytes))
        unsafe setTransport(transport, of: session)
    }

    deinit {
        unsafe gnutls_deinit(session)
        unsafe transport.pointee.output.deallocate()
        unsafe transport.deallocate()
    }

    /// Why the session has failed; nil while it has not.
    public var failure: TLSFailure? {
        if case .failed(let failure) = phase { failure } else { nil }
    }

    /// Goes on with the handshake.
    ///
    /// - Parameter ciphertext: what was received and not yet consumed; it may be empty.
    /// - Returns: how many of these bytes are done with, and what is next. After the handshake, the rest
    ///   are records.
    public mutating func handshake(_ ciphertext: RawSpan) -> (consumed: Int, step: TLSHandshakeStep) {
        switch phase {
        case .handshake: break
        case .open, .closedByClient: return (0, .done)
        case .failed(let failure): return (0, .failed(failure))
        }
        var result: Int32 = 0
        let consumed = unsafe ciphertext.withUnsafeBytes { bytes in
            unsafe transport.pointee.lend(bytes)
            var before = 0
            repeat {
                before = unsafe transport.pointee.inputConsumed
                result = unsafe gnutls_handshake(session)
            } while unsafe transport.pointee.mayGoOn(after: Int(result), since: before)
            return unsafe transport.pointee.takeBack()
        }
        switch result {
        case 0:
            phase = .open
            return (consumed, .done)
        case GNUTLS_E_AGAIN, GNUTLS_E_INTERRUPTED:
            return (consumed, .needsMoreBytes)
        default:
            return (consumed, .failed(fail(result)))
        }
    }

    /// Ends the session with an error of GnuTLS, and lets the client know if TLS has an alert for it.
    mutating func fail(_ code: Int32) -> TLSFailure {
        let failure =
            switch code {
            case GNUTLS_E_FATAL_ALERT_RECEIVED:
                unsafe TLSFailure(code, detail: gnutls_alert_get(session).rawValue)
            case GNUTLS_E_NO_CERTIFICATE_FOUND where unsafe gnutls_alert_get(session) != GNUTLS_A_CLOSE_NOTIFY:
                // GnuTLS's word for an alert in the place of a certificate, in TLS 1.2; no alert is number 0.
                unsafe TLSFailure(GNUTLS_E_FATAL_ALERT_RECEIVED, detail: gnutls_alert_get(session).rawValue)
            case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR:
                unsafe TLSFailure(code, detail: gnutls_session_get_verify_cert_status(session))
            default:
                TLSFailure(code)
            }
        phase = .failed(failure)
        stagedCount = 0
        if code != GNUTLS_E_FATAL_ALERT_RECEIVED { unsafe gnutls_alert_send_appropriate(session, code) }
        return failure
    }
}

/// The output.
extension TLSSession {
    /// Bytes to be sent. They stay where they are, and more may be appended behind them, until they are removed: a send
    /// may be under way meanwhile.
    public var output: UnsafeRawBufferPointer {
        let start = unsafe transport.pointee.outputHead
        return unsafe UnsafeRawBufferPointer(
            start: transport.pointee.output + start, count: transport.pointee.outputTail - start)
    }

    /// There are bytes to be sent.
    public var hasOutput: Bool { unsafe !output.isEmpty }

    /// The oldest `count` bytes of the output have been sent.
    public mutating func removeOutput(_ count: Int) {
        let left = unsafe transport.pointee.outputTail - transport.pointee.outputHead
        precondition(count >= 0 && count <= left, "only output can be removed from it")
        unsafe transport.pointee.outputHead += count
        if count == left {
            unsafe transport.pointee.outputHead = 0
            unsafe transport.pointee.outputTail = 0
        }
    }
}
