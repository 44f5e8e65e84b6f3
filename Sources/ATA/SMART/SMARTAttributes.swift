// The attributes of a whole disk: SMART READ DATA and READ ATTRIBUTE THRESHOLDS (ATA8-ACS clause 7; attributes are the
// vendor's, and have the numbers that tools know). Each raw value is counted, none is made up.

/// An attribute as SMART READ DATA has it.
struct DiskAttribute {
    /// Bits of the flags: what tools know by these names.
    enum Flag {
        static let preFailure: UInt16 = 0x01
        static let onLine: UInt16 = 0x02
        static let errorRate: UInt16 = 0x08
        static let eventCount: UInt16 = 0x10
        static let selfPreserving: UInt16 = 0x20
    }

    var id: UInt8
    var flags: UInt16
    var value: UInt8 = 100
    var worst: UInt8 = 100
    var threshold: UInt8 = 0
    /// 48 bits.
    var raw: UInt64

    /// It says that the drive is about to fail (ACS-3, SMART RETURN STATUS).
    var isFailing: Bool { flags & Flag.preFailure != 0 && threshold != 0 && value <= threshold }
}

extension Drive {
    /// All attributes, by their numbers.
    var attributes: [DiskAttribute] {
        let history = disk.history
        let rotates = kind == .hardDisk
        let counter = DiskAttribute.Flag.onLine | DiskAttribute.Flag.eventCount | DiskAttribute.Flag.selfPreserving
        let critical = counter | DiskAttribute.Flag.preFailure
        let pending = disk.pendingSectors
        var list = [
            DiskAttribute(
                id: 1, flags: critical & ~DiskAttribute.Flag.eventCount | DiskAttribute.Flag.errorRate,
                value: Self.health(history.errorRate), worst: Self.health(history.highestErrorRate), threshold: 6,
                raw: history.uncorrectableErrors)
        ]
        if rotates {
            list.append(DiskAttribute(id: 3, flags: 0x03, raw: 0))
            list.append(DiskAttribute(id: 4, flags: counter, raw: history.spinUps))
        }
        list.append(
            DiskAttribute(
                id: 5, flags: critical, value: Self.spare(history.reallocatedSectors),
                worst: Self.spare(history.reallocatedSectors), threshold: 10, raw: history.reallocatedSectors))
        list.append(DiskAttribute(id: 9, flags: counter, raw: disk.lifetimeHours))
        if rotates { list.append(DiskAttribute(id: 10, flags: 0x13, threshold: 97, raw: 0)) }
        list.append(DiskAttribute(id: 12, flags: counter, raw: history.powerCycles))
        list.append(
            DiskAttribute(
                id: 187, flags: counter, value: Self.health(history.uncorrectableErrors),
                worst: Self.health(history.uncorrectableErrors), raw: history.uncorrectableErrors))
        list.append(temperatureAttribute)
        let most = Self.health(history.mostPendingSectors)
        list.append(DiskAttribute(id: 197, flags: 0x12, value: Self.health(pending), worst: most, raw: pending))
        list.append(DiskAttribute(id: 198, flags: 0x10, value: Self.health(pending), worst: most, raw: pending))
        list.append(DiskAttribute(id: 199, flags: 0x3E, raw: history.interfaceErrors))
        list.append(DiskAttribute(id: 241, flags: counter, raw: history.sectorsWritten & 0xFFFF_FFFF_FFFF))
        list.append(DiskAttribute(id: 242, flags: counter, raw: history.sectorsRead & 0xFFFF_FFFF_FFFF))
        return list
    }

    /// A value that falls from 100 to 1 with the number of errors.
    private static func health(_ errors: UInt64) -> UInt8 { UInt8(max(1, 100 - Int(min(errors, 99)))) }

    /// A value that falls from 100 to 1 with the sectors that could take the place of bad ones, 2,000 of them.
    private static func spare(_ used: UInt64) -> UInt8 { health(used / 20) }

    /// Degrees Celsius; in the higher bytes of the raw value the lowest and the highest since the power came.
    private var temperatureAttribute: DiskAttribute {
        let model = disk.temperature
        return DiskAttribute(
            id: 194, flags: 0x22, value: 100 &- model.now, worst: 100 &- disk.history.hottest,
            raw: UInt64(model.now) | UInt64(model.coldest) << 16 | UInt64(model.hottest) << 32)
    }

    /// SMART READ DATA.
    var smartData: Page {
        var page = Page(repeating: 0)
        page[0] = 1
        for (index, attribute) in attributes.enumerated() {
            let offset = 2 + 12 * index
            page[offset] = attribute.id
            page.store(attribute.flags, at: offset + 1)
            page[offset + 3] = attribute.value
            page[offset + 4] = attribute.worst
            for byte in 0..<6 {
                page[offset + 5 + byte] = UInt8(truncatingIfNeeded: attribute.raw >> (8 * UInt64(byte)))
            }
        }
        page[362] = disk.history.offLineStatus | (disk.history.collectsOffLine ? 0x80 : 0)
        page[363] = disk.selfTest?.statusByte(at: disk.now) ?? disk.history.selfTests.latestStatus
        page.store(UInt16(min(SelfTest.seconds(.offLine, disk: self), 0xFFFF)), at: 364)
        // Off-line data collection, automatic or at once; aborted by a command; self-tests, also conveyance and
        // selective.
        page[367] = 0x7B
        // Data are saved before power saving, and automatically if so set. Then: there is an error log, and GPL.
        page.store(UInt16(0x0003), at: 368)
        page[370] = 0x01
        page[372] = SelfTest.minutes(.short, disk: self)
        let extended = (SelfTest.seconds(.extended, disk: self) + 59) / 60
        page[373] = extended > 254 ? 0xFF : UInt8(max(1, extended))
        page[374] = SelfTest.minutes(.conveyance, disk: self)
        if extended > 254 { page.store(UInt16(min(extended, 0xFFFF)), at: 375) }
        page.storeChecksum()
        return page
    }

    /// SMART READ ATTRIBUTE THRESHOLDS.
    var smartThresholds: Page {
        var page = Page(repeating: 0)
        page[0] = 1
        for (index, attribute) in attributes.enumerated() {
            page[2 + 12 * index] = attribute.id
            page[3 + 12 * index] = attribute.threshold
        }
        page.storeChecksum()
        return page
    }
}

extension InlineArray where count == 512, Element == UInt8 {
    /// A number, lowest byte first.
    mutating func store<Number: FixedWidthInteger>(_ value: Number, at offset: Int) {
        for byte in 0..<Number.bitWidth / 8 {
            self[offset + byte] = UInt8(truncatingIfNeeded: value >> (8 * Number(byte)))
        }
    }

    /// So many bytes of a number, lowest byte first.
    mutating func store(_ value: UInt64, at offset: Int, bytes: Int) {
        for byte in 0..<bytes { self[offset + byte] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(byte))) }
    }
}
