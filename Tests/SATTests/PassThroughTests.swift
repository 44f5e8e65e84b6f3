// ATA PASS-THROUGH beyond what the probe session has: what would confuse the layer, and data that do not fit.

import ATA
import SAT
import SCSI
import Testing

@Suite("ATA PASS-THROUGH")
struct PassThroughTests {
    /// A 28-bit command in ATA PASS-THROUGH (16), with the block count in the count register.
    private static func command(
        _ code: UInt8, protocol: UInt8, direction: UInt8 = 0x08, count: UInt8 = 1, lba: UInt8 = 0, feature: UInt8 = 0,
        multiple: UInt8 = 0, length: UInt8 = 2
    ) -> CommandDescriptorBlock {
        let flags = direction | 0x04 | length
        return [0x85, multiple << 5 | `protocol` << 1, flags, 0, feature, 0, count, 0, lba, 0, 0, 0, 0, 0x40, code, 0]
    }

    @Test("of unknown protocols is refused", arguments: [0, 1, 2, 7, 8, 9, 12, 13, 14, 15] as [UInt8])
    func protocols(_ number: UInt8) {
        var initiator = Initiator()
        let response = initiator.send(Self.command(0xEC, protocol: number), length: 512)
        #expect(response.sense?.fieldPointer == SenseFieldPointer(isInCommand: true, byte: 1))
    }

    @Test("of queued commands works where there is NCQ")
    func queued() {
        var initiator = Initiator(controller: .ich9AHCI)
        let read: CommandDescriptorBlock = [0x85, 0x19, 0x0E, 0, 2, 0, 0xF8, 0, 7, 0, 0, 0, 0, 0x40, 0x60, 0]
        let response = initiator.send(read, length: 1024)
        #expect(response.operations == [.read(lba: 7, count: 2)])
        #expect(response.data.count == 1024)
    }

    @Test("does not choose the drive", arguments: Controller.allCases)
    func deviceSelect(controller: Controller) {
        // CHECK POWER MODE with CK_COND: the registers come back as the drive has left them.
        let registers = [UInt8(0x40), 0x50].map { device in
            var initiator = Initiator(controller: controller)
            let cdb: CommandDescriptorBlock = [0x85, 0x06, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, device, 0xE5, 0]
            return initiator.send(cdb, length: 0).sense?.ataStatusReturn
        }
        #expect(registers[0] != nil && registers[0] == registers[1])
    }

    @Test("that the layer has to know about is refused, with the byte")
    func forbidden() {
        let forbidden: [(CommandDescriptorBlock, UInt16)] = [
            (Self.command(0xEF, protocol: 3, feature: 0x03), 4),
            ([0xA1, 0x06, 0x00, 0x03, 0, 0, 0, 0, 0, 0xEF, 0, 0], 3),
            (Self.command(0x5F, protocol: 4), 14),
            ([0xA1, 0x08, 0x0E, 0, 1, 0, 0, 0, 0, 0x5E, 0, 0], 9),
            // READ LONG of two sectors, or by DMA.
            (Self.command(0x22, protocol: 4, count: 2), 1),
            (Self.command(0x32, protocol: 6), 1),
            // MULTIPLE_COUNT for a command that is not a multiple one.
            (Self.command(0x20, protocol: 4, multiple: 3), 1),
        ]
        for (command, byte) in forbidden {
            var initiator = Initiator()
            let response = initiator.send(command, length: command[1] == 0x06 ? 0 : 512)
            #expect(response.senseCodes == [0x05, 0x24, 0x00])
            #expect(response.sense?.fieldPointer == SenseFieldPointer(isInCommand: true, byte: byte))
        }
        var initiator = Initiator()
        #expect(initiator.send(Self.command(0xC4, protocol: 4, multiple: 3), length: 512).status == .good)
        // Data, but T_LENGTH says none.
        let noLength = initiator.send(Self.command(0xEC, protocol: 4, length: 0), length: 512)
        #expect(noLength.sense?.fieldPointer == SenseFieldPointer(isInCommand: true, byte: 2))
    }

