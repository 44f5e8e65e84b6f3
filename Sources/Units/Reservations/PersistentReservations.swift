// Persistent reservations of a logical unit: its registrants, and the holder of the reservation (SPC-4 5.13).

/// The type of a persistent reservation (SPC-4 6.15).
public enum ReservationType: UInt8, CaseIterable, Sendable {
    /// Write Exclusive.
    case writeExclusive = 1
    /// Exclusive Access.
    case exclusiveAccess = 3
    /// Write Exclusive - Registrants Only.
    case writeExclusiveRegistrantsOnly = 5
    /// Exclusive Access - Registrants Only.
    case exclusiveAccessRegistrantsOnly = 6
    /// Write Exclusive - All Registrants.
    case writeExclusiveAllRegistrants = 7
    /// Exclusive Access - All Registrants.
    case exclusiveAccessAllRegistrants = 8

    /// All registrants hold it.
    var isOfAllRegistrants: Bool { self == .writeExclusiveAllRegistrants || self == .exclusiveAccessAllRegistrants }

    /// It is for its holder alone; others of the types let all registrants in.
    var isOfOne: Bool { self == .writeExclusive || self == .exclusiveAccess }

    /// Initiators that are kept out may read.
    var letsRead: Bool {
        self == .writeExclusive || self == .writeExclusiveRegistrantsOnly || self == .writeExclusiveAllRegistrants
    }
}

/// The registrations and the reservation of a unit. It has one target port, so an I_T nexus is its initiator port, by
/// whose name it is found again when it comes back.
public struct PersistentReservations: Equatable, Sendable {
    /// A registered I_T nexus.
    struct Registrant: Equatable, Sendable {
        /// The name of its initiator port.
        let port: [UInt8]
        /// Its reservation key, never 0.
        var key: UInt64
        /// It holds the reservation; of a reservation of all registrants nobody does in particular.
        var isHolder = false
    }

    /// The effects of a command on others.
    struct Effects: Equatable, Sendable {
        /// Initiator ports that have to be told.
        var notices: [Notice] = []
        /// Initiator ports whose commands are aborted.
        var aborted: [[UInt8]] = []
    }

    struct Notice: Equatable, Sendable {
        let port: [UInt8]
        let attention: UnitAttention
    }

    /// How a service action of PERSISTENT RESERVE OUT ends.
    enum Outcome: Equatable, Sendable {
        case good(Effects)
        /// RESERVATION CONFLICT.
        case conflict
        case refused(Objection)

        static let nothing = Outcome.good(Effects())
    }

    /// The most registrants of a unit; one more gets INSUFFICIENT REGISTRATION RESOURCES.
    public static let registrantLimit = 128
    /// The longest name of an initiator port (RFC 7143 4.2.7: an iSCSI name of 223 bytes, ",i,0x", 12 digits).
    public static let portNameLimit = 240

    /// PRGENERATION.
    var generation: UInt32 = 0
    /// In the order of their registration.
    var registrants: [Registrant] = []
    /// The type of the reservation; nil if there is none. Its scope is the logical unit.
    var type: ReservationType?
    /// Registrations and reservation are kept when the unit loses its power (APTPL).
    public internal(set) var persistsThroughPowerLoss = false

    /// Nobody is registered.
    public init() {}

    /// How an initiator port stands to the reservation.
    func standing(of port: [UInt8]) -> Standing {
        guard let index = index(of: port) else { return .stranger }
        return holds(index) ? .holder : .registered
    }

    func index(of port: [UInt8]) -> Int? { registrants.firstIndex { $0.port == port } }

    /// The reservation is this registrant's.
    func holds(_ index: Int) -> Bool {
        guard let type else { return false }
        return type.isOfAllRegistrants || registrants[index].isHolder
    }

    /// The key that PREEMPT has to name to preempt the reservation.
    var holderKey: UInt64? {
        guard let type else { return nil }
        return type.isOfAllRegistrants ? 0 : registrants.first(where: \.isHolder)?.key
    }

    /// There is no reservation any more. With `telling`, registrants but one are told.
    mutating func release(telling attention: UnitAttention? = nil, but port: [UInt8]) -> Effects {
        type = nil
        for index in registrants.indices { registrants[index].isHolder = false }
        guard let attention else { return Effects() }
        return Effects(notices: notices(attention, but: port))
    }

    func notices(_ attention: UnitAttention, but port: [UInt8]) -> [Notice] {
        registrants.filter { $0.port != port }.map { Notice(port: $0.port, attention: attention) }
    }
}

/// How an I_T nexus stands to a reservation.
enum Standing: Equatable, Sendable {
    /// It is not registered.
    case stranger
    /// It is registered.
    case registered
    /// It holds the reservation, alone or with others.
    case holder
}
