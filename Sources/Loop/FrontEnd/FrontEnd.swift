// How the words of a protocol, which is NBD, become those of the loop.

import Blocks
import Counters
import Export
import NBD

extension Limits {
    /// So many options a handshake may have, beside those that every export adds.
    public static var standardHandshakeOptions: Int { Session.standardOptionLimit }
}

extension RequestSlot {
    /// A request whose data are nowhere yet.
    @inline(__always)  // where it is to be
    init(_ request: NBD.Request, _ kind: CommandKind, blockSize: BlockSize) {
        unit = ExportNumber(Int(request.unit))
        served = ServedRequest(request, blockSize: blockSize)
        measure = RequestMeasure(kind: kind)
    }
}

// How requests and their errors are counted.

extension CommandKind {
    /// The kind of a command that is served.
    init(_ command: NBD.Command) {
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
        self = NBD.Command(rawValue: type).map(CommandKind.init) ?? .unknown
    }
}

extension ErrorKind {
    /// The kind of an answer's error.
    init(_ error: NBDError) {
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
