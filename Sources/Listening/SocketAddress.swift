// The address of a socket, of whatever family: getsockname(2), getpeername(2), getaddrinfo(3), bind(2), connect(2).

import Glibc

/// The address and port of this end of a TCP socket, as a target tells its initiators (RFC 7143, 13.8); nil for others.
/// An address with a zone means nothing on another machine (RFC 4007, 11.2). Initiators that are told none use the one
/// that they came to (RFC 7143, Appendix C).
public func portal(of descriptor: Int32) -> String? {
    SocketAddress(of: descriptor)?.hostAndPort.flatMap { $0.contains("%") ? nil : $0 }
}

/// A socket's address, as the bytes that the system calls take. It begins with the family, two bytes in the processor's
/// order; the rest is described in ip(7), ipv6(7), unix(7) and vsock(7).
struct SocketAddress: Equatable {
    private var bytes: [UInt8]

    /// Of a family, with as many more bytes.
    private init(_ family: Int32, _ rest: some Sequence<UInt8>) {
        bytes = Self.bytes(of: UInt16(family)) + rest
    }

    /// A path, or a name that begins with a zero byte (unix(7), "abstract"); nil if it is too long. Behind a path
    /// stands a zero byte.
    init?(unix path: some Collection<UInt8>) {
        guard path.count <= Endpoint.maximumPathBytes else { return nil }
        self.init(AF_UNIX, Array(path) + (path.first == 0 ? [] : [0]))
    }

    /// A port of every context of this machine. Behind the family stand 16 reserved bits, the port, the context (all
    /// ones for any), 4 bytes of zero.
    init(vsockPort port: UInt32) {
        self.init(Int32(AF_VSOCK), [0, 0] + Self.bytes(of: port) + Self.bytes(of: UInt32.max) + [0, 0, 0, 0])
    }

    /// Each address of a host once, however often the resolver has it.
    static func all(of host: String) throws(EndpointError) -> [SocketAddress] {
        var hints = unsafe addrinfo(
            ai_flags: AI_PASSIVE, ai_family: AF_UNSPEC, ai_socktype: Int32(SOCK_STREAM.rawValue), ai_protocol: 0,
            ai_addrlen: 0, ai_addr: nil, ai_canonname: nil, ai_next: nil)
        var found: UnsafeMutablePointer<addrinfo>? = nil
        let code = unsafe getaddrinfo(host, nil, &hints, &found)
        guard code == 0 else { throw .unknownHost(host, reason: unsafe String(cString: gai_strerror(code))) }
        defer { unsafe freeaddrinfo(found) }
        var addresses: [SocketAddress] = []
        var next = unsafe found?.pointee
        while let entry = unsafe next {
            let address = unsafe SocketAddress(
                bytes: Array(UnsafeRawBufferPointer(start: entry.ai_addr, count: Int(entry.ai_addrlen))))
            if !addresses.contains(address) { addresses.append(address) }
            unsafe next = entry.ai_next?.pointee
        }
        return addresses
    }

    private init(bytes: [UInt8]) {
        precondition(bytes.count >= MemoryLayout<sa_family_t>.size, "an address has a family")
        self.bytes = bytes
    }

    /// The address that a socket is bound to; nil if the descriptor is no socket.
    init?(of descriptor: Int32) {
        unsafe self.init(descriptor, getsockname)
    }

    /// The address at the other end; nil if the descriptor is no socket, or nobody is there.
    init?(ofPeer descriptor: Int32) {
        unsafe self.init(descriptor, getpeername)
    }

    private init?(
        _ descriptor: Int32, _ ask: (Int32, UnsafeMutablePointer<sockaddr>?, UnsafeMutablePointer<socklen_t>?) -> Int32
    ) {
        var bytes = [UInt8](repeating: 0, count: MemoryLayout<sockaddr_storage>.size)
        var length = socklen_t(bytes.count)
        let code = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe ask(descriptor, buffer.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
        }
        guard code == 0 else { return nil }
        // A socket without a name has no more than a family; a path that fills its structure has no zero byte.
        self.init(bytes: Array(bytes.prefix(max(MemoryLayout<sa_family_t>.size, Int(length)))))
    }

