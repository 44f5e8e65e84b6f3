// The meaning of the words of IDENTIFY DEVICE data (ACS-4 clause 7, IDENTIFY DEVICE; the obsolete ones ATA/ATAPI-5).

extension IdentifyData {
    /// Words 10-19 with their padding, 20 characters.
    public var serialNumberField: String { text(10...19) }
    /// Words 10-19 without trailing spaces.
    public var serialNumber: String { withoutTrailingSpaces(serialNumberField) }
    /// Words 23-26 with their padding, 8 characters.
    public var firmwareRevisionField: String { text(23...26) }
    /// Words 23-26 without trailing spaces.
    public var firmwareRevision: String { withoutTrailingSpaces(firmwareRevisionField) }
    /// Words 27-46 with their padding, 40 characters.
    public var modelNumberField: String { text(27...46) }
    /// Words 27-46 without trailing spaces.
    public var modelNumber: String { withoutTrailingSpaces(modelNumberField) }

    private func withoutTrailingSpaces(_ field: String) -> String {
        var bytes = Array(field.utf8)
        while bytes.last == UInt8(ascii: " ") { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Logical sectors that a host can address: words 100-103 with the 48-bit Address feature set, else 60-61.
    public var sectors: UInt64 { supportsLBA48 ? number(100...103) : number(60...61) }
    /// Sectors that 28-bit commands can address: words 60-61.
    public var sectors28: UInt64 { number(60...61) }

    /// Default cylinders, heads and sectors per track: words 1, 3 and 6.
    public var defaultGeometry: Geometry {
        Geometry(cylinders: UInt32(self[word: 1]), heads: UInt32(self[word: 3]), sectorsPerTrack: UInt32(self[word: 6]))
    }

    /// The 48-bit Address feature set: word 83 bit 10.
    public var supportsLBA48: Bool { self[word: 83] & 0xC400 == 0x4400 }
    /// The volatile write cache is on: word 85 bit 5.
    public var writeCacheEnabled: Bool { self[word: 85] & 0x0020 != 0 }
    /// WRITE DMA FUA EXT is there: word 84 bit 6, and word 87 bit 6.
    public var supportsForceUnitAccess: Bool { self[word: 84] & 0xC040 == 0x4040 && self[word: 87] & 0xC040 == 0x4040 }
    /// DATA SET MANAGEMENT knows TRIM: word 169 bit 0.
    public var supportsTrim: Bool { self[word: 169] & 0x0001 != 0 }
    /// Reads after TRIM give the same each time: word 69 bit 14.
    public var supportsDeterministicReadAfterTrim: Bool { self[word: 69] & 0x4000 != 0 }
    /// Reads after TRIM give zeroes: word 69 bit 5 (with bit 14).
    public var supportsZeroesAfterTrim: Bool { self[word: 69] & 0x4020 == 0x4020 }
    /// NCQ: word 76 bit 8. A parallel drive has 0 or FFFFh there.
    public var supportsNCQ: Bool { self[word: 76] != 0xFFFF && self[word: 76] & 0x0100 != 0 }
    /// Commands that the drive can hold at once: word 75, one more than it says.
    public var queueDepth: Int { Int(self[word: 75] & 0x1F) + 1 }

    /// Word 217: 0 not reported, 1 not rotating, else revolutions per minute.
    public var rotationRate: UInt16 { self[word: 217] }

    /// 512, or words 117-118 if word 106 says that they count.
    public var logicalSectorBytes: UInt32 {
        self[word: 106] & 0xD000 == 0x5000 ? UInt32(number(117...118)) &* 2 : 512
    }
    /// Logical sectors in a physical one, as a power of two: word 106 bits 3:0.
    public var logicalSectorsPerPhysicalExponent: Int {
        self[word: 106] & 0xE000 == 0x6000 ? Int(self[word: 106] & 0x000F) : 0
    }
    /// Bytes of a physical sector.
    public var physicalSectorBytes: UInt32 { logicalSectorBytes << UInt32(logicalSectorsPerPhysicalExponent) }

    /// Words 108-111, the most significant first; nil if word 87 bit 8 says that there is none.
    public var worldWideName: UInt64? {
        guard self[word: 87] & 0xC100 == 0x4100 else { return nil }
        return (108...111).reduce(0) { $0 << 16 | UInt64(self[word: $1]) }
    }
}

extension IdentifyData {
    /// Shows the volatile write cache as on or off: the whole of word 85, as a QEMU drive has it (NOP and SMART stay).
    mutating func setWriteCache(_ enabled: Bool) {
        self[word: 85] = enabled ? 0x4021 : 0x4001
    }

    /// Shows how many sectors READ and WRITE MULTIPLE move in a block: word 59.
    mutating func setMultiple(_ sectors: UInt8) {
        self[word: 59] = sectors == 0 ? 0 : 0x0100 | UInt16(sectors)
    }

    /// Shows a transfer mode as selected: words 62, 63 and 88 (ACS-4 clause 7, SET FEATURES, "Set transfer mode").
    /// - Parameter mode: the count register of SET FEATURES. A QEMU drive takes modes that it does not announce.
    /// - Returns: whether there is such a mode; nothing changed if not.
    mutating func setTransferMode(_ mode: UInt8) -> Bool {
        let selected: UInt16 = 0x0100 << UInt16(mode & 0x07)
        var singleWord: UInt16 = 0x0007
        var multiword: UInt16 = 0x0007
        var ultra: UInt16 = 0x003F
        switch mode >> 3 {
        case 0, 1: break
        case 2: singleWord |= selected
        case 4: multiword |= selected
        case 8: ultra |= selected
        default: return false
        }
        self[word: 62] = singleWord
        self[word: 63] = multiword
        self[word: 88] = ultra
        return true
    }
}
