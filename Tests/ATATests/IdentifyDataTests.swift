// IDENTIFY DEVICE data of many drives, byte for byte.

import Testing

@testable import ATA

/// A drive whose data are in Golden under its name, with the options it was given.
struct Variant: CustomTestStringConvertible, Sendable {
    var name: String
    var sectors = Drive.referenceSectors
    var controller = Controller.piix3IDE
    var properties = DriveProperties.reference
    var bootSector: [UInt8]?

    init(_ name: String, sectors: UInt64 = Drive.referenceSectors, _ change: (inout Variant) -> Void = { _ in }) {
        self.name = name
        self.sectors = sectors
        change(&self)
    }

    var testDescription: String { name }

    var drive: Drive {
        var geometry: BootSectorGeometry?
        if let bootSector {
            geometry = BootSectorGeometry(bootSector: bootSector.span.bytes, sectors: sectors)
        }
        return Drive(properties, sectors: sectors, bootSector: geometry, controller: controller)
    }

    static let all = [
        Variant("reference") { $0.properties.writeCache = .on },
        Variant("size-1MiB", sectors: 2048),
        Variant("size-100MiB", sectors: 204_800),
        Variant("size-8GiB", sectors: 16_777_216),
        Variant("size-128GiB", sectors: 1 << 28),
        Variant("size-2TiB", sectors: 1 << 32),
        Variant("wc-off") { $0.properties.writeCache = .off },
        Variant("serial-none") { $0.properties.serialNumber = nil },
        Variant("model-ver") {
            $0.properties.modelNumber = "ACME NBD DISK"
            $0.properties.firmwareRevision = "1.0"
        },
        Variant("wwn") { $0.properties.worldWideName = 0x5000_c500_15ea_71ac },
        Variant("rotation-1") { $0.properties.rotationRate = 1 },
        Variant("phys-4096") { $0.properties.physicalBlockBytes = 4096 },
        Variant("chs-1024-16-63") {
            $0.properties.geometry = Geometry(cylinders: 1024, heads: 16, sectorsPerTrack: 63)
        },
        Variant("mbr-10-32", sectors: 2_097_152) { $0.bootSector = partitionedSector(endHead: 9, endSector: 32) },
        Variant("discard-gran-0") { $0.properties.supportsTrim = false },
        Variant("ahci-q35") {
            $0.controller = .ich9AHCI
            $0.properties.unit = 0
        },
    ]
}

/// A boot sector with one partition, whose end is on this head and sector.
func partitionedSector(endHead: UInt8, endSector: UInt8, entry: Int = 0) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 512)
    let partition: [UInt8] = [0x80, 1, 1, 0, 0x83, endHead, endSector, 0x20, 0x3F, 0, 0, 0, 0xC1, 0x4F, 0x1F, 0]
    bytes.replaceSubrange(446 + 16 * entry..<462 + 16 * entry, with: partition)
    bytes[510] = 0x55
    bytes[511] = 0xAA
    return bytes
}

@Suite("IDENTIFY DEVICE data")
struct IdentifyDataTests {
    @Test("at power-on are QEMU's", arguments: Variant.all.filter { $0.controller == .piix3IDE })
    func powerOn(_ variant: Variant) throws {
        // The AHCI drive's data were only read through Linux.
        #expect(variant.drive.bytes(.identifyDevice) == (try GoldenFiles.bytes("\(variant.name)/poweron-identify.bin")))
    }

    @Test("after Linux has chosen a transfer mode are QEMU's", arguments: Variant.all)
    func probed(_ variant: Variant) throws {
        var drive = variant.drive
        drive.probe()
        #expect(drive.bytes(.identifyDevice) == (try GoldenFiles.bytes("\(variant.name)/identify.bin")))
    }

    @Test("survive being parsed and copied", arguments: Variant.all)
    func parsed(_ variant: Variant) throws {
        let golden = try GoldenFiles.bytes("\(variant.name)/identify.bin")
        let data = IdentifyData(parsing: golden.span.bytes)
        var drive = variant.drive
        drive.probe()
        #expect(data == drive.identifyData)
        #expect(data[word: 0] == 0x0040)
    }

