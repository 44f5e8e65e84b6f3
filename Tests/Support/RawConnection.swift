// A client that knows nothing: bytes out, bytes in.

import Foundation
import Glibc

/// A blocking socket. Everything on it fails after a minute, so that a server that does not answer fails its test.
public final class RawConnection {
    /// The socket, for a test that does something odd with it.
    public let descriptor: Int32

    /// The other end is gone, or silent.
    public enum Failure: Error, Equatable {
        case cannotConnect(Int32)
        /// The server closed; so many of the expected bytes had come.
        case closed(received: Int)
        /// Nothing came for a minute; so many of the expected bytes had come.
        case silent(received: Int)
        case cannotSend(Int32)
    }

    /// Connects to a Unix socket.
    public init(unix path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        try connectTo(&address)
    }

    /// 127.0.0.1. All addresses from there to 127.255.255.254 are this machine's.
    public static let loopback: UInt32 = 0x7F00_0001

    /// Connects to a port of this machine, from an address of this machine.
    public init(port: UInt16, from source: UInt32 = RawConnection.loopback) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = source.bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failure.cannotConnect(errno) }
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = Self.loopback.bigEndian
        try connectTo(&address)
    }

    private func connectTo<Address>(_ address: inout Address) throws {
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<Address>.size))
            }
        }
        guard result == 0 else { throw Failure.cannotConnect(errno) }
    }

    /// The port at this end; of a Unix socket 0.
    public var localPort: UInt16 { port(getsockname) }

    /// The other end's port over TCP.
    private var remotePort: UInt16 { port(getpeername) }

    private func port(
        _ address: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> UInt16 {
        var name = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &name) {
            _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address(descriptor, $0, &length) }
        }
        return UInt16(bigEndian: name.sin_port)
    }

    /// Sends all bytes.
    public func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            // A child that ends elsewhere in this process interrupts calls with a time limit (signal(7)).
            guard count > 0 || errno == EINTR else { throw Failure.cannotSend(errno) }
            sent += max(count, 0)
        }
    }

    /// Receives exactly so many bytes.
    public func receive(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var received = 0
        while received < count {
            let result = bytes.withUnsafeMutableBytes {
                recv(descriptor, $0.baseAddress! + received, count - received, 0)
            }
            guard result != 0 else { throw Failure.closed(received: received) }
            guard result > 0 || errno == EINTR else {
                throw errno == ECONNRESET ? Failure.closed(received: received) : Failure.silent(received: received)
            }
            received += max(result, 0)
        }
        return bytes
    }

    /// All that comes until the server closes, as text.
    public func receiveAll() -> String {
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = recv(descriptor, &part, part.count, 0)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += part[..<count]
        }
    }

    /// Whether the server closes without sending anything more.
    public func isClosedByServer() -> Bool {
        do {
            _ = try receive(1)
            return false
        } catch Failure.closed(let received) {
            return received == 0
        } catch {
            return false
        }
    }

    /// Sends a byte out of band, over TCP: it is none of the stream (tcp(7)).
    public func sendUrgent(_ byte: UInt8) throws {
        var byte = byte
        guard Glibc.send(descriptor, &byte, 1, Int32(MSG_OOB) | Int32(MSG_NOSIGNAL)) == 1 else {
            throw Failure.cannotSend(errno)
        }
    }

    /// The other end, a process of this machine, has received all that was sent.
    public var isTaken: Bool {
        // SIOCOUTQ: of a Unix socket what nobody has received, of TCP what the kernel has not taken.
        var unsent: Int32 = 0
        guard ioctl(descriptor, UInt(TIOCOUTQ), &unsent) == 0, unsent == 0 else { return false }
        return localPort == 0 || unreadBytes == 0
    }

    /// What lies in the other end's socket, over TCP (proc_net_tcp(5)); nil: there is no such socket.
    private var unreadBytes: Int? {
        let ends = [remotePort, localPort].map { ":" + String($0, radix: 16, uppercase: true).paddedPort }
        for line in (kernelFile("/proc/net/tcp") ?? "").split(separator: "\n") {
            // sl local_address rem_address st tx_queue:rx_queue
            let fields = line.split(separator: " ")
            guard fields.count > 4, fields[1].hasSuffix(ends[0]), fields[2].hasSuffix(ends[1]),
                let queues = fields[4].split(separator: ":").last
            else { continue }
            return Int(queues, radix: 16)
        }
        return nil
    }

    /// Sends no more.
    public func endSending() {
        Glibc.shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Closes the socket; once is enough.
    public func close() {
        Glibc.shutdown(descriptor, Int32(SHUT_RDWR))
    }

    /// Ends a TCP connection with a reset, as a client's machine does that no longer knows of it: connecting to nobody
    /// dissolves it (connect(2)).
    public func reset() {
        var nobody = sockaddr()
        nobody.sa_family = sa_family_t(AF_UNSPEC)
        connect(descriptor, &nobody, socklen_t(MemoryLayout<sockaddr>.size))
    }

    deinit { Glibc.close(descriptor) }
}

extension String {
    /// A port's hexadecimal digits, four of them.
    fileprivate var paddedPort: String { String(repeating: "0", count: 4 - count) + self }
}
