// The URI of an endpoint: of NBD (doc/uri.md of the NBD project), or of iSCSI as libiscsi and QEMU have it.

extension Endpoint {
    /// An initiator's URI for a target's first unit; nil if nobody speaks iSCSI here.
    public func uri(target: String, logicalUnit: UInt8 = 0) -> String? {
        guard case .iscsi(let ownHost, let ownPort, let portal) = self else { return nil }
        let (host, port) = (portal?.host ?? ownHost, portal?.port ?? ownPort)
        let suffix = port == Self.standardISCSIPort ? "" : ":\(port)"
        return "iscsi://\(Self.authority(host))\(suffix)/\(target)/\(logicalUnit)"
    }

    /// A client's URI for an export of this endpoint, in the clear or over TLS; the place of its keys has to be added.
    public func uri(export: String, isEncrypted: Bool = false) -> String {
        let name = Self.percentEncoded(export)
        let scheme = isEncrypted ? "nbds" : "nbd"
        switch self {
        case .unix(let path, _):
            return "\(scheme)+unix:///\(name)?socket=\(Self.percentEncoded(path))"
        case .tcp(let host, let port):
            return "\(scheme)://\(Self.authority(host))\(port == Self.standardPort ? "" : ":\(port)")/\(name)"
        case .vsock(let port):
            return "\(scheme)+vsock://2:\(port)/\(name)"
        case .descriptor, .systemd, .standardInput, .iscsi:
            return "\(self), export '\(export)'"
        }
    }

    private static func authority(_ host: String) -> String {
        host.contains(":") ? "[\(withEncodedZone(host))]" : host
    }

    /// An IPv6 address as it stands in a URI: its zone begins with `%25`, and is percent-encoded itself (RFC 6874, 2).
    private static func withEncodedZone(_ host: String) -> String {
        guard let percent = host.firstIndex(of: "%") else { return host }
        return "\(host[..<percent])%25" + percentEncoded(String(host[host.index(after: percent)...]))
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
