// The words of the front end, by the names that the rest of the loop has for them: NBD's. A second protocol, or words
// that two share, changes this folder and no other.

import Counters
import NBD

/// The state machine of a connection.
typealias Session = NBD.Session
/// What a client asks for.
typealias Request = NBD.Request
/// What a request is about.
typealias Command = NBD.Command
/// Why a request has failed.
typealias RequestError = NBD.NBDError
/// How a request has ended, with all that its reply says.
typealias Ending = NBD.Ending
/// The headers of a reply, and where its data are.
typealias ReplyLayout = NBD.ReplyLayout
/// Headers, and data that follow them.
typealias ReplyPart = NBD.ReplyPart

extension Limits {
    /// So many options a handshake may have, beside those that every export adds.
    public static var standardHandshakeOptions: Int { Session.standardOptionLimit }
}

// How requests and their errors are counted.

extension CommandKind {
    /// The kind of a command that is served.
    init(_ command: Command) {
        self =
            switch command {
            case .read: .read
            case .write: .write
            case .disconnect: .unknown
            case .flush: .flush
            case .trim: .trim
            case .cache: .cache
            case .writeZeroes: .writeZeroes
            case .blockStatus: .blockStatus
            }
    }

    /// The kind of a request by its type, which may be anything.
    init(type: UInt16) {
        self = Command(rawValue: type).map(CommandKind.init) ?? .unknown
    }
}

extension ErrorKind {
    /// The kind of an answer's error.
    init(_ error: RequestError) {
        self =
            switch error {
            case .notPermitted: .notPermitted
            case .inputOutput: .inputOutput
            case .noMemory: .noMemory
            case .invalidArgument: .invalidArgument
            case .noSpace: .noSpace
            case .overflow: .overflow
            case .notSupported: .notSupported
            case .shutdown: .shutdown
            }
    }
}