    /// bind(2).
    ///
    /// - Returns: 0, or the errno of the failure.
    func bind(_ descriptor: Int32) -> Int32 {
        unsafe call(Glibc.bind, descriptor)
    }

    /// connect(2).
    ///
    /// - Returns: 0, or the errno of the failure.
    func connect(_ descriptor: Int32) -> Int32 {
        unsafe call(Glibc.connect, descriptor)
    }

    private func call(
        _ body: (Int32, UnsafePointer<sockaddr>?, socklen_t) -> Int32, _ descriptor: Int32
    ) -> Int32 {
        unsafe bytes.withUnsafeBytes { buffer in
            let address = unsafe buffer.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            return unsafe body(descriptor, address, socklen_t(buffer.count)) == 0 ? 0 : errno
        }
    }

    /// The family, as socket(2) takes it.
    var family: Int32 { Int32(number(UInt16.self, at: 0) ?? 0) }

    /// The address belongs to TCP.
    var isTCP: Bool { family == AF_INET || family == AF_INET6 }

    /// The port of a TCP address, which is behind the family for both kinds.
    var port: UInt16? {
        get { isTCP ? number(UInt16.self, at: 2).map(UInt16.init(bigEndian:)) : nil }
        set {
            guard isTCP, bytes.count >= 4, let newValue else { return }
            bytes.replaceSubrange(2..<4, with: Self.bytes(of: newValue.bigEndian))
        }
    }

    /// The host of a TCP address.
    var internetAddress: InternetAddress? { internetBytes.map { InternetAddress($0) } }

    private var internetBytes: [UInt8]? {
        switch family {
        case AF_INET where bytes.count >= 8: Array(bytes[4..<8])
        // Behind the port stand 32 bits of flow information.
        case AF_INET6 where bytes.count >= 24: Array(bytes[8..<24])
        default: nil
        }
    }

    /// The host of a TCP address for people: `192.0.2.1`, `2001:db8::1`, `fe80::1%3` (RFC 4007 section 11).
    ///
    /// getnameinfo(3) is no way to have it: of a link-local address it asks the kernel for the interface's name, with a
    /// socket of its own, and the filter for system calls ends a server that does. So the zone is the interface's
    /// number here.
    var host: String? {
        guard let internetBytes, let host = InternetAddress.text(of: internetBytes) else { return nil }
        guard family == AF_INET6, let zone = number(UInt32.self, at: 24), zone != 0 else { return host }
        return "\(host)%\(zone)"
    }

    /// Host and port for people: `192.0.2.1:40000`, `[fe80::1%3]:40000`.
    var hostAndPort: String? {
        guard let host, let port else { return nil }
        return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// The number of the context of a virtual machine, or of its host.
    var vsockContext: UInt32? { family == Int32(AF_VSOCK) ? number(UInt32.self, at: 8) : nil }

    /// Where a client connects to; nil for a Unix socket without a path, and for other families.
    var endpoint: Endpoint? {
        switch family {
        case AF_UNIX:
            let path = bytes.dropFirst(MemoryLayout<sa_family_t>.size).prefix { $0 != 0 }
            return path.isEmpty ? nil : .unix(path: String(decoding: path, as: UTF8.self))
        case Int32(AF_VSOCK):
            return number(UInt32.self, at: 4).map { .vsock(port: $0) }
        default:
            guard let host, let port else { return nil }
            return .tcp(host: host, port: port)
        }
    }

    /// A number in the order of the processor; nil behind the end.
    private func number<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) -> Number? {
        let end = offset + MemoryLayout<Number>.size
        guard end <= bytes.count else { return nil }
        return Number(littleEndian: bytes[offset..<end].reversed().reduce(0) { $0 << 8 | Number($1) })
    }

    private static func bytes<Number: FixedWidthInteger>(of number: Number) -> [UInt8] {
        (0..<MemoryLayout<Number>.size).map { UInt8(truncatingIfNeeded: number.littleEndian >> (8 * $0)) }
    }
}
