// A drive as an export serves it: the SCSI/ATA translation layer and the drive below it, which are always used together.

import ATA
import NBD
import SAT

/// One drive of one loop. Everything that NBD says of it comes from its IDENTIFY DEVICE data.
public struct ExportedDrive: Sendable {
    /// Sectors of 512 bytes are what ATA addresses here; no drive of this kind has others.
    public static let sectorBytes: UInt64 = 512

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

    /// The accessible sectors.
    public var sectorCount: UInt64 {
        drive.identifyData.sectors
    }
}
