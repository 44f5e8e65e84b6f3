// The drive of an export: made at power-on, and what clients are told of it.

import ATA
import Backends
import Blocks
import Export
import Loop
import NBD
import Units

extension ServedExport {
    /// Describes an export of a drive that is made now, as large as its medium. A write cache that is `auto` is on.
    ///
    /// - Parameters:
    ///   - controller: what the drive hangs on.
    ///   - blocks: the image's format, if it is not raw.
    public init(
        name: String, properties: DriveProperties, controller: Controller, backend: Backend,
        blocks: BlockStack = BlockStack()
    ) {
        var blocks = blocks
        let sectors = properties.logicalBlockSize.blocks(holdingBytes: blocks.diskBytes ?? backend.sizeBytes)
        let bootSector = backend.beginning(byteCount: BootSectorGeometry.byteCount, through: &blocks)
        let geometry = unsafe BootSectorGeometry(bootSector: bootSector.span.bytes, sectors: sectors)
        let drive = Drive(properties, sectors: sectors, bootSector: geometry, controller: controller)
        var exported = ExportedDrive(drive, controller: controller)
        exported.isReadOnly = backend.isReadOnly
        self.init(name: name, drive: exported, backend: backend)
        self.blocks = blocks
    }

    /// What clients are told.
    func information(_ drive: ExportedDrive) throws(ExportInformationError) -> ExportInformation {
        var information = try ExportInformation(
            name: name, description: description, drive: drive.drive,
            blocks: BlockTraits(
                isReadOnly: backend.isReadOnly, zeroesFast: !hasLayers && backend.zeroesFastByDeallocating,
                hasToBeFlushed: self.drive.hasWriteCache || hasLayers))
        information.requiresTLS = requiresTLS
        return information
    }
}
