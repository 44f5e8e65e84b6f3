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
    /// - Parameters:
    ///   - controller: what the drive hangs on.
    ///   - image: open; it is the export's from now on.
    public init(name: String, properties: DriveProperties, controller: Controller, image: ImageChain) {
        var image = image
        let sectors = properties.logicalBlockSize.blocks(holdingBytes: image.sizeBytes)
        let bootSector = image.beginning(byteCount: BootSectorGeometry.byteCount)
        let geometry = unsafe BootSectorGeometry(bootSector: bootSector.span.bytes, sectors: sectors)
        let drive = Drive(properties, sectors: sectors, bootSector: geometry, controller: controller)
        var exported = ExportedDrive(drive, controller: controller)
        exported.isReadOnly = image.backend.isReadOnly
        self.init(name: name, drive: exported, backend: image.backend)
        backings = image.backings
        levels = image.levels
        changes = image.changes
        if image.changes?.isMade == true { madeFiles.append(image.backend) }
        isRepaired = image.isRepaired
        blocks = image.blocks
    }

    /// Describes an export of a drive whose medium is all of a backend.
    public init(name: String, properties: DriveProperties, controller: Controller, backend: Backend) {
        self.init(name: name, properties: properties, controller: controller, image: ImageChain(raw: backend))
    }

    /// Closes its images. Nobody serves it.
    public func close() {
        for backing in backings { backing.close() }
        recording?.close()
        state?.close()
        backend.close()
    }

    /// The facts that clients are told.
    func information(_ drive: ExportedDrive) throws(ExportInformationError) -> ExportInformation {
        var information = try ExportInformation(
            name: name, description: description, drive: drive.drive,
            blocks: BlockTraits(
                isReadOnly: backend.isReadOnly, zeroesFast: !hasLayers && backend.zeroesFastByDeallocating,
                hasToBeFlushed: self.drive.hasWriteCache || hasLayers))
        information.requiresTLS = requiresTLS
        information.pattern = copies?.pattern
        // What one connection has written, others do not see.
        if copies?.areOwn == true || lifetime == .ofOneConnection { information.flags.remove(.canMultiConn) }
        return information
    }
}
