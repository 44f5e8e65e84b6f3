// The limits that a server keeps.

/// Bounds that no client can move. All memory follows from them.
public struct Limits: Sendable {
    /// As many exports as a server can have at a time.
    public static let exports = 4096
    /// Connections in all; more are closed as soon as they are accepted.
    public var connections = 1024
    /// One loop might get them all; a buffer group has a number of 16 bits.
    var connectionsPerLoop: Int { min(connections, 32768) }
    /// Options of a handshake, without those that every export adds.
    public var handshakeOptions = standardHandshakeOptions
    /// A TCP connection on which nothing is said for this long is asked for a sign of life; 0: never.
    public var keepAliveSeconds = 60
    /// Requests of one connection that are worked on at a time; the next ones wait in its socket. Linux sends up to
    /// 128.
    public static let requestsPerConnection = 128
    /// Memory for the data of one connection's requests, in MiB, of which one request takes at most half; and a page
    /// for each of two requests whose ends are no sector boundaries.
    public var connectionMegabytes = 2
    var pagesPerConnection: Int { connectionMegabytes * 256 + 2 }
    var largestOwnRequestPages: Int { pagesPerConnection / 2 }
    /// Memory for the data of all connections' requests, in MiB, shared out among the loops. A loop has at least what
    /// the largest requests need, and six times what one connection can use: one export gets a third of that.
    public var requestMegabytes = 256
    func ownPages(loops: Int) -> Int {
        let stages = Stage.regionCount * (Self.middleRegionPages + Self.largestPages)
        let others = stages + connections * Self.sharePages / loops
        return max(requestMegabytes * 256 / loops - others, 6 * pagesPerConnection)
    }
    /// The share of a connection's requests of at most that size in any case, however much others have.
    static let sharePages = 8
    /// Memory for larger requests, two regions of each kind for all connections of a loop: for two of 4 MiB, and for
    /// one of the largest, each with a sector at either end.
    static let largestMiddlePages = 1026
    static let middleRegionPages = 2 * largestMiddlePages
    static let largestPages = 8194
    /// The memory for one connection's received but unparsed bytes: buffers and the size of each.
    static let receiveBuffers: UInt16 = 4
    static let receiveBufferBytes = 1 << 16
    static let receivePages = Int(receiveBuffers) * receiveBufferBytes / PageArena.pageBytes
    /// The kernel's bound for replies to a client of this machine; net.core.wmem_max can make it less.
    public var localSendBufferBytes: Int32 = 1 << 20
    /// A client that has not finished its handshake by then is disconnected.
    public var handshakeSeconds = 10
    /// A client that holds memory which others wait for, and in so many seconds has sent and taken less than ``Pace``
    /// wants, is disconnected.
    public var stallSeconds = 10
    /// How long a stopping server waits for clients to take their last replies.
    public var shutdownSeconds = 5
    /// How long it waits for its images to be stable: less than the five minutes that the unit in contrib leaves it.
    public var lastFlushSeconds = 240

    /// A test's: data are there wherever that is possible (``PayloadTable``).
    var forcedPayload: Payload.Kind?

    /// The defaults.
    public init() {}
}
