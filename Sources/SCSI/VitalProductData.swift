// Vital product data pages (SPC-5, SBC-4, SAT-5 for the ATA Information page): one function a page.

/// The pages that INQUIRY with EVPD returns. Each function gives a whole page, header included.
public enum VitalProductData {
    /// The page codes of the pages here.
    public enum PageCode {
        /// Supported VPD Pages.
        public static let supportedPages: UInt8 = 0x00
        /// Unit Serial Number.
        public static let unitSerialNumber: UInt8 = 0x80
        /// Device Identification.
        public static let deviceIdentification: UInt8 = 0x83
        /// ATA Information.
        public static let ataInformation: UInt8 = 0x89
        /// Block Limits.
        public static let blockLimits: UInt8 = 0xB0
        /// Block Device Characteristics.
        public static let blockDeviceCharacteristics: UInt8 = 0xB1
        /// Logical Block Provisioning.
        public static let logicalBlockProvisioning: UInt8 = 0xB2
        /// Concurrent Positioning Ranges.
        public static let concurrentPositioningRanges: UInt8 = 0xB9
    }

    /// Byte 0 (an accessible direct access block device), page code and length, then the content.
    private static func page(_ code: UInt8, _ content: [UInt8]) -> [UInt8] {
        [0x00, code] + bigEndian(UInt16(content.count)) + content
    }

    /// Supported VPD Pages (SPC-5).
    public static func supportedPages(_ codes: [UInt8]) -> [UInt8] {
        page(PageCode.supportedPages, codes)
    }

    /// Unit Serial Number (SPC-5).
    public static func unitSerialNumber(_ serialNumber: [UInt8]) -> [UInt8] {
        page(PageCode.unitSerialNumber, serialNumber)
    }

    /// Device Identification (SPC-5): the designators, in this order.
    public static func deviceIdentification(_ designators: [Designator]) -> [UInt8] {
        page(PageCode.deviceIdentification, designators.flatMap(\.bytes))
    }

    /// ATA Information (SAT-5): who translates, the signature of the device and its IDENTIFY DEVICE data.
    ///
    /// `signature` is the Register Device to Host FIS, or what stands for it, 20 bytes.
    public static func ataInformation(
        translator: StandardInquiryData, signature: [UInt8], identifyCommand: UInt8, identifyData: RawSpan
    ) -> [UInt8] {
        var content: [UInt8] = [0, 0, 0, 0]
        content += padded(translator.vendorIdentification, to: 8)
        content += padded(translator.productIdentification, to: 16)
        content += padded(translator.productRevisionLevel, to: 4)
        content += signature.prefix(20) + [UInt8](repeating: 0, count: max(0, 20 - signature.count))
        content += [identifyCommand, 0, 0, 0]
        for offset in 0..<512 {
            // The condition keeps the offset inside, and every bit pattern is a UInt8.
            let isInside = offset < identifyData.byteCount
            content.append(isInside ? unsafe identifyData.unsafeLoad(fromByteOffset: offset, as: UInt8.self) : 0)
        }
        return page(PageCode.ataInformation, content)
    }

    /// Block Limits (SBC-4). The unmap fields are zero, except the granularity that says there is some unmapping.
    public static func blockLimits(
        optimalTransferLengthGranularity: UInt16, optimalUnmapGranularity: UInt32, maximumWriteSameLength: UInt64
    ) -> [UInt8] {
        var content: [UInt8] = [0, 0]
        content += bigEndian(optimalTransferLengthGranularity)
        content += [UInt8](repeating: 0, count: 20)
        content += bigEndian(optimalUnmapGranularity)
        content += [UInt8](repeating: 0, count: 4)
        content += bigEndian(maximumWriteSameLength)
        content += [UInt8](repeating: 0, count: 0x3C - content.count)
        return page(PageCode.blockLimits, content)
    }

    /// Block Device Characteristics (SBC-4): rotation rate and form factor.
    public static func blockDeviceCharacteristics(mediumRotationRate: UInt16, nominalFormFactor: UInt8) -> [UInt8] {
        var content = bigEndian(mediumRotationRate)
        content += [0, nominalFormFactor & 0x0F]
        content += [UInt8](repeating: 0, count: 0x3C - content.count)
        return page(PageCode.blockDeviceCharacteristics, content)
    }

    /// Logical Block Provisioning (SBC-4): LBPWS, unmapping by WRITE SAME (16), and nothing else.
    public static func logicalBlockProvisioning(unmapsByWriteSame16: Bool, readsZeroes: Bool = false) -> [UInt8] {
        // LBPRZ, 001b.
        page(
            PageCode.logicalBlockProvisioning,
            [0, (unmapsByWriteSame16 ? 0x40 : 0) | (readsZeroes ? 0x04 : 0), 0, 0])
    }

    /// A designation descriptor of the Device Identification page (SPC-5) for the logical unit.
    public struct Designator: Equatable, Sendable {
        /// CODE SET: 1 binary, 2 ASCII.
        public var codeSet: UInt8
        /// DESIGNATOR TYPE: 0 vendor specific, 1 T10 vendor identification, 3 NAA.
        public var type: UInt8
        /// DESIGNATOR.
        public var designator: [UInt8]

        /// Characters that only the vendor understands.
        public static func vendorSpecific(_ characters: [UInt8]) -> Self {
            Self(codeSet: 2, type: 0, designator: characters)
        }

        /// A T10 vendor identification and characters that are unique for this vendor.
        public static func t10VendorIdentification(_ vendor: [UInt8], _ characters: [UInt8]) -> Self {
            Self(codeSet: 2, type: 1, designator: padded(vendor, to: 8) + characters)
        }

        /// A world wide name.
        public static func nameAddressAuthority(_ name: UInt64) -> Self {
            Self(codeSet: 1, type: 3, designator: bigEndian(name))
        }

        var bytes: [UInt8] { [codeSet, type, 0, UInt8(truncatingIfNeeded: designator.count)] + designator }
    }
}
