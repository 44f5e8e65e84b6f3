// The memory of a whole disk: what it forgets with its power, and what it never forgets.

import Blocks

/// What the disk knows of itself until its power goes.
struct DiskState: Sendable {
    /// Power modes (ACS-3 4.15): what CHECK POWER MODE tells.
    enum PowerMode: UInt8, Sendable {
        case active = 0xFF
        case idle = 0x80
        case standby = 0x00
        /// SLEEP: a host resets the drive before it speaks to it again.
        case sleep = 0x01
    }

    /// The caller's clock, in nanoseconds since any moment: when the running command began.
    var now: UInt64 = 0
    /// The same, when the power came.
    var poweredOnAt: UInt64 = 0
    var features = FeatureSet()
    /// Features that are enabled, of those that can be disabled.
    var enabled = FeatureSet()
    /// User data are not to be had: see ``Drive/refreshBar()``.
    var isBarred = false
    var powerMode = PowerMode.active
    /// The level of Advanced Power Management, 1 to FEh.
    var powerLevel: UInt8 = 0x80
    /// SET FEATURES 66h and CCh: settings go with a software reset.
    var revertsToDefaults = false
    var timing = PowerTiming()
    var recent = RecentCommands()
    /// WRITE BUFFER's 512 bytes; empty: none were written.
    var buffer: [UInt8] = []
    var selfTest: SelfTest?
    var temperature = TemperatureModel()
    var recoveryLimits = RecoveryLimits()
    var queuedError: QueuedCommandError?
    var transport = SmartCommandTransport()
    var security = SecurityState()
    var maxAddress = MaxAddressState()
    var sanitizing = SanitizeState()
    var faults = DriveFaults()
    var history = DiskHistory()

    /// Nanoseconds since the power came.
    var uptime: UInt64 { now > poweredOnAt ? now - poweredOnAt : 0 }
    /// Nanoseconds with power, in all.
    var lifetime: UInt64 { history.poweredNanoseconds &+ uptime }
    /// The same in hours.
    var lifetimeHours: UInt64 { lifetime / 3_600_000_000_000 }

    /// Some sectors cannot be read, or something else may go wrong.
    var isFlawed: Bool { !history.unreadable.isEmpty || !faults.isEmpty }
    /// Sectors that are known to be unreadable, and wait for a write.
    var pendingSectors: UInt64 { history.unreadable.count + faults.foundCount }

    /// A read has failed, or somebody looks: what is worst so far is told for ever.
    mutating func noteWorst() {
        history.mostPendingSectors = max(history.mostPendingSectors, pendingSectors)
        history.highestErrorRate = max(history.highestErrorRate, history.errorRate)
    }

    /// The first sector that a self-test would fail at.
    func firstUnreadable(in range: Range<UInt64>) -> UInt64? {
        let known = history.unreadable.first(in: range)
        return faults.firstDefect(in: range).map { min($0, known ?? $0) } ?? known
    }

    /// Sectors have other data now. Those that the medium could not give others take the place of.
    mutating func overwrite(_ range: Range<UInt64>) {
        // Only what has changed counts as a change.
        if history.unreadable.contains(oneOf: range) { history.unreadable.remove(range) }
        let count = faults.overwrite(range)
        if count > 0 { history.reallocatedSectors &+= count }
    }
}

/// What the disk knows of itself as long as it exists. ``DiskMemory`` is how it outlasts the process.
struct DiskHistory: Sendable {
    /// How many changes there were that a host may rely on from the end of its command on: those of the properties that
    /// count here.
    private(set) var lastingChanges: UInt64 = 0

    /// How long the disk had power, before it had it this time.
    var poweredNanoseconds: UInt64 = 0
    var powerCycles: UInt64 = 1
    /// How many times the medium was set in motion.
    var spinUps: UInt64 = 1
    var sectorsRead: UInt64 = 0
    var sectorsWritten: UInt64 = 0
    var readCommands: UInt64 = 0
    var writeCommands: UInt64 = 0
    var flushCommands: UInt64 = 0
    var trimCommands: UInt64 = 0
    var sectorsTrimmed: UInt64 = 0
    /// Reads that ended with UNC.
    var uncorrectableErrors: UInt64 = 0
    /// Of a thousand reads so many have failed so; the first ten thousand of a drive count as that many.
    var errorRate: UInt64 { uncorrectableErrors * 1000 / max(readCommands, 10_000) }
    var highestErrorRate: UInt64 = 0
    /// Writes that the medium has failed.
    var writeFaults: UInt64 = 0
    /// Transfers that were damaged on the way.
    var interfaceErrors: UInt64 = 0
    /// Sectors in whose place others are.
    var reallocatedSectors: UInt64 = 0 { didSet { lastingChanges &+= 1 } }
    /// Resets by a host, and the power that comes, which is one as well.
    var hardwareResets: UInt64 = 1
    var hottest: UInt8 = TemperatureModel.ambient
    var coldest: UInt8 = TemperatureModel.ambient
    var errors = ErrorLog()
    var selfTests = SelfTestHistory()
    var selective = SelectiveSelfTest() { didSet { lastingChanges &+= 1 } }
    /// Sectors that cannot be read until they are written.
    var unreadable = SectorSet() { didSet { lastingChanges &+= 1 } }
    /// The most that there were at a time.
    var mostPendingSectors: UInt64 = 0
    /// The host's own logs, 80h to 9Fh.
    var hostLogs = HostLogs() { didSet { lastingChanges &+= 1 } }
    var smartIsEnabled = true { didSet { lastingChanges &+= 1 } }
    var savesAttributes = true { didSet { lastingChanges &+= 1 } }
    var collectsOffLine = false { didSet { lastingChanges &+= 1 } }
    /// Off-line data collection: 00h never, 02h completed, 04h suspended, 05h aborted (ATA8-ACS, SMART READ DATA).
    var offLineStatus: UInt8 = 0
    var security = SecurityHistory() { didSet { lastingChanges &+= 1 } }
    /// The accessible sectors that a host has set to last; nil: all.
    var accessibleSectors: UInt64? { didSet { lastingChanges &+= 1 } }
}

