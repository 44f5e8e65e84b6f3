// The features of a whole disk, and the words of IDENTIFY DEVICE data that announce them (ACS-3 clause 4, feature sets,
// and clause 7, IDENTIFY DEVICE; those that ACS-3 calls obsolete: ACS-2).

/// A feature, or a feature set, that a disk may have.
public enum Feature: UInt8, CaseIterable, Sendable {
    /// What every device has that is no packet device (4.2).
    case general
    /// 48-bit Address.
    case lba48
    /// Power Management.
    case powerManagement
    /// Advanced Power Management.
    case advancedPowerManagement
    /// The volatile write cache.
    case writeCache
    /// Read look-ahead.
    case lookAhead
    /// NOP.
    case nop
    /// READ BUFFER.
    case readBuffer
    /// WRITE BUFFER.
    case writeBuffer
    /// READ BUFFER DMA.
    case readBufferDMA
    /// WRITE BUFFER DMA.
    case writeBufferDMA
    /// FLUSH CACHE.
    case flushCache
    /// FLUSH CACHE EXT.
    case flushCacheEXT
    /// WRITE DMA FUA EXT and WRITE MULTIPLE FUA EXT.
    case forceUnitAccess
    /// Native Command Queuing.
    case nativeCommandQueuing
    /// IDLE IMMEDIATE with UNLOAD.
    case unload
    /// TRIM of DATA SET MANAGEMENT.
    case trim
    /// World wide name.
    case worldWideName
    /// SMART.
    case smart
    /// SMART error logging.
    case smartErrorLogging
    /// SMART self-test.
    case smartSelfTest
    /// General Purpose Logging.
    case generalPurposeLogging
    /// READ LOG DMA EXT and WRITE LOG DMA EXT.
    case logDMA
    /// SCT Command Transport.
    case smartCommandTransport
    /// Security.
    case security
    /// Host Protected Area (ACS-2).
    case hostProtectedArea
    /// Accessible Max Address Configuration.
    case accessibleMaxAddress
    /// WRITE UNCORRECTABLE EXT.
    case writeUncorrectable
    /// Sanitize Device.
    case sanitize
    /// ZERO EXT (ACS-4), which IDENTIFY DEVICE data do not tell of.
    case zeroEXT
    /// DOWNLOAD MICROCODE, which no disk here has: its firmware is this program.
    case downloadMicrocode

    /// A bit that says that the feature is there, and where it says whether the feature is enabled.
    struct Announcement {
        let word: Int
        let bit: UInt16
        /// Nil: what is there is enabled.
        var enabledWord: Int?
    }

    /// The bits of words 69, 76, 82 to 87, 119, 120 and 169. Words 49, 59, 75 and 206 have fields of their own.
    var announcement: Announcement? {
        switch self {
        case .general, .zeroEXT, .sanitize, .smartCommandTransport: nil
        case .smart: Announcement(word: 82, bit: 0, enabledWord: 85)
        case .security: Announcement(word: 82, bit: 1, enabledWord: 85)
        case .powerManagement: Announcement(word: 82, bit: 3, enabledWord: 85)
        case .writeCache: Announcement(word: 82, bit: 5, enabledWord: 85)
        case .lookAhead: Announcement(word: 82, bit: 6, enabledWord: 85)
        case .hostProtectedArea: Announcement(word: 82, bit: 10, enabledWord: 85)
        case .writeBuffer: Announcement(word: 82, bit: 12, enabledWord: 85)
        case .readBuffer: Announcement(word: 82, bit: 13, enabledWord: 85)
        case .nop: Announcement(word: 82, bit: 14, enabledWord: 85)
        case .downloadMicrocode: Announcement(word: 83, bit: 0, enabledWord: 86)
        case .advancedPowerManagement: Announcement(word: 83, bit: 3, enabledWord: 86)
        case .lba48: Announcement(word: 83, bit: 10, enabledWord: 86)
        case .flushCache: Announcement(word: 83, bit: 12, enabledWord: 86)
        case .flushCacheEXT: Announcement(word: 83, bit: 13, enabledWord: 86)
        case .smartErrorLogging: Announcement(word: 84, bit: 0, enabledWord: 87)
        case .smartSelfTest: Announcement(word: 84, bit: 1, enabledWord: 87)
        case .generalPurposeLogging: Announcement(word: 84, bit: 5, enabledWord: 87)
        case .forceUnitAccess: Announcement(word: 84, bit: 6, enabledWord: 87)
        case .worldWideName: Announcement(word: 84, bit: 8, enabledWord: 87)
        case .unload: Announcement(word: 84, bit: 13, enabledWord: 87)
        case .writeUncorrectable: Announcement(word: 119, bit: 2, enabledWord: 120)
        case .logDMA: Announcement(word: 119, bit: 3, enabledWord: 120)
        case .accessibleMaxAddress: Announcement(word: 119, bit: 8, enabledWord: 120)
        case .writeBufferDMA: Announcement(word: 69, bit: 10)
        case .readBufferDMA: Announcement(word: 69, bit: 11)
        case .nativeCommandQueuing: Announcement(word: 76, bit: 8)
        case .trim: Announcement(word: 169, bit: 0)
        }
    }
}

/// The features of one disk.
struct FeatureSet: Equatable, Sendable {
    private var bits: UInt64 = 0

    init(_ features: [Feature] = []) {
        for feature in features { insert(feature) }
    }

    func contains(_ feature: Feature) -> Bool { bits & Self.bit(feature) != 0 }
    mutating func insert(_ feature: Feature) { bits |= Self.bit(feature) }
    mutating func remove(_ feature: Feature) { bits &= ~Self.bit(feature) }

    mutating func set(_ feature: Feature, _ isThere: Bool) {
        if isThere { insert(feature) } else { remove(feature) }
    }

    private static func bit(_ feature: Feature) -> UInt64 { 1 << UInt64(feature.place) }
}

extension Feature {
    /// Its place in a ``FeatureSet``.
    fileprivate var place: UInt8 { rawValue }
}
