// Parameter data: INQUIRY, vital product data, mode parameters, capacity, LBA status.

import SCSI
import Testing

@Suite("Parameter data")
struct ParameterDataTests {
    @Test("INQUIRY fields are cut or padded")
    func inquiry() {
        let data = StandardInquiryData(
            vendorIdentification: Array("ATA".utf8), productIdentification: Array("ABCDEFGHIJKLMNOPQRS".utf8),
            productRevisionLevel: Array("1".utf8)
        ).bytes
        #expect(data.count == 96)
        #expect(String(decoding: data[8..<36], as: UTF8.self) == "ATA     ABCDEFGHIJKLMNOP1   ")
        #expect(Int(data[4]) == data.count - 5)
    }

    @Test("a VPD page says its code and length")
    func vitalProductData() {
        #expect(VitalProductData.supportedPages([0x00, 0x80]) == [UInt8]("00 00 00 02 00 80"))
        #expect(VitalProductData.unitSerialNumber([0x31, 0x32, 0x33]) == [UInt8]("00 80 00 03 31 32 33"))
        #expect(
            VitalProductData.deviceIdentification([.nameAddressAuthority(0x5000_C500_15EA_71AC)])
                == [UInt8]("00 83 00 0c 01 03 00 08 50 00 c5 00 15 ea 71 ac"))
        #expect(
            VitalProductData.deviceIdentification([.t10VendorIdentification([0x41], [0x42])])
                == [UInt8]("00 83 00 0d 02 01 00 09 41 20 20 20 20 20 20 20 42"))
        #expect(
            VitalProductData.logicalBlockProvisioning(unmapsByWriteSame16: false)
                == [UInt8]("00 b2 00 04 00 00 00 00"))
    }

    @Test("the ATA Information page has the data of the device, or zeroes for what is missing")
    func ataInformation() {
        let identifyData: [UInt8] = [0x40, 0x00, 0xFF]
        let translator = StandardInquiryData(
            vendorIdentification: [0x61], productIdentification: [0x62], productRevisionLevel: [0x63])
        let page = VitalProductData.ataInformation(
            translator: translator, signature: [0x34], identifyCommand: 0xEC, identifyData: identifyData.span.bytes)
        #expect(page.count == 0x238 + 4)
        #expect(page.prefix(4).elementsEqual([UInt8]("00 89 02 38")))
        #expect(page[36] == 0x34)
        #expect(page[56] == 0xEC)
        #expect(page[60..<64].elementsEqual([UInt8]("40 00 ff 00")))
    }

    @Test("capacities beyond 32 bits send the initiator to the long form")
    func capacity() {
        var data = ReadCapacityData(
            lastLogicalBlockAddress: 0xFFFF_FFFE, logicalBlockBytes: 512, physicalBlockExponent: 3,
            lowestAlignedLogicalBlockAddress: 1, managesProvisioning: true)
        #expect(data.shortBytes == [UInt8]("ff ff ff fe 00 00 02 00"))
        data.lastLogicalBlockAddress = 0x1_0000_0000
        #expect(data.shortBytes == [UInt8]("ff ff ff ff 00 00 02 00"))
        #expect(
            data.longBytes
                == [UInt8]("00 00 00 01 00 00 00 00 00 00 02 00 00 03 80 01") + [UInt8](repeating: 0, count: 16))
    }

    @Test("an LBA status descriptor can be read back, and is cut to what was asked for")
    func lbaStatus() {
        let data = LBAStatusData(
            logicalBlockAddress: 0x0102_0304_0506_0708, numberOfLogicalBlocks: 0x1112_1314,
            provisioningStatus: .deallocated)
        let expected = [UInt8]("00 00 00 14 00 00 00 00 01 02 03 04 05 06 07 08 11 12 13 14 01 00 00 00")
        for (room, allocationLength) in [(32, 32), (24, 100), (20, 24), (24, 7), (0, 24), (24, 0)] {
            var buffer = [UInt8](repeating: 0xEE, count: room)
            var span = buffer.mutableSpan
            var bytes = span.mutableBytes
            let count = data.encode(into: &bytes, allocationLength: UInt32(allocationLength))
            #expect(count == min(room, allocationLength, 24))
            #expect(buffer.prefix(count).elementsEqual(expected.prefix(count)))
            #expect(buffer.dropFirst(count).allSatisfy { $0 == 0xEE })
        }
        #expect(LBAStatusData(parsing: expected.span.bytes) == data)
        let short = Array(expected.prefix(23))
        #expect(LBAStatusData(parsing: short.span.bytes) == nil)
    }

    @Test("mode pages have the length they say, and change in one bit at the most")
    func modePages() {
        let pages: [ModePage] = [
            .readWriteErrorRecovery, .caching(writeCacheEnabled: true, readAheadDisabled: true),
            .control(descriptorSense: true),
        ]
        for page in pages {
            #expect(page.current.count == Int(page.current[1]) + 2)
            #expect(page.changeable.count == page.current.count)
            #expect(page.changeable.prefix(2).elementsEqual(page.current.prefix(2)))
            let bits = page.changeable.dropFirst(2).reduce(0) { $0 + $1.nonzeroBitCount }
            #expect(bits == (page == .readWriteErrorRecovery ? 0 : 1))
        }
    }
}
