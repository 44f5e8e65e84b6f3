// The memory of a whole disk from a text that anybody may have written: everything is checked, and nothing is taken
// over that the disk could not have come to by itself.

import TOML

extension DiskMemory {
    /// Reads a text. Keys that are missing are as in a new disk, but for the version and whose memory it is.
    public init(parsing text: String) throws(DiskMemoryError) {
        let document: TOMLValue
        do throws(TOMLError) {
            document = try TOMLValue(parsing: text)
        } catch {
            throw DiskMemoryError(line: error.line, error.description)
        }
        var keys = try MemoryTable(document)
        guard let version = try keys.number("version", in: 0...UInt64(Int64.max)) else { throw keys.missing("version") }
        guard version == Self.version else {
            throw DiskMemoryError(
                "it has version \(version) of the format, and this server reads version \(Self.version): use the server that has "
                    + "written it, or another file")
        }
        guard let name = try keys.text("device") else { throw keys.missing("device") }
        guard let kind = DriveKind(rawValue: name), kind.isWholeDisk else {
            throw keys.mistake("device", "'\(name)' is no disk that has a state: it is spindle-hd or spindle-ssd")
        }
        guard let serialNumber = try keys.text("serial") else { throw keys.missing("serial") }
        guard let sectorBytes = try keys.number("sector-bytes", in: 512...4096) else {
            throw keys.missing("sector-bytes")
        }
        self.init(kind: kind, serialNumber: serialNumber, sectorBytes: sectorBytes, history: DiskHistory())
        try readCounters(&keys)
        try readSectors(&keys)
        try readSecurity(&keys)
        try readSelective(&keys)
        try readErrors(&keys)
        try readSelfTests(&keys)
        try readHostLogs(&keys)
        try keys.finish()
    }

    private mutating func readCounters(_ keys: inout MemoryTable) throws(DiskMemoryError) {
        if let seconds = try keys.number("powered-seconds", in: 0...Self.secondsLimit) {
            history.poweredNanoseconds = seconds * 1_000_000_000
        }
        for (key, path) in Self.counters {
            if let count = try keys.number(key, in: 0...Self.countLimit) { history[keyPath: path] = count }
        }
        if let coldest: UInt8 = try keys.number("coldest") { history.coldest = coldest }
        if let hottest: UInt8 = try keys.number("hottest") { history.hottest = hottest }
        if let isEnabled = try keys.boolean("smart") { history.smartIsEnabled = isEnabled }
        if let saves = try keys.boolean("autosave") { history.savesAttributes = saves }
        if let collects = try keys.boolean("automatic-off-line") { history.collectsOffLine = collects }
        if let status = try keys.number("off-line-status", in: 0...5) { history.offLineStatus = UInt8(status) }
    }

    private mutating func readSectors(_ keys: inout MemoryTable) throws(DiskMemoryError) {
        history.accessibleSectors = try keys.number("accessible-sectors", in: 1...kind.maximumSectors)
        var sectors = SectorSet()
        for range in try keys.ranges("unreadable-sectors") {
            guard sectors.insert(range.first..<range.last + 1) else {
                throw keys.mistake("unreadable-sectors", "there are more than \(SectorSet.limit) ranges of sectors")
            }
        }
        history.unreadable = sectors
    }

    private mutating func readSecurity(_ keys: inout MemoryTable) throws(DiskMemoryError) {
        history.security.userPassword = try keys.password("user-password")
        if let password = try keys.password("master-password") { history.security.masterPassword = password }
        if let identifier: UInt16 = try keys.number("master-identifier") {
            history.security.masterIdentifier = identifier
        }
        if let isMaximum = try keys.boolean("maximum-security") { history.security.isMaximum = isMaximum }
    }

    private mutating func readSelective(_ keys: inout MemoryTable) throws(DiskMemoryError) {
        let spans = try keys.ranges("selective-spans")
        let flags: UInt16 = try keys.number("selective-flags") ?? 0
        guard let selective = SelectiveSelfTest(spans: spans, flags: flags) else {
            throw keys.mistake("selective-spans", "a selective self-test has five spans, and this has \(spans.count)")
        }
        history.selective = selective
    }

