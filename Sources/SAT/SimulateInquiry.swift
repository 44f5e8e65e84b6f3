// INQUIRY: standard data and vital product data pages from IDENTIFY DEVICE data (SPC-5, SAT-5 clauses 8 and 10).

import ATA
import SCSI

extension TranslationLayer {
    /// T10 VENDOR IDENTIFICATION of every ATA device (SAT-5).
    private static let vendorIdentification = Array("ATA     ".utf8)

    /// INQUIRY. CmdDt is obsolete; without EVPD the page code does not matter.
    func simulateInquiry(_ command: inout SCSICommandInProgress, _ data: inout MutableRawSpan) -> Translation {
        let cdb = command.cdb
        guard cdb[1] & 0x02 == 0 else { return invalidField(1) }
        guard cdb[1] & 0x01 != 0 else { return respond(standardInquiryData.bytes, to: &command, &data) }
        guard let page = vitalProductData(cdb[2]) else { return invalidField(2) }
        return respond(page, to: &command, &data)
    }

    /// The page with this code; nil if there is none.
    private func vitalProductData(_ code: UInt8) -> [UInt8]? {
        switch code {
        case VitalProductData.PageCode.supportedPages: supportedPages
        case VitalProductData.PageCode.unitSerialNumber: VitalProductData.unitSerialNumber(serialNumber)
        case VitalProductData.PageCode.deviceIdentification: deviceIdentification
        case VitalProductData.PageCode.ataInformation: ataInformation
        case VitalProductData.PageCode.blockLimits: blockLimits
        case VitalProductData.PageCode.blockDeviceCharacteristics: blockDeviceCharacteristics
        case VitalProductData.PageCode.logicalBlockProvisioning:
            // Linux says so whether there is TRIM or not.
            VitalProductData.logicalBlockProvisioning(unmapsByWriteSame16: true, readsZeroes: readsZeroes)
        default: nil
        }
    }

    /// Product: the first 16 characters of the model. Revision: the last four of the firmware's eight, or the first
    /// four if those are spaces.
    private var standardInquiryData: StandardInquiryData {
        var revision = identifyData.characters(25...26)
        if revision.allSatisfy({ $0 == UInt8(ascii: " ") }) {
            revision = identifyData.characters(23...24)
        }
        if revision[0] == 0 || revision[0] == UInt8(ascii: " ") {
            revision = Array("n/a ".utf8)
        }
        return StandardInquiryData(
            vendorIdentification: Self.vendorIdentification,
            productIdentification: Array(identifyData.characters(27...46).prefix(16)), productRevisionLevel: revision)
    }

    private var serialNumber: [UInt8] { identifyData.characters(10...19) }

    /// Linux 6.1 lists the page of concurrent positioning ranges even for drives that have none, and then refuses it.
    private var supportedPages: [UInt8] {
        VitalProductData.supportedPages([
            VitalProductData.PageCode.supportedPages,
            VitalProductData.PageCode.unitSerialNumber,
            VitalProductData.PageCode.deviceIdentification,
            VitalProductData.PageCode.ataInformation,
            VitalProductData.PageCode.blockLimits,
            VitalProductData.PageCode.blockDeviceCharacteristics,
            VitalProductData.PageCode.logicalBlockProvisioning,
            VitalProductData.PageCode.concurrentPositioningRanges,
        ])
    }

    /// The serial number, vendor with model and serial number, and the world wide name if there is one.
    private var deviceIdentification: [UInt8] {
        var designators: [VitalProductData.Designator] = [
            .vendorSpecific(serialNumber),
            .t10VendorIdentification(Self.vendorIdentification, identifyData.characters(27...46) + serialNumber),
        ]
        if let name = identifyData.worldWideName {
            designators.append(.nameAddressAuthority(name))
        }
        return VitalProductData.deviceIdentification(designators)
    }

    /// The translator calls itself libata. The signature is made up: a Register Device to Host FIS with DRDY, count 1
    /// and LBA low 1.
    private var ataInformation: [UInt8] {
        let translator = StandardInquiryData(
            vendorIdentification: Array("linux".utf8), productIdentification: Array("libata".utf8),
            productRevisionLevel: Array("3.00".utf8))
        let signature: [UInt8] = [0x34, 0x80, 0x40, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0, 0x01]
        var buffer = [UInt8](repeating: 0, count: IdentifyData.byteCount)
        var span = buffer.mutableSpan
        // The elements are bytes: any pattern is valid.
        var bytes = unsafe span.mutableBytes
        identifyData.copy(into: &bytes)
        return VitalProductData.ataInformation(
            translator: translator, signature: signature, identifyCommand: Command.identifyDevice.rawValue,
            identifyData: bytes.bytes)
    }

    /// One physical sector is what transfers should be multiples of. A granularity of one sector is how Linux says that
    /// there is unmapping.
    private var blockLimits: [UInt8] {
        let hasTrim = identifyData.supportsTrim
        return VitalProductData.blockLimits(
            optimalTransferLengthGranularity: 1 << UInt16(identifyData.logicalSectorsPerPhysicalExponent),
            optimalUnmapGranularity: hasTrim ? 1 : 0,
            maximumWriteSameLength: hasTrim ? Self.maximumTrimSectors : 0)
    }

    /// Reserved rates (2 to 400h and FFFFh) and form factors (above 5) count as not reported.
    private var blockDeviceCharacteristics: [UInt8] {
        let rate = identifyData.rotationRate
        let formFactor = UInt8(identifyData[word: 168] & 0x0F)
        return VitalProductData.blockDeviceCharacteristics(
            mediumRotationRate: rate == 1 || (0x0401...0xFFFE).contains(rate) ? rate : 0,
            nominalFormFactor: formFactor <= 5 ? formFactor : 0)
    }
}

extension IdentifyData {
    /// The characters of an ASCII field with their padding: the first one of a word is in its high byte.
    func characters(_ words: ClosedRange<Int>) -> [UInt8] {
        words.flatMap { [UInt8(self[word: $0] >> 8), UInt8(self[word: $0] & 0xFF)] }
    }
}
