// How a command ended (SAM-5 5.3.1).

/// The status byte of a command.
public enum SCSIStatus: UInt8, Sendable {
    /// GOOD.
    case good = 0x00
    /// CHECK CONDITION: sense data say why.
    case checkCondition = 0x02
    /// RESERVATION CONFLICT: another initiator has reserved the unit.
    case reservationConflict = 0x18
    /// TASK SET FULL: there is no room for another command now.
    case taskSetFull = 0x28
}
