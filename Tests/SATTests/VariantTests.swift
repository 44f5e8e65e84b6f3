// INQUIRY, vital product data, mode pages and capacity of sixteen drives, byte for byte.

import ATA
import SAT
import SCSI
import Testing

/// A drive whose answers are in Golden under its name, with the options it was given.
struct Variant: CustomTestStringConvertible, Sendable {
    var testDescription: String
    var sectors: UInt64
    var controller: Controller
    var properties: DriveProperties
    var bootSector: [UInt8]?

    init(
        _ name: String, sectors: UInt64 = Initiator.referenceSectors, controller: Controller = .piix3IDE,
        bootSector: [UInt8]? = nil, change: (inout DriveProperties) -> Void = { _ in }
    ) {
        testDescription = name
        self.sectors = sectors
        self.controller = controller
        self.bootSector = bootSector
        properties = .reference
        change(&properties)
    }

    var initiator: Initiator {
        let geometry = bootSector.flatMap { BootSectorGeometry(bootSector: $0.span.bytes, sectors: sectors) }
        return Initiator(
            Drive(properties, sectors: sectors, bootSector: geometry, controller: controller), controller: controller)
    }

    static let all = [
        Variant("reference") { $0.writeCache = .on },
        Variant("size-1MiB", sectors: 2048),
        Variant("size-100MiB", sectors: 204_800),
        Variant("size-8GiB", sectors: 16_777_216),
        Variant("size-128GiB", sectors: 1 << 28),
        Variant("size-2TiB", sectors: 1 << 32),
        Variant("wc-off") { $0.writeCache = .off },
        Variant("serial-none") { $0.serialNumber = nil },
        Variant("model-ver") {
            $0.modelNumber = "ACME NBD DISK"
            $0.firmwareRevision = "1.0"
        },
        Variant("wwn") { $0.worldWideName = 0x5000_c500_15ea_71ac },
        Variant("rotation-1") { $0.rotationRate = 1 },
        Variant("phys-4096") { $0.physicalBlockBytes = 4096 },
        Variant("chs-1024-16-63") { $0.geometry = Geometry(cylinders: 1024, heads: 16, sectorsPerTrack: 63) },
        Variant("mbr-10-32", sectors: 2_097_152, bootSector: tenHeadsThirtyTwoSectors),
        Variant("discard-gran-0") { $0.supportsTrim = false },
        Variant("ahci-q35", controller: .ich9AHCI) { $0.unit = 0 },
    ]

    /// A boot sector with a partition that ends on head 9 and sector 32.
    private static var tenHeadsThirtyTwoSectors: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 512)
        let partition: [UInt8] = [0x80, 1, 1, 0, 0x83, 9, 32, 0x20, 0x3F, 0, 0, 0, 0xC1, 0x4F, 0x1F, 0]
        bytes.replaceSubrange(446..<462, with: partition)
        bytes[510] = 0x55
        bytes[511] = 0xAA
        return bytes
    }
}

@Suite("What drives say of themselves")
struct VariantTests {
    @Test("standard INQUIRY data", arguments: Variant.all)
    func inquiry(_ variant: Variant) throws {
        try expect("inquiry", of: variant, .inquiry(allocationLength: 96), length: 96)
    }

    @Test("vital product data pages", arguments: Variant.all, ["00", "80", "83", "89", "b0", "b1", "b2"])
    func vitalProductData(_ variant: Variant, page: String) throws {
        let code = try #require(UInt8(page, radix: 16))
        let expected = try GoldenFiles.bytes("\(variant.testDescription)/vpd-\(page).bin")
        let length = UInt16(expected.count)
        try expect("vpd-\(page)", of: variant, .inquiry(page: code, allocationLength: length), length: expected.count)
    }

    @Test("mode pages", arguments: Variant.all, [ModePageControl.current, .changeable, .defaults])
    func modeSense(_ variant: Variant, control: ModePageControl) throws {
        for (page, name) in [(UInt8(0x01), "01"), (0x08, "08"), (0x0A, "0a")] {
            let command = CommandDescriptorBlock.modeSense6(page: page, control: control, allocationLength: 252)
            try expect("mode-pc\(control.rawValue)-pg\(name)", of: variant, command, length: 252)
        }
    }

    @Test("all mode pages, short and long", arguments: Variant.all)
    func allModePages(_ variant: Variant) throws {
        try expect(
            "modes-3f-6", of: variant, .modeSense6(page: 0x3F, control: .current, allocationLength: 252), length: 252)
        try expect(
            "modes-3f-10", of: variant, .modeSense10(page: 0x3F, control: .current, allocationLength: 512), length: 512)
    }

    @Test("capacity and logical units", arguments: Variant.all)
    func capacity(_ variant: Variant) throws {
        try expect("readcap10", of: variant, .readCapacity10(), length: 8)
        try expect("readcap16", of: variant, .readCapacity16(allocationLength: 32), length: 32)
        try expect("luns", of: variant, .reportLUNs(allocationLength: 16), length: 16)
    }

    private func expect(
        _ file: String, of variant: Variant, _ command: CommandDescriptorBlock, length: Int
    ) throws {
        var initiator = variant.initiator
        let response = initiator.send(command, length: length)
        #expect(response.status == .good)
        let expected = try GoldenFiles.bytes("\(variant.testDescription)/\(file).bin")
        #expect(response.data.hexadecimal == expected.hexadecimal, "\(file) of \(variant.testDescription)")
    }
}
