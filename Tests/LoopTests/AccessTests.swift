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

/// Rules about initiators, alone and beside others: neither does a rule that says two things fall open because one of
/// them holds, nor shut because the other kind of client could not meet it.
@Suite struct InitiatorAccessTests {
    private static let host = "iqn.2026-11.org.example:host"
    private static let other = "iqn.2026-11.org.example:other"

    /// Every combination of what a rule asks and of what an initiator is, against what the words of the rule say.
    @Test func allCombinations() throws {
        let near = Peer(name: "near", origin: .internet(try #require(InternetAddress("127.0.0.1"))))
        let far = Peer(name: "far", origin: .internet(try #require(InternetAddress("192.0.2.1"))))
        let loopback = try AddressRange(parsing: "127.0.0.0/8")
        var count = 0
        for (asksAddress, asksName, asksUser) in Self.eight where asksAddress || asksName || asksUser {
            let rule = AccessRule(
                addresses: asksAddress ? loopback : nil, initiatorName: asksName ? Self.host : nil,
                chapUser: asksUser ? "alice" : nil)
            for (isNear, isHost, isAlice) in Self.eight {
                let facts = InitiatorFacts.known(
                    name: isHost ? Self.host : Self.other, chapUser: isAlice ? "alice" : nil)
                let meets = (!asksAddress || isNear) && (!asksName || isHost) && (!asksUser || isAlice)
                #expect(rule.matches(isNear ? near : far, nil, facts) == meets, "\(rule) \(facts)")
                // Nobody who has not logged in is shut out for what it may still say, nor let in from elsewhere.
                #expect(rule.matches(isNear ? near : far, nil, .unknown) == (!asksAddress || isNear))
                // A client of NBD is no initiator.
                let isForAll = !asksName && !asksUser
                #expect(rule.matches(isNear ? near : far, nil) == (isForAll && isNear))
                // Beside a rule that lets nobody in, and one that lets everybody in from near.
                let nobody = AccessRule(initiatorName: "iqn.2026-11.org.example:nobody")
                let peer = isNear ? near : far
                #expect([nobody, rule].admit(peer, nil, facts) == meets)
                #expect([AccessRule(addresses: loopback), rule].admit(peer, nil, facts) == (meets || isNear))
                count += 1
            }
        }
        #expect(count == 56)
        #expect([AccessRule]().admit(far, nil, .known(name: Self.other, chapUser: nil)))
    }

    private static let eight = (0..<8).map { ($0 & 1 != 0, $0 & 2 != 0, $0 & 4 != 0) }

    @Test(arguments: [
        ("iqn.2026-11.org.example:host", "alice", true), ("iqn.2026-11.org.example:host2", "alice", false),
        ("iqn.2026-11.org.example:hos", "alice", false), ("", "alice", false),
        ("iqn.2026-11.org.example:host", "Alice", false), ("iqn.2026-11.org.example:host", "alic", false),
        ("iqn.2026-11.org.example:host", nil, false),
    ])
    func namesAreWhole(name: String, user: String?, isMet: Bool) {
        let rule = AccessRule(initiatorName: Self.host, chapUser: "alice")
        #expect(rule.matches(Peer(), nil, .known(name: name, chapUser: user)) == isMet)
    }

    /// No certificate and no user of a Unix socket is an initiator's.
    @Test func rulesOfOtherClientsAreNotMet() {
        for rule in [
            AccessRule(certificateName: "a"), AccessRule(preSharedKeyUser: "a"), AccessRule(user: 0),
            AccessRule(certificateName: "a", initiatorName: Self.host),
        ] {
            #expect(!rule.matches(Peer(), nil, .known(name: Self.host, chapUser: "a")))
        }
    }
}
