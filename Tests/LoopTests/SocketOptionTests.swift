// What the server asks of a client's socket, seen at its own end of it.

import Backends
import Foundation
import Glibc
import Support
import Testing

@testable import Loop
@testable import LoopSupport

@Suite struct SocketOptionTests {
    /// The server's end of a connection to a port of this machine: a socket of this process whose peer is that port.
    private func otherEnd(of port: UInt16) throws -> Int32 {
        for descriptor in Int32(3)..<4096 {
            var address = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let result = withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &length) }
            }
            if result == 0, address.sin_family == sa_family_t(AF_INET), UInt16(bigEndian: address.sin_port) == port {
                return descriptor
            }
        }
        throw ProgramFailure("no socket leads to port \(port)")
    }

    private func option(_ descriptor: Int32, _ level: Int32, _ number: Int32) -> Int32 {
        var value: Int32 = -1
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, level, number, &value, &length)
        return value
    }

    /// A client that vanishes is noticed, on every loop, unless the operator does not want that.
    @Test(arguments: [60, 7, 0]) func keepAlive(seconds: Int) throws {
        var limits = Limits()
        limits.keepAliveSeconds = seconds
        let folder = try TemporaryFolder()
        let loops = try RunningLoops(
            Backend(nullOfSize: 1 << 20, readOnly: false), loops: 2, limits: limits, in: folder)
        for _ in 0..<2 {
            let client = try Client(try RawConnection(port: loops.port))
            let end = try otherEnd(of: client.connection.localPort)
            let tcp = Int32(IPPROTO_TCP)
            #expect(option(end, tcp, TCP_NODELAY) == 1)
            #expect(option(end, SOL_SOCKET, SO_KEEPALIVE) == (seconds > 0 ? 1 : 0))
            guard seconds > 0 else { continue }
            #expect(option(end, tcp, TCP_KEEPIDLE) == seconds)
            #expect(option(end, tcp, TCP_KEEPINTVL) == 10)
            #expect(option(end, tcp, TCP_KEEPCNT) == 6)
            #expect(option(end, tcp, TCP_USER_TIMEOUT) == (seconds + 60) * 1000)
        }
        #expect(try loops.stop())
    }
}
