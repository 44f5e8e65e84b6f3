// Addresses of the internet: inet_pton(3), inet_ntop(3), RFC 4291.

import Glibc

/// An address of the internet: IPv6, in which IPv4 has its place (RFC 4291, 2.5.5.2).
public struct InternetAddress: Hashable, Sendable {
    var high: UInt64
    var low: UInt64

    /// The bytes of an address as they are sent: 4 of IPv4, or 16 of IPv6.
    init(_ bytes: some Collection<UInt8>) {
        precondition(bytes.count == 4 || bytes.count == 16, "an address has 4 or 16 bytes")
        high = bytes.count == 4 ? 0 : bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes.suffix(8).reduce(bytes.count == 4 ? 0xFFFF : 0) { $0 << 8 | UInt64($1) }
    }

    /// Reads an address without a zone.
    public init?(_ text: String) {
        guard let bytes = Self.bytes(AF_INET, 4, of: text) ?? Self.bytes(AF_INET6, 16, of: text) else { return nil }
        self.init(bytes)
    }

    private static func bytes(_ family: Int32, _ count: Int, of text: String) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return unsafe inet_pton(family, text, &bytes) == 1 ? bytes : nil
    }

    /// The bytes of an address, 4 or 16, for people.
    static func text(of bytes: [UInt8]) -> String? {
        precondition(bytes.count == 4 || bytes.count == 16, "an address has 4 or 16 bytes")
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let family = bytes.count == 4 ? AF_INET : AF_INET6
        guard unsafe inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The addresses among which one host may choose: its IPv4 address, or the first 64 bits of IPv6 (RFC 4291, 2.5.4).
    public var network: InternetAddress {
        var network = self
        if high != 0 || low >> 32 != 0xFFFF { network.low = 0 }
        return network
    }

    /// It holds on one link only (RFC 4291, 2.5.6).
    var isLinkLocal: Bool { high >> 54 == 0xFE80 >> 6 }
}

/// Addresses that begin alike: `10.0.0.0/8`, `2001:db8::/32`, or one address.
public struct AddressRange: Equatable, Sendable {
    private let start: InternetAddress
    private let prefixBits: Int

    /// Reads an address with or without the length of its prefix (RFC 4632, RFC 4291 2.3).
    public init(parsing text: String) throws(AddressRangeError) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let address = InternetAddress(parts[0]) else { throw .noAddress(text) }
        start = address
        let width = parts[0].contains(":") ? 128 : 32
        guard parts.count == 2 else {
            prefixBits = 128
            return
        }
        guard let bits = Int(parts[1]), (0...width).contains(bits) else { throw .prefix(text, width: width) }
        prefixBits = bits + 128 - width
        guard Self.mask(start, prefixBits) == start else { throw .bitsBehindPrefix(text) }
    }

    /// Whether an address is one of them.
    public func contains(_ address: InternetAddress) -> Bool {
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
    /// The text before the slash is no address.
    case noAddress(String)
    /// The length of the prefix is none.
    case prefix(String, width: Int)
    /// Bits that do not count are set.
    case bitsBehindPrefix(String)

    /// The mistake and the right way.
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