    private mutating func readErrors(_ keys: inout MemoryTable) throws(DiskMemoryError) {
        let tables = try keys.tables("error", limit: ErrorLog.limit)
        var entries: [ErrorLog.Entry] = []
        for var error in tables {
            var result = TaskfileResult(Taskfile(command: 0), status: try error.number("status") ?? 0)
            result.error = try error.number("error") ?? 0
            result.count = try error.number("count") ?? 0
            result.lba = try error.number("lba", in: 0...0xFFFF_FFFF_FFFF) ?? 0
            result.device = try error.number("device") ?? 0
            let hours: UInt16 = try error.number("hours") ?? 0
            var commands = RecentCommands()
            for var command in try error.tables("commands", limit: 5) {
                let taskfile = Taskfile(
                    command: try command.number("command") ?? 0, feature: try command.number("feature") ?? 0,
                    count: try command.number("count") ?? 0,
                    lba: try command.number("lba", in: 0...0xFFFF_FFFF_FFFF) ?? 0,
                    device: try command.number("device") ?? 0)
                let milliseconds: UInt32 = try command.number("milliseconds") ?? 0
                try command.finish()
                commands.append(taskfile, at: UInt64(milliseconds) * 1_000_000)
            }
            try error.finish()
            entries.append(ErrorLog.Entry(commands: commands, result: result, hours: hours))
        }
        let count = try keys.number("error-count", in: 0...Self.countLimit) ?? UInt64(entries.count)
        guard let errors = ErrorLog(entries, count: count) else {
            throw keys.mistake(
                "error-count",
                "of \(count) errors the last \(min(count, UInt64(ErrorLog.limit))) are in the log, and \(entries.count) are "
                    + "listed: each is an [[error]]")
        }
        history.errors = errors
    }

    private mutating func readSelfTests(_ keys: inout MemoryTable) throws(DiskMemoryError) {
        for var test in try keys.tables("self-test", limit: SelfTestHistory.limit) {
            history.selfTests.append(
                SelfTestHistory.Entry(
                    subcommand: try test.number("subcommand") ?? 0, status: try test.number("status") ?? 0,
                    hours: try test.number("hours") ?? 0, sector: try test.number("sector", in: 0...0xFFFF_FFFF_FFFF)))
            try test.finish()
        }
    }

    private mutating func readHostLogs(_ keys: inout MemoryTable) throws(DiskMemoryError) {
        guard var logs = try keys.table("host-logs") else { return }
        for address in logs.keys {
            guard let number = UInt8(address, radix: 16), address.utf8.count == 2, let bytes = try logs.bytes(address),
                history.hostLogs.restore(bytes, address: number)
            else {
                throw logs.mistake(
                    address, "a log of the host's is 80 to 9f, and has at most \(HostLogs.pages) pages of 512 bytes")
            }
        }
    }
}

/// The keys of a table, of which each is to be taken once.
private struct MemoryTable {
    private var members: [String: TOMLValue]
    /// The lines of those that were taken.
    private var lines: [String: Int] = [:]
    private let line: Int

    init(_ value: TOMLValue) throws(DiskMemoryError) {
        guard case .table(let members) = value.content else {
            throw DiskMemoryError(line: value.line, "a table is needed here")
        }
        self.members = members
        line = value.line
    }

    /// Those that were not taken, in order.
    var keys: [String] { members.keys.sorted() }

    func missing(_ key: String) -> DiskMemoryError {
        DiskMemoryError("the key '\(key)' is missing: it is no state of a disk, or damaged; name another file")
    }

    func mistake(_ key: String, _ reason: String) -> DiskMemoryError {
        DiskMemoryError(line: lines[key] ?? members[key]?.line ?? line, "\(key): \(reason)")
    }

    private mutating func take(_ key: String) -> TOMLValue.Content? {
        guard let value = members.removeValue(forKey: key) else { return nil }
        lines[key] = value.line
        return value.content
    }

