// What address a socket has: getsockname(2).

import Glibc

/// The address that a socket is bound to.
struct LocalAddress {
    private var storage = sockaddr_storage()
    private var length = socklen_t(MemoryLayout<sockaddr_storage>.size)

    /// An address without a family, if the descriptor is no socket.
    init(_ descriptor: Int32) {
        _ = unsafe withUnsafeMutablePointer(to: &storage) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe getsockname(descriptor, $0, &length) }
        }
    }

    private var family: Int32 { Int32(storage.ss_family) }

    /// The address belongs to TCP.
    var isTCP: Bool { family == AF_INET || family == AF_INET6 }

    /// The port of a TCP address, which sockaddr_in and sockaddr_in6 have at the same place.
    var port: UInt16? {
        guard isTCP else { return nil }
        return unsafe withUnsafeBytes(of: storage) {
            UInt16(bigEndian: unsafe $0.load(fromByteOffset: 2, as: UInt16.self))
        }
    }

    /// Where a client connects to; nil for a Unix socket without a path and for what is no socket.
    var endpoint: Endpoint? {
        switch family {
        case AF_UNIX: unixPath.map { .unix(path: $0) }
        case AF_VSOCK: .vsock(port: vsockPort)
        default: tcpEndpoint
        }
    }

    private var tcpEndpoint: Endpoint? {
        guard let port else { return nil }
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let code = unsafe withUnsafePointer(to: storage) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getnameinfo($0, length, &host, socklen_t(host.count), nil, 0, NI_NUMERICHOST)
            }
        }
        guard code == 0 else { return nil }
        return .tcp(
            host: String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self), port: port)
    }

    /// An abstract socket's name begins with a zero byte (unix(7)).
    private var unixPath: String? {
        let bytes = unsafe withUnsafeBytes(of: storage) { unsafe Array($0.prefix(Int(length))) }
        let path = bytes.dropFirst(MemoryLayout<sa_family_t>.size).prefix { $0 != 0 }
        return path.isEmpty ? nil : String(decoding: path, as: UTF8.self)
    }

    /// Where `sockaddr_vm` has it (vsock(7)), which Glibc's module does not know: behind the family and 16 reserved bits.
    private var vsockPort: UInt32 {
        unsafe withUnsafeBytes(of: storage) { unsafe $0.load(fromByteOffset: 4, as: UInt32.self) }
    }
}
