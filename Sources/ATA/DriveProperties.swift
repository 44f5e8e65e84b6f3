// The differences between drives: the properties of QEMU's `ide-hd` and `ide-cd` devices, which others have, too.

import Blocks

/// The properties of a device, with QEMU 7.2's names in the comments and the defaults of its `ide-hd` and `ide-cd`.
public struct DriveProperties: Equatable, Sendable {
    /// `write-cache`.
    public enum WriteCache: Equatable, Sendable {
        /// On or off as the cache mode of the image says.
        case auto
        case on
        case off
    }

    /// `driver`.
    public let kind: DriveKind
    /// `serial`, at most 20 characters count. Nil: QEMU's own numbering, `QM00001` for the first channel's master.
    public var serialNumber: String?
    /// `model`, at most 40 characters count.
    public var modelNumber: String
    /// `ver`, at most 8 characters count.
    public var firmwareRevision = "2.5+"
    /// `write-cache`.
    public var writeCache = WriteCache.auto
    /// `wwn`; 0 is none, and a whole disk makes up its own then.
    public var worldWideName: UInt64 = 0
    /// `rotation_rate`: 0 is not reported, 1 not rotating, else revolutions per minute.
    public var rotationRate: UInt16 = 0
    /// `physical_block_size`, a power of two from 512 to 2 MiB.
    public var physicalBlockBytes: UInt32 = 512
    /// `logical_block_size`: 512 for an IDE disk, 512 or 4096 for a whole disk. A disc has blocks of 2048 bytes,
    /// whatever the property says.
    public var logicalBlockSize: BlockSize
    /// `discard_granularity` is not 0: the drive announces TRIM.
    public var supportsTrim = true
    /// `cyls`, `heads` and `secs` together; nil: from the boot sector or the size.
    public var geometry: Geometry?
    /// `bus`: 0 for `ide.0` or `ahci.0`, the channel (PIIX) or the port (AHCI).
    public var bus: UInt8 = 0
    /// The text before the number in `bus`: the controller's name, which makes no difference to the drive.
    public var busName = "ide"
    /// `unit`: 0 for the master, 1 for the slave.
    public var unit: UInt8 = 0

    /// A drive without any property given.
    public init(_ kind: DriveKind = .disk) {
        self.kind = kind
        switch kind {
        case .disk:
            modelNumber = "QEMU HARDDISK"
            logicalBlockSize = .smallest
        case .dvdROM:
            modelNumber = "QEMU DVD-ROM"
            logicalBlockSize = .disc
        case .fullDVDROM:
            modelNumber = "SPINDLE DVD-ROM"
            firmwareRevision = "1.0"
            logicalBlockSize = .disc
        case .hardDisk:
            modelNumber = "SPINDLE HD"
            firmwareRevision = "1.0"
            logicalBlockSize = .smallest
            physicalBlockBytes = 4096
            rotationRate = 7200
            supportsTrim = false
        case .solidState:
            modelNumber = "SPINDLE SSD"
            firmwareRevision = "1.0"
            logicalBlockSize = .smallest
            physicalBlockBytes = 4096
            rotationRate = 1
        }
    }
}
