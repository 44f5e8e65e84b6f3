// Attributes of a certificate's subject (X.501, RFC 5280 4.1.2.4): each by its object identifier, its value by its
// type.

import CGnuTLS

/// `id-at-commonName` (RFC 5280, appendix A.1).
private let commonName = "2.5.4.3"

/// The common names in a certificate's subject. A value that cannot be read as a text, or has a NUL in it, is no name.
func commonNames(of certificate: gnutls_x509_crt_t) -> [String] {
    var allocated: gnutls_x509_dn_t?
    guard unsafe gnutls_x509_crt_get_subject(certificate, &allocated) == 0, let subject = unsafe allocated else {
        return []
    }
    var names: [String] = []
    for set in Int32(0)..<1000 {
        for number in Int32(0)..<1000 {
            var attribute = unsafe gnutls_x509_ava_st()
            guard unsafe gnutls_x509_dn_get_rdn_ava(subject, set, number, &attribute) == 0 else {
                if number == 0 { return names }
                break
            }
            guard unsafe attribute.oid.isText(commonName) else { continue }
            let bytes = unsafe Array(
                UnsafeBufferPointer(start: attribute.value.data, count: Int(attribute.value.size)))
            if let name = attributeText(bytes, tag: unsafe attribute.value_tag) { names.append(name) }
        }
    }
    return names
}

/// Reads a value of the type DirectoryString (X.520), by the tag of its alternative (X.680, table 8).
func attributeText(_ bytes: [UInt8], tag: UInt) -> String? {
    let text: String?
    switch tag {
    case 12:  // UTF8String
        text = String(validating: bytes, as: UTF8.self)
    case 19, 20, 22:  // PrintableString, TeletexString, IA5String; another character means something else to everybody
        text = bytes.allSatisfy { $0 < 0x80 } ? String(validating: bytes, as: UTF8.self) : nil
    case 30 where bytes.count % 2 == 0:  // BMPString
        let units = stride(from: 0, to: bytes.count, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
        text = String(validating: units, as: UTF16.self)
    case 28 where bytes.count % 4 == 0:  // UniversalString
        let units = stride(from: 0, to: bytes.count, by: 4).map { start in
            bytes[start..<start + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        }
        text = String(validating: units, as: UTF32.self)
    default:
        text = nil
    }
    guard let text, !text.isEmpty, !text.utf8.contains(0) else { return nil }
    return text
}

extension gnutls_datum_t {
    /// Whether the bytes are this text, with or without a NUL behind it.
    fileprivate func isText(_ text: String) -> Bool {
        let bytes = unsafe UnsafeBufferPointer(start: data, count: Int(size))
        return unsafe bytes.prefix { $0 != 0 }.elementsEqual(text.utf8)
    }
}
