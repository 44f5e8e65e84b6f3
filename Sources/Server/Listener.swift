// Listening sockets: socket(2), bind(2), listen(2), and what systemd hands over (sd_listen_fds(3)).

import Glibc
import IOUring

/// A socket that clients connect to.
struct Listener {
    /// How many connections may wait to be accepted; the kernel lowers it to net.core.somaxconn.
    private static let backlog: Int32 = 4096

    let descriptor: Int32
    /// Where it listens, the port filled in if the system chose it.
    let endpoint: Endpoint
    /// TCP options are set on its connections.
    let isTCP: Bool
    /// The path to remove at the end.
    private let ownedPath: String?

    /// Listens on each address that `endpoint` stands for.
    static func open(_ endpoint: Endpoint) throws(EndpointError) -> [Listener] {
        switch endpoint {
        case .unix(let path): [try unix(path)]
        case .tcp(let host, let port): try tcp(host, port)
        case .vsock(let port): [try vsock(port)]
        case .descriptor(let number): [try adopt(number)]
        }
    }

    /// The listening sockets systemd passed to this process; none when it passed none.
    static func fromSystemd() throws(EndpointError) -> [Listener] {
        guard let process = environment("LISTEN_PID"), Int32(process) == getpid(),
            let text = environment("LISTEN_FDS"), let count = Int32(text), count > 0
        else { return [] }
        // They belong to this process alone, not to what it starts.
        unsafe unsetenv("LISTEN_PID")
        unsafe unsetenv("LISTEN_FDS")
        var listeners: [Listener] = []
        for number in 0..<count { listeners.append(try adopt(3 &+ number)) }
        return listeners
    }

    /// Stops listening; a Unix socket's path disappears.
    func close() {
        Glibc.close(descriptor)
        if let path = ownedPath { _ = unsafe unlink(path) }
    }

