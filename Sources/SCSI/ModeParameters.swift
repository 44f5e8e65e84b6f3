// Mode parameters: headers, the block descriptor and the pages of a disk (SPC-5, SBC-4).

/// PC, the page control of MODE SENSE (SPC-5).
public enum ModePageControl: UInt8, Sendable {
    /// The values at present.
    case current = 0
    /// A mask of what MODE SELECT may change.
    case changeable = 1
    /// The values after power-on.
    case defaults = 2
    /// The values kept over a power cycle.
    case saved = 3
}

/// A mode page of a disk behind a SAT layer.
public enum ModePage: Equatable, Sendable {
    /// Read-Write Error Recovery (SBC-4): AWRE, and no retries.
    case readWriteErrorRecovery
    /// Caching (SBC-4): WCE and DRA.
    case caching(writeCacheEnabled: Bool, readAheadDisabled: Bool)
    /// Control (SPC-5): D_SENSE.
    case control(descriptorSense: Bool)

    /// The page codes of the pages here, and of all pages.
    public enum Code {
        /// Read-Write Error Recovery.
        public static let readWriteErrorRecovery: UInt8 = 0x01
        /// Caching.
        public static let caching: UInt8 = 0x08
        /// Control.
        public static let control: UInt8 = 0x0A
        /// All pages.
        public static let all: UInt8 = 0x3F
    }

    /// WCE of the caching page and D_SENSE of the control page: byte 2, bit 2, the only changeable bits.
    public static let changeableBit: UInt8 = 0x04

    /// The page with its current values. Linux reports the same as default values.
    public var current: [UInt8] {
        switch self {
        case .readWriteErrorRecovery:
            return [Code.readWriteErrorRecovery, 0x0A, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        case .caching(let writeCacheEnabled, let readAheadDisabled):
            var page = [Code.caching, 0x12] + [UInt8](repeating: 0, count: 0x12)
            page[2] = writeCacheEnabled ? Self.changeableBit : 0
            page[12] = readAheadDisabled ? 0x20 : 0
            return page
        case .control(let descriptorSense):
            // GLTSD, an unlimited busy timeout and an extended self-test of 30 seconds.
            let flags: UInt8 = 0x02 | (descriptorSense ? Self.changeableBit : 0)
            return [Code.control, 0x0A, flags, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 30]
        }
    }

    /// The mask of changeable bits in the shape of the page.
    public var changeable: [UInt8] {
        var page = Array(current.prefix(2)) + [UInt8](repeating: 0, count: current.count - 2)
        if self != .readWriteErrorRecovery {
            page[2] = Self.changeableBit
        }
        return page
    }
}

/// The answer of MODE SENSE: header, block descriptor, pages (SPC-5).
public struct ModeParameterList: Equatable, Sendable {
    /// The list is for MODE SENSE (10), whose header has 8 bytes; else for (6), whose header has 4.
    public var isLong: Bool
    /// There is a short LBA block descriptor; its number of blocks is 0, "unspecified".
    public var hasBlockDescriptor: Bool
    /// LOGICAL BLOCK LENGTH in that.
    public var blockBytes: UInt32
    /// DPOFUA: commands may have DPO and FUA.
    public var supportsForceUnitAccess: Bool
    /// The pages, one after the other.
    public var pages: [UInt8]

    /// Creates a list.
    public init(
        isLong: Bool, hasBlockDescriptor: Bool, blockBytes: UInt32 = 512, supportsForceUnitAccess: Bool = false,
        pages: [UInt8]
    ) {
        self.isLong = isLong
        self.hasBlockDescriptor = hasBlockDescriptor
        self.blockBytes = blockBytes
        self.supportsForceUnitAccess = supportsForceUnitAccess
        self.pages = pages
    }

    /// The length of the header that a MODE SENSE or MODE SELECT of this size has.
    public static func headerByteCount(isLong: Bool) -> Int { isLong ? 8 : 4 }

    /// The list in bytes. MODE DATA LENGTH counts everything after itself. The device-specific parameter says that it
    /// is not write-protected, and whether there are DPO and FUA (SBC-4).
    public var bytes: [UInt8] {
        let blockDescriptor = hasBlockDescriptor ? [0, 0, 0, 0] + bigEndian(blockBytes & 0xFF_FFFF) : []
        let parameter: UInt8 = supportsForceUnitAccess ? 0x10 : 0
        let count = Self.headerByteCount(isLong: isLong) + blockDescriptor.count + pages.count
        if isLong {
            return bigEndian(UInt16(count - 2)) + [0, parameter, 0, 0, 0, UInt8(blockDescriptor.count)]
                + blockDescriptor + pages
        }
        return [UInt8(count - 1), 0, parameter, UInt8(blockDescriptor.count)] + blockDescriptor + pages
    }
}
