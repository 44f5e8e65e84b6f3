// Who may open an export: rules, and what is known of a client.

import Glibc
import TLS

/// Clients that may open an export. What is nil is not asked for; everything else has to hold.
public struct AccessRule: Equatable, Sendable {
    /// The subject of a verified client certificate (`O=Example,CN=laptop`), its common name alone, or one of its other
    /// names.
    public var certificateName: String?
    /// The user of a pre-shared key.
    public var preSharedKeyUser: String?
    /// Where a client over TCP comes from.
    public var addresses: AddressRange?
    /// The user of a client on a Unix socket.
    public var user: UInt32?

    /// Describes a rule; one without conditions holds for everybody.
    public init(
        certificateName: String? = nil, preSharedKeyUser: String? = nil, addresses: AddressRange? = nil,
        user: UInt32? = nil
    ) {
        self.certificateName = certificateName
        self.preSharedKeyUser = preSharedKeyUser
        self.addresses = addresses
        self.user = user
    }

    /// Whether the rule lets a client in.
    func matches(_ peer: Peer, _ identity: TLSClientIdentity?) -> Bool {
        if let certificateName, identity?.hasName(certificateName) != true { return false }
        if let preSharedKeyUser, identity?.preSharedKeyUser != preSharedKeyUser { return false }
        if let addresses {
            guard case .internet(let address) = peer.origin, addresses.contains(address) else { return false }
        }
        if let user, peer.origin != .local(user: user) { return false }
        return true
    }
}

extension TLSClientIdentity {
    /// The certificate has this name, in whatever place.
    fileprivate func hasName(_ name: String) -> Bool {
        if let distinguishedName {
            if distinguishedName == name { return true }
            if distinguishedName.split(separator: ",").contains(where: { $0 == "CN=\(name)" }) { return true }
        }
        return alternativeNames.contains {
            switch $0 {
            case .dns(let other), .address(let other), .uri(let other), .email(let other): other == name
            }
        }
    }
}

/// An address of the internet: IPv6, in which IPv4 has its place (RFC 4291, 2.5.5.2).
struct InternetAddress: Equatable, Sendable {
    var high: UInt64
    var low: UInt64

    init(_ address: in6_addr) {
        (high, low) = unsafe withUnsafeBytes(of: address) {
            unsafe (
                UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
    }

    init(_ address: in_addr) {
        high = 0
        low = 0xFFFF << 32 | UInt64(UInt32(bigEndian: address.s_addr))
    }

    var isIPv4: Bool { high == 0 && low >> 32 == 0xFFFF }
}

/// Addresses that begin alike: `10.0.0.0/8`, `2001:db8::/32`, or one address.
public struct AddressRange: Equatable, Sendable {
    private let start: InternetAddress
    private let prefixBits: Int

    /// Reads an address with or without the length of its prefix (RFC 4632, RFC 4291 2.3).
    public init(parsing text: String) throws(AddressRangeError) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        var four = in_addr()
        var six = in6_addr()
        let width: Int
        if unsafe inet_pton(AF_INET, parts[0], &four) == 1 {
            start = InternetAddress(four)
            width = 32
        } else if unsafe inet_pton(AF_INET6, parts[0], &six) == 1 {
            start = InternetAddress(six)
            width = 128
        } else {
            throw .noAddress(text)
        }
        guard parts.count == 2 else {
            prefixBits = 128
            return
        }
        guard let bits = Int(parts[1]), (0...width).contains(bits) else { throw .prefix(text, width: width) }
        prefixBits = bits + 128 - width
        guard Self.mask(start, prefixBits) == start else { throw .bitsBehindPrefix(text) }
    }

    func contains(_ address: InternetAddress) -> Bool {
        Self.mask(address, prefixBits) == start
    }

    private static func mask(_ address: InternetAddress, _ bits: Int) -> InternetAddress {
        var masked = address
        // A shift by the width or more gives zero.
        masked.high &= ~(UInt64.max >> UInt64(min(bits, 64)))
        masked.low &= ~(UInt64.max >> UInt64(max(bits - 64, 0)))
        return masked
    }
}

/// Why a text is no range of addresses.
public enum AddressRangeError: Error, Equatable, CustomStringConvertible {
    /// What stands before the slash is no address.
    case noAddress(String)
    /// The length of the prefix is none.
    case prefix(String, width: Int)
    /// Bits that do not count are set.
    case bitsBehindPrefix(String)

    /// What is wrong and what would be right.
    public var description: String {
        switch self {
        case .noAddress(let text):
            "'\(text)' is no range of addresses: it is an IPv4 or IPv6 address, or one with a prefix as in 10.0.0.0/8"
        case .prefix(let text, let width):
            "'\(text)' is no range of addresses: behind the slash stands a number from 0 to \(width)"
        case .bitsBehindPrefix(let text):
            "'\(text)' is no range of addresses: the address has bits behind the prefix, which have to be zero"
        }
    }
}
