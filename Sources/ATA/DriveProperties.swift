// The differences between drives: the properties of QEMU's `ide-hd` device.

import Blocks

/// The properties of an `ide-hd` device, with QEMU 7.2's names in the comments and its defaults.
public struct DriveProperties: Equatable, Sendable {
    /// `write-cache`.
    public enum WriteCache: Equatable, Sendable {
        /// On or off as the cache mode of the image says.
        case auto
        case on
        case off
    }

    /// `serial`, at most 20 characters count. Nil: QEMU's own numbering, `QM00001` for the first channel's master.
    public var serialNumber: String?
    /// `model`, at most 40 characters count.
    public var modelNumber = "QEMU HARDDISK"
    /// `ver`, at most 8 characters count.
    public var firmwareRevision = "2.5+"
    /// `write-cache`.
    public var writeCache = WriteCache.auto
    /// `wwn`; 0 is none.
    public var worldWideName: UInt64 = 0
    /// `rotation_rate`: 0 is not reported, 1 not rotating, else revolutions per minute.
    public var rotationRate: UInt16 = 0
    /// `physical_block_size`, a power of two from 512 to 2 MiB.
    public var physicalBlockBytes: UInt32 = 512
    /// `logical_block_size`: 512 for an IDE drive, of which the standard has others, too.
    public var logicalBlockSize = BlockSize.smallest
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

    /// A QEMU HARDDISK without any property given.
    public init() {}
}
