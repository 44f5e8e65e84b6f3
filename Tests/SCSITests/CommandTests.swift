// Command descriptor blocks, byte by byte as SPC-5 and SBC-4 draw them.

import SCSI
import Testing

@Suite("Command descriptor blocks")
struct CommandTests {
    @Test("are laid out as the standards draw them")
    func layout() {
        let address: UInt64 = 0x0102_0304_0506_0708
        #expect(
            CommandDescriptorBlock.read16(logicalBlockAddress: address, transferLength: 0x1122_3344).bytes
                == [UInt8]("88 00 01 02 03 04 05 06 07 08 11 22 33 44 00 00"))
        #expect(
            CommandDescriptorBlock.write16(
                logicalBlockAddress: address, transferLength: 0x1122_3344, forceUnitAccess: true
            ).bytes == [UInt8]("8a 08 01 02 03 04 05 06 07 08 11 22 33 44 00 00"))
        #expect(
            CommandDescriptorBlock.writeSame16(
                logicalBlockAddress: address, numberOfLogicalBlocks: 9, unmap: true, noDataOutBuffer: false
            ).bytes == [UInt8]("93 08 01 02 03 04 05 06 07 08 00 00 00 09 00 00"))
        #expect(
            CommandDescriptorBlock.writeSame16(
                logicalBlockAddress: address, numberOfLogicalBlocks: 9, unmap: false, noDataOutBuffer: true
            ).bytes == [UInt8]("93 01 01 02 03 04 05 06 07 08 00 00 00 09 00 00"))
        #expect(
            CommandDescriptorBlock.preFetch16(logicalBlockAddress: address, prefetchLength: 9).bytes
                == [UInt8]("90 00 01 02 03 04 05 06 07 08 00 00 00 09 00 00"))
        #expect(
            CommandDescriptorBlock.getLBAStatus16(startingLogicalBlockAddress: address, allocationLength: 24).bytes
                == [UInt8]("9e 12 01 02 03 04 05 06 07 08 00 00 00 18 00 00"))
        #expect(
            CommandDescriptorBlock.synchronizeCache10().bytes
                == [UInt8]("35 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"))
    }

    @Test("that ask what a drive is are laid out as the standards draw them")
    func inquiries() {
        #expect(
            CommandDescriptorBlock.inquiry(allocationLength: 0x0160).bytes
                == [UInt8]("12 00 00 01 60 00 00 00 00 00 00 00 00 00 00 00"))
        #expect(
            CommandDescriptorBlock.inquiry(page: 0x89, allocationLength: 0x023C).bytes
                == [UInt8]("12 01 89 02 3c 00 00 00 00 00 00 00 00 00 00 00"))
        #expect(
            CommandDescriptorBlock.modeSense6(page: 0x08, control: .changeable, allocationLength: 252).bytes
                == [UInt8]("1a 00 48 00 fc 00 00 00 00 00 00 00 00 00 00 00"))
        #expect(
            CommandDescriptorBlock.modeSense10(page: 0x3F, control: .defaults, allocationLength: 0x0201).bytes
                == [UInt8]("5a 00 bf 00 00 00 00 02 01 00 00 00 00 00 00 00"))
        #expect(
            CommandDescriptorBlock.readCapacity10().bytes
                == [UInt8]("25 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"))
        #expect(
            CommandDescriptorBlock.readCapacity16(allocationLength: 32).bytes
                == [UInt8]("9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00"))
        #expect(
            CommandDescriptorBlock.reportLUNs(allocationLength: 0x0102_0304).bytes
                == [UInt8]("a0 00 00 00 00 00 01 02 03 04 00 00 00 00 00 00"))
    }

    @Test("give their fields back")
    func fields() {
        let six = CommandDescriptorBlock([UInt8]("08 ff 34 56 07 00"))
        #expect(six.logicalBlockAddress6 == 0x1F_3456)
        #expect(six.transferLength6 == 7)
        #expect(CommandDescriptorBlock([UInt8]("08 00 00 00 00 00")).transferLength6 == 256)
        let ten = CommandDescriptorBlock([UInt8]("28 08 89 ab cd ef 55 12 34 66"))
        #expect(ten.operationCode == OperationCode.read10)
        #expect(ten.logicalBlockAddress10 == 0x89AB_CDEF)
        #expect(ten.transferLength10 == 0x1234)
        #expect(ten.forceUnitAccess)
        let sixteen = CommandDescriptorBlock([UInt8]("93 f7 89 ab cd ef 01 23 45 67 fe dc ba 98 ff ff"))
        #expect(sixteen.logicalBlockAddress16 == 0x89AB_CDEF_0123_4567)
        #expect(sixteen.transferLength16 == 0xFEDC_BA98)
        #expect(!sixteen.forceUnitAccess)
        #expect(!sixteen.unmap)
        #expect(sixteen.noDataOutBuffer)
        #expect(sixteen.serviceAction == 0x17)
    }

    @Test("of any length are taken, longer ones cut, shorter ones padded", arguments: 0...20)
    func lengths(_ length: Int) {
        let bytes = (0..<length).map { UInt8($0 + 1) }
        let expected = bytes.prefix(16) + [UInt8](repeating: 0, count: max(0, 16 - length))
        #expect(CommandDescriptorBlock(bytes).bytes == Array(expected))
    }
}
