// Power cuts, as the API has them.

import Blocks
import Loop
import Server
import Settings

/// An operator's wish for a drive's power, in texts; nil stands for the default.
public struct PowerTexts: Equatable, Sendable {
    /// The power's new state.
    public var state: String
    /// The choice of kept data, and the number that decides where there is a choice.
    public var keep, seed: String?
    /// Sectors and ranges of them: `0-7,9`.
    public var lose: String?
    /// The moment of the cut: one of them at most.
    public var afterWrites, atWrite, atFlush, atFlushEnd, random: String?
    /// The fate of sessions.
    public var sessions: String?

    /// A state, and nothing else.
    public init(state: String) { self.state = state }

    /// Their names in the API, in the order of the command line.
    static let options: [(name: String, text: WritableKeyPath<PowerTexts, String?> & Sendable)] = [
        ("keep", \.keep), ("seed", \.seed), ("lose", \.lose), ("after-writes", \.afterWrites),
        ("at-write", \.atWrite), ("at-flush", \.atFlush), ("at-flush-end", \.atFlushEnd), ("random", \.random),
        ("sessions", \.sessions),
    ]
}

/// An operator's wish for a drive's power.
public struct PowerWish: Equatable, Sendable {
    /// The states of the power.
    public enum Switch: String, CaseIterable, Sendable {
        /// Cut, and gone until it is switched on.
        case off
        /// Back.
        case on
        /// Cut, and back at once.
        case cut
    }

    /// The values of `keep`.
    public static let waysToKeep = PowerCutKeeping.allCases.map(\.rawValue)

    /// The power's new state.
    public var state: Switch
    /// The cut, unless it is switched on.
    var order: PowerOrder
    /// The cut comes later.
    public var isArmed: Bool { order.moment != nil }

    /// The fates of sessions.
    public enum Sessions: String, CaseIterable, Sendable {
        /// They end.
        case drop
        /// They stay, and get no answer.
        case hang
    }

    /// The values of `sessions`.
    public static let waysOfSessions = Sessions.allCases.map(\.rawValue)

    /// The most writes and flushes that can be waited for.
    private static let countLimit: UInt64 = 1 << 40

    /// Reads texts.
    public init(_ texts: PowerTexts) throws(SettingsError) {
        state = try Self.value(texts.state, "state of the power")
        guard state != .on || !PowerTexts.options.contains(where: { texts[keyPath: $0.text] != nil }) else {
            throw SettingsError("with 'on' nothing is cut: leave all options out")
        }
        let keeping: PowerCutKeeping =
            try texts.keep.map { text throws(SettingsError) in try Self.value(text, "way to keep") } ?? .none
        let number = texts.seed.map { UInt64($0) } ?? .random(in: 0...UInt64.max)
        guard let number else {
            throw SettingsError("'\((texts.seed ?? "").visible)' is no seed: it is a number from 0 to \(UInt64.max)")
        }
        let sessions: Sessions =
            try texts.sessions.map { text throws(SettingsError) in try Self.value(text, "way of sessions") } ?? .drop
        guard sessions == .drop || state == .off else {
            throw SettingsError(
                "sessions can hang while the drive has no power: that is 'off', not '\(state.rawValue)'")
        }
        order = PowerOrder(
            cut: PowerCut(keeping: keeping, seed: number, lost: try Self.sectors(texts.lose ?? "")),
            moment: try Self.moment(texts, seed: number), staysOff: state == .off, hangs: sessions == .hang)
    }

    private static func moment(_ texts: PowerTexts, seed: UInt64) throws(SettingsError) -> CutMoment? {
        var moments: [CutMoment] = []
        if let text = texts.afterWrites { moments.append(.afterWrites(try count(text, "writes"))) }
        if let text = texts.atFlush { moments.append(.atFlush(try count(text, "flushes"))) }
        if let text = texts.atFlushEnd { moments.append(.atFlushEnd(try count(text, "flushes"))) }
        if let text = texts.random { moments.append(.random(writes: try count(text, "writes"), seed: seed)) }
        if let text = texts.atWrite {
            guard let range = try sectors(text).first, !text.contains(",") else {
                throw SettingsError("'\(text.visible)' is no range of sectors: FIRST-LAST, or one number, as in 0-7")
            }
            moments.append(.atWrite(range))
        }
        guard moments.count <= 1 else {
            throw SettingsError(
                "a cut has one moment: after-writes, at-write, at-flush, at-flush-end or random, and not several")
        }
        return moments.first
    }

