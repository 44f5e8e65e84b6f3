// Listening sockets: socket(2), bind(2), listen(2).

import Glibc
import IOUring

/// A socket that clients connect to.
public struct Listener: Sendable {
    /// How many connections may wait to be accepted; the kernel lowers it to net.core.somaxconn.
    private static let backlog: Int32 = 4096

    /// The descriptor for accept(2).
    public let descriptor: Int32
    /// Where it listens, the port filled in if the system chose it.
    public let endpoint: Endpoint
    /// TCP options are set on its connections.
    public var isTCP: Bool {
        switch endpoint {
        case .tcp, .iscsi: true
        default: false
        }
    }
    /// The protocol of its clients.
    public var frontEnd: FrontEnd { endpoint.frontEnd }
    /// Somebody else has opened it, and may go on listening.
    public let isInherited: Bool
    /// The file to remove at the end.
    private let ownedFile: SocketFile?

    init(descriptor: Int32, endpoint: Endpoint, isInherited: Bool = false, ownedFile: SocketFile? = nil) {
        self.descriptor = descriptor
        self.endpoint = endpoint
        self.isInherited = isInherited
        self.ownedFile = ownedFile
    }

    /// Listens on each address that `endpoint` stands for.
    public static func open(_ endpoint: Endpoint) throws(EndpointError) -> [Listener] {
        try open(endpoint, passed: SystemdSockets())
    }

    /// Listens on each address that `endpoint` stands for, which may be a socket that systemd has passed.
    static func open(_ endpoint: Endpoint, passed: SystemdSockets) throws(EndpointError) -> [Listener] {
        switch endpoint {
        case .unix(let path, let permissions): [try unix(path, permissions)]
        case .tcp(let host, let port): try tcp(host, port) { .tcp(host: host, port: $0) }
        case .iscsi(let host, let port, let portal):
            try tcp(host, port) { .iscsi(host: host, port: $0, portal: portal) }
        case .vsock(let port): [try vsock(port)]
        case .descriptor(let number): [try adopt(number)]
        case .systemd(let name): try passed.listeners(named: name)
        case .standardInput: []
        }
    }

    /// Stops listening; a Unix socket's file disappears first, so that nobody takes it for a dead server's.
    public func close() {
        ownedFile?.remove()
        Glibc.close(descriptor)
    }

    /// Turns away all clients that come from now on, or waits to be accepted, while the descriptor may still be in use.
    public func refuse() {
        guard !isInherited else { return }
        ownedFile?.remove()
        guard shutdown(descriptor, Int32(SHUT_RDWR)) == 0 else { return }
        // A socket that is shut down waits for nobody, but keeps those that have come before.
        while true {
            let waiting = accept(descriptor, nil, nil)
            guard waiting >= 0 || errno == EINTR || errno == ECONNABORTED else { return }
            if waiting >= 0 { Glibc.close(waiting) }
        }
    }

    /// Calls bind(2), by way of a function that returns its errno, until the address is free, for a second at the most.
    /// A server that was killed keeps its sockets for some milliseconds after its process is gone, because the kernel
    /// takes a ring apart in the background, and whoever starts another in its place does so at once.
    ///
    /// - Returns: 0, or the errno of the last attempt.
    static func patiently(_ bind: () -> Int32) -> Int32 {
        for _ in 0..<20 {
            let code = bind()
            guard code == EADDRINUSE else { return code }
            usleep(50_000)
        }
        return bind()
    }

    private static func vsock(_ port: UInt32) throws(EndpointError) -> Listener {
        let endpoint = Endpoint.vsock(port: port)
        let descriptor = try makeSocket(AF_VSOCK, endpoint)
        let code = SocketAddress(vsockPort: port).bind(descriptor)
        guard code == 0 else { throw failure(endpoint, code, descriptor) }
        guard startListening(descriptor) == 0 else { throw failure(endpoint, errno, descriptor) }
        return Listener(descriptor: descriptor, endpoint: endpoint)
    }

    /// A socket that was opened by somebody else and already listens.
    static func adopt(_ descriptor: Int32) throws(EndpointError) -> Listener {
        let endpoint = Endpoint.descriptor(descriptor)
        let needed = "; a socket that listens is needed, as systemd passes it"
        guard let accepts = SocketOption.value(descriptor, SOL_SOCKET, SO_ACCEPTCONN) else {
            throw .cannotListen(endpoint, reason: (errno == EBADF ? "it is not open" : "it is no socket") + needed)
        }
        guard accepts != 0 else {
            throw .cannotListen(
                endpoint,
                reason: "it is a socket that does not listen" + needed
                    + "; for a client's connection there is '--listen stdin'")
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        return Listener(
            descriptor: descriptor, endpoint: SocketAddress(of: descriptor)?.endpoint ?? endpoint, isInherited: true)
    }

    static func makeSocket(_ family: Int32, _ endpoint: Endpoint) throws(EndpointError) -> Int32 {
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .cannotListen(endpoint, reason: errorText(errno)) }
        return descriptor
    }

    static func startListening(_ descriptor: Int32) -> Int32 {
        listen(descriptor, backlog)
    }

    /// Closes the socket and says what went wrong with it.
    static func failure(_ endpoint: Endpoint, _ code: Int32, _ descriptor: Int32) -> EndpointError {
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
        case EINVAL where endpoint.lacksZone:
            return .cannotListen(
                endpoint, reason: "a link-local address needs the name of its interface: tcp:[fe80::1%eth0]:10809")
        default:
            return .cannotListen(endpoint, reason: errorText(code))
        }
    }
}

/// The value of an environment variable.
func environment(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
}
