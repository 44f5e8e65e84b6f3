// The account of a cut that `spindle cut` has made of a recording: as JSON, and as tables.

import Blocks

/// A cut, and where its outcome is.
public struct RecordedCutReport: Encodable {
    private let recording: String
    /// How many commands had ended, and how many of them were stable.
    private let at: Int
    private let stable: Int
    /// The size of the drive.
    private let sectors: UInt64
    private let keep: String
    private let seed: String
    private let flushes: UInt64
    private let keptSectors: UInt64
    private let lostSectors: UInt64
    private let writes: [Answer.PowerCut.Write]
    private let damaged: [[UInt64]]
    private let overlay: String?
    /// Repeats it.
    private let command: String

    /// The account of a cut of a drive of so many sectors.
    public init(_ cut: RecordedCut, of recording: String, sectors: UInt64, overlay: String?, command: String) {
        let report = cut.report
        self.recording = recording
        self.sectors = sectors
        at = cut.point
        stable = cut.stableCount
        keep = report.cut.keeping.rawValue
        seed = String(report.cut.seed)
        flushes = report.flushCount
        writes = report.writes.map(Answer.PowerCut.Write.init)
        damaged = report.damaged.map { [$0.lowerBound, $0.upperBound - 1] }
        let kept = report.writes.map { $0.kept.reduce(UInt64(0)) { $0 + UInt64($1.count) } }.reduce(0, +)
        keptSectors = kept
        lostSectors = report.writes.reduce(0) { $0 + UInt64($1.sectors.count) } - kept
        self.overlay = overlay
        self.command = command
    }

    /// For programs.
    public var json: [UInt8] { JSON.encode(self) }

    /// For people: a table of the writes.
    public var text: String { head + ControlTables.list(of: writes) }

    /// For people: a picture of the drive.
    public var picture: String { head + CutPicture(of: sectors, writes, damaged: damaged).text }

    private var head: String {
        var head = [
            ["Recording:", recording], ["Cut after:", "\(at)"], ["Stable:", "the first \(stable)"],
            ["Kept:", ControlTables.sectors(keptSectors)], ["Lost:", ControlTables.sectors(lostSectors)],
        ]
        if !damaged.isEmpty { head.append(["Damaged:", ControlTables.runs(damaged)]) }
        if let overlay { head.append(["Overlay:", overlay]) }
        head.append(["Again:", command])
        return Table(rows: head).text + "\n"
    }
}

/// Accounts of many cuts.
public struct RecordedCutList: Encodable {
    private let recording: String
    /// How many outcomes there are; nil: too many to count, or nobody has asked.
    private let outcomes: UInt64?
    private let cuts: [RecordedCutReport]

    /// Accounts of cuts, of so many possible ones.
    public init(_ cuts: [RecordedCutReport], of recording: String, outcomes: UInt64?) {
        self.recording = recording
        self.outcomes = outcomes
        self.cuts = cuts
    }

    /// For programs.
    public var json: [UInt8] { JSON.encode(self) }

    /// For people.
    public var text: String {
        let rows = cuts.map { $0.row }
        return Table(
            head: ["CUT AFTER", "STABLE", "KEPT", "LOST", "OVERLAY"], rows: rows, numbers: [0, 1, 2, 3],
            whenEmpty: "there is nothing to cut"
        ).text
    }
}

extension RecordedCutReport {
    fileprivate var row: [String] {
        [String(at), String(stable), String(keptSectors), String(lostSectors), overlay ?? "-"]
    }
}

/// All commands of a recording.
public struct RecordingList: Encodable {
    private struct Entry: Encodable {
        let number: UInt64
        let kind: String
        let lba: UInt64
        let sectors: UInt64
        /// Of a flush: how many commands it made stable.
        let stable: UInt64
        let connection: UInt64
        let nanoseconds: UInt64
    }

    private let sectors: UInt64
    private let sectorBytes: UInt64
    private let tornBytes: UInt64
    private let commands: [Entry]

    /// The commands of a history, behind which so many bytes are no whole one.
    public init(_ history: RecordedHistory, tornBytes: UInt64) {
        sectors = history.header.sectors
        sectorBytes = history.header.blockSize.bytes
        self.tornBytes = tornBytes
        commands = history.entries.map {
            Entry(
                number: $0.number, kind: $0.kind.name, lba: $0.sectors.lowerBound, sectors: UInt64($0.sectors.count),
                stable: $0.covered, connection: $0.client, nanoseconds: $0.nanoseconds)
        }
    }

    /// For programs.
    public var json: [UInt8] { JSON.encode(self) }

    /// For people.
    public var text: String {
        let rows = commands.map { entry in
            let isFlush = entry.kind == RecordingEntry.Kind.flush.name
            return [
                String(entry.number), entry.kind, isFlush ? "" : String(entry.lba),
                isFlush ? "" : String(entry.sectors), isFlush ? String(entry.stable) : "", String(entry.connection),
                "\(entry.nanoseconds / 1_000_000).\(String(entry.nanoseconds / 1000 % 1000 + 1000).dropFirst())",
            ]
        }
        return Table(
            head: ["NUMBER", "KIND", "LBA", "SECTORS", "STABLE", "CONNECTION", "MS"], rows: rows,
            numbers: [0, 2, 3, 4, 5, 6], whenEmpty: "nothing was recorded"
        ).text
    }
}
