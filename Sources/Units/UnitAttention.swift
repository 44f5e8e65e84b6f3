// Unit attention conditions: what an initiator has to be told before its next command (SAM-5).

import SCSI

/// A unit attention condition, in the order of telling (SAM-5: a reset comes first, since it says more than the
/// conditions that it replaces).
public enum UnitAttention: UInt8, CaseIterable, Sendable {
    /// POWER ON, RESET, OR BUS DEVICE RESET OCCURRED: also for a nexus that is new.
    case reset
    /// COMMANDS CLEARED BY ANOTHER INITIATOR.
    case commandsCleared
    /// MODE PARAMETERS CHANGED.
    case modeParametersChanged
    /// CAPACITY DATA HAS CHANGED.
    case capacityChanged
    /// REPORTED LUNS DATA HAS CHANGED.
    case reportedLUNsChanged
    /// RESERVATIONS PREEMPTED.
    case reservationsPreempted
    /// RESERVATIONS RELEASED.
    case reservationsReleased
    /// REGISTRATIONS PREEMPTED.
    case registrationsPreempted

    /// Its additional sense code.
    public var code: AdditionalSenseCode {
        switch self {
        case .reset: AdditionalSenseCode(0x29, 0x00)
        case .commandsCleared: AdditionalSenseCode(0x2F, 0x00)
        case .modeParametersChanged: AdditionalSenseCode(0x2A, 0x01)
        case .capacityChanged: AdditionalSenseCode(0x2A, 0x09)
        case .reportedLUNsChanged: AdditionalSenseCode(0x3F, 0x0E)
        case .reservationsPreempted: AdditionalSenseCode(0x2A, 0x03)
        case .reservationsReleased: AdditionalSenseCode(0x2A, 0x04)
        case .registrationsPreempted: AdditionalSenseCode(0x2A, 0x05)
        }
    }
}

/// The unit attention conditions of one nexus: each kind once, so that no number of events takes memory.
struct UnitAttentions: Equatable, Sendable {
    private var pending: UInt8 = 0

    static let none = UnitAttentions()

    /// There are none.
    var isEmpty: Bool { pending == 0 }

    /// The one that is told next.
    var first: UnitAttention? {
        isEmpty ? nil : UnitAttention(rawValue: UInt8(pending.trailingZeroBitCount))
    }

    /// Adds one. A reset takes the place of all that was before.
    mutating func establish(_ attention: UnitAttention) {
        let bit = UInt8(1) << attention.rawValue
        pending = attention == .reset ? bit : pending | bit
    }

    /// One is none any more: it has come out in another way.
    mutating func clear(_ attention: UnitAttention) { pending &= ~(UInt8(1) << attention.rawValue) }

    /// The first one was told, and is no more.
    mutating func removeFirst() { pending &= pending &- 1 }
}
