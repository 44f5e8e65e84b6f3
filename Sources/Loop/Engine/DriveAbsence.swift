// Why clients cannot have a drive for a while, in words for them and for the log.

/// Why nobody may open an export now.
public enum DriveAbsence: Sendable {
    /// Its power was cut, and an operator gives it back.
    case powerCut
    /// Its disk is being made another, or kept as it is: soon it is there again.
    case overlayWork(OverlayWork)

    /// What a client is told that wants to open it.
    var refusal: String {
        switch self {
        case .powerCut:
            "the drive has no power; after a cut it is back in a moment, and after 'spindle ctl power NAME off' with 'on'"
        case .overlayWork:
            "'spindle ctl' was told to do something with its disk just now; connect again in a moment"
        }
    }

    /// Why a client was cut off that had it open.
    var cause: String {
        switch self {
        case .powerCut: "the power of its drive was cut"
        case .overlayWork(let work): "\(work.rawValue), as an operator has ordered"
        }
    }
}

/// An operator's work with an overlay that nobody may have open meanwhile, in the words of the log.
public enum OverlayWork: String, Sendable {
    case revert = "the disk is reverted (ctl revert)"
    case snapshot = "a snapshot of the disk is taken (ctl snapshot)"
    case fork = "another disk begins as this one is now (ctl fork)"
    case commit = "the disk's changes are brought to its image (ctl commit)"
}

extension ExportEntry {
    /// The drive has power: clients may open the export.
    public var isOn: Bool { absence == nil }
}
