// What a server serves, and the limits it keeps.

import ATA
import Export
import Media
import NBD

/// One drive to serve.
public struct ServedExport: Sendable {
    /// What clients ask for.
    public var name: String
    /// A text for people; nil: what the drive is.
    public var description: String?
    /// The drive's properties. A write cache that is `auto` is on.
    public var properties: DriveProperties
    /// What the drive hangs on.
    public var controller: Controller
    /// Where its sectors live.
    public var medium: Medium
    /// Only clients that have begun TLS may open it.
    public var requiresTLS = false
    /// Who may open it: whom any rule lets in, or everybody when there is none.
    public var access: [AccessRule] = []
    /// How many connections may have it open at a time; nil: as many as the server takes.
    public var maximumConnections: Int?
    /// A client that opens it ends its own connections from earlier: see ``Fence``.
    public var isTakenOver = false

    /// Describes an export.
    public init(name: String, properties: DriveProperties, controller: Controller, medium: Medium) {
        self.name = name
        self.properties = properties
        self.controller = controller
        self.medium = medium
    }

    /// The drive at power-on, as large as its medium or as it is told.
    func drive(sectors: UInt64? = nil) -> ExportedDrive {
        let sectors = sectors ?? ImageReference.sectors(sizeBytes: medium.sizeBytes)
        let bootSector = medium.bootSector()
        let geometry = unsafe BootSectorGeometry(bootSector: bootSector.span.bytes, sectors: sectors)
        return ExportedDrive(
            Drive(properties, sectors: sectors, bootSector: geometry, controller: controller), controller: controller)
    }

    /// What clients are told.
    func information(_ drive: ExportedDrive) throws(ExportInformationError) -> ExportInformation {
        var information = try ExportInformation(
            name: name, description: description, identifyData: drive.drive.identifyData,
            medium: MediumTraits(isReadOnly: medium.isReadOnly, zeroesFast: medium.zeroesFastByDeallocating))
        information.requiresTLS = requiresTLS
        return information
    }
}

/// Bounds that no client can move. All memory follows from them.
public struct Limits: Sendable {
    /// Connections in all; more are closed as soon as they are accepted.
    public var connections = 1024
    /// One loop might get them all; a buffer group has a number of 16 bits.
    var connectionsPerLoop: Int { min(connections, 32768) }
    /// Options of a handshake, without those that every export adds.
    public var handshakeOptions = Negotiation.standardOptionLimit
    /// A TCP connection on which nothing is said for this long is asked for a sign of life; 0: never.
    public var keepAliveSeconds = 60
    /// Requests of one connection that are worked on at a time; the next ones wait in its socket. Linux sends up to 128.
    public static let requestsPerConnection = 128
    /// Memory for the data of one connection's requests, in MiB, of which one request takes at most half; and a page for
    /// each of two requests whose ends are no sector boundaries.
    public var connectionMegabytes = 2
    var pagesPerConnection: Int { connectionMegabytes * 256 + 2 }
    var largestOwnRequestPages: Int { pagesPerConnection / 2 }
    /// Memory for the data of all connections' requests, in MiB, shared out among the loops. A loop has at least what the
    /// largest requests need, and twice what one connection can use.
    public var requestMegabytes = 256
    func ownPages(loops: Int) -> Int {
        max(requestMegabytes * 256 / loops - Self.stagePages, 2 * pagesPerConnection)
    }
    /// Memory for larger requests, one for all connections of a loop: the largest request and a sector at either end.
    static let stagePages = 8194
    /// What one connection's received but unparsed bytes take: buffers and the size of each.
    static let receiveBuffers: UInt16 = 4
    static let receiveBufferBytes = 1 << 16
    static let receivePages = Int(receiveBuffers) * receiveBufferBytes / PageArena.pageBytes
    /// What the kernel may hold of replies to a client of this machine; net.core.wmem_max can make it less.
    static let localSendBufferBytes = 1 << 20
    /// A client that has not finished its handshake by then is disconnected.
    public var handshakeSeconds = 10
    /// A client that holds memory which others wait for, and has neither sent nor taken a byte for this long, is
    /// disconnected.
    public var stallSeconds = 10
    /// How long a stopping server waits for clients to take their last replies.
    public var shutdownSeconds = 5

    /// The defaults.
    public init() {}
}
