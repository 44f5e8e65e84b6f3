// Whether clients that trust the authority can follow the server's certificate to it (RFC 8446, 4.4.2; RFC 5280, 6).

import CGnuTLS

/// Problems of the chain in a folder of certificates that have been loaded. They are no errors: the server may know its
/// clients by another authority than the clients know the server.
func chainProblems(_ directory: String) -> [String] {
    let path = directory + "/server-cert.pem"
    let status: UInt32
    do throws(TLSCredentialsError) {
        status = try chainStatus(CertificateList(path), CertificateList(directory + "/ca-cert.pem"))
    } catch {
        // Loading has said what is wrong with the files themselves.
        return []
    }
    guard status != 0 else { return [] }
    let refusal = "clients that trust ca-cert.pem will refuse '\(path)'"
    guard status & GNUTLS_CERT_SIGNER_NOT_FOUND.rawValue != 0 else { return [refusal] }
    return [
        refusal + ": no certificate in it is signed by ca-cert.pem; if there is an intermediate authority, "
            + "put its certificate behind the server's"
    ]
}

/// `gnutls_certificate_status_t`, but for when certificates are valid, which is looked at elsewhere.
private func chainStatus(_ chain: borrowing CertificateList, _ authorities: borrowing CertificateList) -> UInt32 {
    let flags = GNUTLS_VERIFY_DISABLE_TIME_CHECKS.rawValue | GNUTLS_VERIFY_DISABLE_TRUSTED_TIME_CHECKS.rawValue
    var status: UInt32 = 0
    let result = unsafe gnutls_x509_crt_list_verify(
        chain.certificates, chain.count, authorities.certificates, authorities.count, nil, 0, flags, &status)
    return result == 0 ? status : 0
}

/// The certificates of a PEM file, in its order.
@safe private struct CertificateList: ~Copyable {
    let certificates: UnsafeMutablePointer<gnutls_x509_crt_t?>?
    let count: UInt32

    init(_ path: String) throws(TLSCredentialsError) {
        var list: UnsafeMutablePointer<gnutls_x509_crt_t?>?
        var count: UInt32 = 0
        let result = try unsafe withDatum(readFile(path)) {
            unsafe gnutls_x509_crt_list_import2(&list, &count, &$0, GNUTLS_X509_FMT_PEM, 0)
        }
        guard result >= 0 else { throw .unusable(path: path, code: result) }
        unsafe certificates = unsafe list
        self.count = count
    }

    deinit {
        guard let certificates = unsafe certificates else { return }
        for number in 0..<Int(count) { unsafe gnutls_x509_crt_deinit(certificates[number]) }
        unsafe gnutls_release(certificates)
    }
}
