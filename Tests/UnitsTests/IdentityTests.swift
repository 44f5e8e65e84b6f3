// Over iSCSI a disk keeps libata's bytes, but for those that docs/protocol.md names.

import ATA
import SAT
import SCSI
import Testing
import Units

@Suite("Identity")
struct IdentityTests {
    /// What libata answers a program with this CDB.
    private func libata(_ cdb: CommandDescriptorBlock, controller: Controller) -> [UInt8] {
        var drive = Drive(DriveProperties(), sectors: 300, bootSector: nil, controller: controller)
        var layer = TranslationLayer(drive: &drive, controller: controller)
        var command = SCSICommandInProgress(cdb: cdb, transferLength: 576, origin: .user)
        var buffer = [UInt8](repeating: 0, count: 576)
        let step = withBytes(of: &buffer) { layer.begin(&command, drive: &drive, data: &$0) }
        #expect(step == .finished(.good, dataLength: 576))
        return buffer
    }

    /// The places at which the device server's answer differs from libata's, up to the end of the device server's.
    private func differences(_ cdb: CommandDescriptorBlock, _ controller: Controller) throws -> [Int] {
        var bench = Bench(sectors: 300, controller: controller)
        let answer = try bench.send(cdb, expecting: 600).data
        let expected = libata(cdb, controller: controller)
        #expect(!answer.isEmpty && expected.dropFirst(answer.count).allSatisfy { $0 == 0 || cdb[2] == 0 })
        return answer.indices.filter { answer[$0] != expected[$0] }
    }

    @Test("pages and parameters are libata's", arguments: [Controller.piix3IDE, .ich9AHCI])
    func pages(_ controller: Controller) throws {
        for page: UInt8 in [0x80, 0x83, 0x89, 0xB1] {
            #expect(try differences(.inquiry(page: page, allocationLength: 600), controller).isEmpty)
        }
        for control in [ModePageControl.current, .defaults] {
            let short = CommandDescriptorBlock.modeSense6(page: 0x3F, control: control, allocationLength: 255)
            let long = CommandDescriptorBlock.modeSense10(page: 0x3F, control: control, allocationLength: 600)
            #expect(try differences(short, controller).isEmpty && differences(long, controller).isEmpty)
        }
        #expect(try differences(.readCapacity10(), controller).isEmpty)
        #expect(try differences(.readCapacity16(allocationLength: 600), controller).isEmpty)
    }

    @Test("what is not, is in the table", arguments: [Controller.piix3IDE, .ich9AHCI])
    func table(_ controller: Controller) throws {
        // Of the version descriptors SAM-5's 00A0h differs from SAM-3's 0060h in one byte.
        #expect(try differences(.inquiry(allocationLength: 600), controller) == [59, 60, 61, 62, 63, 64, 65])
        // One page less.
        #expect(try differences(.inquiry(page: 0x00, allocationLength: 600), controller) == [3])
        let limits = try differences(.inquiry(page: 0xB0, allocationLength: 600), controller)
        #expect(limits == [5, 9, 20, 21, 22, 23, 26])
        #expect(try differences(.inquiry(page: 0xB2, allocationLength: 600), controller) == [5])
        let changeable = CommandDescriptorBlock.modeSense6(page: 0x0A, control: .changeable, allocationLength: 255)
        #expect(try differences(changeable, controller) == [4 + 8 + 4])
    }
}
