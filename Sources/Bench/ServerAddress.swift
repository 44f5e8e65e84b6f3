// A client's destination: an NBD URI (doc/uri.md of the NBD project), or a URL of an iSCSI unit as libiscsi has it.

/// The server, the export and the client's credentials, as a URI names them.
public struct ServerAddress: Equatable, Sendable {
    /// Where the server listens.
    public enum Place: Equatable, Sendable, CustomStringConvertible {
        /// A Unix socket.
        case unix(path: String)
        /// A TCP port.
        case tcp(host: String, port: UInt16)

        /// The place in words.
        public var description: String {
            switch self {
            case .unix(let path): path
            case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
            }
        }
    }

    /// Keys for TLS.
    public enum Proof: Equatable, Sendable {
        /// The key of a user, from a file of them (`tls-psk-file`).
        case preSharedKey(user: String, file: String)
        /// A folder with ca-cert.pem, and client-cert.pem and client-key.pem if the client has a certificate
        /// (`tls-certificates`); the server's certificate has to be that of `serverName`.
        case certificates(directory: String, serverName: String)
    }

    /// Where the server is.
    public let place: Place
    /// The export's name, or the target's.
    public let export: String
    /// Nil: no TLS.
    public let proof: Proof?
    /// The logical unit of an iSCSI target; nil: the server speaks NBD.
    public let logicalUnit: Int?

    /// Port 10809, which IANA has registered for NBD.
    static let standardPort: UInt16 = 10809
    /// Port 3260, which IANA has registered for iSCSI.
    static let iSCSIPort: UInt16 = 3260

    /// Reads a URI.
    public init(parsing uri: String) throws(ServerAddressError) {
        let (beginning, rest) = Self.halves(uri[...], at: ":")
        guard rest.hasPrefix("//") else { throw .noURI(uri) }
        let scheme = String(beginning)
        let (hierarchy, query) = Self.halves(rest.dropFirst(2), at: "?")
        let (authority, path) = Self.halves(hierarchy, at: "/")
        let parameters = try Self.parameters(query, uri)
        if scheme == "iscsi" {
            place = try Self.tcp(authority, uri, standardPort: Self.iSCSIPort)
            let (target, unit) = Self.halves(path, at: "/")
            guard !target.isEmpty, let number = Int(unit), (0..<16384).contains(number) else { throw .noUnit(uri) }
            export = try Self.decoded(target, uri)
            proof = nil
            logicalUnit = number
            return
        }
        export = try Self.decoded(path, uri)
        logicalUnit = nil
        switch scheme {
        case "nbd", "nbds":
            place = try Self.tcp(authority, uri, standardPort: Self.standardPort)
        case "nbd+unix", "nbds+unix":
            guard let path = parameters["socket"], !path.isEmpty else { throw .noSocket(uri) }
            place = .unix(path: path)
        default:
            throw .unknownScheme(scheme)
        }
        proof = scheme.hasPrefix("nbds") ? try Self.proof(authority, place, parameters, uri) : nil
    }

    private static func tcp(
        _ authority: Substring, _ uri: String, standardPort: UInt16
    ) throws(ServerAddressError) -> Place {
        // The user is before the last at-sign, for TLS alone.
        var rest = authority
        if let sign = rest.lastIndex(of: "@") { rest = rest[rest.index(after: sign)...] }
        var host = rest
        var port: UInt16? = standardPort
        if rest.hasPrefix("["), let bracket = rest.firstIndex(of: "]") {
            host = rest[rest.index(after: rest.startIndex)..<bracket]
            let behind = rest[rest.index(after: bracket)...]
            if !behind.isEmpty { port = behind.hasPrefix(":") ? UInt16(behind.dropFirst()) : nil }
        } else if let colon = rest.lastIndex(of: ":") {
            host = rest[..<colon]
            port = UInt16(rest[rest.index(after: colon)...])
        }
        guard let port else { throw .badPort(uri) }
        return .tcp(host: host.isEmpty ? "localhost" : try decoded(host, uri), port: port)
    }

    private static func proof(
        _ authority: Substring, _ place: Place, _ parameters: [String: String], _ uri: String
    ) throws(ServerAddressError) -> Proof {
        if let file = parameters["tls-psk-file"] {
            guard let sign = authority.lastIndex(of: "@"), sign != authority.startIndex else { throw .noUser(uri) }
            return .preSharedKey(user: try decoded(authority[..<sign], uri), file: file)
        }
        guard let directory = parameters["tls-certificates"] else { throw .noProof(uri) }
        var name = "localhost"
        if case .tcp(let host, _) = place { name = host }
        return .certificates(directory: directory, serverName: parameters["tls-hostname"] ?? name)
    }

    private static func parameters(_ query: Substring, _ uri: String) throws(ServerAddressError) -> [String: String] {
        var parameters: [String: String] = [:]
        for part in query.split(separator: "&") {
            let (name, value) = halves(part, at: "=")
            parameters[String(name)] = try decoded(value, uri)
        }
        return parameters
    }

    /// The text before the first such character, and the text behind it.
    private static func halves(_ text: Substring, at separator: Character) -> (Substring, Substring) {
        guard let place = text.firstIndex(of: separator) else { return (text, "") }
        return (text[..<place], text[text.index(after: place)...])
    }

    private static func decoded(_ text: Substring, _ uri: String) throws(ServerAddressError) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            else { throw .badEncoding(uri) }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else { throw .badEncoding(uri) }
        return decoded
    }
}

/// Why a text is no URI of a server that can be reached.
public enum ServerAddressError: Error, Equatable, CustomStringConvertible {
    /// It has no scheme.
    case noURI(String)
    /// Another scheme than those of NBD over TCP and Unix sockets, and of iSCSI.
    case unknownScheme(String)
    /// An iSCSI URL without a target and a number of a unit.
    case noUnit(String)
    /// A Unix URI without `socket=`.
    case noSocket(String)
    /// The port is no number up to 65535.
    case badPort(String)
    /// A percent sign without two hexadecimal digits, or bytes that are no UTF-8.
    case badEncoding(String)
    /// TLS without keys.
    case noProof(String)
    /// A pre-shared key without a user.
    case noUser(String)

    /// The mistake, and the right way.
    public var description: String {
        switch self {
        case .noURI(let text):
            "'\(text)' is no URI; use nbd://HOST[:PORT]/[EXPORT], 'nbd+unix:///[EXPORT]?socket=PATH' or "
                + "iscsi://HOST[:PORT]/TARGET/LUN"
        case .unknownScheme(let scheme):
            "the scheme '\(scheme)' is not known; it is one of nbd, nbds, nbd+unix, nbds+unix, iscsi"
        case .noUnit(let uri):
            "'\(uri)' names no unit of a target; use iscsi://HOST[:PORT]/TARGET/LUN"
        case .noSocket(let uri):
            "'\(uri)' names no socket; use 'nbd+unix:///[EXPORT]?socket=PATH'"
        case .badPort(let uri):
            "'\(uri)' has a port that is no number from 0 to 65535"
        case .badEncoding(let uri):
            "'\(uri)' has a percent sign that does not encode a character; write %25 for the sign itself"
        case .noProof(let uri):
            "'\(uri)' says nothing of keys; append '?tls-psk-file=FILE' or '?tls-certificates=DIR'"
        case .noUser(let uri):
            "'\(uri)' does not say whose pre-shared key it is; use nbds://USER@HOST/..."
        }
    }
}