    mutating func number(_ key: String, in range: ClosedRange<UInt64>) throws(DiskMemoryError) -> UInt64? {
        guard let content = take(key) else { return nil }
        guard case .integer(let value) = content, let number = UInt64(exactly: value), range.contains(number) else {
            throw mistake(key, "a number from \(range.lowerBound) to \(range.upperBound) is needed")
        }
        return number
    }

    /// Any number of a type.
    mutating func number<Number: FixedWidthInteger & UnsignedInteger>(
        _ key: String
    ) throws(DiskMemoryError) -> Number? {
        try number(key, in: 0...UInt64(Number.max)).map { Number($0) }
    }

    mutating func boolean(_ key: String) throws(DiskMemoryError) -> Bool? {
        guard let content = take(key) else { return nil }
        guard case .boolean(let value) = content else { throw mistake(key, "true or false is needed") }
        return value
    }

    mutating func text(_ key: String) throws(DiskMemoryError) -> String? {
        guard let content = take(key) else { return nil }
        guard case .string(let text) = content else { throw mistake(key, "a text in quotes is needed") }
        return text
    }

    /// Two hexadecimal digits for each byte.
    mutating func bytes(_ key: String) throws(DiskMemoryError) -> [UInt8]? {
        guard let text = try text(key) else { return nil }
        let digits = Array(text.utf8).map { Character(Unicode.Scalar($0)).hexDigitValue }
        guard digits.count.isMultiple(of: 2), !digits.contains(nil) else {
            throw mistake(key, "two hexadecimal digits for each byte are needed")
        }
        return stride(from: 0, to: digits.count, by: 2).map { UInt8((digits[$0] ?? 0) << 4 | (digits[$0 + 1] ?? 0)) }
    }

    /// A password as text, or with `-hex` behind the key in digits; filled up with zeroes.
    mutating func password(_ key: String) throws(DiskMemoryError) -> [UInt8]? {
        let asText = try text(key).map { Array($0.utf8) }
        let asBytes = try bytes(key + "-hex")
        guard asText == nil || asBytes == nil else { throw mistake(key, "it is there twice: leave \(key)-hex out") }
        guard let password = asText ?? asBytes else { return nil }
        let room = SecurityState.passwordBytes
        guard password.count <= room else { throw mistake(key, "a password has at most \(room) bytes") }
        return password + [UInt8](repeating: 0, count: room - password.count)
    }

    /// `"FIRST-LAST"`, or `"SECTOR"`.
    mutating func ranges(_ key: String) throws(DiskMemoryError) -> [(first: UInt64, last: UInt64)] {
        guard let content = take(key) else { return [] }
        guard case .array(let values) = content, values.count <= SectorSet.limit else {
            throw mistake(key, "a list of at most \(SectorSet.limit) ranges is needed, as in [\"81920\", \"100-107\"]")
        }
        var ranges: [(first: UInt64, last: UInt64)] = []
        for value in values {
            guard case .string(let text) = value.content, let range = Self.range(text) else {
                throw mistake(key, "a range is \"FIRST-LAST\" or \"SECTOR\", with sectors below 2^48")
            }
            ranges.append(range)
        }
        return ranges
    }

    private static func range(_ text: String) -> (first: UInt64, last: UInt64)? {
        let parts = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first.flatMap({ UInt64($0) }), let last = parts.last.flatMap({ UInt64($0) }),
            first <= last, last < 1 << 48
        else { return nil }
        return (first, last)
    }

    mutating func tables(_ key: String, limit: Int) throws(DiskMemoryError) -> [MemoryTable] {
        guard let content = take(key) else { return [] }
        guard case .array(let values) = content, values.count <= limit else {
            throw mistake(key, "a list of at most \(limit) tables is needed")
        }
        var tables: [MemoryTable] = []
        for value in values { tables.append(try MemoryTable(value)) }
        return tables
    }

    mutating func table(_ key: String) throws(DiskMemoryError) -> MemoryTable? {
        guard let value = members.removeValue(forKey: key) else { return nil }
        return try MemoryTable(value)
    }

    /// There is nothing else.
    func finish() throws(DiskMemoryError) {
        guard let key = keys.first, let value = members[key] else { return }
        throw DiskMemoryError(line: value.line, "there is no such key: '\(key)'")
    }
}
