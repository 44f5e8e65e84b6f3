// The other end of a connection: getpeername(2), unix(7) SO_PEERCRED.

import Glibc

/// A client, as its socket shows it.
struct Peer: Equatable, Sendable, CustomStringConvertible {
    /// Where it comes from, without what differs between connections of one client.
    enum Origin: Equatable {
        /// Over TCP.
        case internet(InternetAddress)
        /// Over a Unix socket: the user of the process that connected.
        case local(user: UInt32)
        /// From a virtual machine.
        case virtualMachine(UInt32)
        case unknown
    }

    /// Its address for people: `192.0.2.1:40000`, `[2001:db8::1]:40000`, `unix:pid=17,uid=0`, `vsock:3`.
    let name: String
    let origin: Origin

    var description: String { name }

    /// It may vanish without a word.
    var isRemote: Bool {
        if case .internet = origin { true } else { false }
    }

    /// It has to close first. Where it only shuts its own direction down after the socket was closed here, Linux forgets
    /// that this end was an orderly one, and its next receive is ENOTCONN (vsock_shutdown() takes SOCK_DONE back): a copy that
    /// went well would end with an error.
    var closesFirst: Bool {
        if case .virtualMachine = origin { true } else { false }
    }

    /// Somebody who is known already; nobody, for a slot without a connection.
    init(name: String = "", origin: Origin = .unknown) {
        self.name = name
        self.origin = origin
    }

    /// Asks the socket.
    init(of descriptor: Int32) {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let found = unsafe withUnsafeMutablePointer(to: &storage) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe getpeername(descriptor, $0, &length) }
        }
        guard found == 0 else {
            name = "unknown"
            origin = .unknown
            return
        }
        switch Int32(storage.ss_family) {
        case AF_INET:
            let address = unsafe withUnsafeBytes(of: storage) { unsafe $0.loadUnaligned(as: sockaddr_in.self) }
            origin = .internet(InternetAddress(address.sin_addr))
            name = Self.numericName(&storage, length)
        case AF_INET6:
            let address = unsafe withUnsafeBytes(of: storage) { unsafe $0.loadUnaligned(as: sockaddr_in6.self) }
            origin = .internet(InternetAddress(address.sin6_addr))
            name = Self.numericName(&storage, length)
        case AF_UNIX:
            var credentials = LocalCredentials()
            var size = socklen_t(MemoryLayout<LocalCredentials>.size)
            let known = unsafe getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0
            origin = known ? .local(user: credentials.user) : .unknown
            name = known ? "unix:pid=\(credentials.process),uid=\(credentials.user)" : "unix"
        case Int32(AF_VSOCK):
            // struct sockaddr_vm has the port at byte 4 and the context's number at byte 8 (vsock(7)).
            let context = unsafe withUnsafeBytes(of: storage) {
                unsafe $0.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
            }
            origin = .virtualMachine(context)
            name = "vsock:\(context)"
        default:
            name = "unknown"
            origin = .unknown
        }
    }

    private static func numericName(_ storage: inout sockaddr_storage, _ length: socklen_t) -> String {
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        let result = unsafe withUnsafeMutablePointer(to: &storage) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getnameinfo(
                    $0, length, &host, socklen_t(host.count), &port, socklen_t(port.count),
                    NI_NUMERICHOST | NI_NUMERICSERV)
            }
        }
        guard result == 0 else { return "unknown" }
        let name = String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let number = String(decoding: port.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return name.contains(":") ? "[\(name)]:\(number)" : "\(name):\(number)"
    }
}

/// `struct ucred` (unix(7)), which Swift's Glibc module does not have.
private struct LocalCredentials {
    var process: Int32 = 0
    var user: UInt32 = 0
    var group: UInt32 = 0
}
