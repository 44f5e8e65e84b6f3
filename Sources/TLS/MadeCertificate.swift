// A new key and the certificate for it (RFC 5280).

import CGnuTLS
import Glibc

/// From when to when a certificate is valid.
struct ValidityPeriod {
    let start: time_t
    let end: time_t

    /// Begins an hour ago: the client's clock may be behind.
    init(days: Int) {
        start = time(nil) - 3600
        end = start + days * 86400
    }
}

/// A key and its certificate, while they are made.
@safe
struct MadeCertificate: ~Copyable {
    /// The purpose of a certificate.
    enum Purpose {
        case authority
        case server(hosts: [String])
        case client
    }

    private let key: gnutls_x509_privkey_t
    private let certificate: gnutls_x509_crt_t

    /// Makes a key on the curve P-256, which everybody knows, and fills in all of its certificate but the signature.
    init(commonName: String, _ period: ValidityPeriod, _ purpose: Purpose) throws(TLSCredentialsError) {
        var allocatedKey: gnutls_x509_privkey_t?
        var allocatedCertificate: gnutls_x509_crt_t?
        unsafe gnutls_x509_privkey_init(&allocatedKey)
        unsafe gnutls_x509_crt_init(&allocatedCertificate)
        guard let key = unsafe allocatedKey, let certificate = unsafe allocatedCertificate else {
            preconditionFailure("there is no memory")
        }
        unsafe self.key = unsafe key
        unsafe self.certificate = unsafe certificate
        // The curve's number takes the place of a size in bits: the macro GNUTLS_CURVE_TO_BITS.
        let curve = 1 << 31 | GNUTLS_ECC_CURVE_SECP256R1.rawValue
        try check("a key", unsafe gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, curve, 0))
        try fill(commonName, period)
        try permit(purpose)
    }

    deinit {
        unsafe gnutls_x509_crt_deinit(certificate)
        unsafe gnutls_x509_privkey_deinit(key)
    }

    private func fill(_ commonName: String, _ period: ValidityPeriod) throws(TLSCredentialsError) {
        // 20 octets at most, and positive (RFC 5280, 4.1.2.2).
        var serial = [UInt8](repeating: 0, count: 16)
        try check("a serial number", unsafe gnutls_rnd(GNUTLS_RND_NONCE, &serial, serial.count))
        serial[0] = serial[0] & 0x7F | 0x40
        let name = Array(commonName.utf8)
        // The limit of a common name (RFC 5280, appendix A.1).
        guard (1...64).contains(name.count) else {
            throw .unsuitableName(commonName, reason: "a name in a certificate has 1 to 64 bytes")
        }
        try check("a certificate", unsafe gnutls_x509_crt_set_version(certificate, 3))
        try check("a certificate", unsafe gnutls_x509_crt_set_serial(certificate, serial, serial.count))
        try check("a certificate", unsafe gnutls_x509_crt_set_activation_time(certificate, period.start))
        try check("a certificate", unsafe gnutls_x509_crt_set_expiration_time(certificate, period.end))
        try check(
            "a certificate for '\(commonName)'",
            unsafe gnutls_x509_crt_set_dn_by_oid(certificate, "2.5.4.3", 0, name, UInt32(name.count)))
        try check("a certificate", unsafe gnutls_x509_crt_set_key(certificate, key))
        let identifier = try keyIdentifier()
        try check(
            "a certificate", unsafe gnutls_x509_crt_set_subject_key_id(certificate, identifier, identifier.count))
    }

    private func permit(_ purpose: Purpose) throws(TLSCredentialsError) {
        let usage: Int32
        switch purpose {
        case .authority:
            // It signs certificates for ends, not for other authorities.
            try check("a certificate", unsafe gnutls_x509_crt_set_basic_constraints(certificate, 1, 0))
            usage = GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN
        case .server(let hosts):
            try check("a certificate", unsafe gnutls_x509_crt_set_basic_constraints(certificate, 0, -1))
            try check(
                "a certificate", unsafe gnutls_x509_crt_set_key_purpose_oid(certificate, GNUTLS_KP_TLS_WWW_SERVER, 0))
            for host in hosts { try addName(host) }
            usage = GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_ENCIPHERMENT
        case .client:
            try check("a certificate", unsafe gnutls_x509_crt_set_basic_constraints(certificate, 0, -1))
            try check(
                "a certificate", unsafe gnutls_x509_crt_set_key_purpose_oid(certificate, GNUTLS_KP_TLS_WWW_CLIENT, 0))
            // A key on a curve enciphers no keys, but QEMU wants it to be allowed to (crypto/tlscredsx509.c, 7.2).
            usage = GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_ENCIPHERMENT
        }
        try check("a certificate", unsafe gnutls_x509_crt_set_key_usage(certificate, UInt32(usage)))
    }

    /// Adds a subject alternative name: clients look for the host there and nowhere else.
    private func addName(_ host: String) throws(TLSCredentialsError) {
        var address = [UInt8](repeating: 0, count: 16)
        let type: gnutls_x509_subject_alt_name_t
        let bytes: [UInt8]
        if unsafe inet_pton(AF_INET, host, &address) == 1 {
            (type, bytes) = (GNUTLS_SAN_IPADDRESS, Array(address[..<4]))
        } else if unsafe inet_pton(AF_INET6, host, &address) == 1 {
            (type, bytes) = (GNUTLS_SAN_IPADDRESS, address)
        } else {
            (type, bytes) = (GNUTLS_SAN_DNSNAME, Array(host.utf8))
        }
        try check(
            "a certificate for '\(host)'",
            unsafe gnutls_x509_crt_set_subject_alt_name(
                certificate, type, bytes, UInt32(bytes.count), UInt32(GNUTLS_FSAN_APPEND)))
    }

    /// Signs the certificate; `issuer` may be itself.
    borrowing func sign(by issuer: borrowing MadeCertificate) throws(TLSCredentialsError) {
        let identifier = try issuer.keyIdentifier()
        try check(
            "a certificate", unsafe gnutls_x509_crt_set_authority_key_id(certificate, identifier, identifier.count))
        try check(
            "a signature",
            unsafe gnutls_x509_crt_sign2(certificate, issuer.certificate, issuer.key, GNUTLS_DIG_SHA256, 0))
    }

    /// The certificate as PEM.
    func certificateText() throws(TLSCredentialsError) -> [UInt8] {
        var text = unsafe gnutls_datum_t()
        try check("a certificate", unsafe gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &text))
        return unsafe takeBytes(text)
    }

    /// The key as PEM (PKCS #8).
    func keyText() throws(TLSCredentialsError) -> [UInt8] {
        var text = unsafe gnutls_datum_t()
        let plain = UInt32(GNUTLS_PKCS_PLAIN.rawValue)
        try check("a key", unsafe gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, nil, plain, &text))
        return unsafe takeBytes(text)
    }

    private func keyIdentifier() throws(TLSCredentialsError) -> [UInt8] {
        var identifier = [UInt8](repeating: 0, count: 64)
        var count = identifier.count
        try check("a key's identifier", unsafe gnutls_x509_privkey_get_key_id(key, 0, &identifier, &count))
        return Array(identifier[..<count])
    }
}

private func check(_ what: String, _ result: Int32) throws(TLSCredentialsError) {
    guard result >= 0 else { throw .cannotMake(what: what, code: result) }
}

/// Copies what GnuTLS has allocated, and frees it.
private func takeBytes(_ datum: gnutls_datum_t) -> [UInt8] {
    defer { unsafe gnutls_release(datum.data) }
    return unsafe Array(UnsafeBufferPointer(start: datum.data, count: Int(datum.size)))
}
