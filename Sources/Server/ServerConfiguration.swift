// What a server serves, and the limits it keeps.

import Export
import Media

/// One drive to serve.
public struct ServedExport: Sendable {
    /// What clients ask for.
    public var name: String
    /// The drive, as every loop begins with it.
    public var drive: ExportedDrive
    /// Where its sectors live.
    public var medium: Medium

    /// Describes an export.
    public init(name: String, drive: ExportedDrive, medium: Medium) {
        self.name = name
        self.drive = drive
        self.medium = medium
    }
}

/// Bounds that no client can move. All memory follows from them.
public struct Limits: Sendable {
    /// Connections of one loop; more are closed as soon as they are accepted.
    public var connectionsPerLoop = 256
    /// Requests of one connection that are worked on at a time; the next ones wait in its socket. Linux sends up to 128.
    public static let requestsPerConnection = 128
    /// Memory for the data of one connection's requests, of which one request takes at most half: 2 MiB, and a page for
    /// each of two requests whose ends are no sector boundaries.
    static let pagesPerConnection = 514
    static let largestOwnRequestPages = 257
    /// Memory for larger requests, one for all connections of a loop: the largest request and a sector at either end.
    static let stagePages = 8194
    /// What one connection's received but unparsed bytes take: buffers and the size of each.
    static let receiveBuffers: UInt16 = 4
    static let receiveBufferBytes = 1 << 16
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
