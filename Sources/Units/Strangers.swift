// Reservations and write protection, for clients without an I_T nexus, such as those of NBD.

/// The rights of clients that are no initiators.
public struct Strangers: Equatable, Sendable {
    /// Commands that read are not kept out.
    public let mayRead: Bool
    /// Commands that write are not kept out.
    public let mayWrite: Bool

    /// Nothing is reserved.
    public static let free = Strangers(mayRead: true, mayWrite: true)
}

extension DeviceServer {
    /// Their rights now (SPC-4 5.13; SPC-2 for RESERVE (6); SWP of the Control mode page). All reservations are
    /// somebody else's.
    public var strangers: Strangers {
        guard reserver == nil else { return Strangers(mayRead: false, mayWrite: false) }
        guard let type = reservations.type else { return Strangers(mayRead: true, mayWrite: !isWriteProtected) }
        return Strangers(
            mayRead: !CommandAccess.reads.conflicts(with: type, from: .stranger),
            mayWrite: !isWriteProtected && !CommandAccess.writes.conflicts(with: type, from: .stranger))
    }
}
