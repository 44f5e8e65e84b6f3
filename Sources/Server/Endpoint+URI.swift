// The NBD URI of an endpoint (doc/uri.md of the NBD project).

extension Endpoint {
    /// What a client opens to get an export of this endpoint, in the clear or over TLS; where its keys are has to be added.
    public func uri(export: String, isEncrypted: Bool = false) -> String {
        let name = Self.percentEncoded(export)
        let scheme = isEncrypted ? "nbds" : "nbd"
        switch self {
        case .unix(let path, _):
            return "\(scheme)+unix:///\(name)?socket=\(Self.percentEncoded(path))"
        case .tcp(let host, let port):
            let address = host.contains(":") ? "[\(host)]" : host
            return "\(scheme)://\(address)\(port == Self.standardPort ? "" : ":\(port)")/\(name)"
        case .vsock(let port):
            return "\(scheme)+vsock://2:\(port)/\(name)"
        case .descriptor, .systemd, .standardInput:
            return "\(self), export '\(export)'"
        }
    }

    /// Percent-encodes what may not stand in a URI as it is (RFC 3986, 2.3), but for slashes.
    public static func percentEncoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF")
        return text.utf8.map { byte -> String in
            let character = Character(Unicode.Scalar(byte))
            let isUnreserved =
                character.isASCII && (character.isLetter || character.isNumber || "-._~".contains(character))
            if isUnreserved || character == "/" { return String(character) }
            return "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
        }.joined()
    }
}
