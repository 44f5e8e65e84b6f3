// The address that initiators are told (RFC 7143, 13.8).

/// Where initiators reach an iSCSI endpoint, if that is not the address of its sockets: behind NAT, or by a name.
public struct Portal: Equatable, Sendable, CustomStringConvertible {
    /// A name, or an address.
    public let host: String
    /// Its port.
    public let port: UInt16

    /// Describes a portal.
    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Reads `HOST[:PORT]`, IPv6 addresses in brackets. Somebody else has to be able to connect to it.
    init(parsing text: String) throws(EndpointError) {
        let parsed: (host: String, port: UInt16)
        do {
            parsed = try Endpoint.parseInternet("iscsi", text, standardPort: Endpoint.standardISCSIPort)
        } catch {
            throw .badPortal(text)
        }
        (host, port) = parsed
        let isAddress = InternetAddress(host) != nil
        guard port > 0, host != "0.0.0.0", host != "::", isAddress || Self.isName(host) else { throw .badPortal(text) }
    }

    /// Letters, digits, dashes and dots, and not digits and dots only: that would be an address.
    private static func isName(_ text: String) -> Bool {
        text.utf8.count <= 253 && text.contains { $0.isLetter }
            && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == ".") }
    }

    /// As initiators are told.
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
