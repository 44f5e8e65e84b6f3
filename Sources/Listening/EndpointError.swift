// Mistakes in an ENDPOINT, in words.

/// Why a text is no ENDPOINT, or why nobody can listen there.
public enum EndpointError: Error, Equatable, CustomStringConvertible {
    /// None of the known forms.
    case malformed(String)
    /// The URL that clients use, and the endpoint of it.
    case url(String, right: String)
    /// Two endpoints where only one can be.
    case sharedPlace(Endpoint, Endpoint)
    /// The text in a host's place is no host.
    case badHost(scheme: String, String)
    /// `tcp:` without a port.
    case noPort(scheme: String, String, usual: UInt16 = Endpoint.standardPort)
    /// `tcp:` or `iscsi:` without a host.
    case noHost(scheme: String, String)
    /// An IPv6 address without brackets.
    case bareIPv6(scheme: String, String)
    /// A port that is no number or out of range.
    case badPort(String, maximum: UInt32)
    /// `fd:` without a number.
    case badDescriptor(String)
    /// A Unix socket's path longer than `sockaddr_un` holds.
    case pathTooLong(String)
    /// A Unix socket's property that is none.
    case unknownProperty(String)
    /// An iSCSI endpoint's property that is none.
    case unknownISCSIProperty(String)
    /// An iSCSI endpoint's portal to which nobody could connect.
    case badPortal(String)
    /// A Unix socket's mode that is none.
    case badMode(String)
    /// A Unix socket's owner that is none.
    case badOwner(String)
    /// systemd has passed no socket of this name.
    case notPassed(name: String, passed: [String])
    /// Standard input among other endpoints.
    case notAlone
    /// The host name has no address.
    case unknownHost(String, reason: String)
    /// socket, bind or listen failed.
    case cannotListen(Endpoint, reason: String)

    /// The mistake and the right way.
    public var description: String {
        switch self {
        case .malformed(let text):
            "'\(text)' is no endpoint; use unix:PATH, tcp:HOST:PORT, iscsi:HOST:PORT, vsock:PORT, fd:N, "
                + "systemd:NAME or stdin"
        case .url(let text, let right):
            "'\(text)' is a URL of clients, and no endpoint; use \(right)"
        case .sharedPlace(let first, let second) where first == second:
            "endpoint '\(first)' is given twice; leave one of them out"
        case .sharedPlace(let first, let second):
            "endpoints '\(first)' and '\(second)' are one place; give one of them another"
        case .badHost(let scheme, let host):
            "'\(host)' is no host: a name or an address belongs there, as in \(scheme):HOST:PORT"
        case .noPort(let scheme, let text, let usual):
            "endpoint '\(scheme):\(text)' has no port; use \(scheme):\(text):\(usual)"
        case .noHost(let scheme, let text):
            "endpoint '\(scheme):\(text)' has no host; use 127.0.0.1 for this machine only, 0.0.0.0 for every interface"
        case .bareIPv6(let scheme, let text):
            "endpoint '\(scheme):\(text)' has an IPv6 address without brackets; use \(scheme):[ADDRESS]:PORT"
        case .badPort(let text, let maximum):
            "'\(text)' is no port; a number from 0 to \(maximum) is needed"
        case .badDescriptor(let text):
            "'\(text)' is no file descriptor; use fd:3, say"
        case .pathTooLong(let path):
            "the socket path '\(path)' has \(path.utf8.count) bytes, the system's limit is \(Endpoint.maximumPathBytes); "
                + "use a shorter one"
        case .unknownProperty(let text):
            "'\(text)' is no property of a Unix socket: there are mode=0660 and owner=USER:GROUP; "
                + "a comma of the path is written twice"
        case .unknownISCSIProperty(let text):
            "'\(text)' is no property of an iSCSI endpoint: there is one, portal=HOST:PORT"
        case .badPortal(let text):
            "'\(text)' is no portal: it is the address or name that initiators connect to, as in "
                + "portal=storage.example.org:3260 or portal=[2001:db8::1]:3260"
        case .badMode(let text):
            "'\(text)' is no mode of a socket; octal permissions are needed, as in mode=0660"
        case .badOwner(let text):
            "'\(text)' is no owner of a socket; use owner=USER, owner=USER:GROUP or owner=:GROUP"
        case .notPassed(let name, let passed):
            "systemd has passed no socket named '\(name)'"
                + (passed.isEmpty
                    ? ", and no other; 'systemctl start' its .socket unit"
                    : ", but: \(passed.joined(separator: ", ")); FileDescriptorName= of the .socket unit is the name")
        case .notAlone:
            "stdin is one client's connection, with whose end the server ends; no other endpoint goes with it"
        case .unknownHost(let host, let reason):
            "host '\(host)' has no address to listen on: \(reason)"
        case .cannotListen(let endpoint, let reason):
            "cannot listen on \(endpoint): \(reason)"
        }
    }
}
