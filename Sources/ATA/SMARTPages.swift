// The 512-byte pages that the drive supplies: SMART data and thresholds (ATA8-ACS clause 7; attributes are the
// vendor's), summary error log and self-test log (ACS-4 clause 9), IDENTIFY DEVICE data.

/// A page as it is transferred.
typealias Page = InlineArray<512, UInt8>

extension Drive {
    /// Writes what the drive supplies to the start of a buffer, or as many bytes as there are.
    public func copy(_ page: DataPage, into bytes: inout MutableRawSpan) {
        let content: Page
        switch page {
        case .identifyDevice:
            identifyData.copy(into: &bytes)
            return
        case .smartData: content = kind.isWholeDisk ? smartData : smart.data
        case .smartThresholds: content = kind.isWholeDisk ? smartThresholds : smart.thresholds
        case .smartSummaryErrorLog: content = smart.summaryErrorLog
        case .smartSelfTestLog: content = smart.selfTests.page
        case .buffer: content = bufferPage
        case .log(let pages):
            for number in 0..<pages.count {
                copy(logPage(pages.first + number, of: pages), to: Int(number) * Self.pageBytes, in: &bytes)
            }
            return
        }
        copy(content, to: 0, in: &bytes)
    }

    private static var pageBytes: Int { IdentifyData.byteCount }

    private func copy(_ page: Page, to start: Int, in bytes: inout MutableRawSpan) {
        for offset in 0..<max(0, min(bytes.byteCount - start, page.count)) {
            bytes.storeBytes(of: page[offset], toByteOffset: start + offset, as: UInt8.self)
        }
    }
}

/// An attribute as a QEMU drive reports it. Current and worst value are the same.
private struct Attribute {
    var id: UInt8
    /// Bit 0: pre-failure; bit 1: updated on-line.
    var flags: UInt8
    var value: UInt8
    var raw: UInt8
    var threshold: UInt8
    /// The fourth and fifth raw byte: the temperature's lowest and highest.
    var extremes: UInt8 = 0

    static let all = [
        Attribute(id: 1, flags: 3, value: 100, raw: 0, threshold: 6),
        Attribute(id: 3, flags: 3, value: 100, raw: 16, threshold: 0),
        Attribute(id: 4, flags: 2, value: 100, raw: 100, threshold: 20),
        Attribute(id: 5, flags: 3, value: 100, raw: 0, threshold: 36),
        Attribute(id: 9, flags: 3, value: 100, raw: 1, threshold: 0),
        Attribute(id: 12, flags: 3, value: 100, raw: 0, threshold: 0),
        Attribute(id: 190, flags: 3, value: 69, raw: 31, threshold: 50, extremes: 31),
    ]
}

extension SMART {
    /// SMART READ DATA.
    var data: Page {
        var page = Page(repeating: 0)
        page[0] = 1
        for (index, attribute) in Attribute.all.enumerated() {
            let offset = 2 + 12 * index
            page[offset] = attribute.id
            page[offset + 1] = attribute.flags
            page[offset + 3] = attribute.value
            page[offset + 4] = attribute.value
            page[offset + 5] = attribute.raw
            page[offset + 7] = attribute.extremes
            page[offset + 8] = attribute.extremes
        }
        // Off-line data collection was completed; bit 7: it is repeated automatically.
        page[362] = autosave ? 0x82 : 0x02
        // Seconds of an off-line data collection.
        page[364] = 0x20
        page[365] = 0x01
        // Off-line data collection, its immediate execution, and self-tests; no conveyance, no selective.
        page[367] = 0x19
        // Data are saved before power saving; autosave is there. Then: an error log is there.
        page[368] = 0x03
        page[370] = 0x01
        // Minutes of a short, an extended and a conveyance self-test.
        page[372] = 2
        page[373] = 54
        page[374] = 1
        page.storeChecksum()
        return page
    }

    /// SMART READ ATTRIBUTE THRESHOLDS.
    var thresholds: Page {
        var page = Page(repeating: 0)
        page[0] = 1
        for (index, attribute) in Attribute.all.enumerated() {
            page[2 + 12 * index] = attribute.id
            page[3 + 12 * index] = attribute.threshold
        }
        page.storeChecksum()
        return page
    }

    /// The summary error log, which is always empty: a QEMU drive does not count errors.
    var summaryErrorLog: Page {
        var page = Page(repeating: 0)
        page[0] = 1
        page.storeChecksum()
        return page
    }
}

/// The self-tests that were run, the last 21 of them. All have passed.
struct SelfTestLog {
    /// The subcommand of each; nil: not run yet.
    private var tests = InlineArray<21, UInt8?>(repeating: nil)
    /// The latest one's place, counted from one; 0: none was run.
    private var latest = 0

    /// Remembers a self-test, over the oldest if there is no more room.
    mutating func append(_ subcommand: UInt8) {
        latest = latest % tests.count + 1
        tests[latest - 1] = subcommand
    }

    /// The log as SMART READ LOG gives it.
    var page: Page {
        var page = Page(repeating: 0)
        page[0] = 1
        for index in tests.indices {
            guard let subcommand = tests[index] else { continue }
            let offset = 2 + 24 * index
            page[offset] = subcommand
            // Life time stamp: 1234h hours, whenever it was.
            page[offset + 2] = 0x34
            page[offset + 3] = 0x12
        }
        page[508] = UInt8(latest)
        page.storeChecksum()
        return page
    }
}

extension InlineArray where count == 512, Element == UInt8 {
    /// The last byte makes the sum of all 512 zero (ACS-4 clause 9, "data structure checksum").
    mutating func storeChecksum() {
        var sum: UInt8 = 0
        for index in 0..<511 { sum &+= self[index] }
        self[511] = 0 &- sum
    }
}
