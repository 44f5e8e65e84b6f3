// Where clients connect: the ENDPOINT of the command line.

/// An address to listen on.
public enum Endpoint: Equatable, Sendable, CustomStringConvertible {
    /// `unix:PATH`
    case unix(path: String)
    /// `tcp:HOST:PORT`, IPv6 addresses in brackets.
    case tcp(host: String, port: UInt16)
    /// `vsock:PORT`, any context.
    case vsock(port: UInt32)
    /// `fd:N`: a listening socket that the process was started with.
    case descriptor(Int32)

    /// The port IANA has registered for NBD.
    public static let standardPort: UInt16 = 10809
    /// Where the server listens when nothing is said.
    public static let standard = Endpoint.tcp(host: "127.0.0.1", port: standardPort)
    /// The longest path that fits `sockaddr_un`, its terminating NUL excluded.
    static let maximumPathBytes = 107

    /// Reads an ENDPOINT.
    public init(parsing text: String) throws(EndpointError) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, !parts[1].isEmpty else { throw .malformed(text) }
        let rest = parts[1]
        switch parts[0] {
        case "unix":
            guard rest.utf8.count <= Self.maximumPathBytes else { throw .pathTooLong(rest) }
            self = .unix(path: rest)
        case "tcp":
            self = try Self.parseTCP(rest)
        case "vsock":
            guard let port = UInt32(digits: rest), port < UInt32.max else {
                throw .badPort(rest, maximum: UInt32.max - 1)
            }
            self = .vsock(port: port)
        case "fd":
            guard let number = Int32(digits: rest) else { throw .badDescriptor(rest) }
            self = .descriptor(number)
        default:
            throw .malformed(text)
        }
    }

    private static func parseTCP(_ text: String) throws(EndpointError) -> Endpoint {
        guard let colon = text.lastIndex(of: ":"), !text.hasSuffix("]") else { throw .noPort(text) }
        var host = String(text[..<colon])
        let portText = String(text[text.index(after: colon)...])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            throw .bareIPv6(text)
        }
        guard !host.isEmpty else { throw .noHost(text) }
        guard let port = UInt16(digits: portText) else { throw .badPort(portText, maximum: 65535) }
        return .tcp(host: host, port: port)
    }

    /// The endpoint as it is written on the command line.
    public var description: String {
        switch self {
        case .unix(let path): "unix:\(path)"
        case .tcp(let host, let port): host.contains(":") ? "tcp:[\(host)]:\(port)" : "tcp:\(host):\(port)"
        case .vsock(let port): "vsock:\(port)"
        case .descriptor(let number): "fd:\(number)"
        }
    }
}

extension FixedWidthInteger {
    /// Reads digits and nothing else: no sign.
    fileprivate init?(digits text: String) {
        guard text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else { return nil }
        self.init(text)
    }
}

/// Why a text is no ENDPOINT, or why nobody can listen there.
public enum EndpointError: Error, Equatable, CustomStringConvertible {
    /// None of the known forms.
    case malformed(String)
    /// `tcp:` without a port.
    case noPort(String)
    /// `tcp:` without a host.
    case noHost(String)
    /// An IPv6 address without brackets.
    case bareIPv6(String)
    /// A port that is no number or out of range.
    case badPort(String, maximum: UInt32)
    /// `fd:` without a number.
    case badDescriptor(String)
    /// A Unix socket's path longer than `sockaddr_un` holds.
    case pathTooLong(String)
    /// The host name has no address.
    case unknownHost(String, reason: String)
    /// socket, bind or listen failed.
    case cannotListen(Endpoint, reason: String)

    /// What is wrong and what would be right.
    public var description: String {
        switch self {
        case .malformed(let text):
            "'\(text)' is no endpoint; use unix:PATH, tcp:HOST:PORT, vsock:PORT or fd:N"
        case .noPort(let text):
            "endpoint 'tcp:\(text)' has no port; use tcp:\(text):\(Endpoint.standardPort)"
        case .noHost(let text):
            "endpoint 'tcp:\(text)' has no host; use 127.0.0.1 for this machine only, 0.0.0.0 for every interface"
        case .bareIPv6(let text):
            "endpoint 'tcp:\(text)' has an IPv6 address without brackets; use tcp:[ADDRESS]:PORT"
        case .badPort(let text, let maximum):
            "'\(text)' is no port; a number from 0 to \(maximum) is needed"
        case .badDescriptor(let text):
            "'\(text)' is no file descriptor; use fd:3, say"
        case .pathTooLong(let path):
            "the socket path '\(path)' has \(path.utf8.count) bytes, the system's limit is \(Endpoint.maximumPathBytes); "
                + "use a shorter one"
        case .unknownHost(let host, let reason):
            "host '\(host)' has no address to listen on: \(reason)"
        case .cannotListen(let endpoint, let reason):
            "cannot listen on \(endpoint): \(reason)"
        }
    }
}
