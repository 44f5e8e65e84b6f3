// Where clients connect: the ENDPOINT of the command line.

/// An address to listen on, or a client that is there already.
public enum Endpoint: Equatable, Sendable, CustomStringConvertible {
    /// `unix:PATH[,mode=MODE][,owner=[USER][:GROUP]]`; a comma in the path is written twice.
    case unix(path: String, permissions: SocketPermissions = SocketPermissions())
    /// `tcp:HOST:PORT`, IPv6 addresses in brackets.
    case tcp(host: String, port: UInt16)
    /// `iscsi:HOST[:PORT][,portal=HOST[:PORT]]`, for iSCSI's initiators; all others are for clients of NBD.
    case iscsi(host: String, port: UInt16, portal: Portal? = nil)
    /// `vsock:PORT`, any context.
    case vsock(port: UInt32)
    /// `fd:N`: a listening socket that the process was started with.
    case descriptor(Int32)
    /// `systemd:NAME`: the listening sockets that systemd has passed under this name.
    case systemd(name: String)
    /// `stdin`: one client, which standard input is connected to.
    case standardInput

    /// The port IANA has registered for NBD.
    public static let standardPort: UInt16 = 10809
    /// The port IANA has registered for iSCSI.
    public static let standardISCSIPort: UInt16 = 3260
    /// Where the server listens when nothing is said.
    public static let standard = Endpoint.tcp(host: "127.0.0.1", port: standardPort)
    /// The longest path that fits `sockaddr_un`, its terminating NUL excluded.
    static let maximumPathBytes = 107

    /// Reads an ENDPOINT.
    public init(parsing text: String) throws(EndpointError) {
        if text == "stdin" {
            self = .standardInput
            return
        }
        if let right = Self.endpoint(ofURL: text) { throw .url(text, right: right) }
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, !parts[1].isEmpty else { throw .malformed(text) }
        let rest = parts[1]
        switch parts[0] {
        case "unix":
            self = try Self.parseUnix(rest)
        case "tcp":
            let (host, port) = try Self.parseInternet("tcp", rest, standardPort: nil)
            self = .tcp(host: host, port: port)
        case "iscsi":
            self = try Self.parseISCSI(rest)
        case "vsock":
            guard let port = UInt32(digits: rest), port < UInt32.max else {
                throw .badPort(rest, maximum: UInt32.max - 1)
            }
            self = .vsock(port: port)
        case "fd":
            guard let number = Int32(digits: rest) else { throw .badDescriptor(rest) }
            self = .descriptor(number)
        case "systemd":
            self = .systemd(name: rest)
        default:
            throw .malformed(text)
        }
    }

    /// The endpoint that somebody means who has written the URL of a client; nil if the text is none.
    private static func endpoint(ofURL text: String) -> String? {
        for (scheme, kind) in [("iscsi", "iscsi"), ("nbd", "tcp"), ("nbds", "tcp"), ("tcp", "tcp")] {
            guard text.lowercased().hasPrefix(scheme + "://") else { continue }
            let authority = text.dropFirst(scheme.count + 3).prefix { $0 != "/" && $0 != "?" }
            let place = authority.split(separator: "@").last.map(String.init) ?? ""
            guard !place.isEmpty, place.first != ":" else { return "\(kind):HOST:PORT" }
            let hasPort = place.contains(":") && !place.hasSuffix("]")
            return "\(kind):\(place)" + (hasPort || kind == "iscsi" ? "" : ":\(standardPort)")
        }
        return nil
    }

    /// Endpoints at which one server cannot listen together.
    public static func check(_ endpoints: [Endpoint]) throws(EndpointError) {
        for (number, endpoint) in endpoints.enumerated() {
            for other in endpoints[..<number] where endpoint.isSamePlace(as: other) {
                throw .sharedPlace(other, endpoint)
            }
        }
    }

    private func isSamePlace(as other: Endpoint) -> Bool {
        switch (self, other) {
        case (.unix(let path, _), .unix(let second, _)): return path == second
        case (.tcp(let host, let port), .tcp(let second, let its)),
            (.tcp(let host, let port), .iscsi(let second, let its, _)),
            (.iscsi(let host, let port, _), .tcp(let second, let its)),
            (.iscsi(let host, let port, _), .iscsi(let second, let its, _)):
            // Of port 0 each gets another.
            return port == its && port != 0 && host.lowercased() == second.lowercased()
        default: return self == other
        }
    }

