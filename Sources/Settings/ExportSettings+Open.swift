// From the settings of an export to what a server serves.

import ATA
import Export
import Media
import Server

extension ExportSettings {
    /// Opens and locks the image, and puts the drive above it together.
    ///
    /// - Parameter ordinal: which of the drives this is, from 1. A drive without a serial number of its own is numbered
    ///   as QEMU does it, `QM00001` and so on.
    public func open(ordinal: Int) throws -> ServedExport {
        let medium =
            switch reference {
            case .file(let path): try Medium(path: path, cache: drive.cache, readOnly: drive.readOnly)
            case .memory(let sizeBytes): try Medium(memoryOfSize: sizeBytes, readOnly: drive.readOnly)
            case .null(let sizeBytes): Medium(nullOfSize: sizeBytes, readOnly: drive.readOnly)
            }
        do {
            _ = try checkedSectors(sizeBytes: medium.sizeBytes)
            var export = ServedExport(
                name: name, properties: properties(ordinal: ordinal), controller: drive.controller, medium: medium)
            export.description = drive.description
            export.requiresTLS = drive.requiresTLS
            export.access = drive.access
            export.maximumConnections = drive.maximumConnections
            export.isTakenOver = drive.isTakenOver
            return export
        } catch {
            medium.close()
            throw error
        }
    }

    /// The drive that a look at the image promises: the file is read, but neither locked nor kept open.
    public func preview(ordinal: Int) throws -> Drive {
        let facts = try ImageFacts(reference)
        let sizeBytes = facts.sectors * ExportedDrive.sectorBytes
        return Drive(
            properties(ordinal: ordinal), sectors: try checkedSectors(sizeBytes: sizeBytes),
            bootSector: facts.bootSector, controller: drive.controller)
    }

    private func checkedSectors(sizeBytes: UInt64) throws -> UInt64 {
        let sectors = ImageReference.sectors(sizeBytes: sizeBytes)
        guard sectors > 0 else { throw MediumError.empty(image: image) }
        guard sectors <= ImageReference.maximumSectors else { throw ImageReferenceError.tooLarge(image) }
        return sectors
    }

    private func properties(ordinal: Int) -> DriveProperties {
        var properties = drive.device
        if properties.writeCache == .auto { properties.writeCache = drive.cache.hasVolatileWriteCache ? .on : .off }
        // The first one's is by the place that its properties say.
        if properties.serialNumber == nil, ordinal > 1 { properties.serialNumber = SerialNumber.text(ordinal: ordinal) }
        return properties
    }
}

/// Serial numbers as QEMU gives them to IDE drives that have none: by their place, from 1.
public enum SerialNumber {
    /// `QM00001` and so on.
    static func text(ordinal: Int) -> String {
        let digits = String(ordinal)
        return "QM" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }

    /// The place of a drive that comes when these are taken.
    public static func lowestUnused(_ used: some Sequence<Int>) -> Int {
        let used = Set(used)
        var ordinal = 1
        while used.contains(ordinal) { ordinal += 1 }
        return ordinal
    }
}
