// Who may open an export: ranges of addresses, rules.

import Foundation
import TLS
import Testing

@testable import Server

@Suite struct AccessTests {
    private func address(_ text: String) throws -> InternetAddress {
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 { return InternetAddress(four) }
        var six = in6_addr()
        try #require(inet_pton(AF_INET6, text, &six) == 1)
        return InternetAddress(six)
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.1.2", true), ("10.0.0.0/8", "11.0.0.0", false),
        ("192.0.2.7", "192.0.2.7", true), ("192.0.2.7", "192.0.2.8", false),
        ("0.0.0.0/0", "203.0.113.9", true), ("0.0.0.0/0", "2001:db8::1", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::", false),
        ("::/0", "2001:db8::1", true), ("::1", "::1", true), ("::1", "::2", false),
        ("fe80::/10", "febf::1", true), ("fe80::/10", "fec0::1", false),
        ("2001:db8::8000:0:0:0/65", "2001:db8::8000:0:0:1", true),
        ("2001:db8::8000:0:0:0/65", "2001:db8::7fff:0:0:1", false),
        // A client of IPv4 on a socket of IPv6.
        ("192.0.2.0/24", "::ffff:192.0.2.1", true), ("::ffff:0:0/96", "192.0.2.1", true),
    ])
    func ranges(range: String, client: String, isIn: Bool) throws {
        #expect(try AddressRange(parsing: range).contains(try address(client)) == isIn)
    }

    @Test(arguments: [
        "", "10", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/x", "10.0.0.1/8", "::/129", "::1/64",
        "localhost",
        "10.0.0.0/8/8", "[::1]",
    ])
    func noRanges(text: String) {
        let error = #expect(throws: AddressRangeError.self) { try AddressRange(parsing: text) }
        #expect(error?.description.contains("'\(text)'") == true)
    }

    @Test func allThatARuleSaysHasToHold() throws {
        let rule = AccessRule(preSharedKeyUser: "alice", addresses: try AddressRange(parsing: "127.0.0.0/8"))
        let near = Peer(name: "near", origin: .internet(try address("127.0.0.1")))
        let far = Peer(name: "far", origin: .internet(try address("192.0.2.1")))
        let alice = TLSClientIdentity(preSharedKeyUser: "alice")
        #expect(rule.matches(near, alice))
        #expect(!rule.matches(far, alice))
        #expect(!rule.matches(near, nil))
        #expect(!rule.matches(near, TLSClientIdentity(preSharedKeyUser: "bob")))
        #expect(AccessRule().matches(far, nil))
    }

    @Test func usersOfUnixSockets() throws {
        let rule = AccessRule(user: 1000)
        #expect(rule.matches(Peer(name: "", origin: .local(user: 1000)), nil))
        #expect(!rule.matches(Peer(name: "", origin: .local(user: 0)), nil))
        #expect(!rule.matches(Peer(name: "", origin: .internet(try address("127.0.0.1"))), nil))
    }

    @Test(arguments: [
        ("O=Example,CN=laptop", true), ("laptop", true), ("laptop.example.com", true), ("192.0.2.1", true),
        ("lap", false),
        ("Example", false), ("O=Example", false), ("", false),
    ])
    func namesOfCertificates(name: String, matches: Bool) {
        let identity = TLSClientIdentity(
            distinguishedName: "O=Example,CN=laptop",
            alternativeNames: [.dns("laptop.example.com"), .address("192.0.2.1")])
        let peer = Peer(name: "", origin: .unknown)
        #expect(AccessRule(certificateName: name).matches(peer, identity) == matches)
        #expect(!AccessRule(certificateName: name).matches(peer, nil))
        #expect(!AccessRule(certificateName: name).matches(peer, TLSClientIdentity(preSharedKeyUser: name)))
    }
}