    /// As in QEMU's options, a comma ends the path and two stand for one.
    private static func parseUnix(_ text: String) throws(EndpointError) -> Endpoint {
        var path = ""
        var properties: [String] = []
        var isEscaped = false
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        for (number, part) in parts.enumerated() {
            if number == 0 || isEscaped {
                path += part
                isEscaped = false
            } else if part.isEmpty, properties.isEmpty, number + 1 < parts.count {
                path += ","
                isEscaped = true
            } else {
                properties.append(String(part))
            }
        }
        guard !path.isEmpty else { throw .malformed("unix:\(text)") }
        guard path.utf8.count <= maximumPathBytes else { throw .pathTooLong(path) }
        var permissions = SocketPermissions()
        for property in properties { try permissions.read(property) }
        return .unix(path: path, permissions: permissions)
    }

    private static func parseISCSI(_ text: String) throws(EndpointError) -> Endpoint {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        let (host, port) = try parseInternet("iscsi", parts[0], standardPort: standardISCSIPort)
        guard parts.count > 1 else { return .iscsi(host: host, port: port) }
        let name = "portal="
        guard parts.count == 2, parts[1].hasPrefix(name) else {
            throw .unknownISCSIProperty(parts[1...].joined(separator: ","))
        }
        return .iscsi(host: host, port: port, portal: try Portal(parsing: String(parts[1].dropFirst(name.count))))
    }

    static func parseInternet(
        _ scheme: String, _ text: String, standardPort: UInt16?
    ) throws(EndpointError) -> (host: String, port: UInt16) {
        var host = text
        var port = standardPort
        if let colon = text.lastIndex(of: ":"), !text.hasSuffix("]") {
            host = String(text[..<colon])
            let portText = String(text[text.index(after: colon)...])
            port = UInt16(digits: portText)
            if port == nil, !host.contains(":") || host.hasPrefix("[") { throw .badPort(portText, maximum: 65535) }
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            throw .bareIPv6(scheme: scheme, text)
        }
        // Digits alone are a port.
        let isPort = text.utf8.allSatisfy { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
        guard !host.isEmpty, !isPort else { throw .noHost(scheme: scheme, text) }
        guard !host.contains(where: { $0.isWhitespace || "/@?,".contains($0) }) else {
            throw .badHost(scheme: scheme, host)
        }
        guard let port else { throw .noPort(scheme: scheme, text) }
        return (host, port)
    }

    /// A link-local IPv6 address (RFC 4291, 2.5.6) that does not say on which link.
    var lacksZone: Bool {
        let host: String
        switch self {
        case .tcp(let name, _), .iscsi(let name, _, _): host = name
        default: return false
        }
        guard host.contains(":"), !host.contains("%") else { return false }
        return InternetAddress(host)?.isLinkLocal == true
    }

    /// The endpoint as it is written on the command line.
    public var description: String {
        switch self {
        case .unix(let path, let permissions):
            "unix:"
                + path.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
                + permissions.properties
        case .tcp(let host, let port): "tcp:" + Self.text(host, port)
        case .iscsi(let host, let port, let portal):
            "iscsi:" + Self.text(host, port) + (portal.map { ",portal=\($0)" } ?? "")
        case .vsock(let port): "vsock:\(port)"
        case .descriptor(let number): "fd:\(number)"
        case .systemd(let name): "systemd:\(name)"
        case .standardInput: "stdin"
        }
    }

    private static func text(_ host: String, _ port: UInt16) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// The address that initiators are told; nil: that of the socket which they have found.
    public var portal: Portal? {
        if case .iscsi(_, _, let portal) = self { portal } else { nil }
    }

    /// The protocol that is spoken there.
    public var frontEnd: FrontEnd {
        if case .iscsi = self { .iscsi } else { .nbd }
    }
}

/// The protocols that clients may speak.
public enum FrontEnd: Sendable {
    /// The NBD protocol.
    case nbd
    /// RFC 7143.
    case iscsi
}

extension FixedWidthInteger {
    /// Reads digits and nothing else: no sign.
    fileprivate init?(digits text: String) {
        guard text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else { return nil }
        self.init(text)
    }
}
