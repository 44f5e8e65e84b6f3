// Self-tests of a whole disk (ACS-3 clause 7, SMART EXECUTE OFF-LINE IMMEDIATE; clause 9 and annex A, self-test
// logs): they take time, and are aborted or end as the clock says when somebody asks.

/// A self-test that runs.
struct SelfTest: Sendable {
    /// The subcommands of SMART EXECUTE OFF-LINE IMMEDIATE, without the bit for captive mode.
    enum Kind: UInt8, Sendable {
        case offLine = 0x00
        case short = 0x01
        case extended = 0x02
        case conveyance = 0x03
        case selective = 0x04
    }

    /// The outcomes of self-tests: the high half of the self-test execution status (ATA8-ACS, SMART READ DATA).
    enum Outcome: UInt8, Sendable {
        case completed = 0x0
        case aborted = 0x1
        case interruptedByReset = 0x2
        case readFailure = 0x7
        case inProgress = 0xF
    }

    /// LBA low of the command: bit 7 for captive mode.
    let subcommand: UInt8
    let kind: Kind
    let startedAt: UInt64
    let durationNanoseconds: UInt64
    /// What it reads, one range after the other; the short ones read some of the medium only.
    let spans: [Range<UInt64>]
    /// The first sector of these that cannot be read, and how many are read before it; nil: all can.
    let failure: (sector: UInt64, after: UInt64)?

    /// Sectors that it reads.
    private var length: UInt64 { spans.reduce(0) { $0 + ($1.upperBound - $1.lowerBound) } }

    /// Nanoseconds until it ends by itself.
    private var wholeDuration: UInt64 {
        guard let failure, length > 0 else { return durationNanoseconds }
        return UInt64(Double(durationNanoseconds) * (Double(failure.after) / Double(length)))
    }

    /// How it has ended; nil: it has not.
    func end(at now: UInt64) -> Outcome? {
        guard now >= startedAt, now - startedAt >= wholeDuration else { return nil }
        return failure == nil ? .completed : .readFailure
    }

    /// Tenths of it that are left, 1 to 9 as long as it runs.
    func tenthsLeft(at now: UInt64) -> UInt8 {
        guard durationNanoseconds > 0, now > startedAt else { return 9 }
        let part = Double(min(now - startedAt, durationNanoseconds)) / Double(durationNanoseconds)
        return UInt8(max(0, min(9, Int(10 - part * 10))))
    }

    /// The self-test execution status while it runs.
    func statusByte(at now: UInt64) -> UInt8 { Outcome.inProgress.rawValue << 4 | tenthsLeft(at: now) }

    /// The sector that a selective self-test reads now.
    func sector(at now: UInt64) -> (span: Int, sector: UInt64)? {
        guard durationNanoseconds > 0, now >= startedAt else { return nil }
        let part = Double(min(now - startedAt, durationNanoseconds)) / Double(durationNanoseconds)
        var left = UInt64(Double(length) * part)
        for (number, span) in spans.enumerated() {
            let count = span.upperBound - span.lowerBound
            if left < count { return (number, span.lowerBound + left) }
            left -= count
        }
        return nil
    }

    /// What the logs say of it.
    func entry(_ outcome: Outcome, at disk: DiskState) -> SelfTestHistory.Entry {
        let tenths = outcome == .completed ? 0 : tenthsLeft(at: disk.now)
        return SelfTestHistory.Entry(
            subcommand: subcommand, status: outcome.rawValue << 4 | tenths,
            hours: UInt16(truncatingIfNeeded: disk.lifetimeHours),
            sector: outcome == .readFailure ? failure?.sector : nil)
    }

    /// Sectors of 512 bytes that such a drive reads in a second.
    private static func sectorsASecond(_ kind: DriveKind) -> UInt64 { kind == .hardDisk ? 400_000 : 1_000_000 }

    /// Nanoseconds to read so many sectors.
    static func nanoseconds(toRead sectors: UInt64, disk: Drive) -> UInt64 {
        let blocks = min(sectors, DriveKind.hardDisk.maximumSectors) * (disk.blockSize.bytes / 512)
        return UInt64(Double(blocks) / Double(sectorsASecond(disk.kind)) * 1_000_000_000)
    }

    /// How long one takes: the extended one and the off-line routine read the whole medium, the others at most two
    /// minutes.
    static func nanoseconds(_ kind: Kind, disk: Drive) -> UInt64 {
        let whole = nanoseconds(toRead: disk.sectors, disk: disk)
        return switch kind {
        case .offLine, .extended, .selective: whole
        case .short: min(whole, 60_000_000_000)
        case .conveyance: min(whole, 120_000_000_000)
        }
    }

    static func seconds(_ kind: Kind, disk: Drive) -> UInt64 { nanoseconds(kind, disk: disk) / 1_000_000_000 }