    private static func unix(_ path: String) throws(EndpointError) -> Listener {
        let endpoint = Endpoint.unix(path: path)
        guard !isOtherFile(path) else {
            throw .cannotListen(endpoint, reason: "there is a file that is no socket; choose another path or remove it")
        }
        let descriptor = try makeSocket(AF_UNIX, endpoint)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        let bound = patiently {
            removeStaleSocket(address, path)
            return unsafe withUnsafePointer(to: &address) {
                unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
        guard bound else { throw failure(endpoint, descriptor) }
        return try listening(descriptor, endpoint, ownedPath: path)
    }

    /// Calls bind(2) until the address is free, for a second at the most. A server that was killed keeps its sockets
    /// for some milliseconds after its process is gone, because the kernel takes a ring apart in the background, and
    /// whoever starts another in its place does so at once.
    private static func patiently(_ bind: () -> Int32) -> Bool {
        for _ in 0..<20 {
            if bind() == 0 { return true }
            guard errno == EADDRINUSE else { return false }
            usleep(50_000)
        }
        return bind() == 0
    }

    /// Something that is no socket has this name. connect(2) says of it what it says of a socket that nobody listens on.
    private static func isOtherFile(_ path: String) -> Bool {
        var status = stat()
        return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT != S_IFSOCK
    }

    /// A socket file that nobody listens on any more is what a killed server left behind.
    private static func removeStaleSocket(_ address: sockaddr_un, _ path: String) {
        let probe = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard probe >= 0 else { return }
        defer { Glibc.close(probe) }
        var address = address
        let result = unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(probe, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        if result != 0 && errno == ECONNREFUSED { _ = unsafe unlink(path) }
    }

    private static func tcp(_ host: String, _ port: UInt16) throws(EndpointError) -> [Listener] {
        var hints = unsafe addrinfo()
        unsafe hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>? = nil
        let code = unsafe getaddrinfo(host, String(port), &hints, &found)
        guard code == 0 else { throw .unknownHost(host, reason: unsafe String(cString: gai_strerror(code))) }
        defer { unsafe freeaddrinfo(found) }
        var listeners: [Listener] = []
        var next = unsafe found
        while let address = unsafe next {
            let endpoint = Endpoint.tcp(host: host, port: port)
            let descriptor = try unsafe makeSocket(address.pointee.ai_family, endpoint)
            set(descriptor, SOL_SOCKET, SO_REUSEADDR)
            // A host name with addresses of both kinds gets a socket for each.
            if unsafe address.pointee.ai_family == AF_INET6 { set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY) }
            let bound = patiently { unsafe bind(descriptor, address.pointee.ai_addr, address.pointee.ai_addrlen) }
            guard bound else { throw failure(endpoint, descriptor) }
            let actual = Endpoint.tcp(host: host, port: boundPort(descriptor) ?? port)
            listeners.append(try listening(descriptor, actual, isTCP: true))
            unsafe next = address.pointee.ai_next
        }
        return listeners
    }

    private static func vsock(_ port: UInt32) throws(EndpointError) -> Listener {
        let endpoint = Endpoint.vsock(port: port)
        let descriptor = try makeSocket(AF_VSOCK, endpoint)
        guard bindVsock(descriptor, port: port) == 0 else { throw failure(endpoint, descriptor) }
        return try listening(descriptor, endpoint)
    }

    /// A socket that was opened by somebody else and already listens.
    private static func adopt(_ descriptor: Int32) throws(EndpointError) -> Listener {
        let endpoint = Endpoint.descriptor(descriptor)
        let needed = "; a socket that listens is needed, as systemd passes it"
        var accepts: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard unsafe getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &length) == 0 else {
            throw .cannotListen(endpoint, reason: (errno == EBADF ? "it is not open" : "it is no socket") + needed)
        }
        guard accepts != 0 else {
            throw .cannotListen(endpoint, reason: "it is a socket that does not listen" + needed)
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        let family = boundFamily(descriptor)
        return Listener(
            descriptor: descriptor, endpoint: endpoint, isTCP: family == AF_INET || family == AF_INET6, ownedPath: nil)
    }

    private static func makeSocket(_ family: Int32, _ endpoint: Endpoint) throws(EndpointError) -> Int32 {
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .cannotListen(endpoint, reason: errorText(errno)) }
        return descriptor
    }

    private static func listening(
        _ descriptor: Int32, _ endpoint: Endpoint, isTCP: Bool = false, ownedPath: String? = nil
    ) throws(EndpointError) -> Listener {
        guard listen(descriptor, backlog) == 0 else { throw failure(endpoint, descriptor) }
        return Listener(descriptor: descriptor, endpoint: endpoint, isTCP: isTCP, ownedPath: ownedPath)
    }

    private static func failure(_ endpoint: Endpoint, _ descriptor: Int32) -> EndpointError {
        let code = errno
        Glibc.close(descriptor)
        switch code {
        case EADDRINUSE:
            return .cannotListen(endpoint, reason: "another program listens there already; choose another or stop it")
        case EACCES:
            return .cannotListen(
                endpoint, reason: "\(errorText(code)); ports below 1024 and others' folders need rights")
        case ENOENT:
            return .cannotListen(endpoint, reason: "\(errorText(code)); the socket's folder has to exist")
        case EADDRNOTAVAIL:
            return .cannotListen(
                endpoint,
                reason: "\(errorText(code)); use an address of this machine, 127.0.0.1 or 0.0.0.0 for instance")
        default:
            return .cannotListen(endpoint, reason: errorText(code))
        }
    }
}

/// Switches a socket option on.
func set(_ descriptor: Int32, _ level: Int32, _ option: Int32) {
    var on: Int32 = 1
    unsafe setsockopt(descriptor, level, option, &on, socklen_t(MemoryLayout<Int32>.size))
}

private func boundFamily(_ descriptor: Int32) -> Int32 {
    var address = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    _ = unsafe withUnsafeMutablePointer(to: &address) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe getsockname(descriptor, $0, &length) }
    }
    return Int32(address.ss_family)
}

private func boundPort(_ descriptor: Int32) -> UInt16? {
    var address = sockaddr_in6()
    var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
    let result = unsafe withUnsafeMutablePointer(to: &address) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe getsockname(descriptor, $0, &length) }
    }
    // sockaddr_in has its port at the same place.
    return result == 0 ? UInt16(bigEndian: address.sin6_port) : nil
}

/// Binds to a port of every context of this machine. Glibc's module has no `sockaddr_vm` (vsock(7)), which is: family,
/// 16 reserved bits, port, context (all ones for any), 4 bytes of zero.
private func bindVsock(_ descriptor: Int32, port: UInt32) -> Int32 {
    let address: (UInt16, UInt16, UInt32, UInt32, UInt32) = (UInt16(AF_VSOCK), 0, port, UInt32.max, 0)
    return unsafe withUnsafePointer(to: address) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(descriptor, $0, 16) }
    }
}

/// The value of an environment variable.
func environment(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
}
