// Power cuts, as the API has them.

import Blocks
import Server
import Settings

/// What an operator asks of a drive's power.
public struct PowerWish: Equatable, Sendable {
    /// What becomes of the power.
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

    /// What becomes of it.
    public var state: Switch
    /// The cut, unless it is switched on.
    var cut: PowerCut

    /// Reads texts; nil stands for the default.
    ///
    /// - Parameters:
    ///   - lose: sectors and ranges of them: `0-7,9`.
    public init(state: String, keep: String?, seed: String?, lose: String?) throws(SettingsError) {
        self.state = try Self.value(state, "state of the power")
        let keeping: PowerCutKeeping =
            try keep.map { text throws(SettingsError) in try Self.value(text, "way to keep") } ?? .none
        guard self.state != .on || (keep == nil && seed == nil && lose == nil) else {
            throw SettingsError("with 'on' nothing is cut: leave keep, seed and lose out")
        }
        let number = seed.map { UInt64($0) } ?? .random(in: 0...UInt64.max)
        guard let number else {
            throw SettingsError("'\((seed ?? "").visible)' is no seed: it is a number from 0 to \(UInt64.max)")
        }
        cut = PowerCut(keeping: keeping, seed: number, lost: try Self.sectors(lose ?? ""))
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
        let known = ["state", "keep", "seed", "lose"]
        guard let state = try value.member("state", of: known) else {
            throw HTTPFailure(.unprocessableContent, "the state is missing: \"off\", \"on\" or \"cut\"")
        }
        let wish: PowerWish
        do {
            wish = try PowerWish(
                state: state, keep: try value.member("keep", of: known), seed: try value.member("seed", of: known),
                lose: try value.member("lose", of: known))
        } catch let error as HTTPFailure {
            throw error
        } catch {
            throw HTTPFailure(.unprocessableContent, "\(error)")
        }
        do {
            if wish.state == .on { return HTTPResponse(.ok, Answer.Export(try program.server.restorePower(of: name))) }
            let outcome = try program.server.cutPower(of: name, wish.cut, staysOff: wish.state == .off)
            return HTTPResponse(.ok, Answer.PowerCut(outcome, of: name))
        } catch {
            throw HTTPFailure(error)
        }
    }
}

extension Answer {
    /// What a drive has kept and lost.
    struct PowerCut: Codable {
        let export: String
        let power: String
        let keep: String
        /// More than 53 bits of it matter.
        let seed: String
        let flushes: UInt64
        let keptSectors: UInt64
        let lostSectors: UInt64
        let writes: [Write]
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

extension Answer.PowerCut {
    init(_ outcome: PowerCutOutcome, of name: String) {
        let report = outcome.report
        export = name
        power = outcome.isOn ? "on" : "off"
        keep = report.cut.keeping.rawValue
        seed = String(report.cut.seed)
        flushes = report.flushCount
        writes = report.writes.map(Write.init)
        let kept = report.writes.map { $0.kept.reduce(UInt64(0)) { $0 + UInt64($1.count) } }.reduce(0, +)
        keptSectors = kept
        lostSectors = report.writes.reduce(0) { $0 + UInt64($1.sectors.count) } - kept
        connections = outcome.connections.map(Answer.Connection.init)
        let lost = report.cut.lost.map {
            $0.lowerBound == $0.upperBound ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)"
        }
        command =
            "spindle ctl power \(name) cut --keep \(keep) --seed \(seed)"
            + (lost.isEmpty ? "" : " --lose \(lost.joined(separator: ","))")
    }
}

extension Answer.PowerCut.Write {
    fileprivate init(_ write: CutWrite) {
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
