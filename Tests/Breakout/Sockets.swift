// Ways out by sockets: those that a server has, and those that it could make.

import Glibc

/// The sockets of a server, and of others on the same machine: a listener, a client, the service manager.
struct Sockets: Sendable {
    private let listener: Int32
    private let client: Int32
    /// Connected to ``managers``.
    let manager: Int32
    /// The other ends, which the process has only for the test.
    private let clients: Int32
    private let managers: Int32
    private let stranger: Int32

    private static let stream = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    private static let datagram = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    private static let fastOpen: Int32 = 0x2000_0000

    init() throws {
        let listener = socket(AF_INET, Self.stream, 0)
        Self.require(Self.loopback(port: 0).use { bind(listener, $0, $1) } == 0 && listen(listener, 1) == 0)
        var pair: [Int32] = [0, 0]
        Self.require(socketpair(AF_UNIX, Self.stream, 0, &pair) == 0)
        let ends = (0..<3).map { _ in socket(AF_UNIX, Self.datagram, 0) }
        Self.require(Self.abstract("manager").use { bind(ends[1], $0, $1) } == 0)
        Self.require(Self.abstract("stranger").use { bind(ends[2], $0, $1) } == 0)
        Self.require(Self.abstract("manager").use { connect(ends[0], $0, $1) } == 0)
        self.listener = listener
        (client, clients) = (pair[0], pair[1])
        (manager, managers, stranger) = (ends[0], ends[1], ends[2])
    }

    private static func require(_ condition: Bool) {
        guard !condition else { return }
        perror("sockets")
        exit(65)
    }

    var attempts: [String: @Sendable () -> Int32] {
        [
            "accept a client": {
                let code = call("accept4", Int(listener), 0, 0, Int(SOCK_CLOEXEC.rawValue))
                return code == EAGAIN ? 0 : code
            },
            "answer a client": { first(client.sent(), client.sentMessage(), client.written()) },
            "tell the manager": { manager.written() },
            "packet socket": { result(socket(AF_PACKET, Int32(SOCK_RAW.rawValue), 0)) },
            "netlink socket": { result(socket(AF_NETLINK, Int32(SOCK_RAW.rawValue), 0)) },
            "TCP socket": { result(socket(AF_INET, Self.stream, 0)) },
            "UDP socket": { result(socket(AF_INET, Self.datagram, 0)) },
            "Unix socket": { result(socket(AF_UNIX, Self.datagram, 0)) },
            "vsock socket": { result(socket(AF_VSOCK, Self.stream, 0)) },
            "pair of sockets": {
                var pair: [Int32] = [0, 0]
                return result(socketpair(AF_UNIX, Self.stream, 0, &pair))
            },
            "connect": { Self.loopback(port: 9).use { result(connect(listener, $0, $1)) } },
            "bind": { Self.loopback(port: 0).use { result(bind(listener, $0, $1)) } },
            "listen": { result(listen(listener, 1)) },
            // A listener that is shut down is a socket that can connect again.
            "fast open by sendto": {
                shutdown(listener, Int32(SHUT_RDWR))
                return Self.loopback(port: 9).use { listener.sent(Self.fastOpen, to: ($0, $1)) }
            },
            "fast open by sendmsg": {
                shutdown(listener, Int32(SHUT_RDWR))
                return Self.loopback(port: 9).use { listener.sentMessage(Self.fastOpen, to: ($0, $1)) }
            },
            "fast open without an address": { listener.sent(Self.fastOpen) },
            "many messages": { call("sendmmsg", Int(client), 0, 0, 0) },
            "another's datagram by sendto": { Self.abstract("stranger").use { manager.sent(to: ($0, $1)) } },
            "another's datagram by sendmsg": { Self.abstract("stranger").use { manager.sentMessage(to: ($0, $1)) } },
            "the manager by sendmsg": { manager.sentMessage() },
            "a second number": { result(dup(manager)) },
            "a second number by fcntl": { result(fcntl(manager, F_DUPFD_CLOEXEC, 3)) },
            "a chosen number": { result(dup2(manager, client)) },
            "take a descriptor": { call("recvmsg", Int(client), 0, 0) },
        ]
    }

    private static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    /// A name without a path, of this process alone (unix(7)).
    private static func abstract(_ name: String) -> sockaddr_un {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.dropFirst().copyBytes(from: "\(name)-\(getpid())".utf8) }
        return address
    }
}

/// The first errno that is none of success.
private func first(_ codes: Int32...) -> Int32 { codes.first { $0 != 0 } ?? 0 }

private typealias Address = (UnsafePointer<sockaddr>, socklen_t)

extension Int32 {
    /// The result of a send on this socket.
    fileprivate func sent(_ flags: Int32 = 0, to address: Address? = nil) -> Int32 {
        sendto(self, "x", 1, flags, address?.0, address?.1 ?? 0) < 0 ? errno : 0
    }

    fileprivate func sentMessage(_ flags: Int32 = 0, to address: Address? = nil) -> Int32 {
        var byte: UInt8 = 0
        return withUnsafeMutableBytes(of: &byte) { byte in
            var vector = iovec(iov_base: byte.baseAddress, iov_len: 1)
            return withUnsafeMutablePointer(to: &vector) { vector in
                var message = msghdr()
                message.msg_iov = vector
                message.msg_iovlen = 1
                message.msg_name = UnsafeMutableRawPointer(mutating: address?.0)
                message.msg_namelen = address?.1 ?? 0
                return sendmsg(self, &message, flags) < 0 ? errno : 0
            }
        }
    }

    fileprivate func written() -> Int32 { write(self, "x", 1) < 0 ? errno : 0 }
}

/// Structures that are addresses.
private protocol SocketAddress {}
extension sockaddr_in: SocketAddress {}
extension sockaddr_un: SocketAddress {}

extension SocketAddress {
    fileprivate func use(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        withUnsafePointer(to: self) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<Self>.size)) }
        }
    }
}
