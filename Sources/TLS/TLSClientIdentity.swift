// The proven identity of a client: the names in its certificate (RFC 5280), or its pre-shared key's user.

import CGnuTLS
import Glibc

/// A name in a certificate besides the subject (RFC 5280, 4.2.1.6).
public enum SubjectAlternativeName: Hashable, Sendable {
    /// dNSName
    case dns(String)
    /// iPAddress, as it is usually written.
    case address(String)
    /// uniformResourceIdentifier
    case uri(String)
    /// rfc822Name
    case email(String)
}

/// The facts about a client after the handshake. All of them are proven: certificates count only where they were
/// verified.
public struct TLSClientIdentity: Equatable, Sendable {
    /// The subject of its certificate, written as QEMU's and libvirt's access lists have it:
    /// `O=Example,CN=laptop.example.com`, in the order of the certificate, with what is special in a value escaped
    /// (RFC 4514, 2.4).
    public var distinguishedName: String?
    /// The common names (2.5.4.3) in that subject, usually one.
    public var commonNames: [String] = []
    /// The other names in its certificate.
    public var alternativeNames: [SubjectAlternativeName] = []
    /// The user of its pre-shared key.
    public var preSharedKeyUser: String?

    /// Describes a client that has proved these things.
    public init(
        distinguishedName: String? = nil, commonNames: [String] = [],
        alternativeNames: [SubjectAlternativeName] = [], preSharedKeyUser: String? = nil
    ) {
        self.distinguishedName = distinguishedName
        self.commonNames = commonNames
        self.alternativeNames = alternativeNames
        self.preSharedKeyUser = preSharedKeyUser
    }

    /// Its name for people; nil for a client that has proved nothing.
    public var name: String? {
        preSharedKeyUser ?? distinguishedName
    }
}

extension TLSSession {
    /// The client's identity; empty before the end of the handshake.
    public var client: TLSClientIdentity {
        var identity = TLSClientIdentity()
        guard phase == .open || phase == .closedByClient else { return identity }
        var user = unsafe gnutls_datum_t()
        if unsafe gnutls_psk_server_get_username2(session, &user) == 0, unsafe user.size > 0 {
            identity.preSharedKeyUser = unsafe user.text
        }
        guard credentials.verifiesPeer, let certificate = unsafe clientCertificate() else { return identity }
        defer { unsafe gnutls_x509_crt_deinit(certificate) }
        identity.distinguishedName = unsafe distinguishedName(of: certificate)
        identity.commonNames = unsafe commonNames(of: certificate)
        identity.alternativeNames = unsafe alternativeNames(of: certificate)
        return identity
    }

    /// The protocol, key exchange and cipher that were agreed on, for the log; empty before.
    public var agreement: String {
        guard let text = unsafe gnutls_session_get_desc(session) else { return "" }
        defer { unsafe gnutls_release(text) }
        return unsafe String(cString: text)
    }

    /// The client's own certificate, which the caller frees.
    private func clientCertificate() -> gnutls_x509_crt_t? {
        var count: UInt32 = 0
        guard let list = unsafe gnutls_certificate_get_peers(session, &count), count > 0 else { return nil }
        var allocated: gnutls_x509_crt_t?
        unsafe gnutls_x509_crt_init(&allocated)
        guard let certificate = unsafe allocated else { return nil }
        guard unsafe gnutls_x509_crt_import(certificate, list, GNUTLS_X509_FMT_DER) == 0 else {
            unsafe gnutls_x509_crt_deinit(certificate)
            return nil
        }
        return unsafe certificate
    }
}

private func distinguishedName(of certificate: gnutls_x509_crt_t) -> String? {
    var size = 0
    guard unsafe gnutls_x509_crt_get_dn(certificate, nil, &size) == GNUTLS_E_SHORT_MEMORY_BUFFER else { return nil }
    var bytes = [CChar](repeating: 0, count: size)
    guard unsafe gnutls_x509_crt_get_dn(certificate, &bytes, &size) == 0 else { return nil }
    return String(decoding: bytes[..<size].map(UInt8.init(bitPattern:)), as: UTF8.self)
}

private func alternativeNames(of certificate: gnutls_x509_crt_t) -> [SubjectAlternativeName] {
    var names: [SubjectAlternativeName] = []
    for number in 0..<UInt32(1000) {
        var size = 0
        let needed = unsafe gnutls_x509_crt_get_subject_alt_name(certificate, number, nil, &size, nil)
        if needed == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE { break }
        // GnuTLS adds a NUL to text where there is room.
        var bytes = [UInt8](repeating: 0, count: size + 1)
        size += 1
        let type = unsafe gnutls_x509_crt_get_subject_alt_name(certificate, number, &bytes, &size, nil)
        guard type >= 0, let name = SubjectAlternativeName(type: type, Array(bytes[..<size])) else { continue }
        names.append(name)
    }
    return names
}

extension SubjectAlternativeName {
    /// A name of one of the types that are known; a text with a NUL in it is a trick and no name.
    fileprivate init?(type: Int32, _ bytes: [UInt8]) {
        if UInt32(type) == GNUTLS_SAN_IPADDRESS.rawValue {
            guard let text = addressText(bytes) else { return nil }
            self = .address(text)
            return
        }
        guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else { return nil }
        switch UInt32(type) {
        case GNUTLS_SAN_DNSNAME.rawValue: self = .dns(text)
        case GNUTLS_SAN_URI.rawValue: self = .uri(text)
        case GNUTLS_SAN_RFC822NAME.rawValue: self = .email(text)
        default: return nil
        }
    }
}

private func addressText(_ bytes: [UInt8]) -> String? {
    guard bytes.count == 4 || bytes.count == 16 else { return nil }
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let family = bytes.count == 4 ? AF_INET : AF_INET6
    guard unsafe inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil else { return nil }
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}

extension gnutls_datum_t {
    /// The bytes as text.
    fileprivate var text: String {
        unsafe String(decoding: UnsafeBufferPointer(start: data, count: Int(size)), as: UTF8.self)
    }
}
