// What a logical unit remembers of its initiators (SAM-5 4.8: device server; 4.5.9: I_T nexus).

/// The number of an I_T nexus at a unit.
public struct NexusNumber: Equatable, Sendable {
    /// Its place among those of the unit.
    let index: UInt16

    init(_ index: Int) { self.index = UInt16(index) }
}

/// The device server of a unit: all that commands of one initiator leave behind for others.
public struct DeviceServer: Sendable {
    /// The most nexuses that a unit has at a time.
    public static let nexusLimit = 256

    /// Initiator ports by the number of their nexus; nil where there is none.
    private var ports: [[UInt8]?] = []

    /// A device server that nobody has spoken to.
    public init() {}

    /// An initiator begins a session.
    /// - Parameter initiatorPort: its port's name (RFC 7143 4.2.7: iSCSI name, ",i,0x" and ISID).
    /// - Returns: nil if the unit has as many nexuses as it can have.
    public mutating func connect(initiatorPort: [UInt8]) -> NexusNumber? {
        let free = ports.firstIndex { $0 == nil } ?? ports.count
        guard free < Self.nexusLimit else { return nil }
        if free == ports.count { ports.append(initiatorPort) } else { ports[free] = initiatorPort }
        return NexusNumber(free)
    }

    /// The session has ended, and all of its commands have.
    public mutating func disconnect(_ nexus: NexusNumber) {
        precondition(ports.indices.contains(Int(nexus.index)), "there is no such nexus")
        ports[Int(nexus.index)] = nil
    }
}
