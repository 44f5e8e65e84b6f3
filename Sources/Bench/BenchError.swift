// Reasons why a load cannot run, in words.

import Glibc
import ISCSI
import NBD
import TLS

/// Why a load was not run, or not to its end.
public enum BenchError: Error, Equatable, CustomStringConvertible {
    /// socket(2) or connect(2) failed, or a host name has no address.
    case cannotConnect(String, reason: String)
    /// A call on the connected socket failed.
    case socket(errno: Int32)
    /// The listener there is no server of this protocol, as it seems.
    case noServer(ServerKind, reason: String)
    /// The server closed the connection.
    case closed(during: String)
    /// No byte came for so long, though requests are unanswered.
    case silent(seconds: Int)
    /// The server sent bytes that the protocol does not have in this place.
    case violation(String)
    /// The server refuses an option of the handshake.
    case refused(option: OptionType, error: UInt32, message: String)
    /// The target refuses a login, with Status-Class and Status-Detail (RFC 7143, 11.13.5).
    case refusedLogin(status: UInt16)
    /// The server says why it does not go on.
    case ended(String)
    /// The load does not fit the export.
    case unsuitable(String)
    /// TLS did not come about, or ended.
    case tls(String)

    /// The failure, and the right way where it is known.
    public var description: String {
        switch self {
        case .cannotConnect(let place, let reason):
            "cannot connect to \(place): \(reason)"
        case .socket(let code):
            "the connection failed: \(systemText(code))"
        case .noServer(let kind, let reason):
            "no \(kind.rawValue) answers there: \(reason)"
        case .closed(let during):
            "the server closed the connection during \(during)"
        case .silent(let seconds):
            "the server has not answered for \(seconds) seconds"
        case .violation(let what):
            "the server does not keep to the protocol: \(what)"
        case .refused(let option, let error, let message):
            "the server refuses \(Self.words(option)): \(Self.words(error, message))"
        case .refusedLogin(let status):
            "the target refuses the login: \(Self.loginWords(status))"
        case .ended(let why):
            "the server ends the connection: \(why)"
        case .unsuitable(let what):
            what
        case .tls(let what):
            "TLS with the server failed: \(what)"
        }
    }

    /// The same before the first word of a server, which one of another protocol does not say.
    func beforeFirstWord(of kind: ServerKind) -> BenchError {
        switch self {
        case .closed: .noServer(kind, reason: "it has closed the connection before its first word")
        case .silent(let seconds): .noServer(kind, reason: "it has said nothing for \(seconds) seconds")
        default: self
        }
    }

    private static func loginWords(_ status: UInt16) -> String {
        switch LoginStatus(rawValue: status) {
        case .targetMovedTemporarily, .targetMovedPermanently: "it is at another address now"
        case .authenticationFailure: "it does not believe who this is; --chap FILE has a name and its secret"
        case .authorizationFailure: "this initiator may not open it"
        case .notFound: "there is no such target"
        case .targetRemoved: "it has been removed"
        case .serviceUnavailable: "it is stopping, or not ready yet"
        case .outOfResources: "it has no room for another session"
        default: "status 0x" + String(status, radix: 16)
        }
    }

    private static func words(_ option: OptionType) -> String {
        switch option {
        case .startTLS: "TLS; nbd: and nbd+unix: connect without"
        case .structuredReply: "structured replies; leave out --structured-replies"
        default: "the export"
        }
    }

    private static func words(_ error: UInt32, _ message: String) -> String {
        let name =
            switch OptionReplyType(rawValue: error) {
            case .errorUnknown: "there is no such export"
            case .errorTLSRequired: "it wants TLS; use nbds: or nbds+unix:"
            case .errorUnsupported: "not supported"
            case .errorPolicy: "forbidden"
            case .errorShutdown: "it is stopping"
            default: "error 0x" + String(error, radix: 16)
            }
        return message.isEmpty ? name : "\(name) (\(message))"
    }
}

/// The kinds of server that a load is for.
public enum ServerKind: String, Sendable {
    /// A server of NBD's.
    case nbd = "NBD server"
    /// A target of iSCSI's.
    case iscsi = "iSCSI target"
}

/// The system's words for an errno.
func systemText(_ code: Int32) -> String {
    unsafe String(cString: strerror(code))
}