    @Test("tell what a reader asks for")
    func fields() throws {
        func read(_ variant: String) throws -> IdentifyData {
            let bytes = try GoldenFiles.bytes("\(variant)/identify.bin")
            return IdentifyData(parsing: bytes.span.bytes)
        }
        let reference = try read("reference")
        #expect(reference.serialNumber == "918a6997-1928-38a1-9")
        #expect(reference.firmwareRevisionField == "2.5+    ")
        #expect(reference.firmwareRevision == "2.5+")
        #expect(reference.modelNumber == "QEMU HARDDISK")
        #expect(reference.modelNumberField == "QEMU HARDDISK" + String(repeating: " ", count: 27))
        #expect(reference.sectors == 6_291_456)
        #expect(reference.defaultGeometry == Geometry(cylinders: 6241, heads: 16, sectorsPerTrack: 63))
        #expect(reference.supportsLBA48 && reference.writeCacheEnabled && reference.supportsTrim)
        #expect(reference.supportsDeterministicReadAfterTrim && !reference.supportsZeroesAfterTrim)
        #expect(!reference.supportsForceUnitAccess && !reference.supportsNCQ && reference.worldWideName == nil)
        #expect(reference.logicalSectorBytes == 512 && reference.physicalSectorBytes == 512)
        #expect(reference.rotationRate == 0)
        #expect(try read("wc-off").writeCacheEnabled == false)
        #expect(try read("serial-none").serialNumberField == "QM00002" + String(repeating: " ", count: 13))
        #expect(try read("wwn").worldWideName == 0x5000_c500_15ea_71ac)
        #expect(try read("rotation-1").rotationRate == 1)
        #expect(try read("phys-4096").physicalSectorBytes == 4096)
        #expect(try read("discard-gran-0").supportsTrim == false)
        #expect(try read("size-2TiB").sectors == 1 << 32)
        #expect(try read("size-2TiB").sectors28 == 0x0FFF_FFFF)
        #expect(try read("ahci-q35").supportsNCQ)
        #expect(try read("ahci-q35").queueDepth == 32)
    }

    @Test("number drives without a serial number as QEMU does")
    func defaultSerialNumbers() {
        func serialNumber(bus: UInt8, unit: UInt8, _ controller: Controller = .piix3IDE) -> String {
            var properties = DriveProperties()
            properties.bus = bus
            properties.unit = unit
            return Drive(properties, sectors: 1, bootSector: nil, controller: controller).identifyData.serialNumber
        }
        #expect(serialNumber(bus: 0, unit: 0) == "QM00001")
        #expect(serialNumber(bus: 0, unit: 1) == "QM00002")
        #expect(serialNumber(bus: 1, unit: 0) == "QM00003")
        #expect(serialNumber(bus: 1, unit: 1) == "QM00004")
        #expect(serialNumber(bus: 0, unit: 0, .ich9AHCI) == "QM00001")
        #expect(serialNumber(bus: 1, unit: 0, .ich9AHCI) == "QM00003")
        #expect(serialNumber(bus: 255, unit: 255) == "QM00766")
    }

    @Test("cut what is too long for a field")
    func longText() {
        var properties = DriveProperties()
        properties.serialNumber = String(repeating: "s", count: 21)
        properties.modelNumber = String(repeating: "m", count: 39) + "é"
        properties.firmwareRevision = "123456789"
        let data = Drive(properties, sectors: 1, bootSector: nil, controller: .piix3IDE).identifyData
        #expect(data.serialNumberField == String(repeating: "s", count: 20))
        #expect(data.firmwareRevisionField == "12345678")
        #expect(data[word: 46] == UInt16(UInt8(ascii: "m")) << 8 | 0xC3)
        #expect(data[word: 47] == 0x8010)
    }
}

extension Drive {
    /// The commands that Linux sends when it finds the drive: IDENTIFY DEVICE, then SET FEATURES with the transfer mode
    /// it takes, multiword DMA 2 on the PIIX3 and Ultra DMA 5 on AHCI.
    fileprivate mutating func probe() {
        var identify = CommandInProgress(Taskfile(command: Command.identifyDevice.rawValue))
        var setFeatures = CommandInProgress(
            Taskfile(
                command: Command.setFeatures.rawValue, feature: 0x03, count: controller == .piix3IDE ? 0x22 : 0x45))
        _ = begin(&identify, data: RawSpan())
        _ = begin(&setFeatures, data: RawSpan())
    }
}
