// A server's own proof, and its way to know its clients: certificates under the file names of nbdkit and QEMU, or
// pre-shared keys in psktool's format, or both.

import CGnuTLS
import Glibc

/// Credentials for any number of sessions on any number of threads.
@safe public final class TLSCredentials: Sendable, TLSSessionCredentials {
    /// GnuTLS's handles of them.
    @safe struct Handles {
        let certificates: gnutls_certificate_credentials_t?
        let preSharedKeys: gnutls_psk_server_credentials_t?
        let priority: gnutls_priority_t
        /// The purpose that a client's certificate has to have. Sessions keep the pointer.
        let clientPurpose: UnsafeMutablePointer<gnutls_typed_vdata_st>
    }

    // GnuTLS allows all threads to use credentials that nobody changes any more, and nobody does after init.
    nonisolated(unsafe) let handles: Handles
    let preSharedKeys: PreSharedKeys?
    /// Whether clients have to show a certificate that the CA has signed.
    let verifiesPeer: Bool
    /// Problems that do not keep the server from beginning, and will keep clients away, or let in too many.
    public let warnings: [String]

    /// The extended key usage id-kp-clientAuth (RFC 5280, 4.2.1.12).
    private static let clientAuthentication: StaticString = "1.3.6.1.5.5.7.3.2"

    /// Loads credentials. There has to be at least one kind.
    ///
    /// - Parameters:
    ///   - directory: holds `ca-cert.pem`, `server-cert.pem`, `server-key.pem` and perhaps `ca-crl.pem`.
    ///   - preSharedKeyFile: lines of `USER:HEXKEY`.
    ///   - verifyPeer: a client that is not known by a pre-shared key has to show a certificate which the CA has
    ///     signed, has not revoked, and which is good for clients.
    public init(certificates directory: String?, preSharedKeyFile: String?, verifyPeer: Bool)
        throws(TLSCredentialsError)
    {
        precondition(directory != nil || preSharedKeyFile != nil, "there are credentials of some kind")
        if let path = preSharedKeyFile {
            preSharedKeys = try PreSharedKeys(readFile(path), path: path)
        } else {
            preSharedKeys = nil
        }
        verifiesPeer = verifyPeer
        let clientPurpose = UnsafeMutablePointer<gnutls_typed_vdata_st>.allocate(capacity: 1)
        unsafe clientPurpose.initialize(
            to: gnutls_typed_vdata_st(
                type: GNUTLS_DT_KEY_PURPOSE_OID,
                data: UnsafeMutablePointer(mutating: Self.clientAuthentication.utf8Start), size: 0))
        do {
            unsafe handles = Handles(
                certificates: try directory.map { path throws(TLSCredentialsError) in
                    unsafe try loadCertificates(path)
                },
                preSharedKeys: preSharedKeyFile == nil ? nil : Self.makePreSharedKeyCredentials(),
                priority: Self.makePriority(certificates: directory != nil, preSharedKeys: preSharedKeyFile != nil),
                clientPurpose: clientPurpose)
        } catch {
            unsafe clientPurpose.deallocate()
            throw error
        }
        let secrets = [preSharedKeyFile, directory.map { $0 + "/server-key.pem" }].compactMap { $0 }
        warnings = secrets.compactMap(exposure) + (directory.map(chainProblems) ?? [])
    }

    deinit {
        if let certificates = unsafe handles.certificates { unsafe gnutls_certificate_free_credentials(certificates) }
        if let keys = unsafe handles.preSharedKeys { unsafe gnutls_psk_free_server_credentials(keys) }
        unsafe gnutls_priority_deinit(handles.priority)
        unsafe handles.clientPurpose.deallocate()
    }

    /// GnuTLS's usual choices, as nbdkit has them, but nothing older than TLS 1.2.
    ///
    /// Without certificates the key exchanges that need them have to go, because for TLS 1.2 GnuTLS would choose one
    /// all the same. With both, a client that offers pre-shared keys has one: they come first. ChaCha20 comes last, and
    /// the order is the server's: with a pre-shared key TLS 1.3 cannot use AES-256, and GnuTLS's next choice would be
    /// ChaCha20, which it does eight times as slowly as AES-128 where the processor knows AES (2.5 s and 0.3 s for a
    /// GiB). For the same reason DHE comes before ECDHE, which in TLS 1.2 has no AES-GCM with pre-shared keys.
    static func makePriority(certificates: Bool, preSharedKeys: Bool) -> gnutls_priority_t {
        var text = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CHACHA20-POLY1305:+CHACHA20-POLY1305:%SERVER_PRECEDENCE"
        if preSharedKeys { text += ":-KX-ALL:+DHE-PSK:+ECDHE-PSK:+PSK" }
        if preSharedKeys && certificates { text += ":+ECDHE-RSA:+ECDHE-ECDSA:+RSA:+DHE-RSA" }
        var priority: gnutls_priority_t?
        let result = unsafe gnutls_priority_init(&priority, text, nil)
        guard result == 0, let priority = unsafe priority else { preconditionFailure("GnuTLS refuses \(text)") }
        return unsafe priority
    }

