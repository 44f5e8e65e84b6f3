// Addresses of sockets, as the kernel has them.

import Glibc
import Support
import Testing

@testable import Listening

@Suite struct SocketAddressTests {
    private func withSocket(_ family: Int32, _ body: (Int32) throws -> Void) throws {
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        try body(descriptor)
    }

    @Test(arguments: [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
    func ofTCP(host: String, written: String) throws {
        let resolved = try #require(try SocketAddress.all(of: host).first)
        #expect(resolved.isTCP && resolved.host == host)
        try withSocket(resolved.family) { descriptor in
            try #require(resolved.bind(descriptor) == 0)
            let bound = try #require(SocketAddress(of: descriptor))
            let port = try #require(bound.port)
            #expect(port != 0)
            #expect(bound.hostAndPort == "\(written):\(port)")
            #expect(bound.endpoint == .tcp(host: host, port: port))
            #expect(bound.internetAddress == InternetAddress(host))
            var other = bound
            other.port = 0
            #expect(other == resolved)
            // Nobody is at the other end.
            #expect(SocketAddress(ofPeer: descriptor) == nil)
        }
    }

    /// The zone of an address is the number of its interface.
    @Test func aZone() throws {
        let address = try #require(try SocketAddress.all(of: "fe80::1%lo").first)
        #expect(address.host == "fe80::1%1")
        #expect(address.internetAddress?.isLinkLocal == true)
    }

    @Test func ofUnixSockets() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s"
        for name in [path, "\0spindle-\(getpid())"] {
            try withSocket(AF_UNIX) { descriptor in
                // It has no name yet.
                #expect(SocketAddress(of: descriptor)?.endpoint == nil)
                try #require(try #require(SocketAddress(unix: name.utf8)).bind(descriptor) == 0)
                let bound = try #require(SocketAddress(of: descriptor))
                #expect(bound == SocketAddress(unix: name.utf8))
                #expect(bound.endpoint == (name == path ? .unix(path: path) : nil))
                #expect(!bound.isTCP && bound.port == nil && bound.host == nil)
            }
        }
        #expect(SocketAddress(unix: String(repeating: "a", count: 107).utf8) != nil)
        #expect(SocketAddress(unix: String(repeating: "a", count: 108).utf8) == nil)
    }

    /// The longest path leaves no room for a zero byte in the structure of other programs; here it comes back whole.
    @Test func theLongestPath() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/" + String(repeating: "s", count: 107 - folder.path.utf8.count - 1)
        try withSocket(AF_UNIX) { descriptor in
            try #require(try #require(SocketAddress(unix: path.utf8)).bind(descriptor) == 0)
            #expect(SocketAddress(of: descriptor)?.endpoint == .unix(path: path))
        }
    }

    @Test func ofVirtualMachines() throws {
        let address = SocketAddress(vsockPort: 10809)
        #expect(address.family == Int32(AF_VSOCK) && address.endpoint == .vsock(port: 10809))
        #expect(address.vsockContext == .max)
    }

    @Test func noSockets() {
        #expect(SocketAddress(of: -1) == nil)
        #expect(SocketOption.value(-1, SOL_SOCKET, SO_TYPE) == nil)
        #expect(Peer(of: -1) == Peer(name: "unknown"))
    }

    /// Both ends of a pair are this process.
    @Test func aLocalPeer() throws {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { for end in ends { close(end) } }
        let peer = Peer(of: ends[0])
        #expect(peer.origin == .local(user: getuid()) && peer.name == "unix:pid=\(getpid()),uid=\(getuid())")
    }
}