    /// The recommended polling time, in minutes.
    static func minutes(_ kind: Kind, disk: Drive) -> UInt8 {
        UInt8(max(1, min(254, (seconds(kind, disk: disk) + 59) / 60)))
    }
}

/// The self-tests that have ended, the last 21 of them.
struct SelfTestHistory: Sendable {
    /// So many have a place in log 06h.
    static let limit = 21

    struct Entry: Sendable {
        let subcommand: UInt8
        /// The self-test execution status.
        let status: UInt8
        /// Life timestamp, in hours.
        let hours: UInt16
        /// The sector that could not be read.
        let sector: UInt64?
    }

    private var entries: [Entry] = []
    /// How many there were.
    private var count = 0

    /// Takes note of one, over the oldest if there is no more room.
    mutating func append(_ entry: Entry) {
        if entries.count < Self.limit { entries.append(entry) } else { entries[count % Self.limit] = entry }
        count += 1
    }

    /// The status of the last one; 0: none was run.
    var latestStatus: UInt8 { count == 0 ? 0 : entries[(count - 1) % Self.limit].status }

    /// The last `limit` of them, the oldest first.
    func latest(_ limit: Int) -> [Entry] {
        let number = min(count, limit, entries.count)
        return (0..<number).map { entries[(count - number + $0) % Self.limit] }
    }

    /// SMART READ LOG, address 06h.
    var page: Page {
        var page = Page(repeating: 0)
        page[0] = 1
        for (index, entry) in entries.enumerated() {
            let offset = 2 + 24 * index
            page[offset] = entry.subcommand
            page[offset + 1] = entry.status
            page.store(entry.hours, at: offset + 2)
            page.store(entry.sector.map { UInt32(clamping: $0) } ?? 0, at: offset + 5)
        }
        page[508] = count == 0 ? 0 : UInt8((count - 1) % Self.limit + 1)
        page.storeChecksum()
        return page
    }

    /// The Extended SMART Self-Test log, address 07h: the last 19 of them on one page.
    var extendedPage: Page {
        var page = Page(repeating: 0)
        page[0] = 1
        let entries = latest(19)
        page.store(UInt16(entries.count), at: 2)
        for (index, entry) in entries.enumerated() {
            let offset = 4 + 26 * index
            page[offset] = entry.subcommand
            page[offset + 1] = entry.status
            page.store(entry.hours, at: offset + 2)
            page.store(entry.sector ?? 0, at: offset + 5, bytes: 6)
        }
        page.storeChecksum()
        return page
    }
}

/// The Selective Self-Test log (ACS-3 A.15, address 09h): a host writes which sectors are to be read.
struct SelectiveSelfTest: Sendable {
    /// The test spans as they were written, last sector included.
    private(set) var spans: [(first: UInt64, last: UInt64)] = []
    private(set) var flags: UInt16 = 0

    /// Nothing was written.
    init() {}

    /// What a host has written; nil if it could not have.
    init?(spans: [(first: UInt64, last: UInt64)], flags: UInt16) {
        guard spans.isEmpty || spans.count == 5, spans.allSatisfy({ $0.first <= $0.last && $0.last < 1 << 48 }) else {
            return nil
        }
        self.spans = spans
        self.flags = flags
    }

    /// Takes what a host has written.
    ///
    /// - Returns: false if that is no such log, or names sectors that are not there.
    mutating func store(_ data: RawSpan, sectors: UInt64) -> Bool {
        guard data.byteCount >= 512, data.word(at: 0) == 1, (0..<512).reduce(UInt8(0), { $0 &+ data.byte(at: $1) }) == 0
        else { return false }
        let written = (0..<5).map { (first: data.quadWord(at: 2 + 16 * $0), last: data.quadWord(at: 10 + 16 * $0)) }
        guard written.allSatisfy({ $0 == (0, 0) || $0.first <= $0.last && $0.last < sectors }) else { return false }
        spans = written
        flags = data.word(at: 502)
        return true
    }

    /// What is to be read. A span of zeroes is none.
    func ranges(of sectors: UInt64) -> [Range<UInt64>] {
        spans.map { $0 == (0, 0) || $0.last >= sectors ? 0..<0 : $0.first..<$0.last + 1 }
    }

    /// As a host reads it.
    func page(running test: SelfTest?, at now: UInt64) -> Page {
        var page = Page(repeating: 0)
        page[0] = 1
        for (index, span) in spans.enumerated() {
            page.store(span.first, at: 2 + 16 * index)
            page.store(span.last, at: 10 + 16 * index)
        }
        if let test, test.kind == .selective, let current = test.sector(at: now) {
            page.store(current.sector, at: 492)
            page.store(UInt16(current.span + 1), at: 500)
        }
        page.store(flags, at: 502)
        page.storeChecksum()
        return page
    }
}
