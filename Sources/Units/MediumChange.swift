// A change of the disc, as initiators see it (MMC-6 4.1.6.1 and F.3.3).

import SCSI

/// How much of a change an initiator was told. A QEMU DVD-ROM shows its one host the old disc going and then the new
/// one; here each initiator sees both.
enum MediumChange: Sendable {
    /// All of it.
    case told
    /// Nothing: its next command ends as if there were no disc.
    case untold
    /// That: its next command ends with a unit attention.
    case toldAsRemoved

    /// The next condition that it has to be told.
    var objection: Objection? {
        switch self {
        case .told: nil
        case .untold: .mediumNotPresent
        case .toldAsRemoved: .mediumMayHaveChanged
        }
    }

    /// The state once that was told.
    var next: MediumChange { self == .untold ? .toldAsRemoved : .told }
}
