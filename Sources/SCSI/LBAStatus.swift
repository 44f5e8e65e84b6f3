// GET LBA STATUS parameter data: which blocks are mapped (SBC-4).

/// PROVISIONING STATUS of an LBA status descriptor (SBC-4).
public enum ProvisioningStatus: UInt8, Sendable {
    /// Mapped, or the unit does not know.
    case mapped = 0
    /// Deallocated.
    case deallocated = 1
}

/// Parameter data with one LBA status descriptor, which is enough: the initiator asks again behind it.
public struct LBAStatusData: Equatable, Sendable {
    /// LBA STATUS LOGICAL BLOCK ADDRESS.
    public var logicalBlockAddress: UInt64
    /// NUMBER OF LOGICAL BLOCKS that have this status.
    public var numberOfLogicalBlocks: UInt32
    /// PROVISIONING STATUS.
    public var provisioningStatus: ProvisioningStatus

    /// Header of 8 bytes and one descriptor of 16.
    public static let byteCount = 24

    /// Creates the data.
    public init(logicalBlockAddress: UInt64, numberOfLogicalBlocks: UInt32, provisioningStatus: ProvisioningStatus) {
        self.logicalBlockAddress = logicalBlockAddress
        self.numberOfLogicalBlocks = numberOfLogicalBlocks
        self.provisioningStatus = provisioningStatus
    }

    /// Writes the data to the start of `bytes`, as much as was asked for and as there is room. Returns how many bytes
    /// that were.
    public func encode(into bytes: inout MutableRawSpan, allocationLength: UInt32) -> Int {
        // PARAMETER DATA LENGTH counts what follows it: four bytes of header and the descriptor.
        let words: InlineArray<6, UInt32> = [
            20, 0,
            UInt32(truncatingIfNeeded: logicalBlockAddress >> 32), UInt32(truncatingIfNeeded: logicalBlockAddress),
            numberOfLogicalBlocks, UInt32(provisioningStatus.rawValue) << 24,
        ]
        let count = min(bytes.byteCount, Int(min(allocationLength, UInt32(Self.byteCount))))
        for offset in 0..<count {
            let byte = UInt8(truncatingIfNeeded: words[offset / 4] >> UInt32(24 - offset % 4 * 8))
            bytes.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
        }
        return count
    }

    /// Reads back what ``encode(into:allocationLength:)`` wrote; nil if `bytes` hold no whole descriptor.
    public init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        // The data are long enough, and every bit pattern is an integer.
        let address = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 8, as: UInt64.self)
        let count = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 16, as: UInt32.self)
        let status = unsafe bytes.unsafeLoad(fromByteOffset: 20, as: UInt8.self)
        guard let provisioningStatus = ProvisioningStatus(rawValue: status & 0x0F) else { return nil }
        self.init(
            logicalBlockAddress: UInt64(bigEndian: address), numberOfLogicalBlocks: UInt32(bigEndian: count),
            provisioningStatus: provisioningStatus)
    }
}
