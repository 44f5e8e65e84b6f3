// A drive as an export serves it: the SCSI/ATA translation layer and the drive below it, which are always used
// together.

import ATA
import Blocks
import NBD
import SAT

/// One drive of one loop. Everything that NBD says of it comes from its IDENTIFY DEVICE data, but the size of a disc.
public struct ExportedDrive: Sendable {
    /// The emulated drive.
    public var drive: Drive
    var translation: TranslationLayer
    /// Requests that took the road, whatever became of them.
    public internal(set) var requestsServed: UInt64 = 0
    /// SCSI commands that these became.
    public internal(set) var commandsSent: UInt64 = 0

    /// Puts a drive under a translation layer.
    public init(_ drive: Drive, controller: Controller) {
        var drive = drive
        translation = TranslationLayer(drive: &drive, controller: controller)
        self.drive = drive
    }

    /// The medium has another size; what was set stays.
    public mutating func resize(toSectors sectors: UInt64) {
        drive.resize(toSectors: sectors)
        translation.revalidate(&drive)
    }

    /// The size of a logical block.
    @inlinable public var blockSize: BlockSize { drive.blockSize }

    /// It keeps what is written for a while before it is stable, now.
    public var hasWriteCache: Bool { drive.identifyData.writeCacheEnabled }

    /// The accessible sectors.
    public var sectorCount: UInt64 { drive.sectors }

    /// Their bytes.
    public var sizeBytes: UInt64 { blockSize.bytes(ofBlocks: sectorCount) }
}
