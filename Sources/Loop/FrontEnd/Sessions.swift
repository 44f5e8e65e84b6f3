// The sessions of a loop's connections.

import IOUring
import ISCSI
import Listening
import NBD

/// A table of sessions for each protocol, by connection. One table of an enum would do, but an enum's payload is moved
/// out and back for each change; in their own tables sessions change in place.
struct Sessions: ~Copyable {
    var nbd: SlotTable<ConnectionSlot, NBD.Session>
    var iscsi: SlotTable<ConnectionSlot, TargetSession>

    init(capacity: Int) throws(RingError) {
        let nbd = try SlotTable<ConnectionSlot, NBD.Session>(capacity: capacity)
        iscsi = try SlotTable(capacity: capacity)
        self.nbd = nbd
    }

    /// Whether a connection has a session.
    func contains(_ slot: ConnectionSlot) -> Bool { nbd.contains(slot) || iscsi.contains(slot) }

    /// Gives a connection the session that it had elsewhere.
    mutating func insert(_ session: consuming MovingSession, at slot: ConnectionSlot) {
        switch consume session {
        case .nbd(let session): nbd.insert(session, at: slot)
        case .iscsi(let session): iscsi.insert(session, at: slot)
        }
    }

    /// Takes a connection's session away, to go on elsewhere.
    mutating func remove(_ frontEnd: FrontEnd, at slot: ConnectionSlot) -> MovingSession {
        switch frontEnd {
        case .nbd: .nbd(nbd.remove(at: slot))
        case .iscsi: .iscsi(iscsi.remove(at: slot))
        }
    }
}

/// A session on its way from loop to loop.
enum MovingSession: ~Copyable, Sendable {
    case nbd(NBD.Session)
    case iscsi(TargetSession)
}
