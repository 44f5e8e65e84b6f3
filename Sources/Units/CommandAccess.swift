// Which commands a reservation of another initiator keeps an initiator from (SPC-4 5.13 and SBC-3, "commands that are
// allowed in the presence of various reservations"; SPC-2 for RESERVE (6)).

import SCSI

/// The access of a command to the unit, in the eyes of reservations.
enum CommandAccess: Sendable {
    /// It is always allowed.
    case free
    /// TEST UNIT READY, which only RESERVE (6) keeps others from.
    case ready
    /// It reads the medium or asks for the unit's settings.
    case reads
    /// It changes the medium or the unit.
    case writes
    /// START STOP UNIT: to start it is always allowed.
    case startsOrStops
    /// PREVENT ALLOW MEDIUM REMOVAL: to allow it is always allowed.
    case prevents
    /// PERSISTENT RESERVE OUT, which judges for itself.
    case reservesPersistently
    /// RESERVE (6), which any registration keeps all from.
    case reserves
    /// RELEASE (6), the same, and of another's reservation it is ignored.
    case releases

    /// The access of this very command.
    func refined(for cdb: CommandDescriptorBlock) -> CommandAccess {
        switch self {
        // START is 1, POWER CONDITION is 0.
        case .startsOrStops: cdb[4] & 0xF1 == 0x01 ? .free : .writes
        case .prevents: cdb[4] & 0x03 == 0 ? .free : .writes
        default: self
        }
    }

    /// A persistent reservation of somebody else keeps an I_T nexus from it.
    func conflicts(with type: ReservationType, from standing: Standing) -> Bool {
        switch standing {
        case .holder: return false
        case .registered where !type.isOfOne: return false
        case .registered, .stranger: break
        }
        return switch self {
        case .free, .ready, .reservesPersistently: false
        case .reads: !type.letsRead
        case .writes, .reserves, .releases, .startsOrStops, .prevents: true
        }
    }

    /// A RESERVE (6) of somebody else keeps an I_T nexus from it.
    var conflictsWithReserve: Bool {
        switch self {
        case .free, .releases: false
        default: true
        }
    }
}
