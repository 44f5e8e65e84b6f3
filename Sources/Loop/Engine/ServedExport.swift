// An export as it is to be served.

import Backends
import Blocks
import ISCSI
import Units

/// Where initiators find an export.
public struct TargetPlace: Equatable, Sendable {
    /// The target.
    public let name: TargetName
    /// The number of its logical unit.
    public let logicalUnit: UInt8
    /// The target may have others.
    public let isShared: Bool

    /// The most logical units of a target: REPORT LUNS lists them in a page.
    public static let logicalUnitLimit = 64

    /// The place that an export asks for; nil if no name can be made of its own.
    public init?(export: String, targetName: TargetName?, logicalUnit: UInt8?, prefix: TargetName) {
        guard let name = targetName ?? TargetName(export: export, prefix: prefix) else { return nil }
        self.name = name
        self.logicalUnit = logicalUnit ?? 0
        isShared = logicalUnit != nil
    }

    /// Both cannot be served.
    public func collides(with other: TargetPlace) -> Bool {
        name == other.name && !(isShared && other.isShared && logicalUnit != other.logicalUnit)
    }
}

/// Where an export's persistent reservations are, and what they were when it came (SPC-4 5.13, APTPL).
public struct KeptReservations: Sendable {
    let file: ReservationFile
    let reservations: PersistentReservations

    /// Reads what a file has; nil if that is nothing that a server has kept.
    public init?(_ file: ReservationFile) {
        self.file = file
        guard !file.bytes.isEmpty else {
            reservations = PersistentReservations()
            return
        }
        guard let reservations = PersistentReservations(parsing: file.bytes) else { return nil }
        self.reservations = reservations
    }

    /// Nothing is kept any more.
    public func close() { file.close() }
}

/// One drive to serve.
public struct ServedExport: Sendable {
    /// What clients ask for.
    public var name: String
    /// A text for people; nil: the drive's description.
    public var description: String?
    /// The drive at power-on, as large as its medium.
    public var drive: ExportedDrive
    /// Where its sectors live.
    public var backend: Backend
    /// The name of that image, for people.
    public var image = ""
    /// The layers between the drive and the backend: as a rule none.
    public var blocks = BlockStack()
    /// The name of its target; nil: one is made of the export's.
    public var targetName: TargetName?
    /// Its number in a target that has several exports, which then has a name; nil: it has a target of its own.
    public var logicalUnit: UInt8?
    /// Initiators that any of these rules lets in may find that target; without a rule everybody may.
    public var targetAccess: [AccessRule] = []
    /// The persistent reservations that were kept of it, and where they are kept; nil: nowhere.
    public var reservations: KeptReservations?
    /// Only clients that have begun TLS may open it.
    public var requiresTLS = false
    /// Clients that any of these rules lets in may open it; without a rule everybody may.
    public var access: [AccessRule] = []
    /// How many connections may have it open at a time; nil: as many as the server takes.
    public var maximumConnections: Int?
    /// A client that opens it ends its own connections from earlier: see ``Fence``.
    public var isTakenOver = false

    /// Describes an export.
    public init(name: String, drive: ExportedDrive, backend: Backend) {
        self.name = name
        self.drive = drive
        self.backend = backend
    }
}
