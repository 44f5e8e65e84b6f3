// The drive of an export: made at power-on, and what clients are told of it.

import ATA
import Backends
import Export
import Loop
import NBD
import Units

extension ServedExport {
    /// Describes an export of a drive that is made now, as large as its medium. A write cache that is `auto` is on.
    ///
    /// - Parameter controller: what the drive hangs on.
    public init(name: String, properties: DriveProperties, controller: Controller, backend: Backend) {
        let sectors = properties.logicalBlockSize.blocks(holdingBytes: backend.sizeBytes)
        let bootSector = backend.beginning(byteCount: BootSectorGeometry.byteCount)
        let geometry = unsafe BootSectorGeometry(bootSector: bootSector.span.bytes, sectors: sectors)
        let drive = Drive(properties, sectors: sectors, bootSector: geometry, controller: controller)
        var exported = ExportedDrive(drive, controller: controller)
        exported.isReadOnly = backend.isReadOnly
        self.init(name: name, drive: exported, backend: backend)
    }

    /// What clients are told.
    func information(_ drive: ExportedDrive) throws(ExportInformationError) -> ExportInformation {
        var information = try ExportInformation(
            name: name, description: description, drive: drive.drive,
            blocks: BlockTraits(
                isReadOnly: backend.isReadOnly, zeroesFast: !hasLayers && backend.zeroesFastByDeallocating,
                hasToBeFlushed: self.drive.hasWriteCache))
        information.requiresTLS = requiresTLS
        return information
    }
}
