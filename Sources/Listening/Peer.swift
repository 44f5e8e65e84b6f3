// The other end of a connection: getpeername(2), unix(7) SO_PEERCRED.

import Glibc

/// A client, as its socket shows it.
public struct Peer: Equatable, Sendable, CustomStringConvertible {
    /// Where it comes from, without what differs between connections of one client.
    public enum Origin: Equatable, Sendable {
        /// Over TCP.
        case internet(InternetAddress)
        /// Over a Unix socket: the user of the process that connected.
        case local(user: UInt32)
        /// From a virtual machine.
        case virtualMachine(UInt32)
        /// Nobody knows.
        case unknown
    }

    /// Its address for people: `192.0.2.1:40000`, `[2001:db8::1]:40000`,
    /// `[fe80::1%3]:40000`, `unix:pid=17,uid=0`, `vsock:3`.
    public let name: String
    /// The origin that it counts as.
    public let origin: Origin

    /// Its name.
    public var description: String { name }

    /// It may vanish without a word.
    public var isRemote: Bool {
        if case .internet = origin { true } else { false }
    }

    /// It has to close first. Where it only shuts its own direction down after the socket was closed here, Linux
    /// forgets that this end was an orderly one, and its next receive is ENOTCONN (vsock_shutdown() takes SOCK_DONE
    /// back): a copy that went well would end with an error.
    public var closesFirst: Bool {
        if case .virtualMachine = origin { true } else { false }
    }

    /// Somebody who is known already; nobody, for a slot without a connection.
    public init(name: String = "", origin: Origin = .unknown) {
        self.name = name
        self.origin = origin
    }

    /// Asks the socket.
    public init(of descriptor: Int32) {
        guard let address = SocketAddress(ofPeer: descriptor) else {
            self.init(name: "unknown")
            return
        }
        if let host = address.internetAddress {
            self.init(name: address.hostAndPort ?? "unknown", origin: .internet(host))
        } else if let context = address.vsockContext {
            self.init(name: "vsock:\(context)", origin: .virtualMachine(context))
        } else if address.family == AF_UNIX {
            self.init(local: descriptor)
        } else {
            self.init(name: "unknown")
        }
    }

    /// At the other end of a Unix socket. `struct ucred` (unix(7)) has the numbers of process, user and group.
    private init(local descriptor: Int32) {
        guard let credentials = SocketOption.values(descriptor, SOL_SOCKET, SO_PEERCRED, count: 3) else {
            self.init(name: "unix")
            return
        }
        let user = UInt32(bitPattern: credentials[1])
        self.init(name: "unix:pid=\(credentials[0]),uid=\(user)", origin: .local(user: user))
    }
}
