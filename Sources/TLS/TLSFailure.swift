// Why a session failed, in words for the log. It is a plain value, so that a record's result can carry it.

import CGnuTLS

/// A session cannot go on. An alert for the client is in the output where TLS knows one.
public struct TLSFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// GnuTLS's error code.
    let code: Int32
    /// More about it: the number of the alert that was received, or what is wrong with a certificate.
    let detail: UInt32

    init(_ code: Int32, detail: UInt32 = 0) {
        self.code = code
        self.detail = detail
    }

    /// The event; a clause without a full stop.
    public var description: String {
        switch code {
        case GNUTLS_E_FATAL_ALERT_RECEIVED:
            "the client refuses: \(Self.alertName(detail))"
        case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR:
            "the client's certificate is not accepted: \(Self.verificationText(detail))"
        case GNUTLS_E_CERTIFICATE_REQUIRED, GNUTLS_E_NO_CERTIFICATE_FOUND:
            "the client shows no certificate"
        case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
            "the client speaks no TLS, or none that is as new as TLS 1.2"
        case GNUTLS_E_UNEXPECTED_PACKET_LENGTH, GNUTLS_E_UNEXPECTED_PACKET, GNUTLS_E_RECORD_OVERFLOW:
            "what the client sends is not TLS, or is not as TLS wants it: \(Self.libraryText(code))"
        case GNUTLS_E_NO_CIPHER_SUITES, GNUTLS_E_UNKNOWN_CIPHER_SUITE, GNUTLS_E_INSUFFICIENT_CREDENTIALS,
            GNUTLS_E_NO_COMMON_KEY_SHARE:
            "the client and this server have no way of authentication in common; "
                + "does one use pre-shared keys and the other certificates?"
        case GNUTLS_E_DECRYPTION_FAILED:
            "a record cannot be decrypted; it was changed on its way, or the client's key is another"
        case GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER:
            // A wrong key is that in TLS 1.3: its binder does not fit.
            "the client's pre-shared key is another, or it sends what TLS does not allow"
        case GNUTLS_E_REHANDSHAKE:
            "the client asks for renegotiation, which is not allowed"
        case GNUTLS_E_PUSH_ERROR:
            "the client does not read what the handshake sends"
        default:
            Self.libraryText(code)
        }
    }

    /// The event, in a session with a server; a clause without a full stop.
    public var asSeenByClient: String {
        switch code {
        case GNUTLS_E_FATAL_ALERT_RECEIVED: "it refuses: \(Self.alertName(detail))"
        case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR:
            "its certificate is not accepted: \(Self.verificationText(detail))"
        default: Self.libraryText(code)
        }
    }

    private static func libraryText(_ code: Int32) -> String {
        guard let text = unsafe gnutls_strerror(code) else { return "error \(code)" }
        return unsafe String(cString: text)
    }

    private static func alertName(_ alert: UInt32) -> String {
        guard let name = unsafe gnutls_alert_get_name(gnutls_alert_description_t(rawValue: alert)) else {
            return "alert \(alert)"
        }
        return unsafe String(cString: name)
    }

    private static func verificationText(_ status: UInt32) -> String {
        var text = unsafe gnutls_datum_t()
        guard unsafe gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) == 0 else {
            return "status \(status)"
        }
        defer { unsafe gnutls_release(text.data) }
        return unsafe String(decoding: UnsafeBufferPointer(start: text.data, count: Int(text.size)), as: UTF8.self)
            .split(separator: " ").joined(separator: " ")
    }
}