    private static func count(_ text: String, _ what: String) throws(SettingsError) -> UInt64 {
        guard let count = UInt64(text), (1...countLimit).contains(count) else {
            throw SettingsError("'\(text.visible)' is no number of \(what): it is one from 1 to \(countLimit)")
        }
        return count
    }

    private static func value<Value: RawRepresentable & CaseIterable>(
        _ text: String, _ what: String
    ) throws(SettingsError) -> Value where Value.RawValue == String {
        guard let value = Value(rawValue: text) else {
            let known = Value.allCases.map(\.rawValue)
            throw SettingsError(
                "'\(text.visible)' is no \(what): it is \(known.dropLast().joined(separator: ", ")) or \(known.last ?? "")"
            )
        }
        return value
    }

    private static func sectors(_ text: String) throws(SettingsError) -> [ClosedRange<UInt64>] {
        var ranges: [ClosedRange<UInt64>] = []
        let limit = 64
        for part in text.split(separator: ",", omittingEmptySubsequences: true) {
            let ends = part.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false).map { UInt64($0) }
            guard let first = ends[0], let last = ends[ends.count - 1], first <= last, last < UInt64.max else {
                throw SettingsError(
                    "'\(String(part).visible)' names no sectors: FIRST-LAST, or one number, as in 0-7,9")
            }
            ranges.append(first...last)
            guard ranges.count <= limit else { throw SettingsError("more than \(limit) ranges of sectors are named") }
        }
        return ranges
    }
}

extension ControlAPI {
    func power(_ name: String, _ body: [UInt8]) throws(HTTPFailure) -> HTTPResponse {
        let value = try JSON.decode(body)
        let known = ["state"] + PowerTexts.options.map(\.name)
        guard let state = try value.member("state", of: known) else {
            throw HTTPFailure(.unprocessableContent, "the state is missing: \"off\", \"on\" or \"cut\"")
        }
        let wish: PowerWish
        do {
            var texts = PowerTexts(state: state)
            for option in PowerTexts.options { texts[keyPath: option.text] = try value.member(option.name, of: known) }
            wish = try PowerWish(texts)
        } catch let error as HTTPFailure {
            throw error
        } catch {
            throw HTTPFailure(unprocessable: error)
        }
        do {
            if wish.state == .on { return HTTPResponse(.ok, Answer.Export(try program.server.restorePower(of: name))) }
            guard wish.order.moment == nil else {
                return HTTPResponse(.ok, Answer.Power(try program.server.armPowerCut(of: name, wish.order), of: name))
            }
            let outcome = try program.server.cutPower(of: name, wish.order)
            return HTTPResponse(.ok, Answer.PowerCut(outcome, of: name))
        } catch {
            throw HTTPFailure(error)
        }
    }

    /// How long a report can be waited for, in seconds: less than clients wait for an answer.
    static let longestWait = 100

    func power(_ name: String, wait: String?) throws(HTTPFailure) -> HTTPResponse {
        let text = wait ?? "0"
        guard let seconds = UInt8(text), text.first != "+", seconds <= Self.longestWait else {
            throw HTTPFailure(
                .badRequest, "'\(text.visible)' is no time to wait: seconds, from 0 to \(Self.longestWait)")
        }
        return try seconds == 0
            ? power(name, waitingFor: 0)
            : reports.wait { () throws(HTTPFailure) in try power(name, waitingFor: Int(seconds)) }
    }

    private func power(_ name: String, waitingFor seconds: Int) throws(HTTPFailure) -> HTTPResponse {
        do {
            return HTTPResponse(.ok, Answer.Power(try program.server.power(of: name, waitingFor: seconds), of: name))
        } catch {
            throw HTTPFailure(error)
        }
    }
}

