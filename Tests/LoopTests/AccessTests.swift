// Access to an export: rules.

import Listening
import TLS
import Testing

@testable import Loop

@Suite struct AccessTests {
    private func address(_ text: String) throws -> InternetAddress { try #require(InternetAddress(text)) }

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
        ("lap", false), ("Example", false), ("O=Example", false), ("CN=laptop", false), ("", false),
        ("other", true), ("Laptop", false), ("laptop ", false), ("laptop\0", false),
    ])
    func namesOfCertificates(name: String, matches: Bool) {
        let identity = TLSClientIdentity(
            distinguishedName: "O=Example,CN=laptop", commonNames: ["laptop", "other"],
            alternativeNames: [.dns("laptop.example.com"), .address("192.0.2.1")])
        #expect(Self.letsIn(identity, certificateName: name) == matches)
        #expect(!AccessRule(certificateName: name).matches(Peer(name: "", origin: .unknown), nil))
        #expect(!Self.letsIn(TLSClientIdentity(preSharedKeyUser: name), certificateName: name))
    }

    private static func letsIn(_ identity: TLSClientIdentity, certificateName: String) -> Bool {
        AccessRule(certificateName: certificateName).matches(Peer(name: "", origin: .unknown), identity)
    }

    /// A text that looks like another's subject is not it, wherever it stands.
    @Test func aSubjectIsNoCommonName() {
        let rule = "O=Example,CN=laptop"
        for identity in [
            TLSClientIdentity(distinguishedName: "CN=O=Example\\,CN=laptop", commonNames: [rule]),
            TLSClientIdentity(
                distinguishedName: "CN=mallory", commonNames: ["mallory"], alternativeNames: [.uri(rule)]),
        ] {
            #expect(!Self.letsIn(identity, certificateName: rule))
        }
    }

    /// Names that look alike are not the same: a letter with its accent, and a letter and an accent.
    @Test func namesAreComparedByteForByte() {
        let peer = Peer(name: "", origin: .unknown)
        #expect("andr\u{E9}" == "andre\u{301}")
        for (name, other) in [("andr\u{E9}", "andre\u{301}"), ("andre\u{301}", "andr\u{E9}")] {
            #expect(!Self.letsIn(TLSClientIdentity(commonNames: [other]), certificateName: name))
            #expect(Self.letsIn(TLSClientIdentity(commonNames: [name]), certificateName: name))
            let rule = AccessRule(preSharedKeyUser: name)
            #expect(!rule.matches(peer, TLSClientIdentity(preSharedKeyUser: other)))
            #expect(rule.matches(peer, TLSClientIdentity(preSharedKeyUser: name)))
        }
    }
}
