// A DVD-ROM's memory between two commands: its sense data, its tray, and that the medium has changed.

/// A sense key and an additional sense code, with the qualifier 00h that a QEMU DVD-ROM always reports (SPC-5 annex F).
struct PacketSense: Equatable, Sendable {
    let key: UInt8
    let code: UInt8
    /// INFORMATION; a QEMU DVD-ROM has none.
    var information: UInt32?

    /// NO SENSE.
    static let none = Self(key: 0x0, code: 0x00)
    /// NOT READY, MEDIUM NOT PRESENT.
    static let mediumNotPresent = Self(key: 0x2, code: 0x3A)
    /// NOT READY, MEDIUM REMOVAL PREVENTED.
    static let mediumRemovalPrevented = Self(key: 0x2, code: 0x53)
    /// ILLEGAL REQUEST, MEDIUM REMOVAL PREVENTED: the tray is locked with nothing in it.
    static let emptyTrayLocked = Self(key: 0x5, code: 0x53)
    /// ILLEGAL REQUEST, INVALID COMMAND OPERATION CODE.
    static let invalidCommandOperationCode = Self(key: 0x5, code: 0x20)
    /// ILLEGAL REQUEST, LOGICAL BLOCK ADDRESS OUT OF RANGE. A QEMU DVD-ROM says so of blocks that cannot be read, too.
    static let logicalBlockAddressOutOfRange = Self(key: 0x5, code: 0x21)
    /// MEDIUM ERROR, UNRECOVERED READ ERROR.
    static func unrecoveredReadError(at lba: UInt32) -> Self { Self(key: 0x3, code: 0x11, information: lba) }
    /// ILLEGAL REQUEST, INVALID FIELD IN PARAMETER LIST.
    static let invalidFieldInParameterList = Self(key: 0x5, code: 0x26)
    /// ILLEGAL REQUEST, PARAMETER LIST LENGTH ERROR.
    static let parameterListLengthError = Self(key: 0x5, code: 0x1A)
    /// ILLEGAL REQUEST, INVALID FIELD IN CDB.
    static let invalidFieldInCDB = Self(key: 0x5, code: 0x24)
    /// ILLEGAL REQUEST, CANNOT READ MEDIUM - INCOMPATIBLE FORMAT.
    static let incompatibleFormat = Self(key: 0x5, code: 0x30)
    /// ILLEGAL REQUEST, SAVING PARAMETERS NOT SUPPORTED.
    static let savingParametersNotSupported = Self(key: 0x5, code: 0x39)
    /// ILLEGAL REQUEST, DATA PHASE ERROR.
    static let dataPhaseError = Self(key: 0x5, code: 0x4B)
    /// UNIT ATTENTION, NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED.
    static let mediumMayHaveChanged = Self(key: 0x6, code: 0x28)

    var isUnitAttention: Bool { key == Self.mediumMayHaveChanged.key }
}

/// Events of the medium for GET EVENT STATUS NOTIFICATION (MMC-6, by this name, Media Status class).
public struct MediaEvents: OptionSet, Sendable {
    /// A bit for each event.
    public let rawValue: UInt8

    /// Creates a set of its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// EjectRequest: an operator wants the disc.
    public static let ejectRequest = MediaEvents(rawValue: 1 << 0)
    /// NewMedia: the medium may be another one.
    public static let newMedia = MediaEvents(rawValue: 1 << 1)
}

/// The memory of a DVD-ROM.
struct PacketDevice: Sendable {
    /// How much of a change of the medium hosts were told.
    enum MediumChange: Sendable {
        /// All of it.
        case told
        /// Nothing: the next command ends with NOT READY, as if there were no medium.
        case untold
        /// That: the next command ends with UNIT ATTENTION.
        case toldAsRemoved
    }

    /// The sense data for REQUEST SENSE: why the last command failed that did.
    var sense = PacketSense.none
    var mediumChange = MediumChange.told
    var mediaEvents: MediaEvents = []
    var trayIsOpen = false
    /// PREVENT ALLOW MEDIUM REMOVAL: START STOP UNIT does not open the tray.
    var trayIsLocked = false

    /// Somebody has opened the tray, and closed it over another medium or left it open and empty.
    mutating func mediumHasChanged(isThere: Bool) {
        mediumChange = .untold
        mediaEvents = .newMedia
        trayIsOpen = !isThere
    }
}