extension PowerOrder {
    /// The command that gives this order again.
    func command(_ name: String) -> String {
        var words = ["spindle ctl power", name, staysOff ? "off" : "cut"]
        switch moment {
        case nil: break
        case .afterWrites(let count): words.append("--after-writes \(count)")
        case .atWrite(let sectors): words.append("--at-write \(sectors.inWords)")
        case .atFlush(let count): words.append("--at-flush \(count)")
        case .atFlushEnd(let count): words.append("--at-flush-end \(count)")
        }
        words.append("--keep \(cut.keeping.rawValue) --seed \(cut.seed)")
        if !cut.lost.isEmpty { words.append("--lose \(cut.lost.map(\.inWords).joined(separator: ","))") }
        if hangs { words.append("--sessions hang") }
        return words.joined(separator: " ")
    }
}

extension ClosedRange<UInt64> {
    fileprivate var inWords: String { lowerBound == upperBound ? "\(lowerBound)" : "\(lowerBound)-\(upperBound)" }
}

extension Answer {
    /// The power of a drive.
    struct Power: Codable {
        let export: String
        let power: String
        /// The command that orders the cut that is to come.
        let armed: String?
        /// The last cut.
        let cut: PowerCut?
        /// Why that could not be finished.
        let failure: String?
    }

    /// The kept and lost sectors of a drive.
    struct PowerCut: Codable {
        let export: String
        let power: String
        let keep: String
        /// More than 53 bits of it matter.
        let seed: String
        /// The size of the drive.
        let sectors: UInt64
        let flushes: UInt64
        let keptSectors: UInt64
        let lostSectors: UInt64
        let writes: [Write]
        /// First and last sector of each run.
        let damaged: [[UInt64]]
        let connections: [Connection]
        /// Repeats it, after the same writes.
        let command: String

        /// A write that no flush had asked for.
        struct Write: Codable {
            let number: UInt64
            let kind: String
            let lba: UInt64
            let sectors: UInt64
            let fate: String
            /// First and last sector of each run.
            let kept: [[UInt64]]
            let connection: UInt64
            let afterFlush: UInt64
            let nanoseconds: UInt64
        }
    }
}

extension Answer.Power {
    init(_ status: PowerStatus, of name: String) {
        export = name
        power = status.isOn ? "on" : "off"
        armed = status.armed?.command(name)
        switch status.lastCut {
        case nil: (cut, failure) = (nil, nil)
        case .success(let outcome): (cut, failure) = (Answer.PowerCut(outcome, of: name), nil)
        case .failure(let error): (cut, failure) = (nil, error.reason)
        }
    }
}

extension Answer.PowerCut {
    init(_ outcome: PowerCutOutcome, of name: String) {
        let report = outcome.report
        export = name
        power = outcome.order.staysOff ? "off" : "on"
        keep = report.cut.keeping.rawValue
        seed = String(report.cut.seed)
        sectors = outcome.sectors
        flushes = report.flushCount
        writes = report.writes.map(Write.init)
        damaged = report.damaged.map { [$0.lowerBound, $0.upperBound - 1] }
        let kept = report.writes.map { $0.kept.reduce(UInt64(0)) { $0 + UInt64($1.count) } }.reduce(0, +)
        keptSectors = kept
        lostSectors = report.writes.reduce(0) { $0 + UInt64($1.sectors.count) } - kept
        connections = outcome.connections.map(Answer.Connection.init)
        command = outcome.order.command(name)
    }
}

extension Answer.PowerCut.Write {
    init(_ write: CutWrite) {
        number = write.sequence
        kind =
            switch write.operation {
            case .writeZeroes: "zeroes"
            case .discard: "trim"
            default: "write"
            }
        lba = write.sectors.lowerBound
        sectors = UInt64(write.sectors.count)
        fate = write.fate.rawValue
        kept = write.kept.map { [$0.lowerBound, $0.upperBound - 1] }
        connection = write.writer.client
        afterFlush = write.flush
        nanoseconds = write.writer.nanoseconds
    }
}
