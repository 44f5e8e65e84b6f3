// The content of a load, and the exports that it fits.

import NBD

/// A load, as the user describes it.
public struct Load: Sendable {
    /// A request to the server.
    public enum Operation: String, Sendable, CaseIterable {
        /// READ.
        case read
        /// WRITE.
        case write
        /// READ and WRITE, mixed.
        case readWrite = "rw"
        /// FLUSH.
        case flush
        /// TRIM.
        case trim
        /// WRITE_ZEROES.
        case writeZeroes = "write-zeroes"
        /// A new connection each time, up to the first byte of a READ.
        case connect

        /// The operation overwrites what is on the export.
        public var destroysData: Bool {
            switch self {
            case .read, .flush, .connect: false
            case .write, .readWrite, .trim, .writeZeroes: true
            }
        }
    }

    /// The order of the blocks.
    public enum Pattern: String, Sendable, CaseIterable {
        /// Any block of the export may be next.
        case random
        /// One behind the other; several connections begin at equal distances.
        case sequential
    }

    /// When it ends.
    public enum Limit: Equatable, Sendable {
        /// So many seconds after the warm-up.
        case seconds(Double)
        /// After so many requests on all connections.
        case requests(UInt64)
    }

    /// The requests.
    public var operation = Operation.read
    /// Of 100 requests of ``Operation/readWrite``, how many are reads.
    public var readPercent = 70
    /// The length of each request.
    public var blockBytes: UInt32 = 4096
    /// How many requests a connection has in flight.
    public var depth = 32
    /// How many connections there are, each with a thread.
    public var connections = 1
    /// When it ends.
    public var limit = Limit.seconds(10)
    /// The order of the blocks.
    public var pattern = Pattern.random
    /// A FLUSH follows so many requests of a connection that change the export; nil: never.
    public var flushEvery: UInt64?
    /// For so long nothing is counted.
    public var warmUpSeconds = 0.0
    /// READ is answered in chunks.
    public var usesStructuredReplies = false

    /// iSCSI: headers and data have digests.
    public var usesDigests = false
    /// iSCSI: the client's name and secret.
    public var credentials: CHAPCredentials?

    /// Random reads of 4 KiB at depth 32 for 10 seconds.
    public init() {}

    /// The load's commands besides READ.
    private var commands: [Command] {
        let changes: [Command] =
            switch operation {
            case .read, .connect: []
            case .write, .readWrite: [.write]
            case .flush: [.flush]
            case .trim: [.trim]
            case .writeZeroes: [.writeZeroes]
            }
        return flushEvery == nil ? changes : changes + [.flush]
    }

    /// Looks whether the export can do this.
    func check(_ export: ChosenExport) throws(BenchError) {
        for command in commands {
            let (isOffered, name) =
                switch command {
                case .flush: (export.flags.contains(.sendFlush), "FLUSH")
                case .trim: (export.flags.contains(.sendTrim), "TRIM")
                case .writeZeroes: (export.flags.contains(.sendWriteZeroes), "WRITE_ZEROES")
                default: (true, "WRITE")
                }
            if operation.destroysData, export.flags.contains(.readOnly) { throw .unsuitable("the export is read-only") }
            guard isOffered else { throw .unsuitable("the export does not know \(name)") }
        }
        guard export.sizeBytes >= UInt64(blockBytes) else {
            throw .unsuitable("the export has \(export.sizeBytes) bytes, a request \(blockBytes)")
        }
        guard blockBytes.isMultiple(of: export.minimumBlockBytes) else {
            throw .unsuitable(
                "the server wants multiples of \(export.minimumBlockBytes) bytes, a request has \(blockBytes)")
        }
        let moves = operation == .read || operation == .connect || commands.contains(.write)
        guard !moves || blockBytes <= export.maximumPayloadBytes else {
            throw .unsuitable(
                "the server moves at most \(export.maximumPayloadBytes) bytes, a request has \(blockBytes)")
        }
    }
}

/// The handshake's answer about an export.
struct ChosenExport: Equatable, Sendable {
    var sizeBytes: UInt64
    var flags: TransmissionFlags
    /// The document's default for a server that does not say it.
    var minimumBlockBytes: UInt32 = 1
    var maximumPayloadBytes: UInt32 = 32 << 20
}
