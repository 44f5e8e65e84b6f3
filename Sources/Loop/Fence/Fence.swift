// What keeps a late write of an old connection from landing after a newer one.

import Listening
import Synchronization

/// Before the first request of a connection runs, what the server had begun for others that have the same export open
/// is done; and what it had received, but not begun, from older connections of the same client.
///
/// A client that lost its link comes back while requests of its old connection may still be under way: in a socket, in
/// the ring, on a slow disk. It sends them again, and others after them; the old ones must not be the last to arrive.
/// Who is whose successor NBD does not say: the same address, or the same user of a Unix socket, is taken for the same
/// client.
///
/// A client that is alive, but does not take its replies, may keep what it has sent from being begun for as long as it
/// likes: nobody waits longer than ``patienceSeconds`` for that. Over TCP a client may also be gone without a word. So
/// a connection that has been silent for that long in the middle of a request, or whose replies get through to nobody,
/// is ended when its client has come back: the rest could arrive at any later time.
///
/// Against requests that are still on the client's side of a broken link only this helps: an export may say that
/// whoever opens it takes over (``ServedExport/isTakenOver``). All connections of that client over TCP are ended that
/// were open before this handshake could have begun. Only a drive with one client can have it.
final class Fence: Sendable {
    /// How long a connection is waited for that depends on its client.
    static let patienceSeconds = 2

    let entry: ExportEntry
    let peer: Peer
    /// When the export was opened, in the order of all openings: connections wait only for older ones, never for each
    /// other.
    let opening: UInt64
    /// Who waits: a connection of this loop, by slot and number.
    let loop: Int
    let slot: ConnectionSlot
    let connection: UInt64
    /// Loops that have not looked for connections to wait for, and connections that are waited for.
    private let missing: Atomic<Int>

    init(
        _ entry: ExportEntry, peer: Peer, opening: UInt64, loop: Int, slot: ConnectionSlot, connection: UInt64,
        loopCount: Int
    ) {
        self.entry = entry
        self.peer = peer
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
    func isSameClient(_ other: Peer) -> Bool {
        peer.origin == other.origin && peer.origin != .unknown
    }
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
