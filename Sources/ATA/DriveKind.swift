// The kinds of drives.

/// The kinds of drives, by the names of QEMU's devices.
public enum DriveKind: String, CaseIterable, Sendable {
    /// A QEMU HARDDISK: an ATA device.
    case disk = "ide-hd"
    /// A QEMU DVD-ROM: a device with the PACKET feature set (ACS-3), which speaks MMC.
    case dvdROM = "ide-cd"
    /// A DVD-ROM of ours, with what MMC-6 demands and QEMU's leaves out.
    case fullDVDROM = "spindle-cd"
    /// A hard disk of ours, with every command of ACS-3 that such a drive has.
    case hardDisk = "spindle-hd"
    /// The same as a solid state disk.
    case solidState = "spindle-ssd"

    /// Its medium is a disc, and it speaks MMC.
    public var isDisc: Bool { self == .dvdROM || self == .fullDVDROM }

    /// A whole disk: ``CommandRow`` has its commands, and it remembers what was done to it.
    @inlinable public var isWholeDisk: Bool { self == .hardDisk || self == .solidState }

    /// The controller that such a drive hangs on where somebody has chosen one: a whole disk is a SATA drive.
    public func controller(_ chosen: Controller) -> Controller { isWholeDisk ? .ich9AHCI : chosen }

    /// The most blocks that a host can address: 48 bits of LBA for a disk (ACS-4 4.1.1), the 32 bits of READ CAPACITY
    /// and READ (12) for a DVD-ROM (MMC-6).
    public var maximumSectors: UInt64 {
        switch self {
        case .disk, .hardDisk, .solidState: 1 << 48
        case .dvdROM, .fullDVDROM: 1 << 32
        }
    }
}