    @Test("does not write what goes the other way, nor more than there is")
    func misuse() {
        let misuses: [(CommandDescriptorBlock, Int)] = [
            (Self.command(0x30, protocol: 4), 512),  // WRITE SECTORS as data-in
            (Self.command(0xCA, protocol: 6), 512),  // WRITE DMA with T_DIR from the device
            (Self.command(0x06, protocol: 6, feature: 1), 512),  // TRIM with a buffer that is to be filled
            (Self.command(0x20, protocol: 5), 512),  // READ SECTORS as data-out
            (Self.command(0x20, protocol: 4, count: 2), 1023),  // one byte short
            (Self.command(0x30, protocol: 5, count: 3), 1024),
            (Self.command(0xEC, protocol: 4), 511),
            (Self.command(0xEC, protocol: 5), 512),
        ]
        for (command, length) in misuses {
            var initiator = Initiator()
            // A TRIM list of one sector.
            let data = [0, 0, 0, 0, 0, 0, 1, 0] + [UInt8](repeating: 0, count: length - 8)
            let response = initiator.send(command, data: data)
            #expect(response.senseCodes == [0x0B, 0x00, 0x00])
            #expect(response.steps.isEmpty)
        }
    }

    @Test("moves data, and TRIM reads its list from them")
    func data() {
        var initiator = Initiator()
        let write = initiator.send(Self.command(0x30, protocol: 5, count: 2, lba: 9), length: 1024)
        #expect(
            write.steps == [.blocks(.write(lba: 9, count: 2), dataOffset: 0, zeroes: false, mayDeallocate: false)])
        let list: [UInt8] = [5, 0, 0, 0, 0, 0, 7, 0] + [UInt8](repeating: 0, count: 504)
        let trim = initiator.send(Self.command(0x06, protocol: 6, direction: 0, feature: 1), data: list)
        #expect(trim.operations == [.discard(lba: 5, count: 7)])
    }

    @Test("that runs past the end gives what there is, and the registers")
    func end() {
        var initiator = Initiator(sectors: 100)
        let response = initiator.send(Self.command(0x20, protocol: 4, count: 3, lba: 98), length: 1536)
        #expect(response.operations == [.read(lba: 98, count: 2)])
        #expect(response.status == .checkCondition)
        #expect(response.data.count == 1024)
        #expect(response.sense?.ataStatusReturn?.logicalBlockAddress == 100)
        #expect(response.sense?.ataStatusReturn?.count == 1)
    }

    @Test("that switches a feature lets the layer ask the drive again")
    func features() {
        var initiator = Initiator()
        #expect(initiator.send([0x85, 0x06, 0, 0, 0x82, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xEF, 0]).status == .good)
        #expect(!initiator.layer.identifyData.writeCacheEnabled)
        let sense = initiator.send(.modeSense6(page: 0x08, control: .current, allocationLength: 252), length: 252)
        #expect(sense.data[14] & 0x04 == 0)
        let flushed = initiator.send(.write16(logicalBlockAddress: 0, transferLength: 1), length: 512)
        #expect(flushed.operations == [.write(lba: 0, count: 1), .flush])
    }

    @Test("that fails with D_SENSE has the registers in a descriptor")
    func descriptorSense() {
        var initiator = Initiator()
        let control: [UInt8] = [0, 0, 0, 0, 0x0A, 0x0A, 0x06, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0x1E]
        #expect(initiator.send([0x15, 0x10, 0, 0, 16, 0], data: control).status == .good)
        let response = initiator.send([0x85, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0])
        #expect(
            response.sense?.bytes.hexadecimal == "72 0b 00 00 00 00 00 0e 09 0c 00 04 00 00 00 00 00 00 00 00 b0 41")
    }
}