    private static func makePreSharedKeyCredentials() -> gnutls_psk_server_credentials_t {
        var credentials: gnutls_psk_server_credentials_t?
        let result = unsafe gnutls_psk_allocate_server_credentials(&credentials)
        guard result == 0, let credentials = unsafe credentials else { preconditionFailure("there is no memory") }
        unsafe gnutls_psk_set_server_credentials_function2(credentials) { session, user, key in
            guard let session = unsafe session, let user = unsafe user, let key = unsafe key,
                let pointer = unsafe gnutls_session_get_ptr(session)
            else { return -1 }
            // The session holds on to its credentials, which are what its pointer points to.
            let credentials = unsafe Unmanaged<TLSCredentials>.fromOpaque(pointer).takeUnretainedValue()
            return unsafe credentials.findKey(of: user.pointee, key)
        }
        return unsafe credentials
    }

    /// Looks a user up.
    ///
    /// - Returns: 1 for an unknown user: GnuTLS goes on with a random key, so that nobody learns which users there are.
    private func findKey(of user: gnutls_datum_t, _ result: UnsafeMutablePointer<gnutls_datum_t>) -> Int32 {
        let name = unsafe Array(UnsafeBufferPointer(start: user.data, count: Int(user.size)))
        guard let key = preSharedKeys?[name] else { return 1 }
        guard let memory = unsafe gnutls_allocate(key.count) else { return -1 }
        unsafe key.withUnsafeBytes { unsafe memory.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        unsafe result.pointee = gnutls_datum_t(
            data: memory.assumingMemoryBound(to: UInt8.self), size: UInt32(key.count))
        return 0
    }
}

/// Loads a directory of certificates into credentials of GnuTLS.
private func loadCertificates(_ directory: String) throws(TLSCredentialsError) -> gnutls_certificate_credentials_t {
    var allocated: gnutls_certificate_credentials_t?
    let result = unsafe gnutls_certificate_allocate_credentials(&allocated)
    guard result == 0, let credentials = unsafe allocated else { preconditionFailure("there is no memory") }
    do {
        try unsafe fill(credentials, directory)
    } catch {
        unsafe gnutls_certificate_free_credentials(credentials)
        throw error
    }
    return unsafe credentials
}

private func fill(_ credentials: gnutls_certificate_credentials_t, _ directory: String) throws(TLSCredentialsError) {
    try unsafe trust(directory + "/ca-cert.pem", credentials)
    let revocations = directory + "/ca-crl.pem"
    if unsafe access(revocations, F_OK) == 0 {
        let count = try unsafe withDatum(readFile(revocations)) {
            unsafe gnutls_certificate_set_x509_crl_mem(credentials, &$0, GNUTLS_X509_FMT_PEM)
        }
        guard count >= 0 else { throw .unusable(path: revocations, code: count) }
    }
    let certificate = directory + "/server-cert.pem"
    try checkValidity(readFile(certificate), certificate)
    try unsafe identify(by: certificate, key: directory + "/server-key.pem", credentials)
}

/// Lets a certificate authority vouch for the other side.
func trust(_ authority: String, _ credentials: gnutls_certificate_credentials_t) throws(TLSCredentialsError) {
    let trusted = try unsafe withDatum(readFile(authority)) {
        unsafe gnutls_certificate_set_x509_trust_mem(credentials, &$0, GNUTLS_X509_FMT_PEM)
    }
    guard trusted > 0 else {
        throw .unusable(path: authority, code: trusted < 0 ? trusted : GNUTLS_E_NO_CERTIFICATE_FOUND)
    }
}

/// Loads the certificate of this side and its key.
func identify(
    by certificate: String, key: String, _ credentials: gnutls_certificate_credentials_t
) throws(TLSCredentialsError) {
    let certificateBytes = try readFile(certificate)
    let keyBytes = try readFile(key)
    let result = unsafe withDatum(certificateBytes) { certificate in
        unsafe withDatum(keyBytes) { key in
            unsafe gnutls_certificate_set_x509_key_mem2(credentials, &certificate, &key, GNUTLS_X509_FMT_PEM, nil, 0)
        }
    }
    guard result >= 0 else { throw .unusable(path: key, code: result) }
}

/// A server whose certificate has expired is told so when it starts, not by each client.
private func checkValidity(_ bytes: [UInt8], _ path: String) throws(TLSCredentialsError) {
    var allocated: gnutls_x509_crt_t?
    unsafe gnutls_x509_crt_init(&allocated)
    guard let certificate = unsafe allocated else { preconditionFailure("there is no memory") }
    defer { unsafe gnutls_x509_crt_deinit(certificate) }
    let result = unsafe withDatum(bytes) { unsafe gnutls_x509_crt_import(certificate, &$0, GNUTLS_X509_FMT_PEM) }
    guard result == 0 else { throw .unusable(path: path, code: result) }
    let now = time(nil)
    if unsafe gnutls_x509_crt_get_expiration_time(certificate) < now { throw .notValidNow(path: path, expired: true) }
    if unsafe gnutls_x509_crt_get_activation_time(certificate) > now { throw .notValidNow(path: path, expired: false) }
}
