// The fence that keeps a late write of an old connection from landing after a newer one.

import Listening
import Synchronization

/// Before the first request of a connection runs, the server finishes all that it had begun for others with the same
/// export open. Of older connections of the same client it also finishes all that it had received, but not begun.
///
/// A client that lost its link comes back while requests of its old connection may still be under way: in a socket, in
/// the ring, on a slow disk. It sends them again, and others after them; the old ones must not be the last to arrive.
/// NBD does not say which connection succeeds which: the server takes the same address, or the same user of a Unix
/// socket, for the same client. iSCSI says it: a session of the same initiator port (RFC 7143, 3.4.2: name and ISID)
/// succeeds the one before it. Two initiators of one address are two clients (``FenceClient``).
///
/// A living client that does not take its replies may delay its own requests for as long as it likes: nobody waits
/// longer than ``patienceSeconds`` for that. Over TCP a client may also be gone without a word. So when a client has
/// come back, the server ends its old connection if that has been silent for so long in the middle of a request, or if
/// its replies get through to nobody: the rest could arrive at any later time.
///
/// Only one thing helps against requests that are still on the client's side of a broken link: opening an export may
/// take it over (``ServedExport/isTakenOver``). This ends all connections of that client over TCP that were open before
/// this handshake could have begun. Only a drive with one client can have it.
final class Fence: Sendable {
    /// How long a connection is waited for that depends on its client.
    static let patienceSeconds = 2

    let entry: ExportEntry
    let peer: Peer
    let client: FenceClient
    /// When the export was opened, in the order of all openings: connections wait only for older ones, never for each
    /// other.
    let opening: UInt64
    /// The waiter: a connection of this loop, by slot and number.
    let loop: Int
    let slot: ConnectionSlot
    let connection: UInt64
    /// Loops that have not looked for connections to wait for, and connections that are waited for.
    private let missing: Atomic<Int>

    init(
        _ entry: ExportEntry, peer: Peer, client: FenceClient, opening: UInt64, loop: Int, slot: ConnectionSlot,
        connection: UInt64, loopCount: Int
    ) {
        self.entry = entry
        self.peer = peer
        self.client = client
        self.opening = opening
        self.loop = loop
        self.slot = slot
        self.connection = connection
        missing = Atomic(loopCount)
    }

    /// A connection has to be waited for.
    func add() {
        missing.add(1, ordering: .sequentiallyConsistent)
    }

    /// A connection, or a loop, need not be waited for any more.
    ///
    /// - Returns: whether that was the last.
    func remove() -> Bool {
        let left = missing.subtract(1, ordering: .sequentiallyConsistent).newValue
        precondition(left >= 0, "a connection, or a loop, is waited for once")
        return left == 0
    }

    /// Both come from the same place.
    func isFromSamePlace(_ other: Peer) -> Bool { peer.origin == other.origin && peer.origin != .unknown }
}

/// The identity of a connection, for fences: one with the same answer succeeds it.
enum FenceClient: Equatable, Sendable {
    /// A client of NBD, by where it comes from.
    case place(Peer.Origin)
    /// An initiator port, by its name. The target has one portal group, so that is the I_T nexus.
    case initiatorPort([UInt8])

    /// Both are the same client.
    func isSame(as other: FenceClient) -> Bool { self == other && self != .place(.unknown) }
}

/// A fence that waits for a connection.
struct AwaitedFence {
    enum Stage {
        /// Until so many bytes have been received, and parsed.
        case bytes(UInt64)
        /// Until the requests that have begun can be told from later ones.
        case marking
        /// Until these requests are done.
        case requests
    }

    let fence: Fence
    var stage: Stage
    /// When the fence was raised, in seconds since the loop began.
    let since: Int
}
