// Drives that were seen on QEMU 7.2 by a Debian guest with Linux 6.1, under the names of their folders in Golden.

import ATA
import Foundation
import Reports
import Testing

/// A drive and the folder with what Linux and its tools said about it.
struct Variant: CustomTestStringConvertible, Sendable {
    let name: String
    let sectors: UInt64
    /// QEMU's `-device` text, without the serial number that most of the drives have.
    let options: String
    let controller: Controller
    /// Another drive, a DVD drive, is the master.
    let hasMaster: Bool

    init(
        _ name: String, sectors: UInt64 = 6_291_456, _ options: String = "", controller: Controller = .piix3IDE,
        hasMaster: Bool = false
    ) {
        self.name = name
        self.sectors = sectors
        self.options = options
        self.controller = controller
        self.hasMaster = hasMaster
    }

    var testDescription: String { name }

    static let reference = Variant("reference", "write-cache=on,", hasMaster: true)

    /// The variants with reports of all kinds.
    static let all = [
        reference, Variant("size-1MiB", sectors: 2048), Variant("size-100MiB", sectors: 204_800),
        Variant("size-8GiB", sectors: 16_777_216), Variant("size-128GiB", sectors: 1 << 28),
        Variant("size-2TiB", sectors: 1 << 32), Variant("wc-off", "write-cache=off,"), Variant("serial-none"),
        Variant("model-ver", "model=ACME NBD DISK,ver=1.0,"), Variant("wwn", "wwn=0x5000c50015ea71ac,"),
        Variant("rotation-1", "rotation_rate=1,"), Variant("phys-4096", "physical_block_size=4096,"),
        Variant("chs-1024-16-63", "cyls=1024,heads=16,secs=63,"), Variant("mbr-10-32", sectors: 2_097_152),
        Variant("discard-gran-0", "discard_granularity=0,"), Variant("ahci-q35", controller: .ich9AHCI),
    ]

    /// Variants of which only the kernel's log is of interest here.
    static let logged = [
        Variant("ata-trace", hasMaster: true), Variant("ata-trace-128GiB", sectors: 1 << 28, hasMaster: true),
        Variant("sat-probe"), Variant("nbd-backed-io-wc-on"), Variant("nbd-backed-io-wc-off", "write-cache=off,"),
    ]

    var placement: Placement {
        let unit: UInt8 = controller == .piix3IDE ? 1 : 0
        return Placement(controller: controller, bus: 0, unit: unit, devicesBefore: hasMaster ? 1 : 0)
    }

    func report(atPowerOn: Bool = false) throws -> DriveReport {
        let serial = name == "serial-none" ? "" : "serial=918a6997-1928-38a1-9,"
        let properties = try DriveProperties(parsing: "ide-hd,\(serial)\(options)unit=\(placement.unit)")
        var bootSector: BootSectorGeometry?
        if name == "mbr-10-32" {
            let bytes = Self.partitionedSector
            bootSector = BootSectorGeometry(bootSector: bytes.span.bytes, sectors: sectors)
        }
        let drive = Drive(properties, sectors: sectors, bootSector: bootSector, controller: controller)
        return DriveReport(drive: drive, placement: placement, atPowerOn: atPowerOn)
    }

    func text(_ format: ReportFormat, atPowerOn: Bool = false) throws -> String {
        String(decoding: try report(atPowerOn: atPowerOn).bytes(format), as: UTF8.self)
    }

    func goldenBytes(_ file: String) throws -> [UInt8] {
        let path = Bundle.module.bundleURL.appendingPathComponent("Golden/\(name)/\(file)")
        return [UInt8](try Data(contentsOf: path))
    }

    func goldenText(_ file: String) throws -> String { String(decoding: try goldenBytes(file), as: UTF8.self) }

    /// A boot sector whose partition ends on head 9, sector 32.
    private static var partitionedSector: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 512)
        bytes.replaceSubrange(446..<462, with: [0, 1, 1, 0, 0x83, 9, 32, 0, 32, 0, 0, 0, 0, 0, 16, 0])
        bytes.replaceSubrange(510..<512, with: [0x55, 0xAA])
        return bytes
    }
}
