// A drive as a unit serves it: the SCSI/ATA translation layer and the drive below it, which are always used together.

import ATA
import Blocks
import SAT

/// One drive of one loop. Initiators learn everything about it from its IDENTIFY DEVICE data, except the size of a
/// disc.
public struct ExportedDrive: Sendable {
    /// The emulated drive.
    public var drive: Drive
    package var translation: TranslationLayer
    /// The facts by which commands are judged before they begin.
    public private(set) var facts: UnitFacts
    /// The rights of clients that are no initiators.
    public var strangers = Strangers.free
    /// Requests that took the road, whatever became of them.
    public package(set) var requestsServed: UInt64 = 0
    /// SCSI commands that these became.
    public package(set) var commandsSent: UInt64 = 0

    /// Puts a drive under a translation layer.
    public init(_ drive: Drive, controller: Controller) {
        var drive = drive
        translation = TranslationLayer(drive: &drive, controller: controller)
        self.drive = drive
        facts = UnitFacts(drive)
    }

    /// The medium has another size; settings stay.
    public mutating func resize(toSectors sectors: UInt64) {
        drive.resize(toSectors: sectors)
        translation.revalidate(&drive)
        facts.sectors = drive.sectors
    }

    /// A host may have changed the size that the drive shows.
    ///
    /// - Returns: whether it has.
    mutating func noteSize() -> Bool {
        guard facts.sectors != drive.sectors else { return false }
        facts.sectors = drive.sectors
        return true
    }

    /// The power has come back to what was another value: the drive is as large as its medium has become, and a whole
    /// disk has its memory.
    public mutating func remember(_ old: ExportedDrive) {
        if mediumSectors != old.mediumSectors { resize(toSectors: old.mediumSectors) }
        guard drive.kind.isWholeDisk else { return }
        drive.remember(old.drive)
        translation.revalidate(&drive)
        facts.sectors = drive.sectors
    }

    /// A whole disk is the one that a text describes (``DriveState/bytes``), at power-on.
    public mutating func remember(_ text: String) throws(DiskMemoryError) {
        try drive.remember(DiskMemory(parsing: text))
        translation.revalidate(&drive)
        facts.sectors = drive.sectors
    }

    /// What a whole disk never forgets.
    public var state: DriveState { DriveState(memory: drive.memory, changes: drive.lastingChanges) }

    /// It is a DVD-ROM, whose disc may be another one.
    public var hasTray: Bool { drive.kind.isDisc }

    /// An operator wants the disc; see ``Drive/eject(isForced:)``.
    public mutating func eject(isForced: Bool) {
        drive.eject(isForced: isForced)
        translation.revalidate(&drive)
        facts.sectors = drive.sectors
    }

    /// An operator closes the tray over the disc in it.
    public mutating func closeTray() {
        drive.closeTray()
        translation.revalidate(&drive)
    }

    /// Nothing may be written: the server of the unit has said so.
    public var isReadOnly: Bool {
        get { facts.isReadOnly }
        set { facts.isReadOnly = newValue }
    }

    /// The size of a logical block.
    @inlinable public var blockSize: BlockSize { drive.blockSize }

    /// It keeps what is written for a while before it is stable, now.
    public var hasWriteCache: Bool { drive.identifyData.writeCacheEnabled }

    /// The accessible sectors.
    public var sectorCount: UInt64 { drive.sectors }

    /// All sectors of the medium, also those that a host has hidden.
    public var mediumSectors: UInt64 { drive.mediumSectors }

    /// Their bytes.
    public var sizeBytes: UInt64 { blockSize.bytes(ofBlocks: sectorCount) }
}

/// What a whole disk never forgets, to be kept.
public struct DriveState: Sendable {
    fileprivate let memory: DiskMemory
    /// How many lasting changes it has (``Drive/lastingChanges``).
    public let changes: UInt64

    /// The text of its file. This takes long, and is no loop's work.
    public var bytes: [UInt8] { Array(memory.text.utf8) }
}

/// The facts by which a command is judged before it begins: a command whose blocks do not exist needs no memory.
public struct UnitFacts: Equatable, Sendable {
    /// Which commands the drive has.
    public let kind: DriveKind
    /// The size of a logical block.
    public let blockSize: BlockSize
    /// The drive has TRIM.
    public let supportsTrim: Bool
    /// Commands may have DPO and FUA.
    public let supportsForceUnitAccess: Bool
    /// The accessible blocks.
    public internal(set) var sectors: UInt64
    /// Nothing may be written.
    public internal(set) var isReadOnly = false

    /// There is such a logical unit.
    let isPresent: Bool

    /// A logical unit that is not there. Its commands need the device server of a unit of the same target.
    public static let absent = UnitFacts()

    private init() {
        isPresent = false
        kind = .disk
        blockSize = .smallest
        supportsTrim = false
        supportsForceUnitAccess = false
        sectors = 0
    }

    init(_ drive: Drive) {
        isPresent = true
        kind = drive.kind
        blockSize = drive.blockSize
        supportsTrim = !drive.kind.isDisc && drive.identifyData.supportsTrim
        supportsForceUnitAccess = !drive.kind.isDisc && drive.identifyData.supportsForceUnitAccess
        sectors = drive.sectors
    }

    /// These blocks exist, all of them.
    func contains(_ first: UInt64, _ count: UInt64) -> Bool { first <= sectors && count <= sectors - first }
}
