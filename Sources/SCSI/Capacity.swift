// Parameter data about the whole unit: READ CAPACITY (SBC-4) and REPORT LUNS (SPC-5).

/// READ CAPACITY parameter data.
public struct ReadCapacityData: Equatable, Sendable {
    /// RETURNED LOGICAL BLOCK ADDRESS: the last one.
    public var lastLogicalBlockAddress: UInt64
    /// LOGICAL BLOCK LENGTH IN BYTES.
    public var logicalBlockBytes: UInt32
    /// LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT.
    public var physicalBlockExponent: UInt8
    /// LOWEST ALIGNED LOGICAL BLOCK ADDRESS.
    public var lowestAlignedLogicalBlockAddress: UInt16
    /// LBPME: the unit is thinly provisioned.
    public var managesProvisioning: Bool
    /// LBPRZ: unmapped blocks read as zeroes.
    public var readsZeroes: Bool

    /// Creates the data.
    public init(
        lastLogicalBlockAddress: UInt64, logicalBlockBytes: UInt32, physicalBlockExponent: UInt8,
        lowestAlignedLogicalBlockAddress: UInt16, managesProvisioning: Bool, readsZeroes: Bool = false
    ) {
        self.lastLogicalBlockAddress = lastLogicalBlockAddress
        self.logicalBlockBytes = logicalBlockBytes
        self.physicalBlockExponent = physicalBlockExponent
        self.lowestAlignedLogicalBlockAddress = lowestAlignedLogicalBlockAddress
        self.managesProvisioning = managesProvisioning
        self.readsZeroes = readsZeroes
    }

    /// READ CAPACITY (10): an address of FFFFFFFFh tells the initiator to ask with the long form.
    public var shortBytes: [UInt8] {
        bigEndian(UInt32(clamping: lastLogicalBlockAddress)) + bigEndian(logicalBlockBytes)
    }

    /// READ CAPACITY (16).
    public var longBytes: [UInt8] {
        let aligned =
            lowestAlignedLogicalBlockAddress & 0x3FFF | (managesProvisioning ? 0x8000 : 0) | (readsZeroes ? 0x4000 : 0)
        return bigEndian(lastLogicalBlockAddress) + bigEndian(logicalBlockBytes)
            + [0, physicalBlockExponent & 0x0F] + bigEndian(aligned) + [UInt8](repeating: 0, count: 16)
    }
}

/// REPORT LUNS parameter data of a target with one logical unit.
public enum ReportLUNsData {
    /// LUN LIST LENGTH of 8, and LUN 0.
    public static let bytes: [UInt8] = bigEndian(UInt32(8)) + [UInt8](repeating: 0, count: 12)
}
