// The handshake's facts about an export (NBD protocol, NBD_REP_SERVER, NBD_REP_INFO, "Size constraints").

/// The size constraints of an export ("Size constraints", NBD_INFO_BLOCK_SIZE).
public struct BlockSizes: Equatable, Sendable {
    /// The longest payload that a client may send without having asked, and that every server should take: 32 MiB. This
    /// server takes no longer ones.
    @inlinable public static var portableMaximumPayloadBytes: UInt32 { 1 << 25 }

    /// The smallest length and alignment of a request.
    public let minimumBytes: UInt32
    /// The smallest length and alignment that is served without a detour.
    public let preferredBytes: UInt32
    /// The longest payload of a READ or WRITE.
    public let maximumPayloadBytes: UInt32

    /// The values a client may assume when nothing was advertised.
    public static let portable = BlockSizes(
        unchecked: 1, preferred: 4096, maximumPayload: portableMaximumPayloadBytes)

    private init(unchecked minimum: UInt32, preferred: UInt32, maximumPayload: UInt32) {
        minimumBytes = minimum
        preferredBytes = preferred
        maximumPayloadBytes = maximumPayload
    }

    /// Creates size constraints that the document allows to be advertised.
    public init(
        minimumBytes: UInt32, preferredBytes: UInt32,
        maximumPayloadBytes: UInt32 = BlockSizes.portableMaximumPayloadBytes
    ) throws(ExportInformationError) {
        guard minimumBytes.nonzeroBitCount == 1, minimumBytes <= 65536 else {
            throw .minimumBlockSize(minimumBytes)
        }
        guard preferredBytes.nonzeroBitCount == 1, preferredBytes >= max(minimumBytes, 512) else {
            throw .preferredBlockSize(preferredBytes, least: max(minimumBytes, 512))
        }
        guard maximumPayloadBytes >= preferredBytes, maximumPayloadBytes <= Self.portableMaximumPayloadBytes else {
            throw .maximumPayload(maximumPayloadBytes, least: preferredBytes)
        }
        self.init(unchecked: minimumBytes, preferred: preferredBytes, maximumPayload: maximumPayloadBytes)
    }
}

/// An export as the handshake describes it.
public struct ExportInformation: Equatable, Sendable {
    /// The longest string of the protocol: a name, a description, an error message ("Conventions").
    public static let maximumStringBytes = 4096

    /// The canonical name, UTF-8. Names are compared byte by byte.
    public private(set) var name: [UInt8]
    /// A text for people, UTF-8; empty when there is none.
    public let description: [UInt8]
    /// The size in bytes.
    public let sizeBytes: UInt64
    /// Everything the export can do; `transmissionFlags(messages:hasAllocationContext:)` is what a client is
    /// told.
    public var flags: TransmissionFlags
    /// The size constraints, told to a client that asks.
    public let blockSizes: BlockSizes
    /// The export is opened over TLS only.
    public var requiresTLS = false
    /// It stands for every export of these names that is not there yet: LIST leaves it out.
    public var pattern: NamePattern?
    /// This client may not open it, by the policy of the server: LIST leaves it out.
    public var isForbidden = false

    /// Creates the description of an export; throws when the document does not allow such a name or text.
    public init(
        name: String, description: String, sizeBytes: UInt64, flags: TransmissionFlags,
        blockSizes: BlockSizes = .portable
    ) throws(ExportInformationError) {
        self.name = Array(name.utf8)
        self.description = Array(description.utf8)
        self.sizeBytes = sizeBytes
        self.flags = flags
        self.blockSizes = blockSizes
        for (what, bytes) in [("name", self.name), ("description", self.description)] {
            guard bytes.count <= Self.maximumStringBytes else {
                throw .stringTooLong(what, bytes: bytes.count)
            }
            guard !bytes.contains(0) else { throw .stringContainsNUL(what) }
        }
    }

    /// The same of an export of another name.
    func named(_ name: [UInt8]) -> ExportInformation {
        var information = self
        information.name = name
        return information
    }

    /// The flags to send, which depend on what the client negotiated before: SEND_DF must stay clear where replies are
    /// no chunks, BLOCK_STATUS_PAYLOAD without extended headers or a metadata context, SEND_FAST_ZERO without
    /// WRITE_ZEROES, and HAS_FLAGS is always set ("Transmission flags").
    public func transmissionFlags(messages: MessageStyle, hasAllocationContext: Bool) -> TransmissionFlags {
        var told = flags.union(.hasFlags)
        if !messages.hasChunks {
            told.remove(.sendDF)
        }
        if messages == .extended, hasAllocationContext {
            told.insert(.blockStatusPayload)
        }
        if !told.contains(.sendWriteZeroes) {
            told.remove(.sendFastZero)
        }
        return told
    }
}

/// Why an export cannot be described to a client.
public enum ExportInformationError: Error, Equatable, CustomStringConvertible {
    /// The name or description (first value) is longer than the protocol allows.
    case stringTooLong(String, bytes: Int)
    /// The name or description contains a NUL character.
    case stringContainsNUL(String)
    /// The minimum block size is no power of two or too large.
    case minimumBlockSize(UInt32)
    /// The preferred block size is no power of two or too small.
    case preferredBlockSize(UInt32, least: UInt32)
    /// The maximum payload is smaller than the preferred block size or larger than this server takes.
    case maximumPayload(UInt32, least: UInt32)

    /// The error in words, for people.
    public var description: String {
        switch self {
        case .stringTooLong(let what, let bytes):
            "the \(what) of the export is \(bytes) bytes long; at most \(ExportInformation.maximumStringBytes) are allowed"
        case .stringContainsNUL(let what):
            "the \(what) of the export contains a NUL character"
        case .minimumBlockSize(let size):
            "the minimum block size is \(size); it has to be a power of two up to 65536"
        case .preferredBlockSize(let size, let least):
            "the preferred block size is \(size); it has to be a power of two, at least \(least)"
        case .maximumPayload(let size, let least):
            "the maximum payload is \(size); it has to be at least the preferred block size, \(least), and at most"
                + " \(BlockSizes.portableMaximumPayloadBytes)"
        }
    }
}
