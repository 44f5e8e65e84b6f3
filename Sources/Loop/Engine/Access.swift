// Access to an export: rules, and the facts about a client.

import Listening
import TLS

/// Clients that may open an export. A nil condition is left out; all others have to hold.
public struct AccessRule: Equatable, Sendable {
    /// The subject of a verified client certificate (`O=Example,CN=laptop`), or its common name alone, or one of its
    /// other names.
    public var certificateName: String?
    /// The user of a pre-shared key.
    public var preSharedKeyUser: String?
    /// Where a client over TCP comes from.
    public var addresses: AddressRange?
    /// The user of a client on a Unix socket.
    public var user: UInt32?
    /// The name of an iSCSI initiator, as it says itself.
    public var initiatorName: String?
    /// The name by which CHAP has proved who an initiator is.
    public var chapUser: String?

    /// Describes a rule; one without conditions holds for everybody.
    public init(
        certificateName: String? = nil, preSharedKeyUser: String? = nil, addresses: AddressRange? = nil,
        user: UInt32? = nil, initiatorName: String? = nil, chapUser: String? = nil
    ) {
        self.certificateName = certificateName
        self.preSharedKeyUser = preSharedKeyUser
        self.addresses = addresses
        self.user = user
        self.initiatorName = initiatorName
        self.chapUser = chapUser
    }

    /// It has a condition that only initiators can meet.
    public var isForInitiators: Bool { initiatorName != nil || chapUser != nil }

    /// Whether the rule lets a client in: all its conditions hold.
    func matches(_ peer: Peer, _ identity: TLSClientIdentity?, _ initiator: InitiatorFacts = .none) -> Bool {
        guard initiator.meet(name: initiatorName, chapUser: chapUser) else { return false }
        if let certificateName, identity?.hasName(certificateName) != true { return false }
        if let preSharedKeyUser, identity?.preSharedKeyUser?.isSameText(as: preSharedKeyUser) != true { return false }
        if let addresses {
            guard case .internet(let address) = peer.origin, addresses.contains(address) else { return false }
        }
        if let user, peer.origin != .local(user: user) { return false }
        return true
    }
}

/// The facts of an initiator.
enum InitiatorFacts: Equatable, Sendable {
    /// The client is none.
    case none
    /// It is one, and has not said or proved who it is: any condition may hold yet.
    case unknown
    /// Its login is at its end.
    case known(name: String, chapUser: String?)

    /// Whether both conditions hold, of which a nil one is left out.
    fileprivate func meet(name wantedName: String?, chapUser wantedUser: String?) -> Bool {
        switch self {
        case .none: return wantedName == nil && wantedUser == nil
        case .unknown: return true
        case .known(let name, let chapUser):
            if let wantedName, !wantedName.isSameText(as: name) { return false }
            if let wantedUser, chapUser?.isSameText(as: wantedUser) != true { return false }
            return true
        }
    }
}

extension [AccessRule] {
    /// Whether rules let a client in: any of them does, or there is none.
    func admit(_ peer: Peer, _ identity: TLSClientIdentity?, _ initiator: InitiatorFacts = .none) -> Bool {
        isEmpty || contains { $0.matches(peer, identity, initiator) }
    }
}

extension ServedExport {
    /// Whether an initiator may use it. Those over TLS are none.
    func admits(_ peer: Peer, _ initiator: InitiatorFacts) -> Bool {
        !requiresTLS && target.access.admit(peer, nil, initiator) && access.admit(peer, nil, initiator)
    }
}

extension TLSClientIdentity {
    /// The certificate has this name, in whatever place.
    ///
    /// A name that is written as a subject is nothing else: an authority that lets its clients choose their common name
    /// would let them choose another's subject, too.
    fileprivate func hasName(_ name: String) -> Bool {
        if name.isSubject { return distinguishedName?.isSameText(as: name) ?? false }
        return commonNames.contains { $0.isSameText(as: name) }
            || alternativeNames.contains {
                switch $0 {
                case .dns(let other), .address(let other), .uri(let other), .email(let other):
                    other.isSameText(as: name)
                }
            }
    }
}

extension String {
    /// Byte for byte. (To Swift, texts are equal whose letters are composed in different ways, and to a certificate
    /// authority they are not.)
    fileprivate func isSameText(as other: String) -> Bool {
        utf8.elementsEqual(other.utf8)
    }

    /// It begins with the type of an attribute, a word or an object identifier, and `=` (RFC 4514, 2.3).
    fileprivate var isSubject: Bool {
        guard let end = utf8.firstIndex(of: UInt8(ascii: "=")), end != utf8.startIndex else { return false }
        return utf8[..<end].allSatisfy { byte in
            let isLetter = UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20
            return isLetter || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || byte == UInt8(ascii: "-")
                || byte == UInt8(ascii: ".")
        }
    }
}
