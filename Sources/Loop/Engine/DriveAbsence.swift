// Why clients cannot have a drive for a while, in words for them and for the log.

/// Why nobody may open an export now.
public enum DriveAbsence: Sendable {
    /// Its power was cut, and an operator gives it back.
    case powerCut
    /// Its disk is being made another, or kept as it is: soon it is there again.
    case overlayWork

    /// What a client is told that wants to open it.
    var refusal: String {
        switch self {
        case .powerCut: "the drive has no power; 'spindle ctl power NAME on' gives it back"
        case .overlayWork:
            "its disk is just being reverted, kept or committed, as 'spindle ctl' was told to; connect again in a moment"
        }
    }

    /// Why a client was cut off that had it open.
    var cause: String {
        switch self {
        case .powerCut: "the power of its drive was cut"
        case .overlayWork: "the disk is reverted, kept or committed, as an operator has ordered"
        }
    }
}

extension ExportEntry {
    /// The drive has power: clients may open the export.
    public var isOn: Bool { absence == nil }
}