/// The last commands, for the error log (ACS-3 A.7: five command data structures an error).
struct RecentCommands: Sendable {
    struct Entry: Sendable {
        var taskfile = Taskfile(command: 0)
        /// Milliseconds since the power came; wraps as the standard says.
        var milliseconds: UInt32 = 0
    }

    private var entries = InlineArray<5, Entry>(repeating: Entry())
    private var next = 0
    private(set) var count = 0

    /// Takes note of a command, over the oldest.
    mutating func append(_ taskfile: Taskfile, at nanoseconds: UInt64) {
        entries[next] = Entry(taskfile: taskfile, milliseconds: UInt32(truncatingIfNeeded: nanoseconds / 1_000_000))
        next = next == 4 ? 0 : next + 1
        if count < 5 { count += 1 }
    }

    /// From the oldest to the latest, which the error ended. Nil where there was none yet.
    subscript(place: Int) -> Entry? {
        guard place >= 5 - count else { return nil }
        return entries[(next + place) % 5]
    }
}

/// Sectors of a disk: ranges in order that do not touch.
struct SectorSet: Sendable {
    /// The most ranges: a disk has no more room for them.
    static let limit = 1024

    private(set) var ranges: [Range<UInt64>] = []

    var isEmpty: Bool { ranges.isEmpty }

    /// How many sectors they are.
    var count: UInt64 { ranges.reduce(0) { $0 + ($1.upperBound - $1.lowerBound) } }

    /// The first one in a range; nil if it has none of them.
    func first(in range: Range<UInt64>) -> UInt64? {
        let index = firstIndex { $0.upperBound > range.lowerBound }
        guard !range.isEmpty, index < ranges.count, ranges[index].lowerBound < range.upperBound else { return nil }
        return max(ranges[index].lowerBound, range.lowerBound)
    }

    /// Inserts sectors.
    ///
    /// - Returns: false if there is no room for them; then nothing has changed.
    mutating func insert(_ range: Range<UInt64>) -> Bool {
        guard !range.isEmpty else { return true }
        let begin = firstIndex { $0.upperBound >= range.lowerBound }
        let end = firstIndex { $0.lowerBound > range.upperBound }
        guard ranges.count - (end - begin) < Self.limit else { return false }
        let touching = ranges[begin..<end]
        let first = min(range.lowerBound, touching.first?.lowerBound ?? range.lowerBound)
        let last = max(range.upperBound, touching.last?.upperBound ?? range.upperBound)
        ranges.replaceSubrange(begin..<end, with: CollectionOfOne(first..<last))
        return true
    }

    /// Has one of these sectors.
    func contains(oneOf range: Range<UInt64>) -> Bool { first(in: range) != nil }

    /// Removes sectors. Of a range that is cut in two, the shorter part goes as well if there is no room for both: a
    /// host that writes here and there must not make every later write slower.
    mutating func remove(_ range: Range<UInt64>) {
        let begin = firstIndex { $0.upperBound > range.lowerBound }
        let end = firstIndex { $0.lowerBound >= range.upperBound }
        guard !range.isEmpty, begin < end else { return }
        let before = ranges[begin].lowerBound..<max(ranges[begin].lowerBound, range.lowerBound)
        let last = ranges[end - 1].upperBound
        let after = min(last, range.upperBound)..<last
        var kept = [before, after].filter { !$0.isEmpty }
        if ranges.count - (end - begin) + kept.count > Self.limit {
            kept = [before.count < after.count ? after : before]
        }
        ranges.replaceSubrange(begin..<end, with: kept)
    }

    /// The index of the first range for which something is true that is true for all behind it, too.
    private func firstIndex(_ isTrue: (Range<UInt64>) -> Bool) -> Int {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if isTrue(ranges[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
