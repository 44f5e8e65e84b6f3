// The IDENTIFY DEVICE data of a QEMU 7.2 `ide-hd` at power-on, word by word (their meaning: ACS-4 clause 7,
// IDENTIFY DEVICE; the obsolete ones ATA/ATAPI-5).

extension IdentifyData {
    /// Sectors that READ and WRITE MULTIPLE move in a block, at power-on and at most.
    static let maximumMultiple: UInt8 = 16

    /// The power-on data of a drive.
    /// - Parameters:
    ///   - properties: what `-device ide-hd,...` says; a write cache that is `auto` is on.
    ///   - sectors: the medium's size.
    ///   - geometry: cylinders, heads and sectors per track; see ``Geometry/init(_:sectors:bootSector:)``.
    ///   - controller: NCQ is announced on AHCI only.
    init(_ properties: DriveProperties, sectors: UInt64, geometry: Geometry, controller: Controller) {
        self.init()
        self[word: 0] = 0x0040
        storeGeometry(geometry)
        self[word: 5] = 512
        store(properties.serialNumber ?? Self.defaultSerialNumber(properties), in: 10...19)
        self[word: 20] = 3
        self[word: 21] = 512
        self[word: 22] = 4
        store(properties.firmwareRevision, in: 23...26)
        store(properties.modelNumber, in: 27...46)
        self[word: 47] = 0x8000 | UInt16(Self.maximumMultiple)
        self[word: 48] = 1
        self[word: 49] = 0x0B00
        self[word: 51] = 0x0200
        self[word: 52] = 0x0200
        self[word: 53] = 0x0007
        setMultiple(Self.maximumMultiple)
        store(sectors: sectors)
        // Ultra DMA 5 is selected before any host has asked for it.
        _ = setTransferMode(0x45)
        self[word: 64] = 0x0003
        for number in 65...68 { self[word: number] = 120 }
        if controller == .ich9AHCI {
            self[word: 75] = 31
            self[word: 76] = 0x0100
        }
        self[word: 80] = 0x00F0
        self[word: 81] = 0x0016
        self[word: 82] = 0x4021
        self[word: 83] = 0x7400
        self[word: 84] = 0x4000
        setWriteCache(properties.writeCache != .off)
        self[word: 86] = 0x3400
        self[word: 87] = 0x4000
        self[word: 93] = 0x6001
        self[word: 106] = 0x6000 | Self.physicalExponent(properties)
        if properties.logicalBlockSize != .smallest {
            // The size is in words 117-118, in words.
            self[word: 106] |= 0x1000
            store(properties.logicalBlockSize.bytes / 2, in: 117...118)
        }
        storeOptional(properties)
    }

    /// The power-on data of a QEMU 7.2 `ide-cd` (IDENTIFY PACKET DEVICE, ATA/ATAPI-4).
    init(packetDevice properties: DriveProperties, controller: Controller) {
        self.init()
        // A removable CD-ROM device with packets of 12 bytes, which takes them within 50 us.
        self[word: 0] = 0x85C0
        store(properties.serialNumber ?? Self.defaultSerialNumber(properties), in: 10...19)
        self[word: 20] = 3
        self[word: 21] = 512
        self[word: 22] = 4
        store(properties.firmwareRevision, in: 23...26)
        store(properties.modelNumber, in: 27...46)
        self[word: 48] = 1
        self[word: 49] = 0x0300
        self[word: 53] = 0x0007
        _ = setTransferMode(0x45)
        self[word: 64] = 0x0003
        self[word: 65] = 180
        self[word: 66] = 180
        self[word: 67] = 300
        self[word: 68] = 180
        self[word: 71] = 30
        self[word: 72] = 30
        if controller == .ich9AHCI {
            self[word: 75] = 31
            self[word: 76] = 0x0100
        }
        self[word: 80] = 0x001E
        if properties.worldWideName != 0 {
            self[word: 84] = 0x0100
            self[word: 87] = 0x0100
            store(worldWideName: properties.worldWideName)
        }
    }

    /// Words 60 and 61, and 100 to 103: how many sectors there are.
    mutating func store(sectors: UInt64) {
        store(min(sectors, 0x0FFF_FFFF), in: 60...61)
        store(sectors, in: 100...103)
    }

    /// Words 1, 3, 4 and 6, and 54 to 58.
    mutating func storeGeometry(_ geometry: Geometry) {
        let cylinders = UInt16(truncatingIfNeeded: geometry.cylinders)
        let heads = UInt16(truncatingIfNeeded: geometry.heads)
        let sectorsPerTrack = UInt16(truncatingIfNeeded: geometry.sectorsPerTrack)
        self[word: 1] = cylinders
        self[word: 3] = heads
        self[word: 4] = 512 &* sectorsPerTrack
        self[word: 6] = sectorsPerTrack
        self[word: 54] = cylinders
        self[word: 55] = heads
        self[word: 56] = sectorsPerTrack
        store(UInt64(cylinders) * UInt64(heads) * UInt64(sectorsPerTrack), in: 57...58)
    }

    /// The words that are zero unless a property asks for them.
    private mutating func storeOptional(_ properties: DriveProperties) {
        if properties.worldWideName != 0 {
            self[word: 84] |= 0x0100
            self[word: 87] |= 0x0100
            store(worldWideName: properties.worldWideName)
        }
        if properties.supportsTrim {
            self[word: 69] = 0x4000
            self[word: 169] = 0x0001
        }
        self[word: 217] = properties.rotationRate
    }

    /// Words 108 to 111, the most significant first.
    mutating func store(worldWideName: UInt64) {
        for number in 0..<4 {
            self[word: 111 - number] = UInt16(truncatingIfNeeded: worldWideName >> (16 * UInt64(number)))
        }
    }

    /// `QM` and five digits: QEMU counts the units of all channels, two to a channel or AHCI port, from one on.
    static func defaultSerialNumber(_ properties: DriveProperties) -> String {
        let digits = String(2 * Int(properties.bus) + Int(properties.unit) + 1)
        return "QM" + String(repeating: "0", count: 5 - digits.utf8.count) + digits
    }

    /// The power of two of logical sectors in a physical one.
    static func physicalExponent(_ properties: DriveProperties) -> UInt16 {
        let sectors = max(
            UInt32(properties.logicalBlockSize.blocks(inBytes: UInt64(properties.physicalBlockBytes))), 1)
        return UInt16(31 - sectors.leadingZeroBitCount)
    }
}
