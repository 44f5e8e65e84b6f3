// A client's own proof, and its way to know the server, for `spindle bench`: the files that libnbd takes.

import CGnuTLS
import Glibc

/// Credentials of a client. They belong to one thread.
@safe public final class TLSClientCredentials: TLSSessionCredentials {
    let certificates: gnutls_certificate_credentials_t?
    let preSharedKeys: gnutls_psk_client_credentials_t?
    let priority: gnutls_priority_t
    /// The name that the server's certificate has to be made out to. Sessions keep the pointer.
    let serverName: UnsafeMutablePointer<CChar>?

    var verifiesPeer: Bool { unsafe certificates != nil }

    /// The key of a user from a file with lines of `USER:HEXKEY`.
    public init(user: String, preSharedKeyFile path: String) throws(TLSCredentialsError) {
        guard let key = try PreSharedKeys(readFile(path), path: path)[Array(user.utf8)] else {
            throw .noKey(user: user, path: path)
        }
        var allocated: gnutls_psk_client_credentials_t?
        unsafe gnutls_psk_allocate_client_credentials(&allocated)
        guard let credentials = unsafe allocated else { preconditionFailure("there is no memory") }
        let result = unsafe withDatum(key) {
            unsafe gnutls_psk_set_client_credentials(credentials, user, &$0, GNUTLS_PSK_KEY_RAW)
        }
        precondition(result == 0, "GnuTLS refuses a key that it would take from the same file itself")
        unsafe preSharedKeys = unsafe credentials
        unsafe certificates = nil
        unsafe serverName = nil
        unsafe priority = TLSCredentials.makePriority(certificates: false, preSharedKeys: true)
    }

    /// A directory that holds `ca-cert.pem`, and `client-cert.pem` and `client-key.pem` if the client has a
    /// certificate.
    ///
    /// - Parameter serverName: the host name or address that the server's certificate has to be made out to.
    public init(certificates directory: String, serverName: String) throws(TLSCredentialsError) {
        var allocated: gnutls_certificate_credentials_t?
        unsafe gnutls_certificate_allocate_credentials(&allocated)
        guard let credentials = unsafe allocated else { preconditionFailure("there is no memory") }
        unsafe certificates = unsafe credentials
        unsafe preSharedKeys = nil
        unsafe self.serverName = unsafe strdup(serverName)
        unsafe priority = TLSCredentials.makePriority(certificates: true, preSharedKeys: false)
        try unsafe trust(directory + "/ca-cert.pem", credentials)
        let certificate = directory + "/client-cert.pem"
        if unsafe access(certificate, F_OK) == 0 {
            try unsafe identify(by: certificate, key: directory + "/client-key.pem", credentials)
        }
    }

    deinit {
        if let certificates = unsafe certificates { unsafe gnutls_certificate_free_credentials(certificates) }
        if let preSharedKeys = unsafe preSharedKeys { unsafe gnutls_psk_free_client_credentials(preSharedKeys) }
        unsafe gnutls_priority_deinit(priority)
        unsafe free(serverName)
    }
}

extension TLSSession {
    /// Begins a session with a server; ``handshake(_:)`` with no bytes makes the first ones to be sent.
    public init(_ credentials: TLSClientCredentials) {
        self.init(credentials, flags: UInt32(GNUTLS_CLIENT), outputBytes: Self.standardOutputBytes)
        unsafe gnutls_priority_set(session, credentials.priority)
        if let keys = unsafe credentials.preSharedKeys {
            unsafe gnutls_credentials_set(session, GNUTLS_CRD_PSK, UnsafeMutableRawPointer(keys))
        }
        if let certificates = unsafe credentials.certificates {
            unsafe gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, UnsafeMutableRawPointer(certificates))
            unsafe gnutls_session_set_verify_cert(session, credentials.serverName, 0)
        }
    }
}
