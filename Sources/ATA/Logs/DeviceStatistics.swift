// Device Statistics (ACS-3 A.5, log address 04h): the counters of SMART's attributes, in the standard's places.

extension Drive {
    /// A page of the log. One that the drive does not have is all zeroes.
    func deviceStatistics(page number: UInt8) -> Page {
        var page = Page(repeating: 0)
        guard statisticsPages.contains(number) else { return page }
        page.store(UInt16(1), at: 0)
        page[2] = number
        switch number {
        case 0x00:
            page[8] = UInt8(statisticsPages.count)
            for (index, number) in statisticsPages.enumerated() { page[9 + index] = number }
        case 0x01: storeGeneral(in: &page)
        case 0x03: storeRotating(in: &page)
        case 0x04: storeErrors(in: &page)
        case 0x05: storeTemperature(in: &page)
        case 0x06: storeTransport(in: &page)
        default:
            // Percentage Used Endurance Indicator, normalized: nothing here wears out.
            store(0, at: 8, bytes: 1, flags: 0xE0, in: &page)
        }
        return page
    }

    private var statisticsPages: [UInt8] {
        kind == .hardDisk ? [0x00, 0x01, 0x03, 0x04, 0x05, 0x06] : [0x00, 0x01, 0x04, 0x05, 0x06, 0x07]
    }

    /// A statistic of 8 bytes: bits 63 and 62 of the flags say that it is supported and valid.
    private func store(
        _ value: UInt64, at offset: Int, bytes: Int, flags: UInt8 = 0xC0, in page: inout Page
    ) {
        page.store(value, at: offset, bytes: bytes)
        page[offset + 7] = flags
    }

    /// Lifetime power-on resets, power-on hours, sectors and commands written and read.
    private func storeGeneral(in page: inout Page) {
        let history = disk.history
        store(history.powerCycles, at: 8, bytes: 4, in: &page)
        store(disk.lifetimeHours, at: 16, bytes: 4, in: &page)
        store(history.sectorsWritten, at: 24, bytes: 6, in: &page)
        store(history.writeCommands, at: 32, bytes: 6, in: &page)
        store(history.sectorsRead, at: 40, bytes: 6, in: &page)
        store(history.readCommands, at: 48, bytes: 6, in: &page)
    }

    /// Spindle motor power-on hours, head load events, reallocated sectors, and those that are candidates for it.
    private func storeRotating(in page: inout Page) {
        store(disk.lifetimeHours, at: 8, bytes: 4, in: &page)
        store(disk.history.spinUps, at: 24, bytes: 4, in: &page)
        store(disk.history.reallocatedSectors, at: 32, bytes: 4, in: &page)
        store(disk.pendingSectors, at: 56, bytes: 4, in: &page)
    }

    /// Reported uncorrectable errors, and resets between a command's acceptance and its end.
    private func storeErrors(in page: inout Page) {
        store(disk.history.uncorrectableErrors, at: 8, bytes: 4, in: &page)
        store(0, at: 16, bytes: 4, in: &page)
    }

    /// Current, highest and lowest temperature; the specified limits.
    private func storeTemperature(in page: inout Page) {
        store(UInt64(disk.temperature.now), at: 8, bytes: 1, in: &page)
        store(UInt64(disk.history.hottest), at: 32, bytes: 1, in: &page)
        store(UInt64(disk.history.coldest), at: 40, bytes: 1, in: &page)
        store(UInt64(TemperatureModel.highestAllowed), at: 88, bytes: 1, in: &page)
        store(UInt64(TemperatureModel.lowestAllowed), at: 104, bytes: 1, in: &page)
    }

    /// Hardware resets, and CRC errors of the interface.
    private func storeTransport(in page: inout Page) {
        store(disk.history.hardwareResets, at: 8, bytes: 4, in: &page)
        store(disk.history.interfaceErrors, at: 24, bytes: 4, in: &page)
    }
}

/// A drive's temperature: it is that of its room when the power comes, and then goes a degree every two minutes
/// towards what its work makes of it.
struct TemperatureModel: Sendable {
    static let ambient: UInt8 = 24
    static let lowestAllowed: UInt8 = 5
    static let highestAllowed: UInt8 = 60
    /// Samples of the history (ACS-3 8.3.6), a minute each.
    static let samples = 128

    private(set) var now = Self.ambient
    /// Since the power came.
    private(set) var coldest = Self.ambient
    private(set) var hottest = Self.ambient
    private var history = InlineArray<128, UInt8>(repeating: 0x80)
    private(set) var latest = 127
    private var minutes: UInt64 = 0
    private var beganAt: UInt64 = 0

    mutating func powerOn(at nanoseconds: UInt64) {
        self = TemperatureModel()
        beganAt = nanoseconds
    }

    /// A sample by its place in the ring; 80h: there is none.
    func sample(_ place: Int) -> UInt8 { history[place] }

    /// Lets time pass. Of a long time the last samples count.
    mutating func advance(
        to nanoseconds: UInt64, isTurning: Bool, coldest lowest: inout UInt8, hottest highest: inout UInt8
    ) {
        guard nanoseconds > beganAt else { return }
        let passed = (nanoseconds - beganAt) / 60_000_000_000
        guard passed > minutes else { return }
        let target: UInt8 = isTurning ? 36 : 28
        // After so many minutes the temperature has come to rest.
        for minute in max(minutes, passed - min(passed, 256))..<passed {
            if minute % 2 == 1, now != target { now = now < target ? now + 1 : now - 1 }
            latest = (latest + 1) % Self.samples
            history[latest] = now
        }
        minutes = passed
        coldest = min(coldest, now)
        hottest = max(hottest, now)
        lowest = min(lowest, now)
        highest = max(highest, now)
    }
}
