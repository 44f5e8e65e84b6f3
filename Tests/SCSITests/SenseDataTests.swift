// Sense data in both formats. The examples are those that Linux 6.1 gave for ATA drives, or follow SPC-5 4.4.

import SCSI
import Testing

@Suite("Sense data")
struct SenseDataTests {
    @Test("without more are 18 bytes in fixed format, 8 in descriptor format")
    func plain() {
        let fixed = SenseData(.illegalRequest, .invalidCommandOperationCode, format: .fixed)
        #expect(fixed.bytes == [UInt8]("70 00 05 00 00 00 00 0a 00 00 00 00 20 00 00 00 00 00"))
        let descriptor = SenseData(.notReady, .logicalUnitNotReady, format: .descriptor)
        #expect(descriptor.bytes == [UInt8]("72 02 04 00 00 00 00 00"))
    }

    @Test("have the information field where it fits")
    func information() {
        var sense = SenseData(.abortedCommand, .none, format: .fixed)
        sense.information = 0x0060_0000
        #expect(sense.bytes == [UInt8]("f0 00 0b 00 60 00 00 0a 00 00 00 00 00 00 00 00 00 00"))
        sense.information = 0xFFFF_FFFF
        #expect(sense.bytes.prefix(7).elementsEqual([UInt8]("f0 00 0b ff ff ff ff")))
        // One more than fits: not valid.
        sense.information = 0x1_0000_0001
        #expect(sense.bytes.prefix(7).elementsEqual([UInt8]("70 00 0b 00 00 00 01")))
        sense.format = .descriptor
        #expect(sense.bytes == [UInt8]("72 0b 00 00 00 00 00 0c 00 0a 80 00 00 00 00 01 00 00 00 01"))
    }

    @Test("point at the wrong field")
    func fieldPointer() {
        var sense = SenseData(.illegalRequest, .invalidFieldInCDB, format: .fixed)
        sense.fieldPointer = SenseFieldPointer(isInCommand: true, byte: 4, bit: 3)
        #expect(
            sense.bytes
                == [UInt8]("70 00 05 00 00 00 00 12 00 00 00 00 24 00 00 cb 00 04 00 00 00 00 00 00 00 00"))
        sense.format = .descriptor
        #expect(sense.bytes == [UInt8]("72 05 24 00 00 00 00 08 02 06 00 00 cb 00 04 00"))
        sense = SenseData(.illegalRequest, .invalidFieldInParameterList, format: .fixed)
        sense.fieldPointer = SenseFieldPointer(isInCommand: false, byte: 0x010E)
        #expect(
            sense.bytes
                == [UInt8]("70 00 05 00 00 00 00 12 00 00 00 00 26 00 00 80 01 0e 00 00 00 00 00 00 00 00"))
    }

    @Test("carry ATA registers in a descriptor of their own")
    func ataDescriptor() {
        var sense = SenseData(.recoveredError, .ataPassThroughInformationAvailable, format: .descriptor)
        sense.ataStatusReturn = ATAStatusReturn(
            extend: true, error: 0x04, count: 0x1234, logicalBlockAddress: 0x0605_0403_0201, device: 0xF0, status: 0x51)
        #expect(sense.bytes == [UInt8]("72 01 00 1d 00 00 00 0e 09 0c 01 04 12 34 04 01 05 02 06 03 f0 51"))
        // Without EXTEND, previous content is not reported.
        sense.ataStatusReturn?.extend = false
        #expect(sense.bytes == [UInt8]("72 01 00 1d 00 00 00 0e 09 0c 00 04 00 34 00 01 00 02 00 03 f0 51"))
    }

    @Test("carry ATA registers in fixed format as Linux 6.1 does")
    func ataFixed() {
        var sense = SenseData(.abortedCommand, .none, format: .fixed)
        sense.ataStatusReturn = ATAStatusReturn(
            extend: false, error: 0x04, count: 1, logicalBlockAddress: 0x60_0201, device: 0xF0, status: 0x41)
        #expect(sense.bytes == [UInt8]("70 00 0b 00 00 00 00 0a 04 41 f0 01 00 00 00 00 00 01 02 60"))
        sense.ataStatusReturn = ATAStatusReturn(
            extend: true, error: 0x04, count: 0x0100, logicalBlockAddress: 0x01_0000_0001, device: 0xF0, status: 0x41)
        #expect(sense.bytes == [UInt8]("70 00 0b 00 00 00 00 0a 04 41 f0 00 00 00 00 00 e0 01 00 00"))
    }

    @Test("with everything at once fit their room")
    func everything() {
        var sense = SenseData(.illegalRequest, .invalidFieldInCDB, format: .descriptor)
        sense.information = 1
        sense.fieldPointer = SenseFieldPointer(isInCommand: true, byte: 2)
        sense.ataStatusReturn = ATAStatusReturn(
            extend: false, error: 0, count: 0, logicalBlockAddress: 0, device: 0, status: 0)
        let bytes = sense.bytes
        #expect(bytes.count == 8 + 12 + 8 + 14)
        #expect(bytes.count <= SenseData.maximumByteCount)
        #expect(Int(bytes[7]) == bytes.count - 8)
    }
}
