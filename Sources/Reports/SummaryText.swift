// Spindle's own report for people: what the drive is, a line each.

import ATA

/// The facts of a drive in words.
struct SummaryText {
    let drive: Drive
    let identify: IdentifyData
    let placement: Placement

    /// A line each, the names in a column.
    var text: String {
        let facts = drive.kind.isDisc ? factsOfDVD : factsOfDisk
        return facts.map { name, value in (name + ":").leftAligned(18) + value + "\n" }.joined()
    }

    private var factsOfDVD: [(String, String)] {
        [
            ("Model", identify.modelNumber), ("Firmware", identify.firmwareRevision),
            ("Serial number", identify.serialNumber), ("Medium", medium),
            ("Transfer mode", "\(identify.selectedTransferMode), up to \(identify.fastestTransferMode)"),
            ("Controller", placement.controller.rawValue),
            ("Linux calls it", "\(placement.ataName), \(placement.scsiAddress), /dev/\(placement.discName)"),
        ]
    }

    private var medium: String {
        guard drive.sectors != 0 else { return "none" }
        let bytes = UInt32(drive.blockSize.bytes)
        let decimal = CapacityUnits.decimal.text(blocks: drive.sectors, blockBytes: bytes)
        let binary = CapacityUnits.binary.text(blocks: drive.sectors, blockBytes: bytes)
        let blocks = drive.sectors == 1 ? "1 block" : "\(drive.sectors) blocks"
        return "\(drive.mediumIsCD ? "CD" : "DVD")-ROM, \(blocks) of \(bytes) bytes (\(decimal), \(binary))"
    }

    private var factsOfDisk: [(String, String)] {
        [
            ("Model", identify.modelNumber), ("Firmware", identify.firmwareRevision),
            ("Serial number", identify.serialNumber),
            ("World wide name", identify.worldWideName.map { "0x\($0.hex(16))" } ?? "none"),
            ("Size", size),
            ("Sector size", "\(identify.logicalSectorBytes) bytes logical, \(identify.physicalSectorBytes) physical"),
            ("Geometry", geometry),
            ("Write cache", identify.writeCacheEnabled ? "on" : "off: what is written is stable once answered"),
            ("TRIM", identify.supportsTrim ? "yes" : "no"), ("Rotation", rotation),
            ("Transfer mode", "\(identify.selectedTransferMode), up to \(identify.fastestTransferMode)"),
            ("Queue", identify.supportsNCQ ? "NCQ, depth \(identify.queueDepth)" : "none"),
            ("Controller", placement.controller.rawValue),
            ("Linux calls it", "\(placement.ataName), \(placement.scsiAddress), /dev/\(placement.diskName)"),
        ]
    }

    private var size: String {
        let decimal = CapacityUnits.decimal.text(blocks: identify.sectors, blockBytes: identify.logicalSectorBytes)
        let binary = CapacityUnits.binary.text(blocks: identify.sectors, blockBytes: identify.logicalSectorBytes)
        return "\(identify.sectors) sector\(identify.sectors == 1 ? "" : "s") (\(decimal), \(binary))"
    }

    private var geometry: String {
        let geometry = identify.defaultGeometry
        return "\(geometry.cylinders) cylinders, \(geometry.heads) heads, \(geometry.sectorsPerTrack) sectors a track"
    }

    private var rotation: String {
        switch identify.rotationRate {
        case 0: "not reported"
        case 1: "none: solid state"
        case let rate: "\(rate) revolutions a minute"
        }
    }
}
