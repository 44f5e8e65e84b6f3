// The IDENTIFY DEVICE data of a whole disk (ACS-3 clause 7, IDENTIFY DEVICE): what never changes, and what follows the
// drive's state.

extension IdentifyData {
    /// What the drive is: words that stay as they are.
    init(disk properties: DriveProperties, sectors: UInt64, geometry: Geometry, features: FeatureSet) {
        self.init()
        self[word: 0] = 0x0040
        // The data are complete, and the medium turns without being told to.
        self[word: 2] = 0xC837
        storeGeometry(geometry)
        self[word: 4] = 0
        store(properties.serialNumber ?? Self.defaultSerialNumber(properties), in: 10...19)
        store(properties.firmwareRevision, in: 23...26)
        store(properties.modelNumber, in: 27...46)
        self[word: 47] = 0x8000 | UInt16(Self.maximumMultiple)
        // Standby timer values are the standard's; IORDY, LBA, DMA.
        self[word: 49] = 0x2F00
        self[word: 50] = 0x4000
        self[word: 53] = 0x0007
        self[word: 63] = 0x0007
        self[word: 64] = 0x0003
        for number in 65...68 { self[word: number] = 120 }
        // Queued commands; SATA of all three speeds, host-initiated power management, Phy event counters.
        self[word: 75] = 31
        self[word: 76] = 0x060E
        // 6 Gbit/s.
        self[word: 77] = 0x0006
        // ATA/ATAPI-5 to ACS-3; ACS-3 revision 5.
        self[word: 80] = 0x07E0
        self[word: 81] = 0x006D
        for number in [83, 84, 119, 120] { self[word: number] = 0x4000 }
        // Words 119 and 120 count.
        self[word: 86] = 0x8000
        self[word: 87] = 0x4000
        self[word: 88] = 0x407F
        self[word: 106] = 0x6000 | Self.physicalExponent(properties)
        if properties.logicalBlockSize != .smallest {
            self[word: 106] |= 0x1000
            store(properties.logicalBlockSize.bytes / 2, in: 117...118)
        }
        store(worldWideName: properties.worldWideName != 0 ? properties.worldWideName : madeUpName)
        self[word: 168] = properties.kind == .solidState ? 3 : 2
        self[word: 209] = 0x4000
        self[word: 217] = properties.rotationRate
        // Serial, up to SATA 3.1.
        self[word: 222] = 0x107F
        if features.contains(.trim) {
            // Reads after TRIM give zeroes; one command takes eight blocks of ranges.
            self[word: 69] |= 0x4020
            self[word: 105] = 8
        }
        if features.contains(.smartCommandTransport) { self[word: 206] = SmartCommandTransport.capabilities }
        for feature in Feature.allCases where features.contains(feature) {
            guard let announcement = feature.announcement else { continue }
            self[word: announcement.word] |= 1 << announcement.bit
        }
    }

    /// Shows a feature that is there as enabled, or not.
    mutating func setEnabled(_ feature: Feature, _ isEnabled: Bool) {
        guard let announcement = feature.announcement, let word = announcement.enabledWord,
            self[word: announcement.word] & 1 << announcement.bit != 0
        else { return }
        if isEnabled {
            self[word: word] |= 1 << announcement.bit
        } else {
            self[word: word] &= ~(1 << announcement.bit)
        }
    }

    /// Shows a transfer mode as selected, in words 63 and 88; PIO modes are none of these.
    mutating func storeTransferMode(multiword: UInt8?, ultra: UInt8?) {
        self[word: 63] = self[word: 63] & 0x00FF | (multiword.map { 0x0100 << UInt16($0) } ?? 0)
        self[word: 88] = self[word: 88] & 0x00FF | (ultra.map { 0x0100 << UInt16($0) } ?? 0)
    }

    /// Word 255: a signature, and what makes the sum of all bytes zero.
    mutating func storeIntegrityWord() {
        self[word: 255] = 0x00A5
        var sum: UInt8 = 0
        for number in 0..<256 {
            sum &+= UInt8(truncatingIfNeeded: self[word: number])
            sum &+= UInt8(truncatingIfNeeded: self[word: number] >> 8)
        }
        self[word: 255] |= UInt16(0 &- sum) << 8
    }

    /// A world wide name for a drive that was given none: locally assigned (SPC-4, NAA 3h), and made of what tells
    /// drives apart, so that a drive has the same one each time (FNV-1a of model and serial number).
    private var madeUpName: UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for number in 10...46 {
            for byte in [self[word: number] >> 8, self[word: number] & 0xFF] where !(20...26).contains(number) {
                hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3
            }
        }
        return 3 << 60 | hash & 0x0FFF_FFFF_FFFF_FFFF
    }
}
