// A client that is GnuTLS and nothing of ours, on memory.

import CGnuTLS
import Glibc

/// How a client of a test presents itself.
public struct TLSClientSettings {
    /// Its offer, in the words of GnuTLS.
    public var priority = "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK"
    /// A user and a key.
    public var preSharedKey: (user: String, key: [UInt8])?
    /// The certificate authority it trusts, if it looks at all.
    public var trusts: String?
    /// Its certificate and key.
    public var certificate: (certificate: String, key: String)?
    /// Another limit for records than the largest (RFC 6066, 4; RFC 8449).
    public var recordBytes: Int?

    /// A client with these proofs.
    public init(
        preSharedKey: (user: String, key: [UInt8])? = nil, trusts: String? = nil,
        certificate: (certificate: String, key: String)? = nil
    ) {
        self.preSharedKey = preSharedKey
        self.trusts = trusts
        self.certificate = certificate
    }

    /// TLS of one version only.
    public func only(_ version: String) -> TLSClientSettings {
        var copy = self
        copy.priority = "NORMAL:-VERS-ALL:+VERS-\(version):+ECDHE-PSK:+DHE-PSK:+PSK"
        return copy
    }
}

/// The client. Bytes for it are put into `incoming`; what it sends is found in `outgoing`.
public final class TLSClient {
    /// GnuTLS's session, for a test that does something odd with it.
    public let session: gnutls_session_t
    private let certificates: gnutls_certificate_credentials_t
    private let keys: gnutls_psk_client_credentials_t
    /// Bytes from the server; those that GnuTLS has taken are gone when a call returns.
    public var incoming: [UInt8] = []
    /// Bytes for the server.
    public var outgoing: [UInt8] = []
    private var incomingHead = 0
    /// GnuTLS keeps the pointer.
    nonisolated(unsafe) private static let serverName = strdup("localhost")

    /// A client that says nothing before ``handshake()``.
    public init(_ settings: TLSClientSettings) {
        var session: gnutls_session_t?
        // It shows the certificate it has, whether or not the server's list of authorities suggests that.
        gnutls_init(&session, UInt32(GNUTLS_CLIENT) | UInt32(GNUTLS_NONBLOCK) | GNUTLS_FORCE_CLIENT_CERT.rawValue)
        self.session = session!
        var certificates: gnutls_certificate_credentials_t?
        gnutls_certificate_allocate_credentials(&certificates)
        self.certificates = certificates!
        var keys: gnutls_psk_client_credentials_t?
        gnutls_psk_allocate_client_credentials(&keys)
        self.keys = keys!
        precondition(gnutls_priority_set_direct(session, settings.priority, nil) == 0, settings.priority)
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, UnsafeMutableRawPointer(self.certificates))
        if let file = settings.trusts {
            precondition(gnutls_certificate_set_x509_trust_file(certificates, file, GNUTLS_X509_FMT_PEM) == 1)
            gnutls_session_set_verify_cert(session, Self.serverName, 0)
        }
        if let (certificate, key) = settings.certificate {
            precondition(gnutls_certificate_set_x509_key_file(certificates, certificate, key, GNUTLS_X509_FMT_PEM) == 0)
        }
        if let (user, key) = settings.preSharedKey {
            var copy = key
            copy.withUnsafeMutableBufferPointer {
                var datum = gnutls_datum_t(data: $0.baseAddress, size: UInt32($0.count))
                precondition(gnutls_psk_set_client_credentials(keys, user, &datum, GNUTLS_PSK_KEY_RAW) == 0)
            }
            gnutls_credentials_set(session, GNUTLS_CRD_PSK, UnsafeMutableRawPointer(self.keys))
        }
        if let bytes = settings.recordBytes { gnutls_record_set_max_size(session, bytes) }
        setMemoryTransport()
    }

    deinit {
        gnutls_deinit(session)
        gnutls_certificate_free_credentials(certificates)
        gnutls_psk_free_client_credentials(keys)
    }

    private func setMemoryTransport() {
        gnutls_transport_set_ptr(session, Unmanaged.passUnretained(self).toOpaque())
        gnutls_transport_set_pull_function(session) { pointer, bytes, count in
            let client = Unmanaged<TLSClient>.fromOpaque(pointer!).takeUnretainedValue()
            let taken = min(count, client.incoming.count - client.incomingHead)
            guard taken > 0 else {
                gnutls_transport_set_errno(client.session, EAGAIN)
                return -1
            }
            client.incoming.withUnsafeBytes {
                bytes!.copyMemory(from: $0.baseAddress! + client.incomingHead, byteCount: taken)
            }
            client.incomingHead += taken
            return taken
        }
        gnutls_transport_set_push_function(session) { pointer, bytes, count in
            let client = Unmanaged<TLSClient>.fromOpaque(pointer!).takeUnretainedValue()
            client.outgoing.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
            return count
        }
        gnutls_transport_set_pull_timeout_function(session) { pointer, _ in
            Unmanaged<TLSClient>.fromOpaque(pointer!).takeUnretainedValue().isDrained ? 0 : 1
        }
    }

    /// Goes on with the handshake: 0 when it is done, GnuTLS's error otherwise.
    public func handshake() -> Int32 {
        defer { dropTaken() }
        while true {
            let result = gnutls_handshake(session)
            if result == GNUTLS_E_WARNING_ALERT_RECEIVED { continue }
            if result < 0, gnutls_error_is_fatal(result) != 0 { gnutls_alert_send_appropriate(session, result) }
            return result
        }
    }

    /// Encrypts bytes to `outgoing`.
    public func send(_ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                gnutls_record_send(session, $0.baseAddress! + sent, $0.count - sent)
            }
            precondition(count > 0, "the test's client cannot send: \(count)")
            sent += count
        }
    }

    /// Decrypts all of `incoming`, and says what ended it: GNUTLS_E_AGAIN as a rule, 0 after close_notify.
    public func receive() -> (bytes: [UInt8], result: Int32) {
        defer { dropTaken() }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = gnutls_record_recv(session, &buffer, buffer.count)
            // After a key update GnuTLS says "again" though there is more.
            if count == Int(GNUTLS_E_AGAIN), !isDrained { continue }
            if count <= 0 { return (bytes, Int32(count)) }
            bytes += buffer[..<count]
        }
    }
    /// Puts close_notify into `outgoing`: nothing more will be sent.
    public func sayGoodbye() {
        gnutls_bye(session, GNUTLS_SHUT_WR)
    }

    /// Bytes for the server, which are taken out of `outgoing`.
    public func takeOutgoing() -> [UInt8] {
        defer { outgoing = [] }
        return outgoing
    }

    private var isDrained: Bool { incomingHead == incoming.count }

    private func dropTaken() {
        incoming.removeFirst(incomingHead)
        incomingHead = 0
    }
}
