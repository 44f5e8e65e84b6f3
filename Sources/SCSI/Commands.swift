// The command descriptor blocks that Spindle itself sends: the data path of an export, and what a report asks of a
// drive (SPC-5 clause 6, SBC-4 clause 5).

extension CommandDescriptorBlock {
    /// A 16-byte command with an address in bytes 2 to 9 and a length in bytes 10 to 13.
    @inlinable
    init(_ operationCode: UInt8, _ byte1: UInt8, address: UInt64, length: UInt32) {
        self.init(
            high: UInt64(operationCode) << 56 | UInt64(byte1) << 48 | address >> 16,
            low: address << 48 | UInt64(length) << 16)
    }

    /// READ (16), SBC-4.
    @inlinable
    public static func read16(logicalBlockAddress: UInt64, transferLength: UInt32) -> Self {
        Self(OperationCode.read16, 0, address: logicalBlockAddress, length: transferLength)
    }

    /// READ (10), SBC-4 and MMC-6.
    public static func read10(logicalBlockAddress: UInt32, transferLength: UInt16) -> Self {
        Self(
            high: UInt64(OperationCode.read10) << 56 | UInt64(logicalBlockAddress) << 16 | UInt64(transferLength >> 8),
            low: UInt64(transferLength & 0xFF) << 56)
    }

    /// WRITE (16), SBC-4.
    @inlinable
    public static func write16(
        logicalBlockAddress: UInt64, transferLength: UInt32, forceUnitAccess: Bool = false
    ) -> Self {
        Self(OperationCode.write16, forceUnitAccess ? 0x08 : 0, address: logicalBlockAddress, length: transferLength)
    }

    /// SYNCHRONIZE CACHE (10) of the whole medium, the form that Linux sends (SBC-4).
    @inlinable
    public static func synchronizeCache10() -> Self {
        Self(OperationCode.synchronizeCache10, 0, address: 0, length: 0)
    }

    /// WRITE SAME (16), SBC-4. Without a data-out buffer (NDOB) the block to write is zeroes; with `unmap` the
    /// blocks may be unmapped instead of written.
    @inlinable
    public static func writeSame16(
        logicalBlockAddress: UInt64, numberOfLogicalBlocks: UInt32, unmap: Bool, noDataOutBuffer: Bool
    ) -> Self {
        Self(
            OperationCode.writeSame16, (unmap ? 0x08 : 0) | (noDataOutBuffer ? 0x01 : 0),
            address: logicalBlockAddress, length: numberOfLogicalBlocks)
    }

    /// PRE-FETCH (16), SBC-4. A length of 0 is everything up to the end.
    @inlinable
    public static func preFetch16(logicalBlockAddress: UInt64, prefetchLength: UInt32) -> Self {
        Self(OperationCode.preFetch16, 0, address: logicalBlockAddress, length: prefetchLength)
    }

    /// VERIFY (16), SBC-4, without data.
    public static func verify16(logicalBlockAddress: UInt64, verificationLength: UInt32) -> Self {
        Self(OperationCode.verify16, 0, address: logicalBlockAddress, length: verificationLength)
    }

    /// GET LBA STATUS (16), SBC-4.
    @inlinable
    public static func getLBAStatus16(startingLogicalBlockAddress: UInt64, allocationLength: UInt32) -> Self {
        Self(
            OperationCode.serviceActionIn16, ServiceAction.getLBAStatus16, address: startingLogicalBlockAddress,
            length: allocationLength)
    }

    /// TEST UNIT READY (SPC-5).
    public static func testUnitReady() -> Self {
        Self(high: 0, low: 0)
    }

    /// INQUIRY for the standard data (SPC-5).
    public static func inquiry(allocationLength: UInt16) -> Self {
        Self(high: 0x1200_0000_0000_0000 | UInt64(allocationLength) << 24, low: 0)
    }

    /// INQUIRY for a vital product data page (EVPD).
    public static func inquiry(page: UInt8, allocationLength: UInt16) -> Self {
        Self(high: 0x1201_0000_0000_0000 | UInt64(page) << 40 | UInt64(allocationLength) << 24, low: 0)
    }

    /// MODE SENSE (6), SPC-5.
    public static func modeSense6(page: UInt8, control: ModePageControl, allocationLength: UInt8) -> Self {
        let pageCode = UInt64(control.rawValue << 6 | page & 0x3F)
        return Self(high: 0x1A00_0000_0000_0000 | pageCode << 40 | UInt64(allocationLength) << 24, low: 0)
    }

    /// MODE SENSE (10), SPC-5.
    public static func modeSense10(page: UInt8, control: ModePageControl, allocationLength: UInt16) -> Self {
        let pageCode = UInt64(control.rawValue << 6 | page & 0x3F)
        return Self(
            high: 0x5A00_0000_0000_0000 | pageCode << 40 | UInt64(allocationLength >> 8),
            low: UInt64(allocationLength & 0xFF) << 56)
    }

    /// READ CAPACITY (10), SBC-4.
    public static func readCapacity10() -> Self {
        Self(OperationCode.readCapacity10, 0, address: 0, length: 0)
    }

    /// READ CAPACITY (16), SBC-4.
    public static func readCapacity16(allocationLength: UInt32) -> Self {
        Self(OperationCode.serviceActionIn16, ServiceAction.readCapacity16, address: 0, length: allocationLength)
    }

    /// REPORT LUNS, SPC-5.
    public static func reportLUNs(allocationLength: UInt32) -> Self {
        Self(high: 0xA000_0000_0000_0000 | UInt64(allocationLength >> 16), low: UInt64(allocationLength & 0xFFFF) << 48)
    }
}
