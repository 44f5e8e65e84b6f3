// Standard INQUIRY data (SPC-5) as the SAT layer of Linux gives it for a disk.

/// The fields of standard INQUIRY data that differ from one disk to another.
public struct StandardInquiryData: Equatable, Sendable {
    /// T10 VENDOR IDENTIFICATION, 8 characters.
    public var vendorIdentification: [UInt8]
    /// PRODUCT IDENTIFICATION, 16 characters.
    public var productIdentification: [UInt8]
    /// PRODUCT REVISION LEVEL, 4 characters.
    public var productRevisionLevel: [UInt8]

    /// Creates the data from ASCII characters; longer text is cut, shorter text padded with spaces.
    public init(vendorIdentification: [UInt8], productIdentification: [UInt8], productRevisionLevel: [UInt8]) {
        self.vendorIdentification = vendorIdentification
        self.productIdentification = productIdentification
        self.productRevisionLevel = productRevisionLevel
    }

    /// The data in bytes: 96 of them, which is what the additional length says.
    public var bytes: [UInt8] {
        var data: [UInt8] = [
            0x00,  // peripheral device type: direct access block device
            0x00,  // not removable
            0x05,  // version: SPC-3
            0x02,  // response data format
            96 - 5,  // additional length
            0x00, 0x00,
            0x02,  // CMDQUE
        ]
        data += padded(vendorIdentification, to: 8)
        data += padded(productIdentification, to: 16)
        data += padded(productRevisionLevel, to: 4)
        data += [UInt8](repeating: 0, count: 58 - data.count)
        // Version descriptors: SAM-3, SBC-2, SPC-3, each without a claimed version.
        data += [0x00, 0x60, 0x03, 0x20, 0x03, 0x00]
        data += [UInt8](repeating: 0, count: 96 - data.count)
        return data
    }
}

/// A left-aligned ASCII field of exactly `count` characters (SPC-5 4.3.1).
func padded(_ characters: [UInt8], to count: Int) -> [UInt8] {
    characters.prefix(count) + [UInt8](repeating: UInt8(ascii: " "), count: max(0, count - characters.count))
}

/// The bytes of an integer, most significant first.
func bigEndian<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    stride(from: Value.bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> $0) }
}
